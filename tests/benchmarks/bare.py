"""A study without a run: for benchmarks of the storage and of the search."""

from optuna.storages import BaseStorage

from klsearch.search.layout import Layout
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import DataFacts


def bare_study(storage: BaseStorage, loaded: LoadedDefinition, name: str = "bare") -> StudyStorage:
    """A new study that knows its definition, and neither data nor machine."""
    data = DataFacts(rows={}, shape=(), scaling="", fingerprint="")
    facts = StudyFacts(
        layout=Layout(slots=1, together=1), comparable={}, folder="", data=data, provenance={}, procedure=Procedure.RACE
    )
    return StudyStorage.create(storage, name, definition=loaded.toml, facts=facts)
