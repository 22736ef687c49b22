"""Rows from tables of text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from klsearch.vae.data.datasets import DataProblem, Dataset, load_dataset
from klsearch.vae.data.readers.raw import Request

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder


TABLE = np.random.default_rng(1).normal(size=(40, 3))


CSV = "age,height,who,flag\n" + "".join(
    f"{20 + row},{1.5 + row / 100},p{row // 2},{row % 2 == 0}\n" for row in range(30)
)


def load_csv(folder: Path, text: str, *, scaling: str = "auto", **options: Any) -> Dataset:
    (folder / "rows.csv").write_text(text, encoding="utf-8")
    return load_dataset(Request(source="rows.csv", folder=folder, **options), scaling=scaling)


def test_numbers_and_truth_values_of_a_csv_are_data_and_a_group_is_not(tmp_path: Path) -> None:
    data = load_csv(tmp_path, CSV, group="who", scaling="none")
    assert data.columns == ("age", "height", "flag")
    assert sum(data.rows.values()) == 30
    ages = [{int(age) // 2 for age in rows[:][:, 0]} for rows in data.splits.values()]
    assert sum(map(len, ages)) == 15


def test_labels_of_a_csv_may_be_text(tmp_path: Path) -> None:
    data = load_csv(tmp_path, CSV, labels="who", scaling="none")
    assert data.labels is not None
    assert [f"p{(int(age) - 20) // 2}" for age in data.train[:][:, 0]] == data.labels["train"].tolist()


def test_a_column_with_a_value_that_is_no_number_is_refused_by_name_row_line_and_value(tmp_path: Path) -> None:
    odd = "a,b\n1,2\n3,4\n5,oops\n"
    with pytest.raises(DataProblem, match=r"column 'b' holds 'oops' at row 2 \(counted from 0, line 4\)"):
        load_csv(tmp_path, odd)


def test_an_empty_cell_is_named_with_its_column_row_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"NaN .* in 1 value at column 'b', row 1 \(counted from 0\), line 3"):
        load_csv(tmp_path, "a,b\n1,2\n3,\n5,6\n")


def test_no_line_is_claimed_where_lines_are_not_rows(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"column 'b', row 1 \(counted from 0\); fill"):
        load_csv(tmp_path, "a,b\n\n1,2\n3,\n5,6\n")


def test_an_infinity_in_a_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="infinity in 1 value at column 'a', row 2"):
        load_csv(tmp_path, "a,b\n1,2\n3,4\ninf,6\n")


def test_an_unknown_column_is_refused_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"has no column 'wo' \(data\.group\); did you mean 'who'\?"):
        load_csv(tmp_path, CSV, group="wo")


def test_a_row_without_a_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="column 'who' has no value in 1 row, the first at row 3"):
        load_csv(tmp_path, CSV.replace("p1,False", ",False"), group="who")


def test_a_first_line_of_numbers_is_data_and_said_to_be(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "rows.csv", TABLE, delimiter=",")
    data = load_dataset(Request(source="rows.csv", folder=tmp_path))
    assert sum(data.rows.values()) == 40
    assert data.columns == ("0", "1", "2")
    assert "the first line holds numbers and was read as data" in data.notes[0]


def test_a_csv_from_a_spreadsheet_with_a_byte_order_mark_keeps_its_first_name(tmp_path: Path) -> None:
    assert load_csv(tmp_path, "\ufeffa,b\n" + "".join(f"{row},{-row}\n" for row in range(9))).columns == ("a", "b")


def test_only_the_first_rows_of_a_csv_are_read(tmp_path: Path) -> None:
    assert sum(load_csv(tmp_path, CSV, group="who", rows=20).rows.values()) == 20


@pytest.mark.parametrize(
    ("text", "columns", "first", "note"),
    [
        (
            "alter;puls;groesse\n20;60;175,4\n30;61;180\n",
            "alter puls groesse",
            [20, 60, 175.4],
            "decimal commas in column 'groesse', where 175,4 is 175.4",
        ),
        ("alter;puls;groesse\n20;60;175,4\n30;61;180\n", "alter puls groesse", [20, 60, 175.4], "by semicolons"),
        (
            "1,5;2,5;3,0\n1,6;2,7;3,1\n",
            "0 1 2",
            [1.5, 2.5, 3.0],
            "decimal commas in columns '0', '1', '2', where 1,5 is 1.5",
        ),
        ("a;b\n1,5;3,456\n2,5;7,890\n", "a b", [1.5, 3.456], "in columns 'a', 'b', where 3,456 is 3.456"),
        ("a\tb\n1\t2\n3\t4\n", "a b", [1, 2], "separated by tabs"),
        ("a|b\n1|2\n3|4\n", "a b", [1, 2], "separated by bars"),
        ("a,b\n1,2,\n3,4,\n", "a b", [1, 2], "with a separator at the end of each row, left out"),
        ("a,b,\n1,2,\n3,4,\n", "a b", [1, 2], "the last column has neither name nor values"),
        (",a,b\n0,1,2\n1,3,4\n", "a b", [1, 2], "the first column has no name and counts the rows"),
        (",a,b,\n0,1,2,\n1,3,4,\n", "a b", [1, 2], "the last column has neither name nor values"),
    ],
)
def test_a_table_is_read_as_it_is_and_what_was_done_is_said(
    folder: "DataFolder", text: str, columns: str, first: list[float], note: str
) -> None:
    (folder.path / "rows.csv").write_text(text)
    raw = folder.read("rows.csv")
    assert raw.columns == tuple(columns.split())
    assert raw.rows[0].tolist() == first
    assert any(note in said for said in raw.notes), raw.notes


@pytest.mark.parametrize("separator", [",", ";"])
def test_words_that_hold_another_separator_do_not_divide_a_row(folder: "DataFolder", separator: str) -> None:
    lines = ["film", "kind", "stars"], ["Up", "Action|Comedy", "4"], ["Heat", "Crime|Drama", "5"]
    (folder.path / "rows.csv").write_text("".join(separator.join(line) + "\n" for line in lines))
    raw = folder.read("rows.csv", labels="kind", group="film")
    assert raw.labels is not None and raw.labels.tolist() == ["Action|Comedy", "Crime|Drama"]
    assert raw.rows.tolist() == [[4], [5]]


def test_marks_for_missing_make_no_column_of_numbers_text_and_stay_words_among_words(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b,strand\n?,2,+\n3,-,-\n5,6,+\n")
    raw = folder.read("rows.csv", labels="strand")
    assert np.array_equal(raw.rows, np.array([[np.nan, 2], [3, np.nan], [5, 6]]), equal_nan=True)
    assert raw.labels is not None and raw.labels.tolist() == ["+", "-", "+"]


def test_a_quoted_comma_in_a_comma_separated_table_is_no_decimal_comma(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text('a,b\n"1,234",2\n"3,500",4\n')
    assert "column 'a' holds '1,234' at row 0" in folder.refusal("rows.csv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "rows.csv: is empty"),
        (b"a,b\n", "is empty: no rows"),
        (b"a,b\n1,2\n3,4,5\n", "its rows differ in length: Expected 2 fields in line 3, saw 3"),
        (b"# lab\na,b\n1,2\n3,4,5\n", "in line 4, saw 3; give each as many values as there are names, and put text"),
        (b"a,b\n1,2,9\n3,4,9\n", "its rows have more values than its first line has names"),
        (b"a,b\n1,2,\n" + b"3,4,\n" * 60 + b"5,6,7\n", "its rows differ in length"),
        (b"a,b\n" + b"9" * 400 + b",2\n3,4\n", "infinity in 1 value at column 'a', row 0 (counted from 0), line 2"),
        (b"\x00\x01\x02", "is no text"),
        (b"a,b\n1,2\n", "holds one row"),
    ],
)
def test_a_csv_without_rows_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataProblem) as caught:
        load_dataset(Request(source="rows.csv", folder=tmp_path))
    assert reason in str(caught.value)


def test_a_cell_of_blanks_in_quotes_is_as_empty_as_one_without(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text('x,who\n1,a\n2,"  "\n3,\n4,b\n')
    assert "column 'who' has no value in 2 rows, the first at row 1" in folder.refusal("rows.csv", labels="who")
