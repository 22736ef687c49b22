"""Rows that stay as small as they came: the same numbers, to the bit, as an array of float32."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.data import rows as module
from klsearch.vae.data.rows import (
    ALIGNMENT,
    KeptRows,
    aligned,
    can_be_kept,
    column_means,
    empty_rows,
    extremes,
    in_parts,
    moments,
    scale_values,
    unscaled,
)

SHAPES = [(1,), (2,), (3,), (7,), (8, 8), (5, 4, 3)]
Make = Callable[..., tuple[KeptRows, np.ndarray]]


@pytest.fixture(params=[np.uint8, np.int8, np.uint16, np.int16])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    chosen: np.dtype = np.dtype(request.param)
    return chosen


@pytest.fixture
def make(dtype: np.dtype, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A function that gives kept rows, and the array that they stand for; they are read a few at a time."""
    monkeypatch.setattr(module, "_VALUES", 100)

    def kept(
        shape: tuple[int, ...], *, count: int = 333, by_column: bool = True, whole: bool = False
    ) -> tuple[KeptRows, np.ndarray]:
        rng = np.random.default_rng(count)
        bounds = np.iinfo(dtype)
        source = rng.integers(bounds.min, bounds.max, (count + 50, *shape), dtype, endpoint=True)
        numbers = np.sort(rng.permutation(len(source))[:count])
        offset, scale = rng.normal(100, 30, shape), rng.uniform(0.1, 90, shape)
        if not by_column:
            offset, scale = offset.mean(), scale.mean()
        if whole:
            offset, scale = np.rint(offset), np.ceil(scale)
        wide = (source[numbers].astype(np.float64) - offset) / scale
        rows = KeptRows(source=source, numbers=numbers, offset=np.asarray(offset), scale=np.asarray(scale))
        return rows, wide.astype(np.float32)

    return kept


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_read_has_the_bits_of_full_precision(
    make: Make, shape: tuple[int, ...], by_column: bool, whole: bool
) -> None:
    rows, expected = make(shape, by_column=by_column, whole=whole)
    assert rows.precision is (np.float32 if whole else np.float64)
    assert (rows.shape, len(rows)) == (expected.shape, len(expected))
    chosen = np.array([3, 0, 3, 332])
    for read, wanted in [
        (rows[:], expected),
        (rows[10:20], expected[10:20]),
        (rows[chosen], expected[chosen]),
        (rows.choose(chosen)[1:], expected[chosen][1:]),
        (np.concatenate(list(in_parts(rows))), expected),
    ]:
        assert read.dtype == np.float32
        assert np.array_equal(read, wanted)


@pytest.mark.parametrize("dtype", [np.dtype(np.int16)])
def test_float32_divides_every_small_number_as_float64_does(dtype: np.dtype) -> None:
    source = np.arange(-(2**15), 2**15).astype(dtype)[:, np.newaxis]
    for scale in [1, 3, 7, 255, 256, 1000, 40961, 65535]:
        rows = KeptRows(
            source=source, numbers=np.arange(2**16), offset=np.asarray(-32768.0), scale=np.asarray(float(scale))
        )
        assert rows.precision is np.float32
        assert np.array_equal(rows[:], ((source.astype(np.float64) + 32768) / scale).astype(np.float32)), scale


def test_a_column_of_a_table_is_scaled_as_it_is_within_its_rows(make: Make) -> None:
    for by_column in (True, False):
        rows, expected = make((7,), by_column=by_column)
        assert all(np.array_equal(rows.column(at), expected[:, at]) for at in range(7))


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("shape", SHAPES)
def test_extremes_are_those_of_the_array(make: Make, shape: tuple[int, ...], axis: int | None) -> None:
    rows, expected = make(shape)
    low, high = extremes(rows, axis)
    assert np.array_equal(low, expected.min(axis=axis))
    assert np.array_equal(high, expected.max(axis=axis))


def test_extremes_of_an_array_leave_out_what_is_missing() -> None:
    rows = np.array([[1.0, np.nan], [3.0, 2.0], [np.nan, 4.0]])
    assert [bound.tolist() for bound in extremes(rows, axis=0)] == [[1, 2], [3, 4]]
    assert [float(bound) for bound in extremes(rows)] == [1, 4]


@pytest.mark.parametrize("count", [2, 99, 333, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_column_means_and_moments_have_the_bits_that_numpy_gives_the_array(
    make: Make, shape: tuple[int, ...], count: int
) -> None:
    rows, expected = make(shape, count=count)
    assert np.array_equal(column_means(rows), np.mean(expected, axis=0, dtype=np.float64))
    mean, deviation = moments(rows)
    assert np.array_equal(mean, np.mean(expected, axis=0, dtype=np.float64))
    assert np.array_equal(deviation, np.std(expected, axis=0, dtype=np.float64))


@given(st.integers(2, 400), st.sampled_from(SHAPES), st.integers(8, 300))
def test_moments_of_all_values_have_the_bits_that_numpy_gives_whole_numbers(
    count: int, shape: tuple[int, ...], at_a_time: int
) -> None:
    source = np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)
    numbers = np.arange(0, count, 2)
    # As NumPy adds at most 128 numbers without halving them, fewer at a time would be another order.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_VALUES", max(128, at_a_time))
        found = moments(unscaled(source, numbers), axis=None)
    chosen = source[numbers]
    for values in (chosen, chosen.astype(np.float32)):
        assert [float(one) for one in found] == [np.mean(values, dtype=np.float64), np.std(values, dtype=np.float64)]


def test_small_whole_numbers_can_be_kept_and_nothing_else() -> None:
    for dtype in (np.uint8, np.int8, np.uint16, np.int16):
        assert can_be_kept(np.zeros((4, 3), dtype))
    for other in (np.float16, np.float32, np.int32, np.int64, np.bool_, ">i2"):
        assert not can_be_kept(np.zeros((4, 3), other)), other
    assert not can_be_kept(np.zeros((4, 3), np.uint8, order="F"))


@given(st.integers(0, 2 * ALIGNMENT), st.sampled_from([np.uint8, np.int16]))
def test_rows_are_copied_only_where_they_do_not_lie_as_tensorflow_needs_them(shift: int, dtype: type) -> None:
    memory = empty_rows((1000,), np.dtype(dtype))
    memory[:] = np.arange(1000) % 100
    rows = memory[shift : shift + 600].reshape(100, 6)
    found = aligned(rows)
    assert found.ctypes.data % ALIGNMENT == 0
    assert np.array_equal(found, rows)
    assert np.shares_memory(found, rows) == (rows.ctypes.data % ALIGNMENT == 0)


def test_rows_that_must_not_be_written_are_copied() -> None:
    rows = empty_rows((4, 64), np.dtype(np.uint8))
    rows[:] = 7
    rows.flags.writeable = False
    assert aligned(rows).flags.writeable
    assert np.array_equal(aligned(rows), rows)


def test_values_are_scaled_in_float64_whatever_they_come_in() -> None:
    values = np.array([[16777217, 3]], np.int64)  # which float32 cannot hold
    assert scale_values(values, np.asarray(16777216.0), np.asarray(2.0)).tolist() == [[0.5, -8388606.5]]
