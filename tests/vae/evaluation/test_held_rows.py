"""Rows as programs take them."""

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.data.rows import KeptRows, aligned, unscaled
from klsearch.vae.evaluation.held_rows import HeldRows

ORDER = tf.constant([[3, 0, 3], [19, 7, 1]])


def take(held: HeldRows) -> np.ndarray:
    """The rows of `ORDER`, as a compiled program takes them."""
    taken: np.ndarray = tf.function(held.take, autograph=False)(ORDER).numpy()
    return taken


def test_arrays_are_taken_as_they_are() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3, 2)).astype(np.float32)
    held = HeldRows(rows)
    assert held.count == 20
    assert np.array_equal(take(held), rows[ORDER.numpy()])


@pytest.mark.parametrize("first", [0, 1])  # the second row does not lie where TensorFlow can compute with it in place
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_a_program_scales_small_numbers_to_the_bits_that_numpy_gives(
    dtype: type, by_column: bool, whole: bool, first: int
) -> None:
    """Of a constant divisor TensorFlow would make a factor, which gives others."""
    rng, bounds = np.random.default_rng(1), np.iinfo(dtype)
    source = aligned(rng.integers(bounds.min, bounds.max, (50, 41, 5), dtype, endpoint=True))[first:]
    shape = (41, 5) if by_column else ()
    offset, scale = rng.normal(100, 30, shape), rng.uniform(0.1, 90, shape)
    rows = KeptRows(
        source=source,
        numbers=np.sort(rng.permutation(len(source))[:20]),
        offset=np.rint(offset) if whole else np.asarray(offset),
        scale=np.ceil(scale) if whole else np.asarray(scale),
    )
    wide = (source[rows.numbers].astype(np.float64) - rows.offset) / rows.scale
    assert np.array_equal(take(HeldRows(rows)), wide.astype(np.float32)[ORDER.numpy()])


def test_aligned_rows_are_computed_with_where_they_lie() -> None:
    source = aligned(np.zeros((30, 64), np.uint8))
    splits = [HeldRows(unscaled(source, numbers)) for numbers in (np.arange(0, 20), np.arange(10, 30))]
    source[:] = 5
    assert all((take(held) == 5).all() for held in splits), "one copy serves all splits"
