"""Whether a training's KL is well, judged from its history alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from klsearch.vae.diagnostics.gates import KL_FLOOR_NATS, GateThresholds, relative_slope
from klsearch.vae.diagnostics.histories import History

VERDICTS = ("healthy", "still_moving", "annealing", "runaway", "collapsed", "diverged", "unknown")
_NEXT = {
    "healthy": "Keep these settings; `klsearch run` tells on fresh seeds whether they hold.",
    "still_moving": "Train longer, about as many epochs again, and diagnose again.",
    "annealing": "Train on until the KL weight has been full for at least {window} epochs, and diagnose again.",
    "runaway": "Search the settings with `klsearch run`: try a higher KL weight, tighter log-variance clipping and "
    "a lower learning rate.",
    "collapsed": "Lower the KL weight or anneal it for longer, and count the active latents.",
    "diverged": "Lower the learning rate, clip the log-variance (to [-20, 2], say) and look for NaN in the data.",
    "unknown": "Log KL, reconstruction and KL weight in every epoch, train longer, and diagnose again.",
}
_GROWTH = 1.5  # from the middle of the training to its end
_EXPLOSION = 10.0
_NOISE_WIDTHS = 2.5  # standard errors that a slope must have to be one
_WEIGHT_CHANGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a history says.

    Attributes:
        verdict: one of `VERDICTS`.
        reasons: sentences with their numbers.
        unknowns: what cannot be known from a history alone, in sentences.
        numbers: what was measured, by name; None where it cannot be.
        columns: which column was taken for what.
        next: what to do first.
    """

    verdict: str
    reasons: tuple[str, ...]
    unknowns: tuple[str, ...]
    numbers: Mapping[str, float | int | None]
    columns: Mapping[str, str]
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Motion:
    """How KL moves at the end: relative slope per epoch over `window` epochs, and its standard error."""

    window: int
    slope: float
    error: float

    def is_moving(self, most: float) -> bool:
        return abs(self.slope) > most and abs(self.slope) > _NOISE_WIDTHS * self.error


def diagnose(
    history: History,
    *,
    latent_dim: int | None = None,
    kl_reduction: str | None = None,
    thresholds: GateThresholds | None = None,
) -> Diagnosis:
    """Judge a history's KL.

    Args:
        history: the training.
        latent_dim: d; KL is then a sum over d latents unless it is said to be a mean.
        kl_reduction: "mean" if KL is a mean over latents, "sum" if it is their sum; None if nobody knows.
        thresholds: of the gates; here window, slope and band, which is in nats per latent.
    """
    limits = thresholds or GateThresholds()
    window, most = limits.window, limits.max_kl_slope
    weight = _weight(history, window)
    full = history.kl.size if weight is None else _epochs_at_full_weight(weight)
    steady = history.kl[-full:] if full else history.kl[:0]
    kl = float(np.mean(history.kl[-window:])) if history.kl.size else math.nan
    is_mean = kl_reduction == "mean" or history.columns["kl"].lower().endswith(("kl_mean", "kl_per_latent"))
    divisor = 1 if is_mean else latent_dim
    per_latent = None if divisor is None else kl / divisor
    motion = _motion(steady, window, most)
    improvement = _improvement(history.reconstruction, window)
    numbers: dict[str, float | int | None] = {
        "epochs": history.kl.size,
        "nonfinite_epochs": history.nonfinite_epochs,
        "kl": kl,
        "kl_per_latent": per_latent,
        "kl_slope": relative_slope(history.kl[-window:]),
        "kl_slope_window": motion.window,
        "kl_slope_over_window": motion.slope,
        "kl_slope_error": motion.error,
        "kl_weight": None if weight is None else float(weight[-1]),
        "epochs_at_this_weight": None if weight is None else full,
        "annealing_epochs": None if weight is None else _annealing_epochs(weight, full, window),
        "reconstruction": None if history.reconstruction is None else float(history.reconstruction[-1]),
        "reconstruction_improvement": improvement,
    }
    verdict, reason = _judge_without_trend(history, weight, steady, limits) or _judge(
        steady, motion, kl, per_latent, improvement, limits
    )
    return Diagnosis(
        verdict=verdict,
        reasons=(reason, _level(history.kl, window, divisor), *history.notes),
        unknowns=tuple(_unknowns(history, divisor, kl, assumed=kl_reduction is None)),
        numbers=numbers,
        columns=history.columns,
        next=_next(verdict, kl, divisor, history.kl.size, limits),
    )


def _judge_without_trend(
    history: History, weight: np.ndarray | None, steady: np.ndarray, limits: GateThresholds
) -> tuple[str, str] | None:
    """The verdict, and the sentence that carries it, where no trend is needed or none can be seen yet; else None."""
    window, high = limits.window, limits.kl_band[1]
    if history.nonfinite_epochs:
        held = "1 epoch holds" if history.nonfinite_epochs == 1 else f"{history.nonfinite_epochs} epochs hold"
        return "diverged", f"{held} values that are not finite."
    if history.kl.size < window:
        return "unknown", f"{history.kl.size} epochs are too few: KL is judged over {window} at least."
    if _is_negative(history.kl):
        return "unknown", (
            f"The KL is below zero, down to {np.min(history.kl):.3g}, which no KL is: it may be written as its "
            "logarithm, or with the other sign."
        )
    if _explodes(steady, window, high):
        return "runaway", f"KL jumped to {history.kl[-1]:.4g}, over {_EXPLOSION:g} times what it was just before."
    if weight is not None and steady.size < window:
        again = ", as it did before: the annealing is cyclical" if _is_cyclical(weight) else ""
        return "annealing", (
            f"The KL weight still changes{again}: it is {weight[-1]:.3g}, and has been for {steady.size} of {window} "
            f"epochs; a KL that moves meanwhile is no fault."
        )
    if steady.size < 2 * window:
        return "unknown", f"{steady.size} epochs at one KL weight are too few: it takes {2 * window} to see a trend."
    return None


def _judge(
    steady: np.ndarray,
    motion: _Motion,
    kl: float,
    per_latent: float | None,
    improvement: float | None,
    limits: GateThresholds,
) -> tuple[str, str]:
    """The verdict and the sentence that carries it, of enough epochs at one KL weight."""
    window, most, (low, high) = limits.window, limits.max_kl_slope, limits.kl_band
    moving = motion.is_moving(most)
    trend = (
        f"{'moves' if moving else 'is settled'}: {motion.slope:+.2%} per epoch over the last {motion.window} epochs "
        f"(± {motion.error:.2%}; up to {most:.0%} counts as settled)"
    )
    known = kl if per_latent is None else per_latent
    last = steady[-window:] * (known / kl if kl else 1.0)  # in the unit of the band, if that is known
    if known > high >= max(np.median(last), last[-1]) and not moving:
        return "unknown", (
            f"KL jumped to {np.max(steady[-window:]):.4g} among the last {window} epochs, and came back: train on for "
            "as many to see whether it stays."
        )
    grows = moving and motion.slope > 0 and kl > high and not _slows_down(steady)
    if per_latent is not None and per_latent > high and not (moving and motion.slope < 0):
        return (
            "runaway",
            f"KL is at {per_latent:.3g} nats per latent, above the band of {low:g} to {high:g}; it {trend}.",
        )
    if grows and (per_latent is None or 2 * per_latent > high):
        return "runaway", f"KL grows without slowing down; it {trend}."
    if moving:
        return "still_moving", f"KL {trend}."
    if abs(motion.slope) > most:
        return "unknown", (
            f"KL may still move: {motion.slope:+.2%} per epoch over the last {motion.window} epochs "
            f"(± {motion.error:.2%}; up to {most:.0%} counts as settled)."
        )
    if known < KL_FLOOR_NATS:
        unit = "nats" if per_latent is None else "nats per latent"
        return "collapsed", f"KL is near zero ({known:.2g} {unit}) and {trend}: the latents carry next to nothing."
    if per_latent is not None and per_latent < low:
        return "collapsed", f"KL {trend}, but lies below the band of {low:g} to {high:g} nats per latent."
    if improvement is not None and improvement <= 0:
        return "unknown", f"KL {trend}, but the reconstruction never got better than at first."
    if per_latent is None and kl > high:
        return "unknown", (
            f"KL {trend}, at a level that is fine for a sum over {math.ceil(kl / high)} latents or more and a runaway "
            f"for a mean over latents."
        )
    return "healthy", f"KL {trend}, and lies in the band of {low:g} to {high:g} nats per latent."


def _level(kl: np.ndarray, window: int, divisor: int | None) -> str:
    """Where KL ends, in a sentence."""
    last = kl[-window:]
    if last.size and not np.all(np.isfinite(last)):
        finite = np.flatnonzero(np.isfinite(kl))
        if not finite.size:
            return "No epoch has a finite KL."
        return f"KL was last finite in row {finite[-1] + 1} of {kl.size}, at {kl[finite[-1]]:.4g}."
    mean = float(np.mean(last)) if last.size else math.nan
    unit = "in the column's own unit" if divisor is None else f"{mean / divisor:.3g} nats per latent"
    return f"KL ends at {mean:.4g} ({unit}, mean of the last {last.size} epochs)."


def _is_negative(kl: np.ndarray) -> bool:
    """Whether some of it is farther below zero than an estimate of a KL from samples scatters."""
    return bool(np.min(kl) < -KL_FLOOR_NATS * max(1.0, float(np.median(kl))))


def _weight(history: History, window: int) -> np.ndarray | None:
    """The KL weight per epoch: as logged, else as the loss implies it where that plainly rises to the end."""
    if history.kl_weight is not None and np.all(np.isfinite(history.kl_weight)):
        return history.kl_weight
    implied = history.implied_weight
    if implied is None or implied.size < window or not np.all(np.isfinite(implied)):
        return None
    last = implied[-window:]
    return implied if np.all(np.diff(last) > 0) and last[-1] > 1.05 * last[0] > 0 else None


def _epochs_at_full_weight(weight: np.ndarray) -> int:
    """How many epochs at the end share the last one's KL weight."""
    other = np.abs(weight - weight[-1]) > _WEIGHT_CHANGE * max(float(np.max(np.abs(weight))), 1e-30)
    return int(weight.size - 1 - np.flatnonzero(other)[-1]) if other.any() else int(weight.size)


def _annealing_epochs(weight: np.ndarray, full: int, window: int) -> int | None:
    """Over how many epochs the KL weight rose to what it has been since; None where it did anything else."""
    rose = bool(np.all(np.diff(weight) >= -_WEIGHT_CHANGE * float(np.max(np.abs(weight)))))
    return weight.size - full if rose and full >= window else None


def _is_cyclical(weight: np.ndarray) -> bool:
    return bool(np.any(np.diff(weight) < -0.5 * np.max(weight)))


def _motion(kl: np.ndarray, window: int, most: float) -> _Motion:
    """The slope at the end, over as many epochs as noise asks for: its error is to be below half the threshold."""
    if kl.size < 2 or not np.all(np.isfinite(kl)):
        return _Motion(window=window, slope=math.nan, error=math.nan)
    widths = [width for width in (window, 2 * window, 4 * window, 8 * window) if width <= kl.size] or [kl.size]
    noise = _noise(kl[1:][-4 * window :])  # the first epoch is of weights that had learned nothing
    for width in widths:
        last = kl[-width:]
        spread = math.sqrt((width**3 - width) / 12)
        error = noise / spread / max(float(np.mean(last)), KL_FLOOR_NATS)
        motion = _Motion(window=width, slope=relative_slope(last), error=error)
        if 2 * error <= most:
            break
    return motion


def _noise(kl: np.ndarray) -> float:
    """The standard deviation of what does not go on from epoch to epoch, from second differences."""
    return float(np.sqrt(np.mean(np.diff(kl, n=2) ** 2) / 6)) if kl.size > 2 else 0.0


def _explodes(kl: np.ndarray, window: int, high: float) -> bool:
    before = kl[-2 * window : -1]
    return before.size >= window and kl[-1] > max(_EXPLOSION * float(np.median(before)), 10 * high)


def _slows_down(kl: np.ndarray) -> bool:
    """Tell whether the last third rises less steeply than the one before, or little was added since the middle."""
    _, middle, last = (float(np.mean(part)) for part in np.array_split(kl, 3))
    quarters = [float(np.mean(part)) for part in np.array_split(kl[kl.size // 3 :], 4)]
    earlier, later = quarters[1] - quarters[0], quarters[3] - quarters[2]
    return later < 0.8 * earlier or last < _GROWTH * middle


def _improvement(reconstruction: np.ndarray | None, window: int) -> float | None:
    """By how much the reconstruction fell from the first epoch to the last ones."""
    if reconstruction is None or reconstruction.size < 2:
        return None
    return float(reconstruction[0] - np.median(reconstruction[-window:]))


def _unknowns(history: History, divisor: int | None, kl: float, *, assumed: bool) -> list[str]:
    """What a history alone cannot tell; `divisor` takes its KL to that of one latent."""
    sentences = []
    if divisor is None:
        sentences.append(
            "Whether KL is a sum or a mean over latents cannot be seen: give --latent-dim D for a sum over D, "
            "--kl-reduction mean for a mean."
        )
    elif divisor > 1 and assumed:
        sentences.append(
            f"KL was taken for a sum over {divisor} latents; if it is their mean, it is {kl:.3g} nats per latent: "
            f"then say --kl-reduction mean."
        )
    if history.kl_weight is None:
        sentences.append("No column holds the KL weight: annealing may have gone unseen.")
    if history.reconstruction is None:
        sentences.append("No column holds the reconstruction: whether it improves cannot be seen.")
    return [*sentences, "How many latents are active, and how large errors are beside the data, cannot be seen."]


def _next(verdict: str, kl: float, divisor: int | None, epochs: int, limits: GateThresholds) -> str:
    window, high = limits.window, limits.kl_band[1]
    if verdict == "unknown" and divisor is None and kl > high and epochs >= 2 * window:
        return "Give --latent-dim D if the column is a sum over D latents, or --kl-reduction mean if it is their mean."
    return _NEXT[verdict].format(window=window)
