"""Rows from folders of IDX files."""

import gzip
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

IMAGES = np.random.default_rng(2).integers(0, 256, (12, 5, 4), np.uint8)


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in IDX form, written from the format's description."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_joined_training_rows_first_with_their_labels(folder: "DataFolder", zipped: bool) -> None:
    arrays = {
        "t10k-images-idx3-ubyte": IMAGES[9:],
        "t10k-labels-idx1-ubyte": np.arange(9, 12, dtype=np.uint8),
        "train-images-idx3-ubyte": IMAGES[:9],
        "train-labels-idx1-ubyte": np.arange(9, dtype=np.uint8),
    }
    for name, array in arrays.items():
        path = folder.path / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    raw = folder.read(".", rows=11)
    assert np.array_equal(raw.rows, IMAGES[:11])
    assert raw.labels is not None and raw.labels.tolist() == list(range(11))


def test_idx_numbers_of_several_bytes_are_read_in_their_order(folder: "DataFolder") -> None:
    values = np.array([[1.5, -2.0], [300.25, 0.0]])
    (folder.path / "rows.idx2").write_bytes(bytes([0, 0, 0x0E, 2]) + struct.pack(">2I4d", 2, 2, *values.flat))
    assert np.array_equal(folder.read(".").rows, values)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
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
def test_a_damaged_idx_file_is_refused_in_one_line(folder: "DataFolder", name: str, data: bytes, reason: str) -> None:
    (folder.path / name).write_bytes(data)
    assert reason in folder.refusal(".")


def test_a_file_that_was_unpacked_beside_its_archive_is_read_once(folder: "DataFolder") -> None:
    (folder.path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (folder.path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    assert np.array_equal(folder.read(".").rows, IMAGES)


def test_idx_files_of_different_rows_are_not_joined(folder: "DataFolder") -> None:
    (folder.path / "a-idx3-ubyte").write_bytes(idx(IMAGES))
    (folder.path / "b-idx3-ubyte").write_bytes(idx(IMAGES[:, :2]))
    assert "rows of shape [2, 4] cannot join those of a-idx3-ubyte, of shape [5, 4]" in folder.refusal(".")


@pytest.mark.parametrize(
    ("code", "form", "values", "dtype"),
    [
        (0x08, "B", [0, 255, 7], np.uint8),
        (0x09, "b", [-128, 127, -1], np.int8),
        (0x0B, "h", [-32768, 32767, 258], np.int16),
        (0x0C, "i", [-(2**31), 2**31 - 1, 16909060], np.int32),
        (0x0D, "f", [-0.5, 1e30, 0.0], np.float32),
        (0x0E, "d", [-0.5, 1e300, 0.1], np.float64),
    ],
)
def test_every_kind_of_number_is_read_big_end_first(
    folder: "DataFolder", code: int, form: str, values: list[Any], dtype: type
) -> None:
    content = bytes([0, 0, code, 2]) + struct.pack(f">2I3{form}", 3, 1, *values)
    (folder.path / "rows.idx2").write_bytes(content)
    rows = folder.read(".").rows
    assert rows.dtype == np.dtype(dtype), "in this machine's order"
    assert rows.ravel().tolist() == np.array(values, dtype).tolist()


def test_what_follows_the_numbers_that_the_header_promises_is_not_read(folder: "DataFolder") -> None:
    (folder.path / "a-idx3-ubyte").write_bytes(idx(IMAGES) + b"more")
    assert np.array_equal(folder.read(".").rows, IMAGES)


def test_a_file_may_promise_no_rows(folder: "DataFolder") -> None:
    (folder.path / "a-idx3-ubyte").write_bytes(idx(IMAGES[:0]))
    (folder.path / "b-idx3-ubyte").write_bytes(idx(IMAGES))
    assert np.array_equal(folder.read(".").rows, IMAGES)


@pytest.mark.parametrize("labels", [{"a": 11}, {"a": 12, "b": 3}, {}], ids=["too few", "of no rows", "none"])
def test_rows_whose_labels_do_not_match_them_have_none(folder: "DataFolder", labels: dict[str, int]) -> None:
    (folder.path / "a-images-idx3-ubyte").write_bytes(idx(IMAGES))
    for name, count in labels.items():
        (folder.path / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8)))
    raw = folder.read(".")
    assert np.array_equal(raw.rows, IMAGES)
    assert raw.labels is None


def test_other_files_of_a_folder_are_not_read(folder: "DataFolder") -> None:
    (folder.path / "a-idx3-ubyte").write_bytes(idx(IMAGES))
    (folder.path / "README").write_text("no data")
    (folder.path / "b-idx3-ubyte").mkdir()
    assert len(folder.read(".").rows) == 12


def test_no_flipped_bit_of_a_packed_file_is_accepted(folder: "DataFolder") -> None:
    packed = gzip.compress(idx(IMAGES))
    path = folder.path / "a-idx3-ubyte.gz"
    for place in range(10, len(packed)):  # after the header, whose time and name say nothing of the values
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :])
        assert "a-idx3-ubyte.gz" in folder.refusal(".")


def test_more_dimensions_than_an_array_can_have_are_refused(folder: "DataFolder") -> None:
    (folder.path / "a-idx3-ubyte").write_bytes(bytes([0, 0, 8, 70]) + struct.pack(">70I", *[1] * 70) + b"1")
    assert "it says that it has 70 dimensions" in folder.refusal(".")
