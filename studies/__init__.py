"""What a study is and what it leaves: definitions, records and what follows from them.

The names listed here are the public ones.
"""

from typing import TYPE_CHECKING

from vae.lazily import found_in

if TYPE_CHECKING:
    from studies.catalog import LoadedDefinition, define_study, load_definition
    from studies.errors import KlsearchError
    from studies.record import StudyRecord
    from studies.summary import summarize

__all__ = ["KlsearchError", "LoadedDefinition", "StudyRecord", "define_study", "load_definition", "summarize"]

__getattr__ = found_in(
    {
        "KlsearchError": "studies.errors",
        "LoadedDefinition": "studies.catalog",
        "StudyRecord": "studies.record",
        "define_study": "studies.catalog",
        "load_definition": "studies.catalog",
        "summarize": "studies.summary",
    },
    room=__name__,
)
