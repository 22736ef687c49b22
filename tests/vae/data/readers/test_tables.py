"""Rows from tables."""

import itertools
import sys
from decimal import Decimal
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


def test_a_parquet_whose_description_for_pandas_is_damaged_is_refused(folder: "DataFolder") -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    from pyarrow import parquet

    table = pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({"pandas": "{bad"})
    parquet.write_table(table, folder.path / "rows.parquet")
    assert "rows.parquet: cannot be read" in folder.refusal("rows.parquet")


def test_a_small_parquet_that_unpacks_beyond_memory_is_refused_before_it_is_read(
    folder: "DataFolder", monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    pd.DataFrame({"a": np.zeros(1_000_000)}).to_parquet(folder.path / "rows.parquet")
    monkeypatch.setattr("klsearch.vae.data.readers.raw.free_memory", lambda: 1_000_000)
    assert "1,000,000 values need about 0.0 GB" in folder.refusal("rows.parquet")
    assert len(folder.read("rows.parquet", rows=100).rows) == 100


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


def test_a_parquet_of_several_groups_of_rows_gives_as_many_rows_as_are_asked_for(folder: "DataFolder") -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    frame = pd.DataFrame({"a": np.arange(90.0), "word": ["one", "two", "three"] * 30})
    frame.to_parquet(folder.path / "rows.parquet", row_group_size=20)
    for rows in (10, 20, 50, 90, 200):
        read = folder.read("rows.parquet", rows=rows).rows
        assert read[:, 0].tolist() == list(range(min(rows, 90)))
        assert read[:3, 1:].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("kind", ["list", "large list", "struct", "map", "array"])
def test_a_column_of_a_parquet_whose_values_hold_several_is_refused_by_its_type_and_may_be_ignored(
    folder: "DataFolder", kind: str
) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    from pyarrow import parquet

    types: dict[str, tuple[list[Any], Any]] = {
        "list": ([[1, 2]], pa.list_(pa.int8())),
        "large list": ([[1, 2]], pa.large_list(pa.int8())),
        "struct": ([{"x": 1}], pa.struct({"x": pa.int8()})),
        "map": ([[("x", 1)]], pa.map_(pa.string(), pa.int8())),
        "array": ([[1, 2]], pa.list_(pa.int8(), 2)),
    }
    values, kinds = types[kind]
    table = pa.table({"a": [1.0, 2.0], "more": pa.array(values * 2, kinds), "b": [3, 4]})
    parquet.write_table(table, folder.path / "rows.parquet")
    assert "rows.parquet: column 'more' holds several values in each row (" in folder.refusal("rows.parquet")
    assert folder.read("rows.parquet", columns={"more": "ignore"}).rows.tolist() == [[1, 3], [2, 4]]
    everything = dict.fromkeys(("a", "more", "b"), "ignore")
    assert "no column is left to train on" in folder.refusal("rows.parquet", columns=everything)
    # Nothing of it is read: it is damaged, and no one notices.
    content = (folder.path / "rows.parquet").read_bytes()
    place = parquet.read_metadata(folder.path / "rows.parquet").row_group(0).column(1).data_page_offset
    (folder.path / "rows.parquet").write_bytes(content[:place] + b"\xff" * 8 + content[place + 8 :])
    assert folder.read("rows.parquet", columns={"more": "ignore"}).rows.tolist() == [[1, 3], [2, 4]]


TEXT_KINDS = ["string", "large_string", "string_view", "binary", "large_binary"]
TEXT_ENCODINGS = ["", "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]


@pytest.mark.parametrize(("kind", "encoding"), [("dictionary", ""), *itertools.product(TEXT_KINDS, TEXT_ENCODINGS)])
def test_texts_of_a_small_parquet_that_unpack_beyond_memory_are_refused_with_both_numbers(
    folder: "DataFolder", monkeypatch: pytest.MonkeyPatch, kind: str, encoding: str
) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    from pyarrow import parquet

    texts = pa.array(["x" * 50_000] * 400)
    texts = texts.dictionary_encode() if kind == "dictionary" else texts.cast(getattr(pa, kind)())
    options: dict[str, Any] = {"use_dictionary": False, "column_encoding": {"more": encoding}} if encoding else {}
    table = pa.table({"a": np.arange(400.0), "more": texts})
    parquet.write_table(table, folder.path / "rows.parquet", compression="zstd", **options)
    assert (folder.path / "rows.parquet").stat().st_size < 100_000
    monkeypatch.setattr("klsearch.vae.data.readers.tables.free_memory", lambda: 99_000_000)
    told = folder.refusal("rows.parquet")
    assert "rows.parquet: its texts, of which column 'more' holds the most, need about 0.1 GB of memory" in told
    assert 'but 0.1 GB are free; leave it out by [data.columns] more = "ignore"' in told
    assert folder.read("rows.parquet", columns={"more": "ignore"}).rows.shape == (400, 1)
    assert "holds the most" in folder.refusal("rows.parquet", labels="more")
    monkeypatch.setattr("klsearch.vae.data.readers.tables.free_memory", lambda: 30_000_000)
    labels = folder.read("rows.parquet", labels="more", rows=50).labels
    assert labels is not None and len(labels) == 50


def test_decimals_of_a_parquet_are_numbers_as_data_labels_and_conditions(folder: "DataFolder") -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    exact = [Decimal("1.50"), None, Decimal("-0.25")]
    whole = [Decimal(1), Decimal(2), Decimal(2)]
    frame = pd.DataFrame({"price": exact, "age": whole, "dose": whole})
    frame.to_parquet(folder.path / "rows.parquet")
    raw = folder.read("rows.parquet", labels="age", condition=("dose",))
    assert np.array_equal(raw.rows, [[1.5], [np.nan], [-0.25]], equal_nan=True)
    assert raw.labels is not None and raw.labels.tolist() == [1, 2, 2]
    assert raw.conditions["dose"].tolist() == [1, 2, 2]


def test_decimals_of_a_frame_that_a_function_gives_are_numbers_and_its_own_frame_stays(folder: "DataFolder") -> None:
    (folder.path / "rows_exact.py").write_text(
        "from decimal import Decimal\nimport pandas as pd\n\n"
        "FRAME = pd.DataFrame({'a': [Decimal('0.5'), Decimal(2)]})\n"
        "\n\ndef load():\n    return FRAME\n"
    )
    for _ in range(2):
        assert folder.read("rows_exact:load").rows.tolist() == [[0.5], [2]]
    assert sys.modules["rows_exact"].FRAME["a"].tolist() == [Decimal("0.5"), Decimal(2)]


def test_a_parquet_is_read_like_a_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    (tmp_path / "rows.csv").write_text(CSV)
    pd.read_csv(tmp_path / "rows.csv").to_parquet(tmp_path / "rows.parquet")
    first, second = (
        load_dataset(Request(source=source, folder=tmp_path, group="who", rows=25))
        for source in ("rows.parquet", "rows.csv")
    )
    assert first.fingerprint == second.fingerprint


def test_a_cell_of_blanks_in_quotes_is_as_empty_as_one_without(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text('x,who\n1,a\n2,"  "\n3,\n4,b\n')
    assert "column 'who' has no value in 2 rows, the first at row 1" in folder.refusal("rows.csv", labels="who")
