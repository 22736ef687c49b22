"""Whether a training's KL is well, judged from its history alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from klsearch.vae.diagnostics.column_names import bare
from klsearch.vae.diagnostics.gates import KL_FLOOR_NATS, GateThresholds, relative_slope
from klsearch.vae.diagnostics.histories import History
from klsearch.vae.diagnostics.kl_weights import KlWeights, weigh
from klsearch.vae.diagnostics.trends import Motion, count_last, motion_at_end, slows_down, span

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
_WITHOUT_EFFECT = (
    "Let the loss read the KL weight in every step: hold it as a variable (`keras.Variable`) and set it with `assign`, "
    "for a Python number is read once, when the step is compiled. `klsearch audit` shows whether it has an effect."
)
_EXPLOSION = 10.0
_FEWEST = 3  # values that a level is the mean of, of which one may be an outlier


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
        refutation: a sentence, where the loss shows that the logged KL weight has no effect; else empty.
    """

    verdict: str
    reasons: tuple[str, ...]
    unknowns: tuple[str, ...]
    numbers: Mapping[str, float | int | None]
    columns: Mapping[str, str]
    next: str
    refutation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steady:
    """The KL at the KL weight of the end.

    Attributes:
        kl: its values.
        epochs: of each.
        lasts: for how many epochs the weight has been that, with a KL or without.
        window: of the gates.
    """

    kl: np.ndarray
    epochs: np.ndarray
    lasts: int
    window: int

    @property
    def last(self) -> np.ndarray:
        """The values of the last epochs, a few at least."""
        return self.kl[-count_last(self.epochs, self.window, _FEWEST) :]


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
    weight = weigh(history.kl_weight, history.parts, history.rows, window)
    steady = _steady(history, weight, window)
    last = count_last(history.epochs, window, _FEWEST)
    kl = float(np.mean(history.kl[-last:])) if history.kl.size else math.nan
    is_mean = kl_reduction == "mean" or history.columns["kl"].lower().endswith(("kl_mean", "kl_per_latent"))
    divisor = 1 if is_mean else latent_dim
    per_latent = None if divisor is None else kl / divisor
    motion = motion_at_end(steady.kl, steady.epochs, window, most)
    improvement = _improvement(history.reconstruction, last)
    slope_over = count_last(history.epochs, window, window)
    numbers: dict[str, float | int | None] = {
        "epochs": history.trained,
        "nonfinite_epochs": history.nonfinite_epochs,
        "kl": kl,
        "kl_per_latent": per_latent,
        "kl_slope": relative_slope(history.kl[-slope_over:], history.epochs[-slope_over:]),
        "kl_slope_window": motion.window,
        "kl_slope_over_window": motion.slope,
        "kl_slope_error": motion.error,
        "kl_weight": None if weight is None else float(weight.values[-1]),
        "epochs_at_this_weight": None if weight is None else steady.lasts,
        "annealing_epochs": _annealing_epochs(history, weight, steady),
        "reconstruction": _at_end(history.reconstruction),
        "reconstruction_improvement": improvement,
    }
    verdict, reason = _judge_without_trend(history, weight, steady, limits) or _judge(
        steady, motion, kl, per_latent, improvement, limits
    )
    refutation = "" if weight is None else weight.refutation
    return Diagnosis(
        verdict=verdict,
        reasons=(*filter(None, [refutation]), reason, _level(history, last, divisor), *history.notes),
        unknowns=tuple(_unknowns(history, divisor, kl, assumed=kl_reduction is None)),
        numbers=numbers,
        columns=history.columns,
        next=_WITHOUT_EFFECT if refutation else _next(verdict, kl, divisor, history.kl.size, limits),
        refutation=refutation,
    )


def _steady(history: History, weight: KlWeights | None, window: int) -> _Steady:
    since = -math.inf if weight is None else weight.full_since
    kept = history.epochs >= since
    lasts = history.trained if math.isinf(since) else span(np.array([since, history.rows[-1]]))
    return _Steady(kl=history.kl[kept], epochs=history.epochs[kept], lasts=lasts, window=window)


def _annealing_epochs(history: History, weight: KlWeights | None, steady: _Steady) -> int | None:
    """Over how many epochs the KL weight rose to what it has been since; None where it did anything else."""
    if weight is None or not weight.rose or steady.lasts < steady.window:
        return None
    return history.trained - steady.lasts


def _judge_without_trend(
    history: History, weight: KlWeights | None, steady: _Steady, limits: GateThresholds
) -> tuple[str, str] | None:
    """The verdict, and the sentence that carries it, where no trend is needed or none can be seen yet; else None."""
    window, high = limits.window, limits.kl_band[1]
    if history.nonfinite_epochs:
        held = "1 epoch holds" if history.nonfinite_epochs == 1 else f"{history.nonfinite_epochs} epochs hold"
        return "diverged", f"{held} values that are not finite."
    if history.kl.size < window:
        return (
            "unknown",
            f"{_measured(history.kl.size, history.trained)} are too few: KL is judged over {window} at least.",
        )
    if _is_negative(history.kl):
        return "unknown", (
            f"The KL is below zero, down to {np.min(history.kl):.3g}, which no KL is: it may be written as its "
            "logarithm, or with the other sign."
        )
    if _explodes(steady.kl, window, high):
        return "runaway", f"KL jumped to {history.kl[-1]:.4g}, over {_EXPLOSION:g} times what it was just before."
    if weight is not None and steady.lasts < window:
        again = ", as it did before: the annealing is cyclical" if weight.is_cyclical else ""
        return "annealing", (
            f"The KL weight still changes{again}: it is {weight.values[-1]:.3g}, and has been for {steady.lasts} of "
            f"{window} epochs; a KL that moves meanwhile is no fault."
        )
    if steady.lasts < 2 * window:
        return "unknown", f"{steady.lasts} epochs at one KL weight are too few: it takes {2 * window} to see a trend."
    if steady.kl.size < window:
        measured = _measured(steady.kl.size, steady.lasts)
        return "unknown", f"{measured} at one KL weight are too few: it takes {window} to see a trend."
    return None


def _measured(values: int, epochs: int) -> str:
    """So many epochs, or values where not every epoch has one."""
    return f"{values} epochs" if values == epochs else f"{values} values of the KL in {epochs} epochs"


def _judge(
    steady: _Steady,
    motion: Motion,
    kl: float,
    per_latent: float | None,
    improvement: float | None,
    limits: GateThresholds,
) -> tuple[str, str]:
    """The verdict and the sentence that carries it, of enough epochs at one KL weight."""
    most, (low, high) = limits.max_kl_slope, limits.kl_band
    moving = motion.is_moving(most)
    trend = (
        f"{'moves' if moving else 'is settled'}: {motion.slope:+.2%} per epoch over the last {motion.window} epochs "
        f"(± {motion.error:.2%}; up to {most:.0%} counts as settled)"
    )
    known = kl if per_latent is None else per_latent
    last = steady.last * (known / kl if kl else 1.0)  # in the unit of the band, if that is known
    if known > high >= max(np.median(last), last[-1]) and not moving:
        return "unknown", (
            f"KL jumped to {np.max(steady.last):.4g} among the last {_window_of(steady)} epochs, and came back: train "
            "on for as many to see whether it stays."
        )
    grows = moving and motion.slope > 0 and kl > high and not slows_down(steady.kl, steady.epochs)
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


def _window_of(steady: _Steady) -> int:
    return max(steady.window, span(steady.epochs[-steady.last.size :]))


def _level(history: History, count: int, divisor: int | None) -> str:
    """Where KL ends, in a sentence."""
    kl, last = history.kl, history.kl[-count:]
    if last.size and not np.all(np.isfinite(last)):
        finite = np.flatnonzero(np.isfinite(kl))
        if not finite.size:
            return "No epoch has a finite KL."
        row = int(np.searchsorted(history.rows, history.epochs[finite[-1]]))
        return f"KL was last finite in row {row + 1} of {history.rows.size}, at {kl[finite[-1]]:.4g}."
    mean = float(np.mean(last)) if last.size else math.nan
    unit = "in the column's own unit" if divisor is None else f"{mean / divisor:.3g} nats per latent"
    epochs = span(history.epochs[-count:]) if last.size else 0
    over = f"{last.size} epochs" if epochs == last.size else f"{last.size} values, over {epochs} epochs"
    return f"KL ends at {mean:.4g} ({unit}, mean of the last {over})."


def _is_negative(kl: np.ndarray) -> bool:
    """Whether some of it is farther below zero than an estimate of a KL from samples scatters."""
    return bool(np.min(kl) < -KL_FLOOR_NATS * max(1.0, float(np.median(kl))))


def _explodes(kl: np.ndarray, window: int, high: float) -> bool:
    before = kl[-2 * window : -1]
    return before.size >= window and kl[-1] > max(_EXPLOSION * float(np.median(before)), 10 * high)


def _at_end(reconstruction: np.ndarray | None) -> float | None:
    return None if reconstruction is None or not reconstruction.size else float(reconstruction[-1])


def _improvement(reconstruction: np.ndarray | None, count: int) -> float | None:
    """By how much the reconstruction fell from the first value to the last so many."""
    if reconstruction is None or reconstruction.size < 2:
        return None
    return float(reconstruction[0] - np.median(reconstruction[-count:]))


def _unknowns(history: History, divisor: int | None, kl: float, *, assumed: bool) -> list[str]:
    """What a history alone cannot tell; `divisor` takes its KL to that of one latent."""
    sentences = []
    if divisor is None:
        sentences.append(
            "Whether KL is a sum or a mean over latents cannot be seen: give --latent-dim D for a sum over D, "
            "--kl-reduction mean for a mean."
        )
    elif divisor > 1 and assumed and math.isfinite(kl):
        sentences.append(
            f"KL was taken for a sum over {divisor} latents; if it is their mean, it is {kl:.3g} nats per latent: "
            f"then say --kl-reduction mean."
        )
    if history.kl_weight is None:
        sentences.append("No column holds the KL weight: annealing may have gone unseen.")
    if _may_be_weighted(history):
        sentences.append(
            f"Whether {history.columns['kl']} is the KL or the KL times its weight cannot be seen: if it was written "
            "with a weight of 0.01, say, the KL is 100 times that."
        )
    if history.reconstruction is None:
        sentences.append("No column holds the reconstruction: whether it improves cannot be seen.")
    return [*sentences, "How many latents are active, and how large errors are beside the data, cannot be seen."]


def _may_be_weighted(history: History) -> bool:
    if bare(history.columns["kl"]) == "kl_per_latent":  # by `KLMonitor`
        return False
    logged = history.kl_weight
    is_one = logged is not None and np.all(np.abs(logged[np.isfinite(logged)] - 1) < 1e-6)
    return not is_one and (history.parts is None or not history.parts.shows_plain_kl(logged))


def _next(verdict: str, kl: float, divisor: int | None, epochs: int, limits: GateThresholds) -> str:
    window, high = limits.window, limits.kl_band[1]
    if verdict == "unknown" and divisor is None and kl > high and epochs >= 2 * window:
        return "Give --latent-dim D if the column is a sum over D latents, or --kl-reduction mean if it is their mean."
    return _NEXT[verdict].format(window=window)
