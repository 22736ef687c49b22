"""Finding a study definition: a built-in one by name, or a TOML file."""

import difflib
import errno
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ConvertError

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DefinitionError
from klsearch.studies.files import read_ordinary
from klsearch.vae.data.sources import is_path
from klsearch.vae.hyperparameters import CHOICES, NAMES, Hyperparameters

_FOLDER = Path(__file__).parents[1]
_BUILT_IN = ("digits", "fashion-mnist")
# A definition is a page of text; far above it, someone named their data file.
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LoadedDefinition:
    """A definition with what surrounds it.

    Attributes:
        definition: the checked content.
        toml: the text that it was read from, comments and overrides included; reads back to `definition`.
        folder: what relative sources are relative to, and where the user's own modules are looked for.
        path: the file; None for a built-in study.
    """

    definition: StudyDefinition
    toml: str
    folder: Path
    path: Path | None

    def __repr__(self) -> str:
        return f"<LoadedDefinition {self.definition.study.name!r} from {self.path or 'no file'}>"

    def toml_for_any_folder(self) -> str:
        """The text with a relative source made absolute, so that a copy of it elsewhere means the same data."""
        source = self.definition.data.source
        if not is_path(source) or Path(source).is_absolute():
            return self.toml
        return _edit(self.toml, "data", {"source": str((self.folder / Path(source).expanduser()).resolve())})


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionText:
    """A definition that nobody has checked yet.

    Attributes:
        text: the TOML.
        where: what problems name as their place.
        folder: see `LoadedDefinition`.
        path: the same.
    """

    text: str
    where: str
    folder: Path
    path: Path | None

    def loaded(self) -> LoadedDefinition:
        """The definition.

        Raises:
            DefinitionError: its content is wrong.
        """
        definition = parse_definition(self.text, self.where)
        return LoadedDefinition(definition=definition, toml=self.text, folder=self.folder, path=self.path)


def builtin_studies() -> dict[str, str]:
    """The built-in studies by name, each with a line that says what it is (the first comment of its file)."""
    return {name: _builtin_text(name).splitlines()[0].removeprefix("# ") for name in _BUILT_IN}


def template() -> str:
    """The commented definition that a user starts from."""
    return (_FOLDER / "template.toml").read_text(encoding="utf-8")


def _builtin_text(name: str) -> str:
    return (_FOLDER / "built_in" / f"{name}.toml").read_text(encoding="utf-8")


def load_definition(study: str | Path) -> LoadedDefinition:
    """The definition of a built-in study by its name, or of a TOML file by its path.

    A built-in name wins over a file of that name; write `./digits` to mean the file.

    Raises:
        DefinitionError: there is no such study, the file cannot be read, or its content is wrong.
    """
    return find_text(study).loaded()


def find_text(study: str | Path) -> DefinitionText:
    """The text of a definition, by the name or path that `load_definition` takes.

    Raises:
        DefinitionError: there is no such study, or the file cannot be read.
    """
    if study in _BUILT_IN:
        return DefinitionText(text=_builtin_text(str(study)), where=f"{study}.toml", folder=Path.cwd(), path=None)
    path = Path(study).expanduser()
    return DefinitionText(text=_read(path), where=str(path), folder=path.resolve().parent, path=path)


def define_study(sections: Mapping[str, Any], folder: str | Path = ".") -> LoadedDefinition:
    """The definition that values of Python make, by section and key as a TOML file has them.

    Args:
        sections: such as {"study": {"name": "mine", "trials": 50}, "data": {"source": "rows.npy"}, …}.
        folder: what a relative source is relative to, and where modules of one's own are looked for.

    Raises:
        DefinitionError: with every problem; lines are those of the same definition as a TOML file.
    """
    try:
        toml = tomlkit.dumps(sections)
    except (ConvertError, TypeError, ValueError) as error:
        raise DefinitionError([f"the definition: {error}"]) from error
    definition = parse_definition(toml, "the definition")
    return LoadedDefinition(definition=definition, toml=toml, folder=Path(folder).resolve(), path=None)


def override(loaded: LoadedDefinition, **study: int | str | None) -> LoadedDefinition:
    """The definition with other values in `[study]`, such as `seed`, `trials` or `name`; None leaves one as it is.

    Raises:
        DefinitionError: a value is out of range.
    """
    changes = {name: value for name, value in study.items() if value is not None}
    return _change(loaded, "study", changes) if changes else loaded


def with_confirmation_seeds(loaded: LoadedDefinition, seeds: int) -> LoadedDefinition:
    """The definition that asks for another number of fresh seeds.

    Raises:
        DefinitionError: there is no test split to score the winner on.
    """
    return _change(loaded, "confirmation", {"seeds": seeds})


def _change(loaded: LoadedDefinition, table: str, changes: Mapping[str, Any]) -> LoadedDefinition:
    toml = _edit(loaded.toml, table, changes)
    definition = parse_definition(toml, str(loaded.path or f"{loaded.definition.study.name}.toml"))
    return LoadedDefinition(definition=definition, toml=toml, folder=loaded.folder, path=loaded.path)


def with_baseline(loaded: LoadedDefinition, name: str, settings: Hyperparameters, *, study: str) -> str:
    """The definition's text for a study of another name, with one more baseline; one of that name is replaced."""
    document = tomlkit.parse(_edit(loaded.toml_for_any_folder(), "study", {"name": study}))
    values = {key: getattr(settings, key) for key in NAMES}
    # No gradient clipping is what leaving it out means.
    table = {key: value for key, value in values.items() if key != "clipnorm" or math.isfinite(value)}
    table |= {key: word for key in CHOICES if (word := getattr(settings, key)) is not None}
    document.setdefault("baselines", tomlkit.table(is_super_table=True))[name] = table
    return tomlkit.dumps(document)


def _edit(toml: str, table: str, changes: Mapping[str, Any]) -> str:
    """The text with some values of one table changed and all comments kept."""
    document = tomlkit.parse(toml)
    document.setdefault(table, tomlkit.table()).update(changes)
    return tomlkit.dumps(document)


def _read(path: Path) -> str:
    """The file's text, or one line that says why there is none."""
    try:
        if path.is_dir():
            hint = "; continue it with `klsearch resume`" if (path / "study.toml").exists() else ""
            raise DefinitionError([f"{path}: is a folder, not a study definition{hint}"])
        return read_ordinary(path, most=_MAX_BYTES).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DefinitionError([_unknown_study(path)]) from error
    except UnicodeDecodeError as error:
        raise DefinitionError([f"{path}: is not UTF-8 text (byte {error.start}), so not a TOML file"]) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        way_out = "; save it as a file" if getattr(error, "errno", None) == errno.EINVAL else ""  # a pipe, say
        raise DefinitionError([f"{path}: cannot be read: {reason}{way_out}"]) from error


def _unknown_study(path: Path) -> str:
    here = [str(path.parent / file.name) for file in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path), [*_BUILT_IN, *here], n=2, cutoff=0.75)
    hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
    return f"{path}: no built-in study and no file of that name{hint} `klsearch list` names the built-in studies."
