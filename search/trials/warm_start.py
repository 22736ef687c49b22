"""Complete trials of an earlier study that a new one begins with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.trial import TrialState

from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.rows import EarlierTrial, Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.judging import judge_training
from klsearch.search.trials.sampling import distributions_of
from klsearch.search.trials.score import scoring_of
from klsearch.studies.definitions.baselines import misfits
from klsearch.studies.definitions.definition import StudyDefinition, differences
from klsearch.studies.errors import UsageError
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.training.schedules import LINEAR

# What a trial's training depends on beside its settings and its seed; learning rate and clipnorm are settings, and the
# KL schedule where a study chooses it.
_TRAINED_UNDER = {
    "study": ("kl_reduction",),
    "training": ("epochs", "batch_size", "precision", "kl_schedule"),
    "model": None,
}
_CYCLES = ("cycles", "ramp_share")


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
    shape = _schedule(facts.comparable)["shape"]
    complete = [_as_here(row, definition, shape) for row in rows if row.state is TrialState.COMPLETE]
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
    parts = facts.comparable, definition.fingerprint_parts()
    conditions = [_training_conditions(comparable) for comparable in parts]
    if any(comparable["space"].get("kl_schedule") for comparable in parts):
        # Then the shape is a setting, and cycles are of those that may be trained in both.
        of_both = all("cyclical" in _shapes(comparable) for comparable in parts)
        for comparable, condition in zip(parts, conditions, strict=True):
            schedule = _schedule(comparable)
            condition["training"]["kl_schedule"] = {name: schedule[name] for name in _CYCLES} if of_both else None
    changed = differences(*conditions)
    if facts.data.fingerprint != dataset.fingerprint:
        changed.append("data: the rows, their split (study.seed draws it) or their scaling differ")
    measured = ({**one, "score": 0} for one in (facts.scoring, scoring_of(definition)))  # which is reckoned anew
    changed += [f"{line} (as klsearch took measures earlier)" for line in differences(*measured)]
    if changed:
        raise UsageError(
            f"trials of study {earlier.name!r} cannot be taken over, because they were trained differently "
            f"({'; '.join(changed)}). Leave --warm-start out, or train the same way."
        )


def _schedule(comparable: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the KL weight rises by what `[training]` said, which says nothing of a linear rise."""
    found: Mapping[str, Any] = comparable["training"].get("kl_schedule") or asdict(LINEAR)
    return found


def _shapes(comparable: Mapping[str, Any]) -> Sequence[str]:
    return comparable["space"].get("kl_schedule") or [_schedule(comparable)["shape"]]


def _as_here(row: Row, definition: StudyDefinition, shape: str) -> Row:
    """An earlier row with its KL schedule as the new study says it: in each setting where it chooses, else in none."""
    settings = row.run.hyperparameters
    word: str | None = settings.kl_schedule or shape
    if not definition.space.choices() and word == definition.training.kl_schedule:
        word = None
    return replace(row, run=replace(row.run, hyperparameters=replace(settings, kl_schedule=word)))


def _training_conditions(comparable: Mapping[str, Any]) -> dict[str, Any]:
    return {
        section: {name: comparable[section].get(name) for name in names or comparable[section]}
        for section, names in _TRAINED_UNDER.items()
    }


def _earlier_trial(row: Row, definition: StudyDefinition, study: str) -> EarlierTrial:
    assert row.result is not None
    sampled = definition.space.sampled()
    origin = row.run.label if row.warm_start else f"{study} trial {row.number}"
    ended, violations = judge_training(definition, origin, row.result)
    return EarlierTrial(
        row=row,
        origin=origin,
        params={name: getattr(row.run.hyperparameters, name) for name in sampled},
        distributions=distributions_of(sampled),
        score=ended.rank.score,
        constraints=violations,
    )
