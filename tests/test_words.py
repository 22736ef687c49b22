"""Messages, docstrings, comments and pages name commands, options, keys, modules and files that exist."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from klsearch.search.cli import cli
from klsearch.studies.definitions.definition import StudyDefinition

ROOT = Path(__file__).parents[1]
ROOMS = ("vae", "studies", "reports", "search")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / room / "README.md" for room in ROOMS)]
# Options of other programs, and what looks like one in CSS.
FOREIGN_OPTIONS = {
    "--nthreads", "--resources", "--query-gpu", "--format", "--force-reinstall", "--rehearse",
    "--ink", "--muted", "--line", "--band", "--page", "--series-",
}  # fmt: skip
# Files that a user has or klsearch writes, and one of somebody else's code.
FOREIGN_FILES = {"file.py", "vae.py", "my_vae.py", "my_data.py", "vae_settings.py", "keras.py", "NAME.py", "PID.py"}


def strings(path: Path) -> Iterator[str]:
    """The texts and comments of a source file, with {} for what is put in."""
    source = path.read_text(encoding="utf-8")
    parts = set[int]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts.update(map(id, node.values))
            yield "".join(str(value.value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@cache
def texts() -> dict[str, str]:
    """Everything that is said, by file."""
    said = {str(path.relative_to(ROOT)): "\n".join(strings(path)) for path in SOURCES}
    return said | {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}


def named(pattern: str) -> list[tuple[str, ...]]:
    """The places where a pattern is found: the file, then the pattern's groups."""
    return [
        (where, *match.groups())
        for where, text in texts().items()
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


def section(name: str) -> type[BaseModel] | None:
    """The fields of a section of a definition; None where they have names of the user's own."""
    kind = StudyDefinition.model_fields[name].annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


@cache
def names_in(module: Path) -> frozenset[str]:
    """What a module defines or imports, in its classes too."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def is_there(dotted: str) -> bool:
    """Tell whether a module, a package, or something in a module has this name."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir():
            return length == len(parts)
        if path.with_suffix(".py").exists():
            return names_in(path.with_suffix(".py")) >= set(parts[length:])
    return False


def test_the_commands_named_exist() -> None:
    found = named(r"(?:`|\$ |^)klsearch ([a-z]+)")
    assert len(found) > 20
    assert [place for place in found if place[1] not in cli.commands] == []


def test_the_options_named_exist() -> None:
    known = {option for command in [cli, *cli.commands.values()] for one in command.params for option in one.opts}
    found = named(r"(?<![\w-])(--[a-z][a-z-]+)")
    assert len(found) > 20
    assert [place for place in found if place[1] not in known | FOREIGN_OPTIONS | {"--help"}] == []


def test_the_options_named_with_a_command_are_that_command_s() -> None:
    found = named(r"klsearch ([a-z]+)((?: [^`\n]*)? --[^`\n]*)")
    strangers = [
        (where, command, option)
        for where, command, rest in found
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)
        if command in cli.commands and option not in {one for p in cli.commands[command].params for one in p.opts}
    ]
    assert strangers == []


@pytest.mark.parametrize("name", StudyDefinition.model_fields)
def test_the_keys_named_in_a_section_exist(name: str) -> None:
    fields = section(name)
    found = named(rf"(?<![\w./]){name}\.([a-z_]+)(?![\w(:])")
    if fields is not None:
        files = {"toml", "csv", "py"}
        assert [place for place in found if place[1] not in fields.model_fields.keys() | files] == []


def test_the_sections_named_exist() -> None:
    found = named(r"`\[([a-z_]+)(?:\.[A-Za-z]+)?\]`")
    assert len(found) > 10
    assert [place for place in found if place[1] not in StudyDefinition.model_fields.keys() | {"table"}] == []


def test_the_modules_named_exist_and_hold_what_is_named() -> None:
    found = named(r"`(?:klsearch\.)?((?:vae|studies|reports|search)\.\w[\w.]*)`")
    assert len(found) > 20
    assert [place for place in found if not is_there(place[1])] == []


def test_the_files_named_exist() -> None:
    known = {path.name for folder in (*ROOMS, "tests") for path in (ROOT / folder).rglob("*")}
    known |= {path.name for path in ROOT.iterdir()} | FOREIGN_FILES
    found = named(r"([\w-]+\.(?:py|md))\b(?!\.)")
    assert len(found) > 20
    assert [place for place in found if place[1] not in known] == []
