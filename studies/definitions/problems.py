"""Every problem of a document at once."""

from copy import deepcopy
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.space import TAGS
from klsearch.studies.definitions.toml_source import KeyPath
from klsearch.studies.definitions.wording import in_words, known_keys, nearest

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


def find_problems(document: dict[str, Any]) -> dict[KeyPath, str]:
    """What is wrong with a definition, by the path of the key as it is written; empty for a sound one.

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
            found[_as_written(path, written)] = in_words(error, path)
            # Whole values rather than parts of them, so that what is left is sound; a kind decides over its sizes.
            whole = ("model",) if path == ("model", "kind") else path[:2]
            _put_sound(rest, whole)
            mended.add(whole)
    return found


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
            found[_as_written(path, written)] = in_words(error, path)
            holder, key = _holder(document, path), str(path[-1])
            value, meant = holder.pop(key), nearest(key, known_keys(path))
            if meant is not None and meant not in holder:
                holder[meant] = value
                written[*path[:-1], meant] = key
    return written


def _as_written(path: KeyPath, written: dict[KeyPath, str]) -> KeyPath:
    return tuple(written.get(path[: length + 1], part) for length, part in enumerate(path))


def _put_sound(document: dict[str, Any], path: KeyPath) -> None:
    """Put a sound value at `path` if there must be one; take away what is there if not."""
    holder = _holder(document, path)
    if path in _SOUND:
        holder[path[-1]] = deepcopy(_SOUND[path])
    else:
        holder.pop(path[-1], None)


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
        return {tuple(part for part in item["loc"] if part not in TAGS): item for item in details}
    return {}
