"""What a source is asked for and gives: places as a reader finds them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.data.readers.raw import (
    DataProblem,
    RawData,
    Request,
    find_missing,
    refuse_beyond_memory,
    refuse_missing,
)
from klsearch.vae.host.machine import free_memory


@pytest.mark.parametrize(
    ("columns", "first_line", "at", "place"),
    [
        (None, None, (4,), "row 4 (counted from 0)"),
        (None, 2, (4,), "row 4 (counted from 0), line 6"),
        (("age", "size"), 2, (0, 1), "column 'size', row 0 (counted from 0), line 2"),
        (None, None, (7, 2), "column 2, row 7 (counted from 0)"),
        (None, None, (3, 1, 2), "pixel [1, 2], row 3 (counted from 0)"),
        (None, None, (3, 1, 2, 0), "pixel [1, 2, 0], row 3 (counted from 0)"),
    ],
)
def test_a_place_is_told_as_a_reader_finds_it(
    columns: tuple[str, ...] | None, first_line: int | None, at: tuple[int, ...], place: str
) -> None:
    raw = RawData(name="rows.csv", rows=np.zeros((9, 2)), columns=columns, first_line=first_line)
    assert raw.place(*at) == place


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("rows.npy", "/study/rows.npy"),
        ("../rows.npy", "/study/../rows.npy"),
        ("/data/rows.npy", "/data/rows.npy"),
        ("~/rows.npy", "/home/me/rows.npy"),
        (".", "/study"),
    ],
)
def test_a_path_is_relative_to_the_folder_unless_it_begins_at_the_root_or_at_home(
    monkeypatch: pytest.MonkeyPatch, source: str, path: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Request(source=source, folder=Path("/study")).path == Path(path)


def test_columns_beside_the_rows_are_named_by_their_key() -> None:
    asked = Request(source="rows.csv", folder=Path(), array="x", labels="digit", split_column="part")
    assert asked.beside_rows == {"labels": "digit", "split_column": "part"}
    assert Request(source="rows.csv", folder=Path()).beside_rows == {}


def test_only_keys_that_were_given_are_refused_the_first_of_them_by_name() -> None:
    asked = Request(source="rows.csv", folder=Path(), labels="digit", group="patient")
    asked.refuse("array", "split_column", because="a table has one")
    with pytest.raises(DataProblem) as refused:
        asked.refuse("array", "labels", "group", because="a table has one")
    assert str(refused.value) == "rows.csv: data.labels = 'digit' cannot be used: a table has one"


def test_data_must_fit_into_free_memory_together_with_a_copy_in_float32() -> None:
    """Of 8 bytes each: 12 in all. What is free changes meanwhile, so a third is left on either side."""
    values, wide = free_memory() // 12, np.dtype(np.float64)
    refuse_beyond_memory("rows.npy", values * 2 // 3, wide)
    with pytest.raises(DataProblem, match=r"rows\.npy: [\d,]+ values need about [\d.,]+ GB of memory, but [\d.,]+ GB"):
        refuse_beyond_memory("rows.npy", values * 4 // 3, wide)
    refuse_beyond_memory("rows.npy", values * 4 // 3, None)  # the copy alone: 4 in all


def test_small_whole_numbers_need_no_copy() -> None:
    values = free_memory()
    refuse_beyond_memory("rows.npy", values * 2 // 3, np.dtype(np.uint8))
    refuse_beyond_memory("rows.npy", values // 3, np.dtype(np.uint16))
    with pytest.raises(DataProblem):
        refuse_beyond_memory("rows.npy", values * 2 // 3, np.dtype(np.uint16))
    with pytest.raises(DataProblem):
        refuse_beyond_memory("rows.npy", values * 2 // 3, np.dtype(np.float16))


def test_rows_without_a_value_are_counted_and_the_first_is_named() -> None:
    refuse_missing("rows.csv", "digit", np.zeros(5))
    refuse_missing("rows.csv", "digit", np.zeros(0))
    with pytest.raises(DataProblem) as refused:
        refuse_missing("rows.csv", "digit", np.array([3, 1, np.nan, 4, np.nan]))
    assert str(refused.value) == (
        "rows.csv: column 'digit' has no value in 2 rows, the first at row 2 (counted from 0); "
        "fill it in or remove those rows"
    )


def test_a_word_that_is_taken_for_missing_is_told() -> None:
    with pytest.raises(
        DataProblem, match=r"no value in 1 row, the first at row 1 \(counted from 0\), which says 'None';"
    ):
        refuse_missing("rows.npz", "drug", np.array(["aspirin", "None"]))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([1.5, np.nan, np.inf, 0.0], [1, 2]),
        (np.array([1, np.nan, 2j]), [1]),
        ([3, 0, -1], []),
        ([True, False], []),
        (np.array(["2026-01-01", "NaT"], "datetime64[D]"), [1]),
        (np.array([1, "NaT"], "timedelta64[s]"), [1]),
        (["a", "", "  ", "nan", " None ", "<NA>", "b", "none of these"], [1, 2, 3, 4, 5]),
        ([b"a", b"", b" ", b"nan", b"Nancy"], [1, 2, 3]),
        (np.array(["x", float("nan"), "y"]), [1]),  # which is text: NumPy wrote nan
        (np.array(["a", "", "nan", "b"], np.dtypes.StringDType()), [1, 2]),
        (np.array(["a", None, "b"], np.dtypes.StringDType(na_object=None)), [1]),
        (
            np.array(["a", None, pd.NA, np.nan, pd.NaT, np.datetime64("NaT"), "", b" ", 0], object),
            [1, 2, 3, 4, 5, 6, 7],
        ),
        (np.array(["nan", "None", "a"], object), []),  # objects have a None of their own
        (pd.array(["u", None], dtype="string"), [1]),
        (pd.array([True, None, False], dtype="boolean"), [1]),
        (pd.array([1, 2, None], dtype="Int64"), [2]),
        ([], []),
    ],
)
def test_what_is_missing_is_found_in_an_array_of_any_dtype(values: Any, missing: list[int]) -> None:
    found = find_missing(np.asarray(values))
    assert (found.dtype, len(found)) == (np.dtype(bool), len(values))
    assert np.flatnonzero(found).tolist() == missing


def test_what_is_missing_is_found_in_its_place_in_rows_of_objects() -> None:
    assert find_missing(np.array([["a", None], [pd.NA, "b"]], object)).tolist() == [[False, True], [True, False]]
