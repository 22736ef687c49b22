"""Gaps: missing values, NaN in the rows, which models are given as the training mean and never scored on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from klsearch.vae.data.rows import Rows, moments

if TYPE_CHECKING:
    import tensorflow as tf  # whoever only looks at data must not wait for it


def have_gaps(rows: Rows) -> TypeGuard[np.ndarray]:
    """Tell whether a value is missing."""
    return isinstance(rows, np.ndarray) and rows.dtype.kind == "f" and bool(np.isnan(rows).any())


def known_moments(rows: Rows, axis: int | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along an axis, or of all, over the values that are not missing: float64."""
    if have_gaps(rows):
        wide = rows.astype(np.float64)
        return np.asarray(np.nanmean(wide, axis=axis)), np.asarray(np.nanstd(wide, axis=axis))
    return moments(rows, axis)


class Gaps:
    """How whatever computes with rows deals with their gaps. Where there are none, nothing is computed for them.

    Args:
        splits: rows by split name [n, *shape]; "train" must be among them.

    Attributes:
        filling: what the encoder is given for a missing value: the training mean, float32 [*shape]; None where no split
            has gaps.
    """

    def __init__(self, splits: Mapping[str, Rows]) -> None:
        found = any(have_gaps(rows) for rows in splits.values())
        self.filling = known_moments(splits["train"])[0].astype(np.float32) if found else None

    def fill(self, rows: np.ndarray) -> np.ndarray:
        """The rows [n, *shape] with the training mean in their gaps."""
        return rows if self.filling is None else np.where(np.isnan(rows), self.filling, rows)

    def leave_out(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What was computed for each value of rows [..., n, D], with 0 for their gaps."""
        return values if self.filling is None else np.where(np.isnan(rows), 0, values)

    def known_share(self, rows: Rows) -> float:
        """The share of the values that are known."""
        return 1.0 if self.filling is None else float(np.mean(~np.isnan(rows[:])))

    def separate(self, rows: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor | None"]:
        """Filled rows [..., n, *shape], and 1 for each of their values that is known, else 0; None where all are."""
        import tensorflow as tf

        if self.filling is None:
            return rows, None
        missing = tf.math.is_nan(rows)
        return tf.where(missing, self.filling, rows), tf.cast(tf.logical_not(missing), rows.dtype)
