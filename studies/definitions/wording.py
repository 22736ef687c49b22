"""What is wrong with a value, as the reader of a definition would say it."""

import difflib
import re
from collections.abc import Collection
from typing import Any, get_args

from pydantic_core import ErrorDetails

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.space import Section
from klsearch.studies.definitions.toml_source import KeyPath

_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be an array, such as [1, 2]",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "finite_number": "must be finite",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be 'dense', 'conv' or 'package.module:factory'",
}


def in_words(error: ErrorDetails, path: KeyPath) -> str:
    """What is wrong, as its reader would say it."""
    kind, value = error["type"], error["input"]
    if kind == "klsearch":
        return error["msg"]
    if kind == "missing":
        return "missing table" if len(path) == 1 else "missing"
    if kind == "extra_forbidden":
        return _unknown_key(path)
    rule = _RULES.get(kind, error["msg"][:1].lower() + error["msg"][1:]).format(**error.get("ctx", {}))
    near = nearest(value, re.findall(r"'(.*?)'", rule)) if isinstance(value, str) else None
    return f"{rule}, but is {_shown(value)}" + (f", did you mean '{near}'?" if near else "")


def _unknown_key(path: KeyPath) -> str:
    key, known = str(path[-1]), known_keys(path)
    if near := nearest(key, known):
        return f"unknown key, did you mean '{near}'?"
    homes = [name for name, field in StudyDefinition.model_fields.items() if key in _fields(field.annotation)]
    if homes:
        return f"unknown key here; it belongs to {' or '.join(f'[{home}]' for home in homes)}"
    return f"unknown key; known here: {', '.join(known)}"


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that looks most like `word`, if any does."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def known_keys(path: KeyPath) -> Collection[str]:
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


def _shown(value: Any) -> str:
    """A value as TOML writes it, cut to a length that fits a line."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
