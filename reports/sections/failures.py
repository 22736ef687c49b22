"""What failed and why: how many trials miss for which reason, and at which settings."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from klsearch.reports.page import Block, Code, Fold, Prose, Section, Table
from klsearch.reports.wording import count, first_line, number, share
from klsearch.studies.record import StudyRecord, TrialRecord, TrialState
from klsearch.vae.diagnostics.gates import GateThresholds

# Fewer trials than this on either side say nothing about where a cause strikes.
_FEWEST = 3
# How surely a hyperparameter must tell the trials of a cause from the others to be named.
_CLEAR = 0.75
_ERRORS_SHOWN = 20

ABOVE, BELOW = "KL above the band", "KL below the band"
DIVERGED, FAILED, PRUNED = "diverged: a step was not finite", "failed with an error", "stopped early by the pruner"
MOVING = "KL still moving at the end"
_GATE_REASONS = {
    "finite": DIVERGED,
    "settled": MOVING,
    "reconstruction": "reconstructs no better than the mean, or than after epoch 1",
    "alive": "collapsed: too few latents are active",
    "clipping": "log-variance held at a clip bound",
}


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


def failures_section(study: StudyRecord, found: tuple[Cause, ...]) -> Section:
    """Causes with their counts, and the errors' texts; `found` as `causes` gives them."""
    return Section(identity="failures", title="What failed, and why?", blocks=_blocks(study, found))


def _blocks(study: StudyRecord, found: tuple[Cause, ...]) -> tuple[Block, ...]:
    ended = [trial for trial in study.trials if trial.state is not TrialState.RUNNING]
    if not ended:
        return (Prose(text="No trial has finished yet."),)
    if not found:
        return (Prose(text=f"Nothing: all {count(len(ended), 'trial')} pass every gate."),)
    passed = sum(trial.passed for trial in ended)
    by = f"{passed:,}" if passed else "none"
    text = f"Every gate is passed by {by} of {count(len(ended), 'trial')}. A trial may miss for several reasons."
    return Prose(text=text), _cause_table(found, len(ended)), *_collapse_blocks(study), *_error_blocks(study)


def causes(study: StudyRecord) -> tuple[Cause, ...]:
    """The reasons for which any ended trial misses, the most frequent first."""
    ended = [trial for trial in study.trials if trial.state is not TrialState.RUNNING]
    reasons = [_reasons(trial, study.definition.thresholds()) for trial in ended]
    found = []
    for name in dict.fromkeys(name for names in reasons for name in names):
        trials = tuple(trial for trial, names in zip(ended, reasons, strict=True) if name in names)
        found.append(Cause(name=name, trials=trials, region=_region(study, trials)))
    return tuple(sorted(found, key=lambda cause: (-len(cause.trials), cause.name)))


def _reasons(trial: TrialRecord, thresholds: GateThresholds) -> tuple[str, ...]:
    """Why a trial misses, in plain words; one that diverged misses every gate for that one reason.

    Of one stopped early nobody knows which gates it would have missed.
    """
    if trial.state is TrialState.FAILED:
        return (FAILED,)
    if trial.state is TrialState.PRUNED:
        return (PRUNED,)
    if trial.diverged:
        return (DIVERGED,)
    high = thresholds.kl_band[1]
    return tuple(
        (ABOVE if gate.value > high else BELOW) if gate.name == "band" else _GATE_REASONS[gate.name]
        for gate in trial.gates
        if not gate.passed
    )


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


def _cause_table(found: tuple[Cause, ...], ended: int) -> Table:
    return Table(
        caption=f"Reasons, among {count(ended, 'trial')}",
        columns=("reason", "trials", "share", "most often with", "for instance trial"),
        rows=tuple(
            (
                cause.name,
                str(len(cause.trials)),
                share(len(cause.trials) / ended),
                cause.region,
                ", ".join(str(trial.number) for trial in cause.trials[:3]),
            )
            for cause in found
        ),
        words=(0, 3, 4),
    )


def _gate_value(trial: TrialRecord, name: str) -> float:
    return next((gate.value for gate in trial.gates if gate.name == name), math.nan)


def collapsed_in_band(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """Complete trials whose KL lies in the band while too few latents are active."""
    in_band = (trial for trial in study.complete if any(gate.name == "band" and gate.passed for gate in trial.gates))
    return tuple(trial for trial in in_band if any(gate.name == "alive" and not gate.passed for gate in trial.gates))


def _collapse_blocks(study: StudyRecord) -> tuple[Prose, ...]:
    collapsed = collapsed_in_band(study)
    if not collapsed:
        return ()
    worst = min(collapsed, key=lambda trial: (_gate_value(trial, "alive"), trial.number))
    latents = study.definition.model.latent_dim
    active = number(_gate_value(worst, "alive"))
    text = (
        f"{count(len(collapsed), 'trial')} ended with a KL inside the band and yet collapsed: trial {worst.number}, "
        f"for one, has a KL of {number(worst.kl)} nats per latent with {active} of {latents} "
        f"latents active. Its encoder says next to nothing about a row, so its KL is low for the wrong reason; the "
        f"`alive` gate keeps such trials from winning."
    )
    return (Prose(text=text, tone="caution"),)


def _error_blocks(study: StudyRecord) -> tuple[Fold, ...]:
    failed = [trial for trial in study.trials if trial.error]
    if not failed:
        return ()
    kinds = Counter(first_line(trial.error) for trial in failed)
    examples = {first_line(trial.error): trial for trial in reversed(failed)}
    blocks = tuple(
        Code(
            label=f"{count(n, 'trial')}, first trial {examples[line].number}", text=examples[line].error, copyable=False
        )
        for line, n in kinds.most_common(_ERRORS_SHOWN)
    )
    return (Fold(summary=f"Errors of {count(len(failed), 'trial')}", blocks=blocks),)
