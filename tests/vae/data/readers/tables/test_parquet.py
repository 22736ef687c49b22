"""Tables in .parquet files."""

import itertools
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from klsearch.vae.data.datasets import load_dataset
from klsearch.vae.data.readers.raw import Request

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder


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


@pytest.mark.parametrize("kind", ["interval", "period"])
def test_a_column_of_pandas_types_of_its_own_may_be_ignored(folder: "DataFolder", kind: str) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    own = pd.interval_range(0, 3) if kind == "interval" else pd.period_range("2024-01", periods=3, freq="M")
    pd.DataFrame({"a": [1.0, 2.0, 4.0], "own": own, "b": [3, 5, 6]}).to_parquet(folder.path / "rows.parquet")
    assert "'own'" in folder.refusal("rows.parquet")
    raw = folder.read("rows.parquet", columns={"own": "ignore"})
    assert (raw.columns, raw.rows.tolist()) == (("a", "b"), [[1, 3], [2, 5], [4, 6]])


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
    monkeypatch.setattr("klsearch.vae.data.readers.tables.parquet.free_memory", lambda: 99_000_000)
    told = folder.refusal("rows.parquet")
    assert "rows.parquet: its texts, of which column 'more' holds the most, need about 0.1 GB of memory" in told
    assert 'but 0.1 GB are free; leave it out by [data.columns] more = "ignore"' in told
    assert folder.read("rows.parquet", columns={"more": "ignore"}).rows.shape == (400, 1)
    assert "holds the most" in folder.refusal("rows.parquet", labels="more")
    monkeypatch.setattr("klsearch.vae.data.readers.tables.parquet.free_memory", lambda: 30_000_000)
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


def test_a_parquet_is_read_like_a_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    lines = [f"{20 + row},{1.5 + row / 100},p{row // 2},{row % 2 == 0}" for row in range(30)]
    (tmp_path / "rows.csv").write_text("\n".join(["age,height,who,flag", *lines]) + "\n")
    pd.read_csv(tmp_path / "rows.csv").to_parquet(tmp_path / "rows.parquet")
    first, second = (
        load_dataset(Request(source=source, folder=tmp_path, group="who", rows=25))
        for source in ("rows.parquet", "rows.csv")
    )
    assert first.fingerprint == second.fingerprint
