"""The causes for which trials miss: each with the trials it applies to, and the settings at which it strikes."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from klsearch.reports.wording import number
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.studies.verdict.causes import reasons

# Fewer trials than this on either side say nothing about where a cause strikes.
_FEWEST = 3
# How surely a hyperparameter must tell the trials of a cause from the others to be named.
_CLEAR = 0.75
_PERMUTATIONS = 199
_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for which trials miss.

    Attributes:
        name: in plain words.
        trials: those it applies to; a trial may miss for several reasons.
        region: which settings tell these trials from the others; empty where none do.
    """

    name: str
    trials: tuple[TrialRecord, ...]
    region: str


def causes(study: StudyRecord) -> tuple[Cause, ...]:
    """The reasons for which any ended trial misses, the most frequent first."""
    ended = [trial for trial in study.trials if trial.state is not RunState.RUNNING]
    found_reasons = [reasons(trial, study.definition.thresholds()) for trial in ended]
    found = []
    for name in dict.fromkeys(name for names in found_reasons for name in names):
        trials = tuple(trial for trial, names in zip(ended, found_reasons, strict=True) if name in names)
        found.append(Cause(name=name, trials=trials, region=_region(study, trials)))
    return tuple(sorted(found, key=lambda cause: (-len(cause.trials), cause.name)))


def _region(study: StudyRecord, hit: tuple[TrialRecord, ...]) -> str:
    """The searched hyperparameter that best tells the trials of a cause from the complete others; else empty.

    Only where chance would seldom do so well with any of the hyperparameters: a permutation test of the largest
    distance from one half (Westfall & Young 1993).
    """
    numbers = {trial.number for trial in hit}
    others = [trial for trial in study.complete if trial.number not in numbers]
    names = list(study.definition.space.searched())
    if min(len(hit), len(others)) < _FEWEST or not names:
        return ""
    trials = (*hit, *others)
    values = np.array([[getattr(one.hyperparameters, name) for one in trials] for name in names], dtype=float)
    # Centred, ranks of values without bounds included: the sum over some trials is what tells them from the others.
    ranks = rankdata(values, axis=1) - (len(trials) + 1) / 2
    struck = np.arange(len(trials)) < len(hit)
    distance = ranks @ struck / (len(hit) * len(others))
    best = int(np.argmax(np.abs(distance)))
    if abs(distance[best]) < _CLEAR - 0.5:
        return ""
    shuffled = np.random.default_rng(0).permuted(np.tile(struck, (_PERMUTATIONS, 1)), axis=1)
    by_chance = np.max(np.abs(ranks @ shuffled.T), axis=0) / (len(hit) * len(others))
    p = (1 + np.count_nonzero(by_chance >= abs(distance[best]) - 1e-12)) / (1 + _PERMUTATIONS)
    if p > _SIGNIFICANT:
        return ""
    middle, rest = (float(np.median(values[best, side])) for side in (struck, ~struck))
    side = "high" if distance[best] > 0 else "low"
    return f"{side} `{names[best]}`: median {number(middle)}, the others {number(rest)}"


def probability_above(first: np.ndarray, second: np.ndarray) -> float:
    """The probability that a value of `first` lies above one of `second`, ties counting half (Mann and Whitney 1947).

    >>> probability_above(np.array([2.0, 3.0]), np.array([1.0, 3.0]))
    0.625
    """
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    not_above = np.searchsorted(ordered, first, side="right")
    return float(np.mean(below + not_above) / 2 / len(second))


def gate_value(trial: TrialRecord, name: str) -> float:
    """The value that a gate looked at; NaN where it was not judged."""
    return next((gate.value for gate in trial.gates if gate.name == name), math.nan)


def collapsed_in_band(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """Complete trials whose KL lies in the band while too few latents are active."""
    in_band = (trial for trial in study.complete if any(gate.name == "band" and gate.passed for gate in trial.gates))
    return tuple(trial for trial in in_band if any(gate.name == "alive" and not gate.passed for gate in trial.gates))
