"""Frames of Python's objects, of Arrow's types and of text with blanks about it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from klsearch.vae.data.datasets import DataProblem
from klsearch.vae.data.readers.raw import RawData, Request
from klsearch.vae.data.readers.tables.frames import from_frame
from klsearch.vae.data.readers.tables.types import in_usual_types

WORDS = ["a", None, "b", "a"]


def read(frame: pd.DataFrame, **options: Any) -> RawData:
    return from_frame("rows", frame, Request(source="rows", folder=Path(), **options))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False, None], "boolean"),
        ([True, False, False], "bool"),
        ([True, pd.NA, False], "boolean"),
        ([1, 2, 3], "int64"),
        ([1, 2, None], "float64"),
        ([1, 2.5, pd.NA], "float64"),
        ([2**70, 1, 2], "float64"),
        ([Decimal(1), None, Decimal("2.5")], "float64"),
        ([None, np.nan, pd.NA], "float64"),
        ([1, "b", None], "object"),
        (["a", "b", None], "object"),
        ([[1], [2], None], "object"),
    ],
)
def test_objects_become_what_they_are(values: list[Any], kind: str) -> None:
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    assert in_usual_types(frame)["a"].dtype == kind
    assert in_usual_types(frame)["a"].isna().tolist() == pd.isna(pd.Series(values, dtype=object)).tolist()


def test_a_frame_of_arrow_s_types_is_read_as_any_other() -> None:
    frame = pd.DataFrame({"i": [1, 2, None, 4], "x": [1.5, 2, None, 4], "b": [True, None, False, True], "w": WORDS})
    usual, arrow = read(frame), read(frame.convert_dtypes(dtype_backend="pyarrow"))
    assert (arrow.columns, arrow.table) == (usual.columns, usual.table)
    assert arrow.columns == ("i", "x", "b", "w=a", "w=b")
    assert np.array_equal(arrow.rows, usual.rows, equal_nan=True)


def test_what_arrow_alone_has_is_refused_for_what_it_is() -> None:
    lists = pd.DataFrame({"a": pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))})
    with pytest.raises(DataProblem, match="column 'a' holds '\\[1\\]' at row 0"):
        read(lists)


@pytest.mark.parametrize("kind", [object, "str", "category"])
def test_blanks_about_a_word_make_no_other_word(kind: Any) -> None:
    frame = pd.DataFrame({"x": range(4), "w": pd.Series(["male", "male ", " male", "female"]).astype(kind)})
    assert read(frame).columns == ("x", "w=female", "w=male")
    assert read(frame, labels="w").labels.tolist() == ["male", "male", "male", "female"]  # type: ignore[union-attr]
    assert read(frame, condition=("w",)).conditions["w"].tolist() == ["male", "male", "male", "female"]
    assert frame["w"].tolist() == ["male", "male ", " male", "female"]


def test_truth_values_with_a_gap_are_truth_values_with_a_gap() -> None:
    raw = read(pd.DataFrame({"x": range(4), "b": pd.Series([True, None, False, True], dtype=object)}))
    assert raw.table is not None and [column.kind for column in raw.table] == ["number", "truth value"]
    assert np.array_equal(raw.rows[:, 1], [1, np.nan, 0, 1], equal_nan=True)


@pytest.mark.parametrize("kind", [object, "str", "category", "float64"])
def test_a_column_without_any_value_is_missing_in_every_row(kind: Any) -> None:
    raw = read(pd.DataFrame({"x": range(4), "n": pd.Series([None] * 4, dtype=kind)}))
    assert raw.columns == ("x", "n")
    assert np.isnan(raw.rows[:, 1]).all()
