"""A study's records as they are shown to others: without folders, hosts and databases of whoever ran it."""

import re
from dataclasses import replace
from typing import TypeVar

from klsearch.studies.record import StudyRecord, TrainingRun

_Run = TypeVar("_Run", bound=TrainingRun)

# From the root or a home; what stands behind the last slash is kept.
_FOLDERS = re.compile(
    r"(?<![\w./:~-])(?:~[^/\s]*/(?:[^/\s'\"`]+/)*|/(?:[^/\s'\"`]+/)+)|\b[A-Za-z]:\\(?:[^\\\s'\"`]+\\)+"
)
_STORAGE = re.compile(r" --storage \S+")
_LEFT_OUT = "left out; `klsearch report --with-paths` shows it"


def without_paths(study: StudyRecord) -> StudyRecord:
    """The study without its storage's address and the folders of absolute paths, wherever a text of it holds them.

    A command that named a storage then takes it from `KLSEARCH_STORAGE`, and one that named a folder by its whole path
    is to be run beside that folder.
    """
    source = _cut(study.definition.data.source)
    data = study.definition.data.model_copy(update={"source": source})
    return replace(
        study,
        definition=study.definition.model_copy(update={"data": data}),
        definition_toml=_cut(study.definition_toml),
        trials=tuple(map(_shown, study.trials)),
        confirmation=tuple(map(_shown, study.confirmation)),
        provenance={name: _cut(value) for name, value in study.provenance.items()},
        storage=f"{study.storage.partition(':')[0]} ({_LEFT_OUT})",
        resume_command=_cut(_STORAGE.sub(' --storage "$KLSEARCH_STORAGE"', study.resume_command), mark=""),
    )


def _shown(run: _Run) -> _Run:
    return replace(run, error=_cut(run.error)) if run.error else run


def _cut(text: str, *, mark: str = "…/") -> str:
    """The text with the folders of its absolute paths as a mark.

    >>> _cut('File "/home/me/vae.py", line 3, of 2/3 https://a.org/b/c')
    'File "…/vae.py", line 3, of 2/3 https://a.org/b/c'
    """
    return _FOLDERS.sub(mark, text)
