"""The numbers in the figures of the search: every trial's place, and how often each part of a range passes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

import numpy as np

from klsearch.reports.wording import spread
from klsearch.studies.definitions.space import Range
from klsearch.studies.record import RunState, StudyRecord, TrialRecord

_BINS = 5
MOST_ROWS = 500
"""The trials in the page's table, at most."""
# Failures must not crowd out the trials that one would choose from.
_MOST_FAILED = 250


class TrialOutcome(StrEnum):
    """The outcome of a trial, as figures mark it."""

    PASSED = "passes every gate"
    MISSED = "misses a gate"
    PRUNED = "stopped early"
    FAILED = "diverged or failed"
    VOID = "never trained"


def trial_outcome(trial: TrialRecord) -> TrialOutcome:
    """The outcome of a trial that has ended."""
    if trial.is_void:
        return TrialOutcome.VOID
    if trial.state is RunState.FAILED or trial.diverged:
        return TrialOutcome.FAILED
    if trial.state is RunState.PRUNED:
        return TrialOutcome.PRUNED
    return TrialOutcome.PASSED if trial.passed else TrialOutcome.MISSED


@lru_cache(maxsize=1)
def outcomes_of(study: StudyRecord) -> Mapping[int, TrialOutcome]:
    """The outcome of every trial that has ended, by number; found once for a record, which may have thousands."""
    return {trial.number: trial_outcome(trial) for trial in study.trials if trial.state is not RunState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndedTrials:
    """Every trial that was trained and no longer runs, what became of it, and where on the page it leads."""

    trials: tuple[TrialRecord, ...]
    outcomes: tuple[TrialOutcome, ...]
    targets: tuple[str, ...]


def ended_trials(study: StudyRecord) -> EndedTrials:
    """The trials that ran and no longer do."""
    trials = tuple(t for t in study.trials if t.state is not RunState.RUNNING and not t.is_void)
    outcomes = tuple(outcomes_of(study)[trial.number] for trial in trials)
    return EndedTrials(trials=trials, outcomes=outcomes, targets=trial_targets(study, trials))


@lru_cache(maxsize=1)
def shown_trials(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """At most 500 trials: those that failed or diverged (at most 250), then the best of the rest; the best first."""
    sides: dict[bool, list[TrialRecord]] = {False: [], True: []}
    for trial in study.trials:
        sides[outcomes_of(study).get(trial.number) is TrialOutcome.FAILED].append(trial)
    rest, failed = (sorted(sides[one], key=lambda trial: trial.rank) for one in (False, True))
    if len(study.trials) > MOST_ROWS:
        failed = failed[:_MOST_FAILED]
        rest = rest[: MOST_ROWS - len(failed)]
    return (*rest, *failed)


def trial_targets(study: StudyRecord, trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """Where on the page each of these trials leads: to its row, or to the table of trials where it has none."""
    if len(study.trials) <= MOST_ROWS:
        return tuple(f"trial-{trial.number}" for trial in trials)
    shown = {trial.number for trial in shown_trials(study)}
    return tuple(f"trial-{trial.number}" if trial.number in shown else "trials" for trial in trials)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scatter:
    """One point per trial: rate against distortion, or a setting against the score.

    Attributes:
        x: shape [n]; NaN where the trial has no such number.
        y: shape [n].
        outcomes: shape [n].
        trials: numbers of the trials, shape [n].
        targets: where on the page each trial leads, shape [n].
    """

    x: np.ndarray
    y: np.ndarray
    outcomes: tuple[TrialOutcome, ...]
    trials: tuple[int, ...]
    targets: tuple[str, ...]

    @property
    def drawable(self) -> np.ndarray:
        """A mask of the points that have both numbers, shape [n]."""
        both: np.ndarray = np.isfinite(self.x) & np.isfinite(self.y)
        return both

    def where(self, wanted: TrialOutcome) -> np.ndarray:
        """A mask of the points that have this outcome, shape [n]."""
        return np.array([one is wanted for one in self.outcomes], dtype=bool)


def _scatter(ended: EndedTrials, x: Sequence[float], y: Sequence[float]) -> Scatter:
    return Scatter(
        x=np.array(x, dtype=float),
        y=np.array(y, dtype=float),
        outcomes=ended.outcomes,
        trials=tuple(trial.number for trial in ended.trials),
        targets=ended.targets,
    )


def rate_distortion(ended: EndedTrials, factor: float) -> Scatter:
    """Final KL times `factor` (see `kl_factor`) against `unexplained`, one point per ended trial."""
    return _scatter(ended, [factor * trial.kl for trial in ended.trials], [t.unexplained for t in ended.trials])


def slice_of(ended: EndedTrials, name: str) -> Scatter:
    """One hyperparameter against the score, one point per ended trial; a trial without a score has NaN there."""
    values = [getattr(trial.hyperparameters, name) for trial in ended.trials]
    return _scatter(ended, values, [trial.score for trial in ended.trials])


def settings_of(ended: EndedTrials, names: tuple[str, str]) -> Scatter:
    """One hyperparameter against another, one point per ended trial."""
    first, second = ([getattr(trial.hyperparameters, name) for trial in ended.trials] for name in names)
    return _scatter(ended, first, second)


def passing_range(study: StudyRecord, name: str) -> str | None:
    """From which value of a setting to which passing trials have it; None where none passes."""
    values = [getattr(trial.hyperparameters, name) for trial in study.complete if trial.passed]
    return spread(min(values), max(values)) if values else None


def bin_edges(space: Range, bins: int = _BINS) -> np.ndarray:
    """Ends of equally wide bins on the range's own scale; a whole number has its bin to itself where there are few.

    >>> bin_edges(Range(low=0.01, high=1.0, log=True), bins=2).round(3).tolist()
    [0.01, 0.1, 1.0]
    """
    if space.integer:
        low, high = space.low - 0.5, space.high + 0.5
        return np.linspace(low, high, min(bins, round(high - low)) + 1)
    if space.log:
        return np.geomspace(space.low, space.high, bins + 1)
    return np.linspace(space.low, space.high, bins + 1)


def bin_words(space: Range, edges: np.ndarray) -> tuple[str, ...]:
    """The bins as a reader sees them; those of whole numbers by the numbers that they hold.

    >>> from klsearch.studies.definitions.space import IntegerRange
    >>> bin_words(IntegerRange(low=0, high=6), bin_edges(IntegerRange(low=0, high=6)))
    ('0', '1 to 2', '3', '4 to 5', '6')
    """
    if not space.integer:
        return tuple(spread(float(low), float(high)) for low, high in pairwise(edges))
    # No edge is a whole number: they begin and end at halves, and k·n/5 is never one and a half.
    ends = [(math.ceil(low), math.floor(high)) for low, high in pairwise(edges)]
    return tuple(str(low) if low == high else spread(low, high) for low, high in ends)


def bin_of(edges: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """The bin of each value, shape [n]; −1 outside, and the last bin holds its upper end."""
    at = np.searchsorted(edges, np.array(values, dtype=float), side="right") - 1
    at[np.array(values) == edges[-1]] = len(edges) - 2
    return np.where(at < len(edges) - 1, at, -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreHistory:
    """The search as it went.

    Attributes:
        points: trial number against score, one point per finished trial.
        best: lowest score of a feasible trial up to and with each point, shape [n]; NaN before the first one.
        last_improvement: number of the trial that last lowered it; None where no trial is feasible.
        since: trials of this study, not of a warm start, finished after it.
    """

    points: Scatter
    best: np.ndarray
    last_improvement: int | None
    since: int


def score_history(study: StudyRecord) -> ScoreHistory:
    """Score by trial number, with the best feasible score so far."""
    trials = study.finished
    scores = [trial.score if trial.feasible and trial.state is RunState.COMPLETE else math.inf for trial in trials]
    best = np.minimum.accumulate(np.array(scores, dtype=float))
    points = Scatter(
        x=np.array([trial.number for trial in trials], dtype=float),
        y=np.array([trial.score for trial in trials], dtype=float),
        outcomes=tuple(outcomes_of(study)[trial.number] for trial in trials),
        trials=tuple(trial.number for trial in trials),
        targets=trial_targets(study, trials),
    )
    if not trials or not np.isfinite(best[-1]):
        return ScoreHistory(points=points, best=np.full(len(trials), np.nan), last_improvement=None, since=0)
    last = int(np.argmax(best == best[-1]))
    return ScoreHistory(
        points=points,
        best=np.where(np.isfinite(best), best, np.nan),
        last_improvement=trials[last].number,
        since=sum(not trial.warm_start for trial in trials[last + 1 :]),
    )
