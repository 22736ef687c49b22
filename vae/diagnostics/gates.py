"""The pass/fail tests behind the word *stable*, and the verdict over seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.measures import Measures

# Below this, a slope relative to the KL itself is the noise of a collapsed model: 0.05 nats per latent is next to none.
KL_FLOOR_NATS = 0.05
# Finite, so that a sampler can rank it, and far above what a finite trial reaches.
DIVERGED_VIOLATION = 1e6
# Two-sided 95 % quantile of the normal distribution.
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class GateThresholds:
    """What the gates ask for.

    Attributes:
        kl_band: lowest and highest acceptable final KL, in the unit of `kl_reduction`.
        kl_reduction: "mean" (over latents) or "sum": the unit of the band.
        window: W, the number of last epochs over which KL is averaged and its slope fitted.
        max_kl_slope: largest relative slope of KL per epoch, either way.
        min_active_share: least share of latents that must be active; at least one always must.
        max_clip_share: largest share of (row, latent) at a clip bound.
    """

    kl_band: tuple[float, float] = (0.0, 5.0)
    kl_reduction: str = "mean"
    window: int = 5
    max_kl_slope: float = 0.01
    min_active_share: float = 0.2
    max_clip_share: float = 0.05

    def banded_kl(self, kl: float, latent_dim: int) -> float:
        """The KL (mean over latents) in the band's unit."""
        return kl * latent_dim if self.kl_reduction == "sum" else kl

    @property
    def kl_unit(self) -> str:
        """The unit that the band is in."""
        return "nats per latent" if self.kl_reduction == "mean" else "nats over all latents"

    def active_units_needed(self, latent_dim: int) -> int:
        """The least number of active units that the *alive* gate accepts."""
        return max(1, math.ceil(self.min_active_share * latent_dim - 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One pass/fail test of a trial.

    Attributes:
        name: one of `GATE_NAMES`.
        passed: whether it holds.
        value: what was measured; NaN where nothing could be.
        threshold: what it was compared with, as a reader would say it.
        violation: how far off, in units of the threshold; at most 0 when passed.
    """

    name: str
    passed: bool
    value: float
    threshold: str
    violation: float


def final_kl(curves: TrainingCurves, window: int) -> float:
    """KL at the end of training: the mean of validation KL (mean over latents, nats) over the last `window` epochs.

    A curve shorter than the window is averaged whole. An empty curve gives NaN, and a NaN in the window stays NaN.

    >>> rows = np.zeros((3, 10), np.float32); rows[:, 4] = [9.0, 1.0, 2.0]
    >>> final_kl(TrainingCurves.from_rows(rows), window=2)
    1.5
    """
    last = curves.validation_kl[-window:].astype(np.float64)
    return float(np.mean(last)) if last.size else math.nan


def kl_slope(curves: TrainingCurves, window: int) -> float:
    """Relative slope of validation KL at the end of training, per epoch.

    The least-squares slope over the last `window` epochs ÷ max(mean KL there, 0.05 nats). 0.01 means that KL still
    rises by 1 % per epoch. Fewer than two epochs, or a value that is not finite, give NaN: nothing can be said.

    >>> rows = np.zeros((4, 10), np.float32); rows[:, 4] = [7.0, 1.0, 2.0, 3.0]
    >>> kl_slope(TrainingCurves.from_rows(rows), window=3)
    0.5
    """
    return relative_slope(curves.validation_kl[-window:])


def relative_slope(kl: np.ndarray, at: np.ndarray | None = None) -> float:
    """Least-squares slope of KL values, shape [W], per epoch ÷ max(their mean, 0.05 nats); NaN as for `kl_slope`.

    They stand in epochs that follow one another, or in those of `at`, [W].
    """
    last = kl.astype(np.float64)
    if last.size < 2 or not np.all(np.isfinite(last)):
        return math.nan
    places = np.arange(last.size) if at is None else at
    epochs = places - np.mean(places)
    slope = float(np.sum(epochs * last) / np.sum(epochs**2))
    return slope / max(float(np.mean(last)), KL_FLOOR_NATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the gates read of a trial; NaN where it diverged or was never measured.

    Attributes:
        nonfinite: the number of steps that were not finite.
        kl: final KL in the band's unit.
        slope: relative slope of KL per epoch.
        improvement: final validation reconstruction less epoch 1's.
        unexplained: of the validation split.
        active: the number of active units.
        needed: the least number of them.
        clip_share: the larger share at a clip bound.
    """

    nonfinite: float
    kl: float = math.nan
    slope: float = math.nan
    improvement: float = math.nan
    unexplained: float = math.nan
    active: float = math.nan
    needed: float = math.nan
    clip_share: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRule:
    """One gate, declared here and followed by judging, search and report.

    Attributes:
        name: as in `[gates]`, JSON and CSV.
        meaning: when it passes, in words.
        missing: what a trial that misses it suffers from, from what was measured and the thresholds.
        constraint: whether it is also a constraint of the search.
        value: what it looks at.
        threshold: what that is compared with, in words.
        violation: by how much it is missed, in units of the threshold; at most 0 when it passes, NaN fails.
        in_band_unit: whether its threshold is in the unit of the band.
    """

    name: str
    meaning: str
    missing: Callable[[float, GateThresholds], str]
    constraint: bool
    value: Callable[[Ending], float]
    threshold: Callable[[Ending, GateThresholds], str]
    violation: Callable[[Ending, GateThresholds], float]
    in_band_unit: bool = False

    def judge(self, ending: Ending, thresholds: GateThresholds) -> Gate:
        """The gate of one trial."""
        violation = self.violation(ending, thresholds)
        return Gate(
            name=self.name,
            passed=violation <= 0,
            value=self.value(ending),
            threshold=self.threshold(ending, thresholds),
            violation=violation if math.isfinite(violation) else DIVERGED_VIOLATION,
        )


ABOVE, BELOW = "KL ends above the band", "KL ends below the band"
DIVERGED = "it diverged: a step was not finite"
MOVING = "KL still moves at the end"


def _always(words: str) -> Callable[[float, GateThresholds], str]:
    return lambda value, thresholds: words


def _excess(value: float, limit: float) -> float:
    """How far `value` lies above `limit`, in units of the limit (of 1 where the limit is 0)."""
    return (value - limit) / (limit if limit > 0 else 1.0)


def _outside(ending: Ending, thresholds: GateThresholds) -> float:
    """How far the KL lies outside the band, in widths of the band."""
    low, high = thresholds.kl_band
    return _max(low - ending.kl, ending.kl - high) / (high - low)


GATES: tuple[GateRule, ...] = (
    GateRule(
        name="finite",
        meaning="no step of the training was infinite or not a number",
        missing=_always(DIVERGED),
        constraint=False,
        value=lambda ending: ending.nonfinite,
        threshold=lambda ending, thresholds: "no non-finite step",
        violation=lambda ending, thresholds: ending.nonfinite,
    ),
    GateRule(
        name="band",
        meaning="the KL ends inside the band",
        missing=lambda kl, thresholds: ABOVE if kl > thresholds.kl_band[1] else BELOW,
        constraint=True,
        value=lambda ending: ending.kl,
        threshold=lambda ending, thresholds: "{:g} to {:g}".format(*thresholds.kl_band),
        violation=_outside,
        in_band_unit=True,
    ),
    GateRule(
        name="settled",
        meaning="the KL no longer moves: its relative slope per epoch",
        missing=_always(MOVING),
        constraint=True,
        value=lambda ending: ending.slope,
        threshold=lambda ending, thresholds: f"at most {thresholds.max_kl_slope:g} per epoch, either way",
        violation=lambda ending, thresholds: _excess(abs(ending.slope), thresholds.max_kl_slope),
    ),
    GateRule(
        name="reconstruction",
        meaning="it reconstructs better than after one epoch, and than predicting the mean: `unexplained`",
        missing=_always("it reconstructs no better than the mean, or than after epoch 1"),
        constraint=False,
        value=lambda ending: ending.unexplained,
        threshold=lambda ending, thresholds: "below 1, and better than after epoch 1",
        # There is no distance to speak of between the two conditions.
        violation=lambda ending, thresholds: (
            0.0 if ending.improvement < 0 and ending.unexplained < 1 else DIVERGED_VIOLATION
        ),
    ),
    GateRule(
        name="alive",
        # Without it a collapsed model, whose KL of 0 lies inside the band, would pass.
        meaning="enough latents carry information; a collapsed model has a KL near 0, inside most bands",
        missing=_always("it collapsed: too few latents are active"),
        constraint=True,
        value=lambda ending: ending.active,
        threshold=lambda ending, thresholds: (
            "at least 1" if math.isnan(ending.needed) else f"at least {ending.needed:g} active latents"
        ),
        violation=lambda ending, thresholds: (ending.needed - ending.active) / ending.needed,
    ),
    GateRule(
        name="clipping",
        meaning="the log-variance rarely lies at a clip bound: share of rows and latents",
        missing=_always("the log-variance is held at a clip bound"),
        constraint=True,
        value=lambda ending: ending.clip_share,
        threshold=lambda ending, thresholds: f"at most {thresholds.max_clip_share:g} at a bound",
        violation=lambda ending, thresholds: _excess(ending.clip_share, thresholds.max_clip_share),
    ),
)
"""Every gate, in the order in which they are judged and shown."""

GATE_NAMES = tuple(gate.name for gate in GATES)
CONSTRAINT_GATES = tuple(gate.name for gate in GATES if gate.constraint)
"""The gates that are also constraints of the search."""


def judge(curves: TrainingCurves, measures: Measures | None, thresholds: GateThresholds) -> tuple[Gate, ...]:
    """The gates of one trial, in the order of `GATES`.

    A trial that diverged, or that was never measured, fails every gate it has no number for, by
    `DIVERGED_VIOLATION`. NaN never passes.
    """
    ending = _ending(curves, measures, thresholds)
    return tuple(gate.judge(ending, thresholds) for gate in GATES)


def _ending(curves: TrainingCurves, measures: Measures | None, thresholds: GateThresholds) -> Ending:
    nonfinite = float(np.sum(curves.nonfinite_steps))
    if measures is None or nonfinite:
        return Ending(nonfinite=nonfinite)
    return Ending(
        nonfinite=nonfinite,
        kl=thresholds.banded_kl(final_kl(curves, thresholds.window), measures.latent_dim),
        slope=kl_slope(curves, thresholds.window),
        improvement=measures.reconstruction - float(curves.validation_reconstruction[0]),
        unexplained=measures.unexplained,
        active=float(measures.active_units),
        needed=float(thresholds.active_units_needed(measures.latent_dim)),
        clip_share=measures.clip_share,
    )


def _max(first: float, second: float) -> float:
    """The larger; NaN if either is (Python's `max` would hide it)."""
    return float(np.maximum(first, second))


def wilson_interval(passed: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a pass rate (Wilson 1927): honest for few seeds and for rates of 0 or 1.

    With p = passed/total, z = 1.96: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n). No seeds give (0, 1).

    >>> [round(bound, 3) for bound in wilson_interval(8, 8)]
    [0.676, 1.0]
    """
    if total == 0:
        return 0.0, 1.0
    p, z2 = passed / total, _Z95**2
    centre = p + z2 / (2 * total)
    half = _Z95 * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


class Verdict(StrEnum):
    """What a study may claim of its winner."""

    STABLE = "stable"
    CAVEATS = "stable, with caveats"
    NOT_STABLE = "not stable"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


MIN_CONFIRMATION_SEEDS = 8
MIN_FINISHED_TRIALS = 20
# Were it stable, three seeds that all fail would be a matter of 0.05³.
_ENOUGH_TO_FAIL = 3


def verdict(passed: int, seeds: int, *, finished_trials: int, caveats: Sequence[str] = ()) -> Verdict:
    """The verdict over the winner's confirmation seeds.

    *stable*: at least 8 seeds and all pass all gates (from 20 seeds on, at least 95 % of them). *stable, with
    caveats*: at least 75 % pass, or a caveat is named (the winner lies on an edge that matters; a baseline ties).
    *not stable*: fewer pass, or none of 3. *not enough evidence*: not confirmed on 8 seeds, or under 20 finished
    trials.
    """
    if seeds >= _ENOUGH_TO_FAIL and not passed:
        return Verdict.NOT_STABLE
    if seeds < MIN_CONFIRMATION_SEEDS or finished_trials < MIN_FINISHED_TRIALS:
        return Verdict.NOT_ENOUGH_EVIDENCE
    needed = 0.95 if seeds >= 20 else 1.0
    if passed < 0.75 * seeds:
        return Verdict.NOT_STABLE
    return Verdict.STABLE if passed >= needed * seeds and not caveats else Verdict.CAVEATS
