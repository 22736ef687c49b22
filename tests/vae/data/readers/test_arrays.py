"""Rows from NumPy's files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = np.random.default_rng(1).normal(size=(40, 3))


def test_only_the_rows_asked_for_are_read_from_an_npy(folder: "DataFolder") -> None:
    np.save(folder.path / "rows.npy", TABLE)
    assert np.array_equal(folder.read("rows.npy", rows=7).rows, TABLE[:7])


def sparse_npy(path: Path, shape: tuple[int, ...]) -> None:
    """A file that claims and has a size far beyond memory, without taking space on disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    os.truncate(path, path.stat().st_size + 8 * int(np.prod(shape)))


def test_an_npy_beyond_memory_is_refused_with_numbers_before_it_is_read(folder: "DataFolder") -> None:
    sparse_npy(folder.path / "rows.npy", (500_000_000, 1000))
    text = folder.refusal("rows.npy")
    assert "500,000,000,000 values need about 6,000.0 GB of memory, but" in text
    assert "data.rows" in text


def test_the_first_rows_of_an_npy_beyond_memory_can_be_read(folder: "DataFolder") -> None:
    sparse_npy(folder.path / "rows.npy", (500_000_000, 1000))
    assert folder.read("rows.npy", rows=3).rows.shape == (3, 1000)


def test_python_objects_are_never_unpickled(folder: "DataFolder") -> None:
    objects = np.array([{"a": 1}, "b"], dtype=object)
    np.save(folder.path / "rows.npy", objects, allow_pickle=True)
    np.savez(folder.path / "rows.npz", x=objects)
    for name in ("rows.npy", "rows.npz"):
        assert "are never unpickled" in folder.refusal(name)


@pytest.mark.parametrize("key", ["labels", "group", "condition", "array"])
def test_an_array_of_objects_in_an_npz_is_named_with_how_to_save_it(folder: "DataFolder", key: str) -> None:
    np.savez(folder.path / "rows.npz", x=TABLE, who=np.array(["a", None] * 20, object))
    assert folder.refusal("rows.npz", **{"array": "x", key: ("who",) if key == "condition" else "who"}) == (
        "rows.npz: 'who' holds Python objects, which are never unpickled; save it as who.astype(str), or "
        ".astype(float) if it holds numbers"
    )
    assert folder.read("rows.npz", array="x").rows.shape == (40, 3)


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz", "rows.parquet"])
@pytest.mark.parametrize("content", [b"", b"not an array", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_refused_in_one_line(folder: "DataFolder", name: str, content: bytes) -> None:
    (folder.path / name).write_bytes(content)
    assert folder.refusal(name).startswith(f"{name}: ")


def test_an_npy_cut_short_is_refused(folder: "DataFolder") -> None:
    np.save(folder.path / "rows.npy", TABLE)
    os.truncate(folder.path / "rows.npy", 500)
    assert "rows.npy: cannot be read" in folder.refusal("rows.npy")


def test_the_only_array_of_an_npz_needs_no_name(folder: "DataFolder") -> None:
    np.savez(folder.path / "rows.npz", x=TABLE)
    assert np.array_equal(folder.read("rows.npz", rows=5).rows, TABLE[:5])


def test_one_of_several_arrays_must_be_named(folder: "DataFolder") -> None:
    np.savez_compressed(folder.path / "rows.npz", images=TABLE, spare=TABLE + 1)
    assert "holds 'images', 'spare'; say which are the data with data.array" in folder.refusal("rows.npz")
    assert "has no array 'image'; did you mean 'images'?" in folder.refusal("rows.npz", array="image")
    assert np.array_equal(folder.read("rows.npz", array="spare").rows, TABLE + 1)


def test_arrays_beside_the_rows_hold_labels_groups_and_splits(folder: "DataFolder") -> None:
    split = np.array(["train"] * 38 + ["test", "val"])
    np.savez(folder.path / "rows.npz", x=TABLE, y=np.arange(40), g=np.arange(40) % 4, s=split)
    raw = folder.read("rows.npz", labels="y", group="g", split_column="s", rows=39)
    assert raw.rows.shape == (39, 3)
    assert raw.labels is not None and raw.labels.tolist() == list(range(39))
    assert raw.group is not None and len(raw.group) == 39
    assert raw.split is not None and raw.split[-1] == "test"


def test_labels_must_be_as_many_as_rows_and_complete(folder: "DataFolder") -> None:
    np.savez(folder.path / "rows.npz", x=TABLE, few=np.arange(39), holes=np.where(np.arange(40) == 6, np.nan, 1.0))
    text = folder.refusal("rows.npz", array="x", labels="few")
    assert "'few' must hold one value for each of 40 rows" in text
    text = folder.refusal("rows.npz", array="x", labels="holes")
    assert "'holes' has no value in 1 row, the first at row 6" in text


def test_data_that_are_named_as_what_stands_beside_them_are_told(folder: "DataFolder") -> None:
    np.savez(folder.path / "rows.npz", x=TABLE)
    assert folder.refusal("rows.npz", condition=("x",)) == (
        "rows.npz: holds 'x', which data.condition names, so that none is left to learn; name the data nowhere but in "
        "data.array"
    )
    np.savez(folder.path / "rows.npz", x=TABLE, y=np.arange(40))
    told = "rows.npz: holds 'x', 'y', which data.labels and data.condition name, so that none is left to learn; "
    assert folder.refusal("rows.npz", labels="y", condition=("x",)).startswith(told)


@pytest.mark.parametrize("gap", ["", "  ", "nan", "None"])
@pytest.mark.parametrize("key", ["labels", "group", "split_column"])
def test_text_that_says_nothing_is_a_gap_as_in_a_table(folder: "DataFolder", gap: str, key: str) -> None:
    words = ["train", gap, "test", "val"] * 10
    np.savez(folder.path / "rows.npz", x=TABLE, who=np.array(words))
    pd.DataFrame({"x": range(40), "who": words}).to_csv(folder.path / "rows.csv", index=False)
    told = "column 'who' has no value in 10 rows, the first at row 1 (counted from 0)"
    for name in ("rows.npz", "rows.csv"):
        assert folder.refusal(name, **{key: "who"}).startswith(f"{name}: {told}")


def test_an_encrypted_npz_is_refused_in_one_line(folder: "DataFolder") -> None:
    np.savez(folder.path / "rows.npz", x=TABLE)
    content = bytearray((folder.path / "rows.npz").read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # of the member's header and of the directory's
        content[content.index(mark) + flags] |= 1
    (folder.path / "rows.npz").write_bytes(content)
    refusal = folder.refusal("rows.npz")
    assert "rows.npz" in refusal and "encrypted" in refusal
    assert "\n" not in refusal
