"""Rows from folders of IDX files and of images."""

import gzip
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = np.random.default_rng(1).normal(size=(40, 3))
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


def test_grey_images_of_a_folder_come_in_the_order_of_their_paths(folder: "DataFolder") -> None:
    for row, image in enumerate(IMAGES):
        subfolder = folder.path / f"class{row % 2}"
        subfolder.mkdir(exist_ok=True)
        Image.fromarray(image).save(subfolder / f"{row:02}.png")
    (folder.path / "notes.txt").write_text("no image")
    assert np.array_equal(folder.read(".").rows, np.concatenate([IMAGES[::2], IMAGES[1::2]]))
    assert len(folder.read(".", rows=5).rows) == 5


def test_coloured_images_have_three_channels(folder: "DataFolder") -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    for row, image in enumerate(colours):
        Image.fromarray(image).save(folder.path / f"{row}.bmp")
    assert np.array_equal(folder.read(".").rows, colours)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Image.new("L", (4, 6)), "b.png is 4×6 grey, but a.png is 4×5 grey; all must be alike"),
        (Image.new("RGB", (4, 5)), "b.png is 4×5 RGB, but a.png is 4×5 grey"),
        (Image.new("RGBA", (4, 5)), "b.png has mode RGBA; save it as 8-bit grey or RGB"),
        (Image.new("I;16", (4, 5)), "b.png has mode I;16"),
    ],
)
def test_the_odd_image_is_named(folder: "DataFolder", odd: Image.Image, reason: str) -> None:
    Image.fromarray(IMAGES[0]).save(folder.path / "a.png")
    odd.save(folder.path / "b.png")
    assert reason in folder.refusal(".")


def test_an_image_that_cannot_be_read_is_named(folder: "DataFolder") -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder.path / "a.png")
    (folder.path / "b.png").write_bytes((folder.path / "a.png").read_bytes()[:1000])
    (folder.path / "c.png").write_text("no image")
    assert "b.png cannot be read" in folder.refusal(".")
    (folder.path / "b.png").unlink()
    assert "c.png is not an image that Pillow can read" in folder.refusal(".")


def test_a_folder_without_data_is_refused_and_a_file_in_it_proposed(folder: "DataFolder") -> None:
    assert folder.refusal(".").endswith("holds neither images nor IDX files")
    np.save(folder.path / "rows.npy", TABLE)
    assert "name the file itself, such as rows.npy" in folder.refusal(".")
