"""Rows from folders of IDX files and of images."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vae.data_sources import read_source
from vae.datasets import DataProblem
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
