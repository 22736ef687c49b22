"""Every problem of a document at once, in the words of whoever reads the definition."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.space import TAGS, Section
from klsearch.studies.definitions.toml_source import KeyPath
from klsearch.vae.networks.kinds import KINDS

# What stands in for a required key that is wrong or missing while the rest is checked; none leads to a complaint.
_SOUND: dict[KeyPath, Any] = {
    ("study",): {"name": "sound", "trials": 1},
    ("study", "name"): "sound",
    ("study", "trials"): 1,
    ("data",): {"source": "digits"},
    ("data", "source"): "digits",
    ("model",): {"kind": "dense", "hidden": [1], "latent_dim": 1},
    ("model", "hidden"): [1],
    ("model", "filters"): [1],
    ("model", "latent_dim"): 1,
    ("training",): {"epochs": 1_000_000},
    ("training", "epochs"): 1_000_000,
    ("space",): {"kl_weight": {"low": 0.1, "high": 1.0}},
    ("space", "kl_weight"): {"low": 0.1, "high": 1.0},
}

# Keys of the model that some kinds have.
_SIZES = ("hidden", "filters")

# The rule that an error of pydantic names, by its type.
_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be an array, such as [1, 2]",
    "model_type": "must be a table{example}",
    "dict_type": "must be a table{example}",
    "finite_number": "must be finite",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": f"must be {', '.join(map(repr, KINDS))}, or your own: 'my_vae:name', 'my_vae.py:name' "
    "or 'file.keras'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """What is wrong with a definition, and the definition without it.

    Attributes:
        problems: by the path of the key as it is written; empty for a sound definition.
        definition: with sound values in place of wrong ones; None if that was not enough.
        mended: the paths of these values.
    """

    problems: Mapping[KeyPath, str]
    definition: StudyDefinition | None
    mended: frozenset[KeyPath]

    def concerns(self, path: KeyPath) -> bool:
        """Whether a value at, around or within `path` is not the one that was written."""
        return any(done[: len(path)] == path[: len(done)] for done in self.mended)


def mend(document: dict[str, Any]) -> Mending:
    """Find every problem of a definition.

    A check of two keys against each other runs only where both are sound. So what is wrong is mended and the whole
    looked at again, until nothing new appears; complaints that may only follow from the mending are left out.
    """
    rest, found, mended = deepcopy(document), dict[KeyPath, str](), set[KeyPath]()
    written = _mend_names(rest, found)
    while errors := {
        path: error
        for path, error in _validation_errors(rest).items()
        if not any(done[: len(path)] == path for done in mended)
    }:
        for path, error in errors.items():
            found[_as_written(path, written)] = _in_words(error, path)
            # Whole values rather than parts of them, so that what is left is sound; a kind decides over its sizes.
            whole = ("model",) if path == ("model", "kind") else path[:2]
            _put_sound(rest, whole)
            mended.add(whole)
    definition = None if _validation_errors(rest) else StudyDefinition.model_validate(rest)
    return Mending(problems=found, definition=definition, mended=frozenset(mended))


def _mend_names(document: dict[str, Any], found: dict[KeyPath, str]) -> dict[KeyPath, str]:
    """Take out unknown keys, noting each, or give them the name that was probably meant.

    Returns:
        For every key renamed, by its path now, the name that was written.
    """
    written: dict[KeyPath, str] = {}
    while unknown := [
        (path, error) for path, error in _validation_errors(document).items() if error["type"] == "extra_forbidden"
    ]:
        for path, error in unknown:
            found[_as_written(path, written)] = _in_words(error, path)
            holder, key = _holder(document, path), str(path[-1])
            value, meant = holder.pop(key), _nearest(key, _known_keys(path))
            if meant is not None and meant not in holder:
                holder[meant] = value
                written[*path[:-1], meant] = key
    return written


def _as_written(path: KeyPath, written: dict[KeyPath, str]) -> KeyPath:
    return tuple(written.get(path[: length + 1], part) for length, part in enumerate(path))


def _put_sound(document: dict[str, Any], path: KeyPath) -> None:
    """Put a sound value at `path` if there must be one; take away what is there if not."""
    holder = _holder(document, path)
    if path in _SOUND and not (path[0] == "model" and path[-1] in _SIZES and _has_no(holder, str(path[-1]))):
        holder[path[-1]] = deepcopy(_SOUND[path])
    else:
        holder.pop(path[-1], None)


def _has_no(model: dict[str, Any], size: str) -> bool:
    """Whether models of this kind, which may be the user's own, have no such sizes."""
    kind = KINDS.get(str(model.get("kind")))
    return kind is None or size not in kind.sizes


def _holder(document: dict[str, Any], path: KeyPath) -> Any:
    """The table in which the last key of `path` stands."""
    holder: Any = document
    for part in path[:-1]:
        holder = holder[part]
    return holder


def _validation_errors(document: dict[str, Any]) -> dict[KeyPath, ErrorDetails]:
    try:
        StudyDefinition.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False)
        found = {tuple(part for part in item["loc"] if part not in TAGS): item for item in details}
        # Entries that are wrong are not counted, so that an array without another is said to be too short besides.
        return {
            path: item for path, item in found.items() if item["type"] != "too_short" or not _has_inner(found, path)
        }
    return {}


def _has_inner(found: Iterable[KeyPath], path: KeyPath) -> bool:
    """Whether anything is found within what lies at a path."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in found)


def _in_words(error: ErrorDetails, path: KeyPath) -> str:
    """What is wrong, as its reader would say it."""
    kind, value = error["type"], error["input"]
    if kind == "klsearch":
        return error["msg"]
    if kind == "missing":
        return "missing table" if len(path) == 1 else "missing"
    if kind == "extra_forbidden":
        return _unknown_key(path)
    rule = _RULES.get(kind, error["msg"][:1].lower() + error["msg"][1:])
    rule = rule.format(**{"example": _table_example(path), **error.get("ctx", {})})
    if kind in _TYPES and len(path) == 2 and path[0] == "space":
        rule = f"{rule} or a range {{ low = …, high = … }}"
    near = _nearest(value, re.findall(r"'(.*?)'", rule)) if isinstance(value, str) else None
    meant = f"'{near}'" if near else _meant(kind, value, path)
    return f"{rule}, but is {_shown(value)}" + (f", did you mean {meant}?" if meant else "")


_TYPES = ("int_type", "float_type")


def _meant(kind: str, value: Any, path: KeyPath) -> str | None:
    """A value of the right type, as TOML writes it, that one of a wrong type probably means; None where none does."""
    numbers = _numbers(value)
    if kind in _TYPES and path[0] == "space" and len(path) == 2 and len(numbers) > 1 and min(numbers) < max(numbers):
        return f"{{ low = {min(numbers):g}, high = {max(numbers):g} }}"
    if kind in _TYPES and len(numbers) == 1 and (kind == "float_type" or numbers[0].is_integer()):
        return f"{numbers[0]:g}"
    if path == ("study", "kl_band") and len(numbers) == 1:
        numbers = [0.0, *numbers]
    if kind == "tuple_type" and numbers:
        return f"[{', '.join(f'{each:g}' for each in numbers)}]"
    if kind == "bool_type":
        return {"yes": "true", "true": "true", "1": "true", "no": "false", "false": "false", "0": "false"}.get(
            str(value).lower()
        )
    if kind == "string_type" and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f'"{value[0]}"'
    return None


def _numbers(value: Any) -> list[float]:
    """The numbers that a value is, or holds, or spells; none where it holds anything else."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str):
        parts = value.strip("[]() ").split(",")
        try:
            return [float(part) for part in parts]
        except ValueError:
            return []
    found = [_numbers(part) for part in value] if isinstance(value, list) else [[]]
    return [one for part in found for one in part] if all(len(part) == 1 for part in found) else []


def _table_example(path: KeyPath) -> str:
    """What may stand in the table at `path`."""
    section = _section_in(_section_around(path).model_fields[str(path[-1])].annotation) if _is_key(path) else None
    return f", such as {{ {', '.join(f'{key} = …' for key in list(section.model_fields)[:2])} }}" if section else ""


def _is_key(path: KeyPath) -> bool:
    return str(path[-1]) in _section_around(path).model_fields


def _unknown_key(path: KeyPath) -> str:
    key, known = str(path[-1]), _known_keys(path)
    if near := _nearest(key, known):
        return f"unknown key, did you mean '{near}'?"
    homes = [name for name, field in StudyDefinition.model_fields.items() if key in _fields(field.annotation)]
    if homes:
        return f"unknown key here; it belongs to {' or '.join(f'[{home}]' for home in homes)}"
    return f"unknown key; known here: {', '.join(known)}"


def _nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that looks most like `word`, if any does."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _known_keys(path: KeyPath) -> Collection[str]:
    """The keys that may stand where the last key of `path` does."""
    return _section_around(path).model_fields


def _section_around(path: KeyPath) -> type[Section]:
    """The table that holds the last key of `path`; names that the user chose (of baselines) are passed over."""
    section: type[Section] = StudyDefinition
    for part in path[:-1]:
        if part in section.model_fields:
            section = _section_in(section.model_fields[str(part)].annotation) or section
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    """The table within a field's type, such as `Range` in `Range | float`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _fields(annotation: Any) -> Collection[str]:
    section = _section_in(annotation)
    return section.model_fields if section else ()


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_as_toml(part)}' for key, part in value.items())} }}"
    return repr(value)


def _shown(value: Any) -> str:
    """A value as TOML writes it, cut to a length that fits a line."""
    text = _as_toml(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
