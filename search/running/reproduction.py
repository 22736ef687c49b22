"""A finished trial trained once more from its row, and held against what is stored of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from klsearch.search.running.versions import EARLIER, provenance
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.rows import FINISHED, Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import Progress
from klsearch.search.training.retraining import Mismatch, mismatches, retrain
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.errors import UsageError
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.training.devices.cards import device_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A trial that was trained again, compared with itself.

    Attributes:
        study: the study's name.
        trial: its number.
        seed: its seed.
        epochs: how long it trained, this time.
        mismatches: the values that differ from the stored ones, be it in the last bit; empty if none does.
        changed: versions and parts of the machine by name that are others than when the study was trained: what they
            were, and what they are.
    """

    study: str
    trial: int
    seed: int
    epochs: int
    mismatches: tuple[Mismatch, ...]
    changed: Mapping[str, tuple[str, str]]

    @property
    def matches(self) -> bool:
        """True if it has the same bits."""
        return not self.mismatches


def reproduce_trial(
    loaded: LoadedDefinition, dataset: Dataset, place: Place, number: int, *, progress: Progress
) -> Reproduction:
    """Train a finished trial again and compare curves and measures; nothing is written.

    Args:
        loaded: the study's definition.
        dataset: its data.
        place: where the study is.
        number: of the trial.
        progress: is told what happens.

    Raises:
        UsageError: there is no such trial, it has not finished, or it was trained in an earlier study.
        StudyConflict: the data are not those that the study was trained on.
    """
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        row, facts = _finished_row(study, number), study.facts
    again = retrain(loaded, dataset, facts, row, progress=progress)
    assert row.result is not None
    return Reproduction(
        study=place.name,
        trial=number,
        seed=row.run.seed,
        epochs=again.result.curves.epochs,
        mismatches=tuple(mismatches(row.result, again.result)),
        changed=changes(facts.provenance, provenance(device_words())),
    )


def _finished_row(study: StudyStorage, number: int) -> Row:
    trials = study.trials()
    if number not in {trial.number for trial in trials}:
        raise UsageError(f"study {study.name!r} has no trial {number}; it has {len(trials)}, from 0.")
    row = study.row(number)
    if row.state not in FINISHED or row.result is None:
        raise UsageError(f"trial {number} of study {study.name!r} has not finished: there is nothing to compare with.")
    if row.warm_start:
        raise UsageError(
            f"trial {number} was not trained in study {study.name!r}: reproduce {row.run.label} where it was."
        )
    return row


def changes(stored: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The records that differ from now, by name; also where only one part of the study was trained so."""
    return {
        name: (before, now.get(name, "not known"))
        for name, before in stored.items()
        if before != now.get(name) or EARLIER in before
    }
