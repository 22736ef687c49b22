"""The KL weight over a training, as it was logged and as the loss tells it."""

from dataclasses import dataclass

import numpy as np

_CHANGE = 1e-3  # relative
_SAME_LOSS = 0.02  # relative
_ROUNDING = 1e-5  # of a loss, beside what its parts add up to
_SEEN = 0.02  # the share of a loss that cannot hide in it, under another reduction either
_FEWEST = 3  # epochs that a claim against what was logged rests on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossParts:
    """The training rows' loss and its parts as they were logged, float [T] each; NaN where nothing finite was."""

    loss: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray

    def implied_weight(self) -> np.ndarray:
        """(loss − reconstruction) ÷ KL, [T]: the KL weight of a loss that has no further term."""
        with np.errstate(all="ignore"):
            implied: np.ndarray = (self.loss - self.reconstruction) / self.kl
        return implied

    def holds_weighted_kl(self, weight: np.ndarray) -> bool:
        """Whether the loss takes the KL as it is written, though its weight [T] is another: it was written with it."""
        implied = self.implied_weight()
        other = np.isfinite(implied) & (np.abs(weight - 1) > _SAME_LOSS)
        is_one = np.all(np.abs(implied[other] - 1) < _SAME_LOSS)
        return bool(other.sum() > 1 and is_one and not self._acts_without(weight))

    def shows_plain_kl(self, logged: np.ndarray | None) -> bool:
        """Whether the KL is written without its weight, for the loss takes it with one, as logged [T] or a constant.

        Where that is 1 it cannot be told.
        """
        implied = self.implied_weight()
        expected = np.ones_like(implied) if logged is None else logged
        known = np.isfinite(implied) & np.isfinite(expected) & (expected != 0)
        if not known.any():
            return False
        ratio = implied[known] / expected[known]
        usual = float(np.median(ratio))
        is_steady = np.all(np.abs(ratio - usual) <= _SAME_LOSS * abs(usual))
        return bool(is_steady and np.any(np.abs(implied[known] - 1) > _SAME_LOSS))

    def refute(self, logged: np.ndarray) -> float | None:
        """The weight that the KL had in every epoch by the loss, though others [T] were logged; None where they may be.

        The loss may have further terms, and the KL in it another unit than in its column. So the claim is made where
        the loss is the reconstruction alone, or where its excess over that stays the same multiple of a KL that
        changes, in epochs without a weight, too.
        """
        excess = self.loss - self.reconstruction
        known = np.isfinite(excess) & np.isfinite(self.kl) & np.isfinite(logged) & (self.loss != 0)
        if known.sum() < _FEWEST:
            return None
        excess, loss, kl, weight = excess[known], np.abs(self.loss[known]), self.kl[known], logged[known]
        if np.all(np.abs(excess) <= _ROUNDING * loss):
            return 0.0 if np.count_nonzero(np.abs(weight * kl) >= _SEEN * loss) >= _FEWEST else None
        implied = self.implied_weight()[known]
        usual = float(np.median(implied))
        is_steady = np.all(np.abs(implied - usual) <= _SAME_LOSS * abs(usual))
        kl_changes = np.ptp(kl) > 5 * _SAME_LOSS * np.max(np.abs(kl))
        is_weighed = np.count_nonzero(weight > 0.5 * np.max(weight)) >= _FEWEST
        return usual if is_steady and kl_changes and is_weighed and self._acts_without(logged) else None

    def _acts_without(self, weight: np.ndarray) -> bool:
        """Whether a KL is written in an epoch whose weight is zero, as are its neighbours': it was not multiplied."""
        before, after = np.r_[weight[:1], weight[:-1]], np.r_[weight[1:], weight[-1:]]
        idle = (weight == 0) & (before == 0) & (after == 0)
        usual = np.nanmedian(np.abs(self.kl)) if np.any(np.isfinite(self.kl)) else 0.0
        return bool(np.any(np.abs(self.kl[idle]) > 0.1 * usual))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KlWeights:
    """The KL weight, [R], and the epochs in which it was that, [R].

    Attributes:
        values: finite.
        epochs: of each, ascending.
        refutation: a sentence, where another weight was logged that the loss refutes; else empty.
    """

    values: np.ndarray
    epochs: np.ndarray
    refutation: str = ""

    @property
    def full_since(self) -> float:
        """The epoch since which it has been what it is in the end; −∞ where it never was anything else."""
        other = np.abs(self.values - self.values[-1]) > _CHANGE * max(float(np.max(np.abs(self.values))), 1e-30)
        return float(self.epochs[np.flatnonzero(other)[-1] + 1]) if other.any() else -np.inf

    @property
    def rose(self) -> bool:
        """Whether it never fell."""
        return bool(np.all(np.diff(self.values) >= -_CHANGE * float(np.max(np.abs(self.values)))))

    @property
    def is_cyclical(self) -> bool:
        """Whether it fell by more than half of its highest."""
        return bool(np.any(np.diff(self.values) < -0.5 * np.max(self.values)))


def weigh(logged: np.ndarray | None, parts: LossParts | None, epochs: np.ndarray, window: int) -> KlWeights | None:
    """The KL weight: as logged unless the loss refutes it, else as the loss implies it where that plainly rises.

    Args:
        logged: [R]; NaN where none was; None for no such column.
        parts: of the loss in the same epochs; None where they are not known.
        epochs: of all these, ascending, [R].
        window: how many epochs it must have risen for.
    """
    if logged is not None and np.any(known := np.isfinite(logged)):
        implied = None if parts is None else parts.refute(logged)
        if implied is not None:
            values = np.full(epochs.size, implied)
            return KlWeights(values=values, epochs=epochs, refutation=_refutation(implied, logged[known]))
        return KlWeights(values=logged[known], epochs=epochs[known])
    return None if parts is None else _rising(parts.implied_weight(), epochs, window)


def _rising(implied: np.ndarray, epochs: np.ndarray, window: int) -> KlWeights | None:
    known = ~np.isnan(implied)
    values, last = implied[known], implied[known][-window:]
    if last.size < window or not np.all(np.isfinite(values)):
        return None
    rises = np.all(np.diff(last) > 0) and last[-1] > 1.05 * last[0] > 0
    return KlWeights(values=values, epochs=epochs[known]) if rises else None


def _refutation(implied: float, logged: np.ndarray) -> str:
    low, high = float(np.min(logged)), float(np.max(logged))
    span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    told_by = "which is the reconstruction alone" if implied == 0 else "by (loss − reconstruction) ÷ KL"
    return (
        f"By your loss, {told_by}, the KL weight was {implied:.3g} in every epoch: the one that was logged, {span}, "
        "has no effect."
    )
