"""The pass/fail tests behind the word *stable*, and the verdict over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.measures import Measures

# Below this, a slope relative to the KL itself is the noise of a collapsed model: 0.05 nats per latent is next to none.
_KL_FLOOR_NATS = 0.05
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


GATE_NAMES = ("finite", "band", "settled", "reconstruction", "alive", "clipping")
CONSTRAINT_GATES = ("band", "alive", "settled", "clipping")
"""The gates that are also constraints of the search."""


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
    last = curves.validation_kl[-window:].astype(np.float64)
    if last.size < 2 or not np.all(np.isfinite(last)):
        return math.nan
    epochs = np.arange(last.size) - (last.size - 1) / 2
    slope = float(np.sum(epochs * last) / np.sum(epochs**2))
    return slope / max(float(np.mean(last)), _KL_FLOOR_NATS)


def _gate(name: str, value: float, threshold: str, violation: float) -> Gate:
    """A gate that passes when its violation is at most 0; NaN fails."""
    passed = violation <= 0
    return Gate(
        name=name,
        passed=passed,
        value=value,
        threshold=threshold,
        violation=violation if math.isfinite(violation) else DIVERGED_VIOLATION,
    )


def _excess(value: float, limit: float) -> float:
    """How far `value` lies above `limit`, in units of the limit (of 1 where the limit is 0)."""
    return (value - limit) / (limit if limit > 0 else 1.0)


def judge(curves: TrainingCurves, measures: Measures | None, thresholds: GateThresholds) -> tuple[Gate, ...]:
    """The six gates of one trial, in the order of `GATE_NAMES`.

    *finite*: no step was non-finite. *band*: the final KL lies in the band. *settled*: KL no longer moves. The
    *reconstruction* gate asks for a validation reconstruction below epoch 1's and less squared error than predicting
    the mean. *alive*: enough latents carry information; without it a collapsed model, whose KL of 0 lies inside the
    band, would pass. *clipping*: z_log_var rarely lies at a clip bound.

    A trial that diverged, or that was never measured, fails every gate it has no number for, by
    `DIVERGED_VIOLATION`. NaN never passes.
    """
    nonfinite = float(np.sum(curves.nonfinite_steps))
    lo, hi = thresholds.kl_band
    kl, slope, improvement, unexplained, active, needed, clip_share = (math.nan,) * 7
    if measures is not None and nonfinite == 0:
        kl = thresholds.banded_kl(final_kl(curves, thresholds.window), measures.latent_dim)
        slope = kl_slope(curves, thresholds.window)
        improvement = measures.reconstruction - float(curves.validation_reconstruction[0])
        unexplained = measures.unexplained
        active = float(measures.active_units)
        needed = float(thresholds.active_units_needed(measures.latent_dim))
        clip_share = measures.clip_share
    reconstructs = improvement < 0 and unexplained < 1
    return (
        _gate("finite", nonfinite, "no non-finite step", nonfinite),
        _gate("band", kl, f"{lo:g} to {hi:g}", _max(lo - kl, kl - hi) / (hi - lo)),
        _gate(
            "settled",
            slope,
            f"at most {thresholds.max_kl_slope:g} per epoch, either way",
            _excess(abs(slope), thresholds.max_kl_slope),
        ),
        Gate(
            name="reconstruction",
            passed=reconstructs,
            value=unexplained,
            threshold="below 1, and better than after epoch 1",
            violation=0.0 if reconstructs else DIVERGED_VIOLATION,
        ),
        _gate(
            "alive",
            active,
            "at least 1" if math.isnan(needed) else f"at least {needed:g} active latents",
            (needed - active) / needed,
        ),
        _gate(
            "clipping",
            clip_share,
            f"at most {thresholds.max_clip_share:g} at a bound",
            _excess(clip_share, thresholds.max_clip_share),
        ),
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


def verdict(passed: int, seeds: int, *, finished_trials: int, caveats: Sequence[str] = ()) -> Verdict:
    """The verdict over the winner's confirmation seeds.

    *stable*: at least 8 seeds and all pass all gates (from 20 seeds on, at least 95 % of them). *stable, with
    caveats*: at least 75 % pass, or a caveat is named (the winner lies on an edge of its range; a baseline ties).
    *not stable*: fewer pass. *not enough evidence*: not confirmed on 8 seeds, or under 20 finished trials.
    """
    if seeds < MIN_CONFIRMATION_SEEDS or finished_trials < MIN_FINISHED_TRIALS:
        return Verdict.NOT_ENOUGH_EVIDENCE
    needed = 0.95 if seeds >= 20 else 1.0
    if passed < 0.75 * seeds:
        return Verdict.NOT_STABLE
    return Verdict.STABLE if passed >= needed * seeds and not caveats else Verdict.CAVEATS
