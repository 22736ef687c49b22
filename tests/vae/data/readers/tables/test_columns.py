"""What the columns of a table are taken for."""

import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.data.readers.raw import Column

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = "age,pet,well,id\n" + "".join(
    f"{row},{('cat', 'dog', 'ape')[row % 3]},{row % 2 == 0},p{row}\n" for row in range(9)
)


def test_words_become_columns_of_0_and_1_in_their_place(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text(TABLE)
    raw = folder.read("rows.csv", columns={"id": "ignore"})
    assert raw.columns == ("age", "pet=ape", "pet=cat", "pet=dog", "well")
    assert raw.rows[1].tolist() == [1, 0, 0, 1, 0]
    assert raw.table == (
        Column(name="age", kind="number"),
        Column(name="pet", kind="category", categories=("ape", "cat", "dog")),
        Column(name="well", kind="truth value"),
    )
    assert raw.notes == ("rows.csv: column 'pet' holds words and became 3 columns of 0 and 1",)


def test_a_column_like_an_id_is_named_and_left_out_only_when_asked(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text(TABLE)
    refusal = folder.refusal("rows.csv")
    assert "column 'id' holds 9 different texts in 9 rows, like an id" in refusal
    assert '[data.columns] id = "ignore"' in refusal


@pytest.mark.parametrize("name", ["a b c", "größe", "x.y", 'said "so"', ""])
@pytest.mark.parametrize("kind", ["ids", "dates"])
def test_a_line_that_is_proposed_for_the_definition_is_toml_whatever_the_column_is_called(
    folder: "DataFolder", name: str, kind: str
) -> None:
    cells = [f"p{row}" if kind == "ids" else f"2020-01-0{row + 1}" for row in range(9)]
    pd.DataFrame({"age": range(9), name: cells}).to_csv(folder.path / "rows.csv", index=False)
    line = (
        folder.refusal("rows.csv")
        .split("[data.columns] ")[1]
        .split(', or take it by "category"')[0]
        .split(", or name")[0]
    )
    ((key, value),) = tomllib.loads(line).items()
    assert (key or "Unnamed: 1", value) == (name or "Unnamed: 1", "ignore")


def test_numbers_may_be_categories_and_counts_are_said_to_be_numbers_yet(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("ward,visits\n3,1\n7,2\n3,5\n")
    raw = folder.read("rows.csv", columns={"ward": "category", "visits": "count"})
    assert raw.columns == ("ward=3", "ward=7", "visits")
    assert raw.rows.tolist() == [[1, 0, 1], [0, 1, 2], [1, 0, 5]]
    assert raw.notes == (
        "rows.csv: column 'visits' is a count, to model.likelihood = 'mixed' alone if others are none",
    )


def test_a_missing_word_is_missing_in_all_its_columns(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("pet,age\ncat,1\n,2\ndog,3\ncat,4\n")
    assert np.isnan(folder.read("rows.csv").rows[1]).tolist() == [True, True, False]


@pytest.mark.parametrize("day", ["2020-01-0{}", "0{}.05.2020", "2020-01-01 10:0{}"])
def test_dates_are_told(folder: "DataFolder", day: str) -> None:
    (folder.path / "rows.csv").write_text("day,a\n" + "".join(f"{day.format(row % 3 + 1)},{row}\n" for row in range(9)))
    assert "row 0 (counted from 0, line 2), which is a date; turn it into numbers, leave it out by" in folder.refusal(
        "rows.csv"
    )


def test_a_column_that_is_not_there_cannot_be_taken_for_anything(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    assert "has no data column 'c' ([data.columns]); it has a, b" in folder.refusal("rows.csv", columns={"c": "count"})
    assert "no column is left" in folder.refusal("rows.csv", columns={"a": "ignore", "b": "ignore"})


def test_all_columns_that_cannot_be_data_are_told_at_once(folder: "DataFolder") -> None:
    rows = "".join(f"2020-01-0{row + 1},text {row * 'x'},{row},{'abc'[row % 3]}1\n" for row in range(6))
    (folder.path / "rows.csv").write_text("day,name,age,code\n" + rows)
    refusal = folder.refusal("rows.csv")
    assert "column 'day' holds '2020-01-01' at row 0" in refusal
    assert refusal.endswith("; nor can 'name' (texts, like an id) be data")


def test_a_single_word_becomes_one_column(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("age,pet\n" + "".join(f"{row},cat\n" for row in range(9)))
    assert folder.read("rows.csv").notes == ("rows.csv: column 'pet' holds words and became 1 column of 0 and 1",)


def test_a_gap_makes_no_decimals_of_categories_that_are_whole_numbers(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("ward,age\n3,1\n10,2\n,5\n3,7\n")
    raw = folder.read("rows.csv", columns={"ward": "category"})
    assert raw.columns == ("ward=10", "ward=3", "age")
    assert raw.rows[:, 1].tolist()[::3] == [1, 1] and np.isnan(raw.rows[2, :2]).all()
    (folder.path / "rows.csv").write_text("ward,age\n3,1\n1.5,2\n,5\n")
    assert folder.read("rows.csv", columns={"ward": "category"}).columns == ("ward=1.5", "ward=3.0", "age")


@pytest.mark.parametrize("words", [("True", "False", "NA"), ("TRUE", "FALSE", ""), ("true", "false", "null")])
def test_truth_values_of_a_table_may_be_missing(folder: "DataFolder", words: tuple[str, ...]) -> None:
    (folder.path / "rows.csv").write_text("age,well\n" + "".join(f"{row},{words[row % 3]}\n" for row in range(6)))
    raw = folder.read("rows.csv")
    assert raw.table is not None and raw.table[1] == Column(name="well", kind="truth value")
    assert np.array_equal(raw.rows[:, 1], [1, 0, np.nan] * 2, equal_nan=True)


def test_numbers_that_a_frame_has_as_text_are_numbers(folder: "DataFolder") -> None:
    pd.DataFrame(
        {"age": ["31", "4.5", "−3", "?"], "w": ["1", "2", "b", "c"], "id": ["01", "02", "01", "03"]}
    ).to_parquet(folder.path / "rows.parquet")
    raw = folder.read("rows.parquet", columns={"id": "category", "w": "ignore"})
    assert raw.columns == ("age", "id=01", "id=02", "id=03")
    assert np.array_equal(raw.rows[:, 0], [31, 4.5, -3, np.nan], equal_nan=True)
    assert [note.removeprefix("rows.parquet: ") for note in raw.notes] == [
        "column 'age' spells numbers as text",
        "'−' is taken for a minus in column 'age'",
        "'?' is taken for missing in column 'age'",
    ]
    assert "column 'w' holds 'b' at row 2" in folder.refusal("rows.parquet", columns={"id": "ignore"})
