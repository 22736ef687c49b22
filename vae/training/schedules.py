"""Schedules over the steps: the annealed KL weight and Adam's step size. Pure; broadcast over members."""

import numpy as np
from numpy.typing import ArrayLike

BETA_1 = 0.9
BETA_2 = 0.999


def kl_weight_at(
    step: ArrayLike, *, kl_weight: ArrayLike, annealing_epochs: ArrayLike, steps_per_epoch: int
) -> np.ndarray:
    """The KL weight at a step of a trial, rising linearly from 0.

    w_t = kl_weight · min(1, t / (A · steps per epoch)), t counted from 0 in the trial's own steps. A = 0 means full
    weight from the start.

    >>> kl_weight_at([0, 5, 10, 99], kl_weight=0.2, annealing_epochs=2, steps_per_epoch=5).tolist()
    [0.0, 0.1, 0.2, 0.2]
    """
    ramp = np.asarray(annealing_epochs, dtype=np.float64) * steps_per_epoch
    progress = np.asarray(step, dtype=np.float64) / np.maximum(ramp, 1.0)
    return np.asarray(kl_weight, dtype=np.float64) * np.where(ramp > 0, np.minimum(progress, 1.0), 1.0)


def adam_step_size(step: ArrayLike, learning_rate: ArrayLike) -> np.ndarray:
    """Adam's learning rate with its bias correction folded in, t counted from 0 in the trial's own steps.

    α_t = learning_rate · √(1 − β₂^(t+1)) / (1 − β₁^(t+1)) (Kingma & Ba 2015, the efficient form of section 2).
    """
    t = np.asarray(step, dtype=np.float64) + 1
    return np.asarray(learning_rate, dtype=np.float64) * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
