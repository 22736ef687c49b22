"""The way from TOML text to a checked definition, or to every problem in it with its line."""

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.problems import mend
from klsearch.studies.definitions.toml_source import KeyPath, find_deeper, key_lines
from klsearch.studies.errors import DefinitionError

_MOST_CHARACTERS = 50_000  # hostile ones of a few hundred thousand take half a minute to read
_MOST_NESTED = 16  # of tables and lists; a definition has five
_MOST_TOLD = 100


def parse_definition(text: str, where: str) -> StudyDefinition:
    """The definition that a TOML text holds.

    Args:
        text: the TOML.
        where: what the problems name as their place: a file, or where the text was stored.

    Raises:
        DefinitionError: with every problem, each as "digits.toml:12: space.kl_weight.hihg: unknown key, …".
    """
    mending = mend(read_document(text, where))
    if mending.problems or mending.definition is None:
        problems = [(path, f"{join_path(path)}: {problem}") for path, problem in mending.problems.items()]
        raise DefinitionError(in_lines(problems, text, where))
    return mending.definition


def in_lines(problems: Iterable[tuple[KeyPath, str]], text: str, where: str) -> list[str]:
    """Problems of keys, each with its place in front, in the order of a TOML text's lines."""
    lines = key_lines(text)
    found = sorted(((_line(lines, path), problem) for path, problem in problems), key=lambda one: one[0])
    told = [f"{_place(where, line)}: {problem}" for line, problem in found[:_MOST_TOLD]]
    more = len(found) - len(told)
    return [*told, *([f"{where}: and {more:,} problems more"] if more else [])]


def read_document(text: str, where: str) -> dict[str, Any]:
    """The values of a TOML text, unchecked.

    Raises:
        DefinitionError: it is not TOML, empty, or larger or nested deeper than any definition.
    """
    if len(text) > _MOST_CHARACTERS:
        raise DefinitionError([f"{where}: is no definition: it has {len(text):,} characters, of a few thousand"])
    if line := find_deeper(text, _MOST_NESTED):
        raise DefinitionError([f"{_place(where, line)}: is no definition: it nests more than {_MOST_NESTED} deep"])
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DefinitionError([_syntax_problem(str(error), text, where)]) from error
    if not document:
        raise DefinitionError([f"{where}: is empty; `klsearch init FILE` writes a commented definition to start from"])
    return document


def _syntax_problem(message: str, text: str, where: str) -> str:
    """tomllib's "Invalid value (at line 3, column 7)" with its line in front."""
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return f"{where}: is not TOML: {message}"
    line = int(place[1]) if place[1] else text.rstrip("\n").count("\n") + 1
    column = f"column {place[2]}" if place[2] else "at the end"
    hint = "; text stands in quotes" if message.startswith("Invalid value") else ""
    return f"{_place(where, line)}: is not TOML: {message[: place.start()].lower()} ({column}){hint}"


def _line(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of the nearest table around it; 0 where there is none."""
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 0)


def _place(where: str, line: int) -> str:
    return f"{where}:{line}" if line else where


def join_path(path: KeyPath) -> str:
    """The path as TOML writes it, with array entries as [0].

    >>> join_path(("model", "hidden", 1)), join_path(("baselines", "my own"))
    ('model.hidden[1]', 'baselines."my own"')
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text
