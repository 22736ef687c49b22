"""The causes for which trials miss: each with the trials it applies to, and the settings at which it strikes."""

import math
from dataclasses import dataclass

import numpy as np

from klsearch.reports.wording import number
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.vae.diagnostics.gates import DIVERGED, GATES, GateThresholds

FAILED, PRUNED = "failed with an error", "stopped early by the pruner"

# Fewer trials than this on either side say nothing about where a cause strikes.
_FEWEST = 3
# How surely a hyperparameter must tell the trials of a cause from the others to be named.
_CLEAR = 0.75


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
    reasons = [_reasons(trial, study.definition.thresholds()) for trial in ended]
    found = []
    for name in dict.fromkeys(name for names in reasons for name in names):
        trials = tuple(trial for trial, names in zip(ended, reasons, strict=True) if name in names)
        found.append(Cause(name=name, trials=trials, region=_region(study, trials)))
    return tuple(sorted(found, key=lambda cause: (-len(cause.trials), cause.name)))


def _reasons(trial: TrialRecord, thresholds: GateThresholds) -> tuple[str, ...]:
    """The reasons for which a trial misses, in plain words; one that diverged misses every gate for that one reason.

    Of one stopped early nobody knows which gates it would have missed.
    """
    if trial.state is RunState.FAILED:
        return (FAILED,)
    if trial.state is RunState.PRUNED:
        return (PRUNED,)
    if trial.diverged:
        return (DIVERGED,)
    missed = {gate.name: gate for gate in trial.gates if not gate.passed}
    return tuple(rule.missing(missed[rule.name].value, thresholds) for rule in GATES if rule.name in missed)


def _region(study: StudyRecord, hit: tuple[TrialRecord, ...]) -> str:
    """The searched hyperparameter that best tells the trials of a cause from the complete others; else empty."""
    numbers = {trial.number for trial in hit}
    others = [trial for trial in study.complete if trial.number not in numbers]
    if min(len(hit), len(others)) < _FEWEST:
        return ""
    best, told = _CLEAR, ""
    for name in study.definition.space.searched():
        of_hit, of_others = (
            np.array([getattr(trial.hyperparameters, name) for trial in trials], dtype=float)
            for trials in (hit, others)
        )
        above = probability_above(of_hit, of_others)
        if max(above, 1 - above) >= best:
            best = max(above, 1 - above)
            middle, rest = float(np.median(of_hit)), float(np.median(of_others))
            side = "high" if above > 0.5 else "low"
            told = f"{side} `{name}`: median {number(middle)}, the others {number(rest)}"
    return told


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
