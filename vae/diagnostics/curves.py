"""What was measured in every epoch of one trial."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingCurves:
    """Per-epoch measures of one trial: float32 arrays of one shape [T], T epochs trained.

    Training values are means over the epoch's rows, taken with dropout on; validation values are taken after the
    epoch with dropout off and one posterior sample. KL is in nats, a mean over latents, always.

    Attributes:
        kl: training KL.
        reconstruction: training reconstruction error under the study's reduction.
        kl_weight: KL weight, mean over the epoch's steps.
        total: training loss, reconstruction + KL weight · KL (under the study's reduction) + L2, and what layers of a
            user's own network add to it.
        validation_kl: KL on the validation split.
        validation_reconstruction: reconstruction error on the validation split.
        validation_unexplained: deviance over that of predicting the training mean.
        clip_share_low: share of (row, latent) whose raw z_log_var lies at or below the lower bound, validation.
        clip_share_high: the same at or above the upper bound.
        nonfinite_steps: number of steps whose loss was not finite. Weights that a gradient broke show in the next
            step's loss; in the epoch's last step they show in the validation values, and count as one step.

    Raises:
        ValueError: an array's shape differs from the others'.
    """

    kl: np.ndarray
    reconstruction: np.ndarray
    kl_weight: np.ndarray
    total: np.ndarray
    validation_kl: np.ndarray
    validation_reconstruction: np.ndarray
    validation_unexplained: np.ndarray
    clip_share_low: np.ndarray
    clip_share_high: np.ndarray
    nonfinite_steps: np.ndarray

    def __post_init__(self) -> None:
        for name in CURVE_NAMES:
            values = getattr(self, name)
            if values.shape != (self.epochs,) or values.dtype != np.float32:
                raise ValueError(
                    f"{name} must be float32 of shape [T] with T={self.epochs}, "
                    f"but is {values.dtype} of shape {list(values.shape)}."
                )

    @property
    def epochs(self) -> int:
        """T, the number of epochs trained."""
        return int(self.kl.shape[0])

    @property
    def diverged(self) -> bool:
        """Whether any step was not finite."""
        return bool(np.any(self.nonfinite_steps > 0))

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> Self:
        """Curves from one row per epoch, shape [T, 10], columns in the order of `CURVE_NAMES`."""
        columns = np.asarray(rows, dtype=np.float32).reshape(-1, len(CURVE_NAMES)).T
        return cls(**dict(zip(CURVE_NAMES, (np.ascontiguousarray(column) for column in columns), strict=True)))

    def as_rows(self) -> np.ndarray:
        """One row per epoch, shape [T, 10], columns in the order of `CURVE_NAMES`."""
        return np.stack([getattr(self, name) for name in CURVE_NAMES], axis=1)

    def latest(self) -> Mapping[str, float]:
        """The last epoch's values by name; empty before the first epoch has ended."""
        return {name: float(getattr(self, name)[-1]) for name in CURVE_NAMES} if self.epochs else {}


CURVE_NAMES: tuple[str, ...] = tuple(field.name for field in fields(TrainingCurves))
