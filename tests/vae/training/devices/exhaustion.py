"""Memory that ends in the middle of a compiled program."""

import tensorflow as tf

_MORE_THAN_THERE_IS = 2**23  # the side of a square of 512 TiB


def exhaust_memory(*, when: tf.Tensor) -> tf.Operation:
    """An operation that asks TensorFlow's own allocator for more memory than any machine has, if a condition holds.

    No Python runs in it: a program that waits for the interpreter may wait for ever on a thread that waits for it.
    """
    side = tf.where(when, _MORE_THAN_THERE_IS, 0)
    return tf.raw_ops.Empty(shape=[side, side], dtype=tf.float64).op
