"""Complete trials of an earlier study that a new one begins with."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.rows import EarlierTrial, Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.judging import judge_training
from klsearch.search.trials.sampling import distributions_of
from klsearch.studies.definitions.baselines import misfits
from klsearch.studies.definitions.definition import StudyDefinition, differences
from klsearch.studies.errors import UsageError
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.diagnostics.measures import MEASURES_VERSION

# What a trial's training depends on beside its settings and its seed; learning rate and clipnorm are settings.
_TRAINED_UNDER = {
    "study": ("kl_reduction",),
    "training": ("epochs", "batch_size", "precision", "kl_schedule"),
    "model": None,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarmStart:
    """The trials that a new study takes over from an earlier one.

    Attributes:
        study: name of the earlier study.
        storage: where it lies, without a password.
        rows: the trials that are taken over, in ascending number.
        complete: how many complete trials the earlier study has.
        ended_early: how many more of its trials were ended early: they tell too little, and are left behind.
        outside: of the complete ones left behind, how many lie outside the new space by hyperparameter.
    """

    study: str
    storage: str
    rows: tuple[Row, ...]
    complete: int
    ended_early: int
    outside: Mapping[str, int]

    @property
    def words(self) -> str:
        """A summary of what was taken over, for people."""
        taken = f"{len(self.rows)} of {self.complete} complete trials of study {self.study!r} ({self.storage})"
        left = []
        if self.outside:
            places = ", ".join(f"{name} {count}" for name, count in self.outside.items())
            left.append(f"the others lie outside the space ({places})")
        if self.ended_early:
            left.append(f"{self.ended_early} that ended early are left behind")
        return "; ".join([taken, *left])

    def trials(self, definition: StudyDefinition) -> tuple[EarlierTrial, ...]:
        """The trials that are taken over, scored and judged as the new study asks.

        Args:
            definition: of the new study, settled.
        """
        return tuple(_earlier_trial(row, definition, self.study) for row in self.rows)


def find_warm_start(definition: StudyDefinition, dataset: Dataset, earlier: Place) -> WarmStart:
    """The complete trials of an earlier study that a new one may begin with.

    Args:
        definition: of the new study; its band need not be known yet.
        dataset: its data.
        earlier: where the earlier study is.

    Raises:
        UsageError: it was trained on other data or otherwise, or none of its trials lies inside the new space.
    """
    with open_storage(earlier.url, create=False) as storage:
        study = StudyStorage.load(storage, earlier.name)
        facts, rows = study.facts, study.rows()
    _check_comparable(facts, definition, dataset, earlier)
    complete = [row for row in rows if row.state is TrialState.COMPLETE]
    outside = {row.number: misfits(definition, row.run.hyperparameters) for row in complete}
    found = WarmStart(
        study=earlier.name,
        storage=earlier.shown_url,
        rows=tuple(row for row in complete if not outside[row.number]),
        complete=len(complete),
        ended_early=sum(row.state is TrialState.PRUNED for row in rows),
        outside=Counter(name for names in outside.values() for name in names),
    )
    if not found.rows:
        raise UsageError(f"--warm-start gives nothing to begin with: {found.words}. Leave it out.")
    return found


def _check_comparable(facts: StudyFacts, definition: StudyDefinition, dataset: Dataset, earlier: Place) -> None:
    changed = differences(_training_conditions(facts.comparable), _training_conditions(definition.fingerprint_parts()))
    if facts.data.fingerprint != dataset.fingerprint:
        changed.append("data: the rows, their split (study.seed draws it) or their scaling differ")
    if facts.scoring["measures"] != MEASURES_VERSION:
        changed.append(f"measures: as klsearch took them earlier ({facts.scoring['measures']}, now {MEASURES_VERSION})")
    if changed:
        raise UsageError(
            f"trials of study {earlier.name!r} cannot be taken over, because they were trained differently "
            f"({'; '.join(changed)}). Leave --warm-start out, or train the same way."
        )


def _training_conditions(comparable: Mapping[str, Any]) -> dict[str, Any]:
    return {
        section: {name: comparable[section].get(name) for name in names or comparable[section]}
        for section, names in _TRAINED_UNDER.items()
    }


def _earlier_trial(row: Row, definition: StudyDefinition, study: str) -> EarlierTrial:
    assert row.result is not None
    searched = definition.space.searched()
    origin = row.run.label if row.warm_start else f"{study} trial {row.number}"
    ended, violations = judge_training(definition, origin, row.result)
    return EarlierTrial(
        row=row,
        origin=origin,
        params={name: getattr(row.run.hyperparameters, name) for name in searched},
        distributions=distributions_of(searched),
        score=ended.rank.score,
        constraints=violations,
    )
