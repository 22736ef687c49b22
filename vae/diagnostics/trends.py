"""How a KL moves that was measured in every epoch, or in some."""

import math
from dataclasses import dataclass

import numpy as np

from klsearch.vae.diagnostics.gates import KL_FLOOR_NATS, relative_slope

_NOISE_WIDTHS = 2.5  # standard errors that a slope must have to be one
_GROWTH = 1.5  # from the middle of the training to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How KL moves at the end: relative slope per epoch over `window` epochs, and its standard error."""

    window: int
    slope: float
    error: float

    def is_moving(self, most: float) -> bool:
        """Whether it moves by more than `most` per epoch, and by more than noise does."""
        return abs(self.slope) > most and abs(self.slope) > _NOISE_WIDTHS * self.error


def count_last(epochs: np.ndarray, width: int, least: int) -> int:
    """How many of the values in these epochs lie in the last `width` of them; at least so many, if there are."""
    within = int(np.count_nonzero(epochs > epochs[-1] - width)) if epochs.size else 0
    return min(max(within, least), int(epochs.size))


def motion_at_end(kl: np.ndarray, epochs: np.ndarray, window: int, most: float) -> Motion:
    """The slope at the end, over as many epochs as noise asks for: its error is to be below half the threshold.

    Args:
        kl: [T].
        epochs: in which they were measured, ascending, [T].
        window: the fewest epochs, and the fewest values.
        most: the threshold.
    """
    if kl.size < 2 or not np.all(np.isfinite(kl)):
        return Motion(window=window, slope=math.nan, error=math.nan)
    widths = [width for width in (window, 2 * window, 4 * window, 8 * window) if width <= kl.size]
    counts = [count_last(epochs, width, width) for width in widths]
    if kl.size < 2 * window:  # what little there is
        counts.append(int(kl.size))
    recent = slice(-min(count_last(epochs, 4 * window, 4 * window), kl.size - 1), None)
    noise = _noise(kl[recent], epochs[recent])  # the first epoch is of weights that had learned nothing
    for count in counts:
        last, at = kl[-count:], epochs[-count:]
        spread = math.sqrt(float(np.sum((at - np.mean(at)) ** 2)))
        error = noise / spread / max(float(np.mean(last)), KL_FLOOR_NATS)
        motion = Motion(window=span(at), slope=relative_slope(last, at), error=error)
        if 2 * error <= most:
            break
    return motion


def span(epochs: np.ndarray) -> int:
    """How many epochs it is from the first of these to the last, both counted."""
    return math.ceil(float(epochs[-1] - epochs[0])) + 1


def slows_down(kl: np.ndarray, epochs: np.ndarray) -> bool:
    """Tell whether the last third rises less steeply than the one before, or little was added since the middle."""
    even = np.interp(np.linspace(epochs[0], epochs[-1], kl.size), epochs, kl)
    _, middle, last = (float(np.mean(part)) for part in np.array_split(even, 3))
    quarters = [float(np.mean(part)) for part in np.array_split(even[kl.size // 3 :], 4)]
    earlier, later = quarters[1] - quarters[0], quarters[3] - quarters[2]
    return later < 0.8 * earlier or last < _GROWTH * middle


def _noise(kl: np.ndarray, epochs: np.ndarray) -> float:
    """The standard deviation of what does not go on from value to value: how far each lies off its neighbours' line."""
    if kl.size < 3:
        return 0.0
    before = (epochs[2:] - epochs[1:-1]) / (epochs[2:] - epochs[:-2])  # how much of the one before is in that line
    off = kl[1:-1] - before * kl[:-2] - (1 - before) * kl[2:]
    return float(np.sqrt(np.mean(off**2 / (1 + before**2 + (1 - before) ** 2))))
