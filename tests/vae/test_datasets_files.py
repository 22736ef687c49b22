"""Rows from files and folders of every kind."""

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vae.data_sources import is_path, read_source
from vae.datasets import DataProblem, Dataset, load_dataset
from vae.sources.raw import RawData, Request

TABLE = np.random.default_rng(1).normal(size=(40, 3))
IMAGES = np.random.default_rng(2).integers(0, 256, (12, 5, 4), np.uint8)


def read(folder: Path, source: str, **options: Any) -> RawData:
    return read_source(Request(source=source, folder=folder, **options))


def refusal(folder: Path, source: str, **options: Any) -> str:
    with pytest.raises(DataProblem) as caught:
        read(folder, source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in IDX form, written from the format's description."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("source", ["digits", "mnist", "fashion-mnist", "my_loaders.train:rows"])
def test_names_and_functions_are_no_paths(source: str) -> None:
    assert not is_path(source)


@pytest.mark.parametrize("source", ["rows.npy", "./digits", "a/b.csv", "C:/rows.csv", "/data/images"])
def test_files_and_folders_are_paths(source: str) -> None:
    assert is_path(source)


# --- anything -------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_refused_with_what_may_be_given(tmp_path: Path) -> None:
    text = refusal(tmp_path, "digit")
    assert "no such file or folder" in text
    assert "digits, fashion-mnist, mnist" in text
    assert "package.module:function" in text


def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path / "rows.xlsx", "x")
    assert "files of data are .npy, .npz, .csv, .parquet" in refusal(tmp_path, "rows.xlsx")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", "a\n1\n")
    (tmp_path / "rows.csv").chmod(0)
    assert "cannot be read: Permission denied" in refusal(tmp_path, "rows.csv")


def test_a_path_may_be_absolute_or_relative_to_the_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", TABLE)
    assert np.array_equal(read(tmp_path, "rows.npy").rows, TABLE)
    assert np.array_equal(read(Path("/"), str(tmp_path / "rows.npy")).rows, TABLE)


@pytest.mark.parametrize(
    ("name", "key"),
    [("rows.npy", "array"), ("rows.npy", "labels"), ("rows.csv", "array"), ("idx", "group"), ("pictures", "labels")],
)
def test_an_option_that_a_source_cannot_use_is_refused(tmp_path: Path, name: str, key: str) -> None:
    np.save(tmp_path / "rows.npy", TABLE)
    write(tmp_path / "rows.csv", "a\n1\n2\n")
    for folder in ("idx", "pictures"):
        (tmp_path / folder).mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    Image.fromarray(IMAGES[0]).save(tmp_path / "pictures" / "a.png")
    assert f"{name}: data.{key} = 'x' cannot be used" in refusal(tmp_path, name, **{key: "x"})


# --- NumPy's files --------------------------------------------------------------------------------------------------


def test_only_the_rows_asked_for_are_read_from_an_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", TABLE)
    assert np.array_equal(read(tmp_path, "rows.npy", rows=7).rows, TABLE[:7])


def sparse_npy(path: Path, shape: tuple[int, ...]) -> None:
    """A file that claims and has a size far beyond memory, without taking space on disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    os.truncate(path, path.stat().st_size + 8 * int(np.prod(shape)))


def test_an_npy_beyond_memory_is_refused_with_numbers_before_it_is_read(tmp_path: Path) -> None:
    sparse_npy(tmp_path / "rows.npy", (500_000_000, 1000))
    text = refusal(tmp_path, "rows.npy")
    assert "500,000,000,000 values need about 6,000.0 GB of memory, but" in text
    assert "data.rows" in text


def test_the_first_rows_of_an_npy_beyond_memory_can_be_read(tmp_path: Path) -> None:
    sparse_npy(tmp_path / "rows.npy", (500_000_000, 1000))
    assert read(tmp_path, "rows.npy", rows=3).rows.shape == (3, 1000)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, "b"], dtype=object)
    np.save(tmp_path / "rows.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "rows.npz", x=objects)
    for name in ("rows.npy", "rows.npz"):
        assert "are never unpickled" in refusal(tmp_path, name)


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz", "rows.parquet"])
@pytest.mark.parametrize("content", [b"", b"not an array", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path, name).startswith(f"{name}: ")


def test_an_npy_cut_short_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", TABLE)
    os.truncate(tmp_path / "rows.npy", 500)
    assert "rows.npy: cannot be read" in refusal(tmp_path, "rows.npy")


def test_the_only_array_of_an_npz_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=TABLE)
    assert np.array_equal(read(tmp_path, "rows.npz", rows=5).rows, TABLE[:5])


def test_one_of_several_arrays_must_be_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", images=TABLE, spare=TABLE + 1)
    assert "holds 'images', 'spare'; say which are the data with data.array" in refusal(tmp_path, "rows.npz")
    assert "has no array 'image'; did you mean 'images'?" in refusal(tmp_path, "rows.npz", array="image")
    assert np.array_equal(read(tmp_path, "rows.npz", array="spare").rows, TABLE + 1)


def test_arrays_beside_the_rows_hold_labels_groups_and_splits(tmp_path: Path) -> None:
    split = np.array(["train"] * 38 + ["test", "val"])
    np.savez(tmp_path / "rows.npz", x=TABLE, y=np.arange(40), g=np.arange(40) % 4, s=split)
    raw = read(tmp_path, "rows.npz", labels="y", group="g", split_column="s", rows=39)
    assert raw.rows.shape == (39, 3)
    assert raw.labels is not None and raw.labels.tolist() == list(range(39))
    assert raw.group is not None and len(raw.group) == 39
    assert raw.split is not None and raw.split[-1] == "test"


def test_labels_must_be_as_many_as_rows_and_complete(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=TABLE, few=np.arange(39), holes=np.where(np.arange(40) == 6, np.nan, 1.0))
    text = refusal(tmp_path, "rows.npz", array="x", labels="few")
    assert "'few' must hold one value for each of 40 rows" in text
    text = refusal(tmp_path, "rows.npz", array="x", labels="holes")
    assert "'holes' has no value in 1 rows, the first at row 6" in text


# --- tables ---------------------------------------------------------------------------------------------------------

CSV = "age,height,who,flag\n" + "".join(
    f"{20 + row},{1.5 + row / 100},p{row // 2},{row % 2 == 0}\n" for row in range(30)
)


def load_csv(folder: Path, text: str, **options: Any) -> Dataset:
    write(folder / "rows.csv", text)
    return load_dataset("rows.csv", folder=folder, **options)


def test_numbers_and_truth_values_of_a_csv_are_data_and_a_group_is_not(tmp_path: Path) -> None:
    data = load_csv(tmp_path, CSV, group="who", scaling="none")
    assert data.columns == ("age", "height", "flag")
    assert sum(data.rows.values()) == 30
    ages = [{int(age) // 2 for age in rows[:, 0]} for rows in data.splits.values()]
    assert sum(map(len, ages)) == 15


def test_labels_of_a_csv_may_be_text(tmp_path: Path) -> None:
    data = load_csv(tmp_path, CSV, labels="who", scaling="none")
    assert data.labels is not None
    assert [f"p{(int(age) - 20) // 2}" for age in data.train[:, 0]] == data.labels["train"].tolist()


def test_a_column_of_text_is_refused_by_name_with_its_row_line_and_value(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"column 'who' holds 'p0' at row 0 \(counted from 0, line 2\)"):
        load_csv(tmp_path, CSV)
    odd = "a,b\n1,2\n3,4\n5,oops\n"
    with pytest.raises(DataProblem, match=r"column 'b' holds 'oops' at row 2 \(counted from 0, line 4\)"):
        load_csv(tmp_path, odd)


def test_all_columns_of_text_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"column 'a' \(and in 1 more: 'c'\) holds 'x'"):
        load_csv(tmp_path, "a,b,c\nx,1,y\nz,2,w\n")


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
    with pytest.raises(DataProblem, match="column 'who' has no value in 1 rows, the first at row 3"):
        load_csv(tmp_path, CSV.replace("p1,False", ",False"), group="who")


def test_a_first_line_of_numbers_is_data_and_said_to_be(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "rows.csv", TABLE, delimiter=",")
    data = load_dataset("rows.csv", folder=tmp_path)
    assert sum(data.rows.values()) == 40
    assert data.columns == ("0", "1", "2")
    assert "the first line holds numbers and was read as data" in data.warnings[0]


def test_a_csv_from_a_spreadsheet_with_a_byte_order_mark_keeps_its_first_name(tmp_path: Path) -> None:
    assert load_csv(tmp_path, "\ufeffa,b\n" + "".join(f"{row},{-row}\n" for row in range(9))).columns == ("a", "b")


def test_only_the_first_rows_of_a_csv_are_read(tmp_path: Path) -> None:
    assert sum(load_csv(tmp_path, CSV, group="who", rows=20).rows.values()) == 20


def test_other_separators_are_recognised_and_refused(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="its columns look separated by ';'; separate them by commas"):
        load_csv(tmp_path, "a;b\n1;2\n3;4\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "rows.csv: is empty"),
        (b"a,b\n", "is empty: no rows"),
        (b"a,b\n1,2\n3,4,5\n", "is not comma-separated UTF-8 text"),
        (b"\xff\xfea\x00", "is not comma-separated UTF-8 text"),
        (b"a,b\n1,2\n", "holds one row"),
    ],
)
def test_a_csv_without_rows_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataProblem) as caught:
        load_dataset("rows.csv", folder=tmp_path)
    assert reason in str(caught.value)


def test_a_parquet_is_read_like_a_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra klsearch[parquet]")
    import pandas as pd

    write(tmp_path / "rows.csv", CSV)
    pd.read_csv(tmp_path / "rows.csv").to_parquet(tmp_path / "rows.parquet")
    options: dict[str, Any] = {"folder": tmp_path, "group": "who", "rows": 25}
    assert load_dataset("rows.parquet", **options).fingerprint == load_dataset("rows.csv", **options).fingerprint


# --- IDX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_joined_training_rows_first_with_their_labels(tmp_path: Path, zipped: bool) -> None:
    arrays = {
        "t10k-images-idx3-ubyte": IMAGES[9:],
        "t10k-labels-idx1-ubyte": np.arange(9, 12, dtype=np.uint8),
        "train-images-idx3-ubyte": IMAGES[:9],
        "train-labels-idx1-ubyte": np.arange(9, dtype=np.uint8),
    }
    for name, array in arrays.items():
        path = tmp_path / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    raw = read(tmp_path, ".", rows=11)
    assert np.array_equal(raw.rows, IMAGES[:11])
    assert raw.labels is not None and raw.labels.tolist() == list(range(11))


def test_idx_numbers_of_several_bytes_are_read_in_their_order(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [300.25, 0.0]])
    (tmp_path / "rows.idx2").write_bytes(bytes([0, 0, 0x0E, 2]) + struct.pack(">2I4d", 2, 2, *values.flat))
    assert np.array_equal(read(tmp_path, ".").rows, values)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a-idx3-ubyte", b"", "is no IDX file; it begins with nothing"),
        ("a-idx3-ubyte", b"\x89PNG1234", "is no IDX file; it begins with 89 50 4e 47"),
        ("a-idx3-ubyte", idx(IMAGES)[:10], "is cut short within its header"),
        ("a-idx3-ubyte", idx(IMAGES)[:100], "is cut short: 84 of 240 bytes"),
        ("a-idx3-ubyte.gz", b"no gzip", "is damaged"),
        ("a-idx3-ubyte.gz", gzip.compress(idx(IMAGES))[:-20], "is damaged"),
        ("a-idx1-ubyte", idx(IMAGES[0, 0]), "none of its IDX files holds rows"),
        ("a-idx3-ubyte", struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**20, 2**10), "of memory, but"),
    ],
)
def test_a_damaged_idx_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason in refusal(tmp_path, ".")


def test_idx_files_of_different_rows_are_not_joined(tmp_path: Path) -> None:
    (tmp_path / "a-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "b-idx3-ubyte").write_bytes(idx(IMAGES[:, :2]))
    assert "rows of shape [2, 4] cannot join those of a-idx3-ubyte, of shape [5, 4]" in refusal(tmp_path, ".")


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)
def test_fashion_mnist_comes_from_debian_s_package_as_70_000_labelled_images() -> None:
    data = load_dataset("fashion-mnist", folder=Path(), rows=16000, validation=0.125, test=0.125)
    assert data.rows == {"train": 12000, "validation": 2000, "test": 2000}
    assert (data.shape, data.scaling.kind, data.unit_interval) == ((28, 28), "image", True)
    assert data.labels is not None
    assert sorted(set(data.labels["test"].tolist())) == list(range(10))
    assert len(read(Path(), "fashion-mnist").rows) == 70_000


# --- images ---------------------------------------------------------------------------------------------------------


def test_grey_images_of_a_folder_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for row, image in enumerate(IMAGES):
        folder = tmp_path / f"class{row % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02}.png")
    write(tmp_path / "notes.txt", "no image")
    assert np.array_equal(read(tmp_path, ".").rows, np.concatenate([IMAGES[::2], IMAGES[1::2]]))
    assert len(read(tmp_path, ".", rows=5).rows) == 5


def test_coloured_images_have_three_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    for row, image in enumerate(colours):
        Image.fromarray(image).save(tmp_path / f"{row}.bmp")
    assert np.array_equal(read(tmp_path, ".").rows, colours)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Image.new("L", (4, 6)), "b.png is 4×6 grey, but a.png is 4×5 grey; all must be alike"),
        (Image.new("RGB", (4, 5)), "b.png is 4×5 RGB, but a.png is 4×5 grey"),
        (Image.new("RGBA", (4, 5)), "b.png has mode RGBA; save it as 8-bit grey or RGB"),
        (Image.new("I;16", (4, 5)), "b.png has mode I;16"),
    ],
)
def test_the_odd_image_is_named(tmp_path: Path, odd: Image.Image, reason: str) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    odd.save(tmp_path / "b.png")
    assert reason in refusal(tmp_path, ".")


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    (tmp_path / "c.png").write_text("no image")
    assert "b.png cannot be read" in refusal(tmp_path, ".")
    (tmp_path / "b.png").unlink()
    assert "c.png is no image that Pillow can read" in refusal(tmp_path, ".")


def test_a_folder_without_data_is_refused_and_a_file_in_it_proposed(tmp_path: Path) -> None:
    assert refusal(tmp_path, ".").endswith("holds neither images nor IDX files")
    np.save(tmp_path / "rows.npy", TABLE)
    assert "name the file itself, such as rows.npy" in refusal(tmp_path, ".")
