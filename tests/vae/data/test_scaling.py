"""Scaling and its way back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from klsearch.vae.data.rows import unscaled
from klsearch.vae.data.scaling import fit_scaling, in_unit_interval

KINDS = ["auto", "none", "minmax", "standard"]
_values = st.floats(-1e6, 1e6, width=32)
_tables = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=_values)
_images = hnp.arrays(np.float64, hnp.array_shapes(min_dims=3, max_dims=4, max_side=4), elements=_values)


@given(_tables | _images, st.sampled_from(KINDS))
def test_scaled_rows_can_be_turned_back(rows: np.ndarray, kind: str) -> None:
    scaling = fit_scaling(kind, rows)
    # float32 holds 24 bits of the scaled value, which may be small beside its offset.
    tolerance = 1e-6 * (np.abs(rows) + np.abs(scaling.offset) + scaling.scale)
    assert np.all(np.abs(scaling.apply(rows).astype(np.float64) * scaling.scale + scaling.offset - rows) <= tolerance)


@given(_tables | _images, st.sampled_from(KINDS))
def test_json_holds_all_that_is_needed_to_scale(rows: np.ndarray, kind: str) -> None:
    scaling = fit_scaling(kind, rows)
    read = json.loads(json.dumps(scaling.as_json(), allow_nan=False))
    scaled = (rows - np.array(read["offset"])) / np.array(read["scale"])
    assert np.array_equal(scaled.astype(np.float32), scaling.apply(rows))


@given(_tables | _images)
def test_minmax_lays_the_training_rows_between_zero_and_one(rows: np.ndarray) -> None:
    scaled = fit_scaling("minmax", rows).apply(rows)
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_a_table_is_standardised_by_column() -> None:
    rows = np.array([[1.0, 10], [3, 10], [5, 40]])
    scaling = fit_scaling("standard", rows)
    assert scaling.offset.tolist() == [3, 20]
    assert scaling.scale.tolist() == pytest.approx([np.sqrt(8 / 3), np.sqrt(200)])
    assert scaling.words == "standard by column, over the training split"


def test_a_constant_column_keeps_its_scale_despite_rounding() -> None:
    rows = np.column_stack([np.full(1000, 0.1), np.arange(1000)])
    for kind in ("standard", "minmax"):
        assert fit_scaling(kind, rows).scale[0] == 1.0


def test_images_are_scaled_by_one_number_for_all_pixels() -> None:
    images = np.arange(12.0).reshape(3, 2, 2) - 1
    scaling = fit_scaling("minmax", images)
    assert (scaling.offset.tolist(), scaling.scale.tolist()) == (-1.0, 11.0)
    assert scaling.words == "minmax, over the training split"


@pytest.mark.parametrize(
    ("low", "high", "shape", "kind", "scale"),
    [
        (0, 255, (2, 1, 1), "image", 255.0),
        (3, 200, (2, 1, 1), "image", 255.0),
        (0, 16, (2, 1, 1), "minmax", 16.0),
        (-1, 1, (2, 1, 1), "minmax", 2.0),
        (0, 300, (2, 1, 1), "minmax", 300.0),
        (0, 1, (2, 1, 1), "none", 1.0),
        (0, 1, (2, 1), "none", 1.0),
        (0, 255, (2, 1), "standard", 127.5),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.int16])
def test_auto_recognises_what_values_are(
    low: int, high: int, shape: tuple[int, ...], kind: str, scale: float, dtype: type
) -> None:
    scaling = fit_scaling("auto", np.array([low, high], dtype).reshape(shape))
    assert (scaling.kind, float(scaling.scale.flat[0])) == (kind, scale)


def pulses(*, channels: int) -> np.ndarray:
    """Series [40, 50, channels] of heart rates in 60–160, each of its own course."""
    random = np.random.default_rng(0)
    courses = np.cumsum(random.normal(size=(40, 50, channels)), axis=1)
    return np.asarray(60 + 100 * (courses - courses.min()) / np.ptp(courses))


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (pulses(channels=1), "minmax"),
        (pulses(channels=3), "minmax"),
        (pulses(channels=1).round(), "minmax"),
        (pulses(channels=1).astype(np.int16), "minmax"),
        (pulses(channels=1).astype(np.uint8), "image"),
        (np.repeat(pulses(channels=1).round(), 2, axis=2), "minmax"),
        (np.where(np.eye(50)[:40, :, np.newaxis] > 0, np.nan, pulses(channels=1)), "minmax"),
    ],
    ids=["numbers", "channels", "whole", "int16", "bytes", "two channels", "gaps"],
)
def test_series_whose_values_happen_to_lie_in_bytes_are_no_images(rows: np.ndarray, kind: str) -> None:
    assert fit_scaling("auto", rows).kind == kind


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3), (60, 12), (8, 8, 1)])
def test_images_of_whole_numbers_are_images_whatever_their_type_and_shape(shape: tuple[int, ...], dtype: type) -> None:
    rows: np.ndarray = np.asarray(np.random.default_rng(0).integers(0, 256, (30, *shape)), dtype)
    assert fit_scaling("auto", rows).kind == "image"
    assert fit_scaling("auto", unscaled(rows, np.arange(30))).kind == "image"


def test_unsigned_bytes_do_not_overflow_when_their_smallest_is_not_zero() -> None:
    rows = np.array([[10, 250], [20, 5]], np.uint8)
    assert fit_scaling("minmax", rows).apply(rows).tolist() == [[0, 1], [1, 0]]


def test_many_rows_are_scaled_like_few() -> None:
    rows = np.random.default_rng(0).normal(size=(10_000, 2))
    scaling = fit_scaling("standard", rows)
    assert np.array_equal(scaling.apply(rows)[9_000:], scaling.apply(rows[9_000:]))


@pytest.mark.parametrize(
    ("kind", "column"), [("standard", [-1, 0, None, 1]), ("minmax", [0, 0.5, None, 1]), ("auto", [-1, 0, None, 1])]
)
def test_missing_values_take_no_part_and_stay_missing(kind: str, column: list[float | None]) -> None:
    step = 1 if kind == "minmax" else np.sqrt(2 / 3)  # of the column −1, 0, 1 the standard deviation
    rows = np.array([[-1.0, 5], [0, np.nan], [np.nan, 7], [1, 9]])
    scaled = fit_scaling(kind, rows).apply(rows)[:, 0]
    expected = [np.nan if value is None else value / step for value in column]
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    assert in_unit_interval([scaled]) is (kind == "minmax")
