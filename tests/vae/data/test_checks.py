"""Rows that are refused before anything is trained on them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.data.checks import check_columns, check_counts, check_rows, check_varies
from klsearch.vae.data.readers.raw import Column, DataProblem, RawData

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


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.arange(39), "rows.npy: 40 rows have 39 labels; each row needs one"),
        (np.zeros((40, 2)), "rows.npy: the labels have shape [40, 2]; give one value for each row"),
        (np.where(np.arange(40) > 37, np.nan, 1), "rows.npy: 2 rows have no label, the first at row 38; fill them in"),
        (np.where(np.arange(40) == 0, np.inf, 1), "rows.npy: 1 row has no label, the first at row 0; fill them in"),
        (np.array([*"ab" * 19, None, float("nan")], object), "rows.npy: 2 rows have no label, the first at row 38"),
        (np.array([*"ab" * 19, pd.NA, pd.NA], object), "rows.npy: 2 rows have no label, the first at row 38; fill"),
        (np.array([*"ab" * 19, "", " "]), "rows.npy: 2 rows have no label, the first at row 38; fill them in"),
        (
            np.array(["nan", *"ab" * 19, "c"]),
            "rows.npy: 1 row has no label, the first at row 0, which says 'nan'; fill",
        ),
        (np.array(["2026-01-01", "NaT"] * 20, "M8[D]"), "rows.npy: 20 rows have no label, the first at row 1; fill"),
        (np.array(["a"] * 39 + [7], object), "rows.npy: the labels mix numbers and text"),
    ],
    ids=["too few", "two for each", "NaN", "infinite", "objects", "pandas", "blank", "word", "date", "mixed"],
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


def test_missing_values_are_refused_by_the_key_that_masks_them() -> None:
    text = refusal_of_raw(table_with(np.nan, (4, 1)))
    assert "NaN (no number) in 1 value at column 1, row 4" in text
    assert text.endswith('leave them out of what is learned: data.missing = "mask"')


def test_masking_refuses_rows_without_any_value_and_infinity() -> None:
    rows = table_with(np.nan, (5, 0), (5, 1), (5, 2), (9, 0), (9, 1), (9, 2), (1, 1))
    with pytest.raises(
        DataProblem, match=r"^rows.npy: 2 rows have no value at all, the first is row 5 \(counted from 0"
    ):
        check_rows(raw_data(rows), missing="mask")
    with pytest.raises(DataProblem, match="infinity in 1 value at column 0, row 2"):
        check_rows(raw_data(table_with(np.inf, (2, 0))), missing="mask")


def test_columns_and_pixels_that_no_training_row_has_are_refused() -> None:
    rows = table_with(np.nan, *((row, column) for row in range(20) for column in (1, 2)))
    check_columns(raw_data(rows), rows)
    names = {"columns": ("a", "b", "c"), "table": tuple(Column(name=name, kind="number") for name in "abc")}
    with pytest.raises(DataProblem, match=r"column 'b' has no value in any training row; \[data.col"):
        check_columns(raw_data(rows, **names), rows[:20])
    images = np.ones((9, 2, 2))
    images[:, 1, 0] = np.nan
    with pytest.raises(DataProblem, match=r"pixel \[1, 0\] has no value in any training row; leave it out"):
        check_columns(raw_data(images), images)


def test_missing_values_hide_no_constant_data_and_no_missing_label() -> None:
    rows = np.tile([1.0, 2.0, 3.0], (40, 1))
    rows[4, 1] = np.nan
    with pytest.raises(DataProblem, match="constant data"):
        check_rows(raw_data(rows), missing="mask")
    with pytest.raises(DataProblem, match="1 row has no label, the first at row 6"):
        check_rows(raw_data(TABLE, labels=np.where(np.arange(40) == 6, np.nan, 1)), missing="mask")


@pytest.mark.parametrize(
    ("value", "told"), [(-1.0, "-1 at {} is below 0, as counts never are"), (0.5, "0.5 at {} is no whole number, as")]
)
def test_what_is_no_count_is_refused_by_column_row_and_line(value: float, told: str) -> None:
    rows = np.ones((9, 3))
    rows[2, 0] = np.nan
    check_counts(RawData(name="rows.csv", rows=rows))
    rows[5, 1] = value
    with pytest.raises(DataProblem) as caught:
        check_counts(RawData(name="rows.csv", rows=rows, columns=("a", "gene3", "b"), first_line=2))
    where = "column 'gene3', row 5 (counted from 0), line 7"
    assert str(caught.value).startswith("rows.csv: " + told.format(where))
    assert str(caught.value).endswith("; give the raw counts, or use model.likelihood = 'gaussian'")


def test_the_row_of_what_is_no_count_is_right_far_down_too() -> None:
    rows = np.ones((400_000, 4), np.int16)
    rows[399_999, 3] = -2
    with pytest.raises(DataProblem, match=r"-2 at column 3, row 399999 \(counted from 0\) is below 0"):
        check_counts(RawData(name="rows.npy", rows=rows))
