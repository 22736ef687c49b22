"""Schedules over the steps: the annealed KL weight, learning rates, Adam's step size. Pure; broadcast over members."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

BETA_1 = 0.9
BETA_2 = 0.999
# What a learning rate that falls ends at, as a share of what it began with.
_LAST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class KlSchedule:
    """How the KL weight rises from 0 to its full value over the annealing epochs.

    Attributes:
        shape: of the rise, a name in `SHAPES`.
        cycles: how often it rises within the annealing epochs where it is cyclical (Fu et al. 2019, whose M is 4).
        ramp_share: share of a cycle, in (0, 1], over which it rises; then it stays full (their R, ½).
    """

    shape: str = "linear"
    cycles: int = 4
    ramp_share: float = 0.5

    def share(self, progress: np.ndarray) -> np.ndarray:
        """Share of the full weight, in [0, 1], at a share of the annealing epochs; 1 from their end on."""
        reached = np.minimum(progress, 1.0)
        risen = SHAPES[self.shape].share(reached, self)
        return np.asarray(np.where(reached < 1, risen, 1.0))

    def shaped(self, shape: str | None) -> "KlSchedule":
        """The same in another shape; None for its own."""
        return self if shape is None else replace(self, shape=shape)

    @property
    def keras(self) -> str:
        """The share in plain Keras, of `progress` in [0, 1]."""
        return SHAPES[self.shape].keras.format(cycles=self.cycles, ramp_share=self.ramp_share)

    @property
    def words(self) -> str:
        """How it rises, after "it"."""
        return SHAPES[self.shape].words.format(cycles=self.cycles, ramp_share=self.ramp_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A shape of the rise: its formula, the same in plain Keras, and its words."""

    share: Callable[[np.ndarray, KlSchedule], np.ndarray]
    keras: str
    words: str


def _cyclical(progress: np.ndarray, schedule: KlSchedule) -> np.ndarray:
    return np.asarray(np.minimum(progress * schedule.cycles % 1 / schedule.ramp_share, 1.0))


SHAPES: Mapping[str, _Shape] = {
    "linear": _Shape(share=lambda p, _: p, keras="progress", words="rises linearly from 0"),
    "cosine": _Shape(
        share=lambda p, _: (1 - np.cos(np.pi * p)) / 2,
        keras="0.5 * (1.0 - ops.cos(math.pi * progress))",
        words="rises from 0 along half a cosine",
    ),
    # The logistic function of 12p − 6, stretched so that it begins at 0 and ends at 1.
    "sigmoid": _Shape(
        share=lambda p, _: 0.5 + 0.5 * np.tanh(6 * p - 3) / np.tanh(3),
        keras="(0.5 + 0.5 * ops.tanh(6.0 * progress - 3.0) / math.tanh(3.0))",
        words="rises from 0 along a sigmoid",
    ),
    "cyclical": _Shape(
        share=_cyclical,
        keras="ops.where(progress < 1.0, ops.minimum(1.0, progress * {cycles} % 1.0 / {ramp_share}), 1.0)",
        words="rises linearly from 0 in each of {cycles} cycles, over {ramp_share:.0%} of it, and is then full,",
    ),
}
"""The shapes that a definition can name: the options of the hyperparameter `kl_schedule`."""

LINEAR = KlSchedule()


def kl_weight_at(
    step: ArrayLike,
    *,
    kl_weight: ArrayLike,
    annealing_epochs: ArrayLike,
    steps_per_epoch: int,
    schedule: KlSchedule = LINEAR,
) -> np.ndarray:
    """The KL weight at a step of a trial, rising from 0 as the schedule says.

    w_t = kl_weight · share(min(1, t / (A · steps per epoch))), t counted from 0 in the trial's own steps; the share of
    a linear rise is its argument. A = 0 means full weight from the start.

    >>> kl_weight_at([0, 5, 10, 99], kl_weight=0.2, annealing_epochs=2, steps_per_epoch=5).tolist()
    [0.0, 0.1, 0.2, 0.2]
    """
    ramp = np.asarray(annealing_epochs, dtype=np.float64) * steps_per_epoch
    progress = np.asarray(step, dtype=np.float64) / np.maximum(ramp, 1.0)
    return np.asarray(kl_weight, dtype=np.float64) * np.where(ramp > 0, schedule.share(progress), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fall:
    """How a learning rate falls over a training: its share at a share of the epochs, and the same in plain Keras."""

    share: Callable[[np.ndarray], np.ndarray]
    keras: str


FALLS: Mapping[str, _Fall] = {
    "constant": _Fall(share=np.ones_like, keras="1.0"),
    "cosine": _Fall(
        share=lambda p: _LAST_SHARE + (1 - _LAST_SHARE) * (1 + np.cos(np.pi * p)) / 2,
        keras=f"{_LAST_SHARE} + {1 - _LAST_SHARE} * (1.0 + math.cos(math.pi * progress)) / 2.0",
    ),
    "exponential": _Fall(share=lambda p: _LAST_SHARE**p, keras=f"{_LAST_SHARE} ** progress"),
}
"""The ways in which a learning rate may fall that a definition can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How members move along their gradients.

    Attributes:
        optimizer: a name in `OPTIMIZERS`.
        schedule: a name in `FALLS`: of the learning rate over the epochs, at whose end it stays what it is.
        epochs: of a training.
    """

    optimizer: str = "adam"
    schedule: str = "constant"
    epochs: int = 1

    def rates(self, epochs: ArrayLike, learning_rates: ArrayLike) -> np.ndarray:
        """The members' learning rates [K], each in an epoch of its own, counted from 0."""
        progress = np.minimum(np.asarray(epochs, np.float64) / self.epochs, 1.0)
        rates: np.ndarray = np.asarray(learning_rates, np.float64) * FALLS[self.schedule].share(progress)
        return rates


ADAM = Learning()


def adam_step_size(step: ArrayLike, learning_rate: ArrayLike) -> np.ndarray:
    """Adam's learning rate with its bias correction folded in, t counted from 0 in the trial's own steps.

    α_t = learning_rate · √(1 − β₂^(t+1)) / (1 − β₁^(t+1)) (Kingma & Ba 2015, the efficient form of section 2).
    """
    t = np.asarray(step, dtype=np.float64) + 1
    return np.asarray(learning_rate, dtype=np.float64) * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
