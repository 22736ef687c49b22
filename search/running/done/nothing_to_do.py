"""A study with which a run would do nothing: told from its storage alone, before TensorFlow is loaded."""

from typing import Any

from klsearch.search.confirmation.seeds_asked import with_all_seeds
from klsearch.search.running.options import RunOptions
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import definition_of, study_record
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.score import scoring_of
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.errors import StorageError
from klsearch.studies.record import StudyRecord
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR


def find_finished(
    loaded: LoadedDefinition, dataset: Dataset, place: Place, options: RunOptions
) -> tuple[StudyRecord, str] | None:
    """The study and what is done of it in words, if nothing is left to do; None where that is not certain.

    Args:
        loaded: what is asked for.
        dataset: its rows.
        place: where the study would be.
        options: how it would be run.
    """
    if not place.is_made:
        return None
    try:
        with open_storage(place.url, create=False) as storage:
            if place.name not in StudyStorage.names(storage):
                return None
            study = StudyStorage.load(storage, place.name)
            is_kept = with_all_seeds(loaded, study) is loaded  # else it is to be said that no seed is dropped
            words = _done_words(study, loaded, dataset, options) if is_kept else ""
            if not words:
                return None
            return study_record(study, url=place.shown_url, resume_command=place.resume_command), words
    except StorageError:
        return None  # said by whoever opens it to work on it


def _done_words(study: StudyStorage, asked: LoadedDefinition, dataset: Dataset, options: RunOptions) -> str:
    """What is done of a study; empty where something is left, or differs."""
    facts, definition, counted = study.facts, asked.definition, study.counted_numbers()
    is_same = (
        not definition.changes_since(facts.comparable)
        and _kept_parts(definition) == _kept_parts(definition_of(study).definition)
        and facts.data.fingerprint == dataset.fingerprint
        and dict(facts.scoring) == scoring_of(definition)
        and options.given_slots in (None, facts.layout.slots)
        and (options.warm_start is None or bool(facts.warm_start))
    )
    if not is_same or study.running_rows():
        return ""
    budget, decided = definition.study.trials, ""
    if budget <= len(counted) < definition_of(study).definition.study.trials:
        return ""  # it is to be declared over
    if len(counted) < budget:
        is_known = definition.study.stop == "decided" and study.decided()[1]
        if not (is_known and Decider(study, facts.settle(definition)).is_over()):
            return ""
        decided = ", decided"
    words = f"{len(counted)} of {'at most ' if decided else ''}{budget} trials{decided}"
    if not (options.confirm and definition.confirmation.seeds):
        return words
    is_confirmed = facts.is_confirmed(facts.settle(definition), counted) and study.confirmation().sampled_rows()
    if definition.objective().likelihood.deviance is SQUARED_ERROR and not facts.data.pca:
        return ""  # of an earlier release, which measured none
    return f"{words}, confirmed" if is_confirmed else ""


def _kept_parts(definition: StudyDefinition) -> dict[str, Any]:
    """A definition but for its budget, which may be met all the same, and its rows, which are compared themselves."""
    parts = definition.model_dump(mode="json")
    parts["data"].pop("source")
    parts["study"] = {key: value for key, value in parts["study"].items() if key not in ("trials", "stop")}
    return parts
