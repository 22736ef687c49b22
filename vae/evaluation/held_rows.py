"""Rows of a split as compiled programs take them: by number, in float32."""

import numpy as np
import tensorflow as tf

from klsearch.vae.data.rows import ALIGNMENT, Rows


class HeldRows:
    """Rows in the memory of the device that computes.

    Rows that are kept as small whole numbers stay where they are, one copy of them for all splits, programs and
    threads; a batch of them is scaled in the program. A GPU is given float32, for it may lack the operations on them.

    Args:
        rows: of a split.
    """

    def __init__(self, rows: Rows) -> None:
        self.count = len(rows)
        self._numbers: tf.Tensor | None = None
        self._affine: tuple[tf.Variable, tf.Variable] | None = None
        if isinstance(rows, np.ndarray) or tf.config.list_physical_devices("GPU"):
            self._tensor = tf.constant(rows[:])
            return
        # Variables: of a constant divisor TensorFlow would make a factor, whose products have other last bits.
        offset, scale = (tf.Variable(one.astype(rows.precision), trainable=False) for one in (rows.offset, rows.scale))
        self._affine = offset, scale
        if _lies_ready(rows.source):
            self._tensor = tf.experimental.dlpack.from_dlpack(rows.source.__dlpack__())
            self._numbers = tf.constant(rows.numbers)
        else:
            self._tensor = tf.constant(rows.source[rows.numbers])

    def take(self, numbers: tf.Tensor) -> tf.Tensor:
        """The rows of these numbers within the split, [..., *shape]."""
        taken = tf.gather(self._tensor, numbers if self._numbers is None else tf.gather(self._numbers, numbers))
        if self._affine is None:
            return taken
        offset, scale = self._affine
        return tf.cast((tf.cast(taken, offset.dtype) - offset) / scale, tf.float32)


def _lies_ready(source: np.ndarray) -> bool:
    """Tell whether TensorFlow can compute with an array in place."""
    return source.ctypes.data % ALIGNMENT == 0 and source.flags.c_contiguous and source.flags.writeable
