"""A study's records as others are shown them: without folders, hosts and databases of whoever ran it, or their data."""

import re
import shlex
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from klsearch.studies.definitions.sections import DataSection
from klsearch.studies.record import DataFacts, StudyRecord, TrainingRun
from klsearch.vae.data.cautions import NAMING, Caution

_Run = TypeVar("_Run", bound=TrainingRun)
_Section = TypeVar("_Section", bound=BaseModel)

# A path begins at the root, a home, a drive or a Windows share, or is the address of a file.
_ROOT = r"(?:(?:file:|(?:sqlite|journal)(?:\+\w+)?:/)//[^/\s]*|~[^/\s'\"`]*|)/|[A-Za-z]:[\\/]|\\\\"
# Between quotes it ends with them, whatever it holds.
_QUOTED = re.compile(rf"""(?P<quote>["'`])(?P<path>(?:{_ROOT})(?:(?!(?P=quote))[^\n])*)(?P=quote)""")
# Elsewhere it ends with a space, but for one between plain words that a slash follows: a folder's name.
_PLAIN = r"[^\\/\s'\"`.,:;<>(){}=~]+"
_FOLDER = rf"(?:{_PLAIN}(?: {_PLAIN})+|[^\\/\s'\"`]+)[\\/]+"
_FOLDERS = re.compile(rf"(?<![\w./~\\-])(?:(?:{_ROOT})(?:{_FOLDER})+|~[^/\s'\"`]*/)")
# Of a database; an address of the web is no secret unless it says who asks.
_ADDRESS = re.compile(r"\b(?!https?:)([a-z][a-z0-9+.-]*):///*[^\s'\"`]+|\b(https?)://[^\s/'\"`@]+@[^\s'\"`]+")
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
_STORAGE = re.compile(rf" --storage {_WORD.pattern}")
_LEFT_OUT = "left out; `klsearch report --with-paths` shows it"
_MARK = "…/"
_HIDDEN = "…"

_NAMED = re.compile(r"""(?<!\w)['"]""")  # what a note quotes, it took from the data: names of columns, categories
_LABELS = "labels"  # a condition that is no name


def without_paths(study: StudyRecord) -> StudyRecord:
    """The study without its storage's address and the folders of absolute paths, wherever a text of it holds them.

    A command that named a storage then takes it from `KLSEARCH_STORAGE`, and one that named a folder by its whole path
    is to be run beside that folder.
    """
    host = urlsplit(study.storage).hostname if "://" in study.storage else None

    def cut(text: str) -> str:
        text = _cut(text)
        return re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", _HIDDEN, text, flags=re.IGNORECASE) if host else text

    def shown(run: _Run) -> _Run:
        return replace(run, error=_IP.sub(_HIDDEN, cut(run.error))) if run.error else run

    asked = study.definition
    named = {"data": _cut_names(asked.data), "model": _cut_names(asked.model)}
    return replace(
        study,
        definition=asked.model_copy(update=named),
        definition_toml=cut(study.definition_toml),
        trials=tuple(map(shown, study.trials)),
        race=tuple(map(shown, study.race)),
        confirmation=tuple(map(shown, study.confirmation)),
        data=None if study.data is None else _cut_facts(study.data),
        provenance={name: cut(value) for name, value in study.provenance.items()},
        warm_start=cut(study.warm_start),
        storage=f"{study.storage.partition(':')[0]} ({_LEFT_OUT})",
        resume_command=_cut_command(study.resume_command),
    )


def without_folders(text: str) -> str:
    """A text as `without_paths` shows it; one that is a path as a whole may hold spaces."""
    return _cut(_cut_name(text))


def without_samples(study: StudyRecord) -> StudyRecord:
    """The study without pictures and maps of its data, and without the names of its columns, wherever a text has them.

    The names that the definition itself holds (labels, group, condition and the like) are marks then.
    """
    asked, data = study.definition, study.data
    names = sorted(_names_of_columns(asked.data), key=len, reverse=True)
    toml = study.definition_toml
    for name in names:
        toml = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", _HIDDEN, toml)
    if data is not None:
        # What an earlier release warned of has no code.
        warnings = (one for one in data.warnings if one.code not in NAMING and (one.code or not _NAMED.search(one)))
        notes = (one for one in data.notes if not _NAMED.search(one))
        data = replace(data, warnings=tuple(warnings), notes=tuple(notes))
    return replace(study, definition_toml=toml, samples=None, latent_map=None, data=data)


def _names_of_columns(data: DataSection) -> set[str]:
    condition = () if data.condition in (None, _LABELS) else data.condition
    given = (data.array, data.split_column, data.labels, data.group, *condition, *data.columns)
    return {name for name in given if name} - {_LABELS}


def _cut_names(section: _Section) -> _Section:
    """A table of the definition; a name in it is a path as a whole, or none."""
    return section.model_copy(update={key: _cut_name(value) for key, value in section if isinstance(value, str)})


def _cut_facts(data: DataFacts) -> DataFacts:
    return replace(
        data,
        warnings=tuple(Caution(_cut(one), one.code) for one in data.warnings),
        notes=tuple(map(_cut, data.notes)),
    )


def _cut_command(command: str) -> str:
    """A command of a shell whose words name no folder by its whole path."""
    return _WORD.sub(_cut_word, _STORAGE.sub(' --storage "$KLSEARCH_STORAGE"', command))


def _cut_word(found: re.Match[str]) -> str:
    word = "".join(shlex.split(found[0]))
    name = _cut_name(word).removeprefix(_MARK)
    return found[0] if name == word else shlex.quote(name)


def _cut(text: str) -> str:
    """The text with the folders of its absolute paths as a mark, and without addresses of databases.

    >>> _cut('File "/home/me/vae.py", line 3, of 2/3 https://a.org/b/c')
    'File "…/vae.py", line 3, of 2/3 https://a.org/b/c'
    >>> _cut("no /mnt/my data/x.npy in postgresql://me@db.example.org/studies")
    'no …/x.npy in postgresql://…'
    """
    text = _QUOTED.sub(lambda found: f"{found['quote']}{_cut_name(found['path'])}{found['quote']}", text)
    return _ADDRESS.sub(r"\1\2://…", _FOLDERS.sub(_MARK, text))


def _cut_name(path: str) -> str:
    """What stands behind the last slash of an absolute path, behind a mark; another text as it is.

    >>> _cut_name("/home/o'brien/my data/x.npz"), _cut_name("package.module:name"), _cut_name("/home/me/images/")
    ('…/x.npz', 'package.module:name', '…/images')
    """
    root = re.match(_ROOT, path)
    if root is None:
        return path
    *folders, name = re.split(r"[\\/]+", path[root.end() :].rstrip("\\/"))
    return f"{_MARK}{name}" if folders or root[0] != "/" else path
