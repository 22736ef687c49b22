"""Rows that are refused before anything is trained on them, and what their user is warned of."""

from typing import Any

import numpy as np
import pytest

from klsearch.vae.data.checks import check_rows, check_varies, warnings_of
from klsearch.vae.data.readers.raw import DataProblem, RawData
from klsearch.vae.data.scaling import fit_scaling

TABLE = np.random.default_rng(1).normal(size=(40, 3))


def raw_data(rows: Any, **values: Any) -> RawData:
    return RawData(name="rows.npy", rows=np.asarray(rows), **values)


def refusal_of_raw(rows: Any, **values: Any) -> str:
    with pytest.raises(DataProblem) as caught:
        check_rows(raw_data(rows, **values))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table_with(value: float, *cells: tuple[int, int]) -> np.ndarray:
    rows = TABLE.copy()
    for cell in cells:
        rows[cell] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((0, 3)), "is empty: no rows"),
        (np.zeros((3, 0)), "rows without values"),
        (TABLE[:1], "holds one row"),
        (TABLE[:, 0], "has shape [40]; a table needs [rows, columns]"),
        (np.float64(3), "has shape []"),
        (np.zeros((2, 2, 2, 2, 2)), "has shape [2, 2, 2, 2, 2]"),
        (TABLE + 1j, "holds complex numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "holds text"),
        (np.ones((40, 3)), "all 40 rows are the same"),
        (np.tile([1.0, 2.0, 3.0], (40, 1)), "constant data"),
        (TABLE * 1e300, "more than float32 can hold in 120 values"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_trained_on_are_refused(rows: Any, reason: str) -> None:
    assert reason in refusal_of_raw(rows)


def test_infinities_are_counted_and_the_first_is_named() -> None:
    text = refusal_of_raw(table_with(-np.inf, (9, 0), (4, 1), (30, 2)))
    assert "infinity in 3 values, the first at column 1, row 4" in text


def test_a_missing_pixel_is_named_by_its_place() -> None:
    images = np.random.default_rng(0).random((10, 4, 5))
    images[3, 1, 2] = np.nan
    assert "pixel [1, 2], row 3" in refusal_of_raw(images)


def warnings(rows: np.ndarray, *, scaling: str = "none", **values: Any) -> tuple[str, ...]:
    """What is warned of where the first three quarters of the rows train."""
    train = rows[: len(rows) * 3 // 4]
    return warnings_of(raw_data(rows, **values), train, fit_scaling(scaling, train))


def test_constant_pixels_are_no_matter_of_warning() -> None:
    images = np.random.default_rng(0).random((20, 4, 4))
    images[:, 0] = 0
    assert warnings(images) == ()


@pytest.mark.parametrize(
    ("factor", "what"),
    [
        ((1e6, 1, 1), "reach 1e+06"),
        ((1, 1, -101), "reach 101"),
        ((1, 100, 1), None),
        ((50, 1e-3, 1), "vary 5e+04 times"),
        ((1, 1 / 900, 1), None),
        ((1, 1, 0), None),  # a constant column has no scale to compare
    ],
)
def test_a_huge_range_left_unscaled_is_warned_of(factor: tuple[float, ...], what: str | None) -> None:
    """Every column is 1 and −1 in turn, so that its factor is its standard deviation and what it reaches."""
    rows = np.array([[1.0], [-1.0]] * 20) * factor
    told = [line for line in warnings(rows) if "common cause of exploding KL" in line]
    assert len(told) == (what is not None)
    assert what is None or f"values {what}" in told[0]
    assert warnings(rows, scaling="standard") == tuple(line for line in warnings(rows) if line not in told)


def test_values_far_below_zero_are_a_huge_range_too() -> None:
    (line,) = warnings(TABLE - 1000)
    assert line.startswith("values reach 1e+03 and are not scaled")


def test_images_of_very_different_pixels_are_no_matter_of_warning() -> None:
    images = TABLE[:, :2, np.newaxis] * np.array([1.0, 1e-5]).reshape(2, 1)
    assert warnings(images) == ()


def test_duplicate_rows_are_counted() -> None:
    rows = np.concatenate([TABLE, TABLE[:5], TABLE[:1]])
    assert warnings(rows) == ("6 of 46 rows repeat an earlier one; copies may lie in different splits",)


def test_constant_columns_are_named_five_of_them_at_most() -> None:
    constant = np.column_stack([np.full((40, 7), 0.5), TABLE])
    (line,) = warnings(constant)
    assert line.endswith("so they carry nothing and keep scale 1: columns 0, 1, 2, 3, 4 and 2 more")
    names = tuple("abcdefghij")
    assert warnings(constant[:, 5:], columns=names[5:])[0].endswith("columns 'f', 'g'")


def test_a_column_that_varies_in_held_out_rows_alone_is_constant_where_it_matters() -> None:
    rows = TABLE.copy()
    rows[:30, 1] = 2.0
    assert [line.split(": columns ")[1] for line in warnings(rows)] == ["1"]


def test_notes_of_the_reader_come_first() -> None:
    rows = np.concatenate([TABLE, TABLE[:1]])
    first, second = warnings(rows, notes=("two columns were left out",))
    assert first == "two columns were left out"
    assert second.startswith("1 of 41 rows repeat")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.arange(39), "rows.npy: 40 rows have 39 labels; each row needs one"),
        (np.zeros((40, 2)), "rows.npy: the labels have shape [40, 2]; give one value for each row"),
        (np.where(np.arange(40) > 37, np.nan, 1), "rows.npy: 2 rows have no label, the first at row 38; fill them in"),
        (np.where(np.arange(40) == 0, np.inf, 1), "rows.npy: 1 rows have no label, the first at row 0; fill them in"),
        (np.array([*"ab" * 19, None, float("nan")], object), "rows.npy: 2 rows have no label, the first at row 38"),
        (np.array(["a"] * 39 + [7], object), "rows.npy: the labels mix numbers and text"),
    ],
    ids=["too few", "two for each", "NaN", "infinite", "objects", "mixed"],
)
def test_labels_that_are_not_one_value_for_each_row_are_refused(labels: np.ndarray, reason: str) -> None:
    assert refusal_of_raw(TABLE, labels=labels).startswith(reason)


@pytest.mark.parametrize(
    "labels", [np.arange(40), np.array(["a", "b"] * 20), np.array(["a", "b"] * 20, object), np.ones(40, bool)]
)
def test_labels_of_any_kind_are_sound(labels: np.ndarray) -> None:
    check_rows(raw_data(TABLE, labels=labels))


@pytest.mark.parametrize(
    "rows",
    [TABLE, TABLE > 0, (TABLE * 10).astype(np.int8), TABLE.reshape(10, 4, 3), TABLE.reshape(10, 2, 2, 3)],
    ids=["table", "truth values", "whole numbers", "grey images", "colours"],
)
def test_tables_and_images_of_any_real_numbers_are_sound(rows: np.ndarray) -> None:
    check_rows(raw_data(rows))


def test_of_several_faults_the_first_is_told_in_the_order_of_their_remedies() -> None:
    """What cannot be a number comes before the shape, NaN before infinity, and both before a lack of variation."""
    assert "holds text" in refusal_of_raw(np.array("a"))
    assert "NaN (no number) in 2 values" in refusal_of_raw(np.array([[np.inf, np.nan], [np.inf, np.nan]]))
    assert "infinity in 4 values" in refusal_of_raw(np.full((2, 2), np.inf))


def test_the_largest_number_of_float32_is_sound_and_any_beyond_is_not() -> None:
    most = float(np.finfo(np.float32).max)
    check_rows(raw_data(table_with(most, (3, 1))))
    text = refusal_of_raw(table_with(-most * 1.001, (3, 1)), columns=("a", "b", "c"))
    assert text == "rows.npy: more than float32 can hold in 1 value at column 'b', row 3 (counted from 0); rescale them"


def test_rows_vary_if_one_value_does() -> None:
    same = np.ones((3, 2))
    with pytest.raises(DataProblem, match="x: the training split's 3 rows are the same"):
        check_varies("x", "the training split's", same)
    same[2, 1] = 2
    check_varies("x", "the training split's", same)


def test_one_hot_blocks_are_told_with_their_width_and_their_padding() -> None:
    letters = np.random.default_rng(0).integers(0, 5, size=(200, 6))
    rows = np.eye(5)[letters].reshape(200, 30)
    assert any("each block of 5 columns holds one 1, as one-hot" in line for line in warnings(rows))
    rows[:, 25:] = 0
    assert any("each block of 5 columns holds one 1, some none (padding)" in line for line in warnings(rows))
    noise = np.random.default_rng(1).integers(0, 2, size=(200, 30))
    assert not any("one-hot" in line for line in warnings(noise))


def test_unscaled_counts_are_told_and_scaled_ones_are_not() -> None:
    rows = np.random.default_rng(0).poisson(3.0, size=(200, 6)) * 1.0
    assert any("as counts are" in line for line in warnings(rows))
    assert not any("as counts are" in line for line in warnings(rows, scaling="standard"))
    assert not any("as counts are" in line for line in warnings(rows + 0.5))


def test_a_column_that_numbers_the_rows_is_named() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[:, 1] = np.arange(7, 57)
    assert [line for line in warnings(rows, scaling="standard") if "number the rows" in line] == [
        "columns that number the rows and say nothing of them; take them out: 1"
    ]


@pytest.mark.parametrize(("value", "told"), [(-999.0, True), (-1.0, False)])
def test_a_repeated_value_far_outside_all_others_may_stand_for_a_missing_one(value: float, told: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 3))
    rows[:10, 2] = value
    assert any("(as -999 does): columns 2" in line for line in warnings(rows, scaling="standard")) is told


def test_fewer_training_rows_than_columns_are_told() -> None:
    rows = np.random.default_rng(0).normal(size=(10, 12))
    assert any("7 training rows are fewer than the 12 columns" in line for line in warnings(rows))
    assert not any("fewer than" in line for line in warnings(rows[:, :3]))
