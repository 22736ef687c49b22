"""What a study is and what it leaves: definitions, records and what follows from them.

The names listed here are the public ones.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.catalog import LoadedDefinition, define_study, load_definition
    from studies.errors import KlsearchError
    from studies.record import StudyRecord
    from studies.summary import summarize

__all__ = ["KlsearchError", "LoadedDefinition", "StudyRecord", "define_study", "load_definition", "summarize"]

_HOMES = {
    "KlsearchError": "studies.errors",
    "LoadedDefinition": "studies.catalog",
    "StudyRecord": "studies.record",
    "define_study": "studies.catalog",
    "load_definition": "studies.catalog",
    "summarize": "studies.summary",
}


def __getattr__(name: str) -> object:
    """A public name, with which its module is loaded; importing the room alone loads none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
