"""Rows from folders of images."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from klsearch.vae.data.readers.raw import DataProblem

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = np.random.default_rng(1).normal(size=(40, 3))
IMAGES = np.random.default_rng(2).integers(0, 256, (12, 5, 4), np.uint8)


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
    assert "b.png: cannot be read" in folder.refusal(".")
    (folder.path / "b.png").unlink()
    assert "c.png is not an image that Pillow can read" in folder.refusal(".")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".gif", ".webp", ".jpg"])
def test_an_image_of_any_kind_that_is_cut_short_or_overwritten_never_ends_in_more_than_a_line(
    folder: "DataFolder", suffix: str
) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    image.save(folder.path / "a.png")
    image.save(folder.path / f"b{suffix}")
    content = (folder.path / f"b{suffix}").read_bytes()
    (folder.path / f"b{suffix}").write_bytes(content[: len(content) // 3])
    refusal = folder.refusal(".")
    assert refusal.count("\n") == 0 and f"b{suffix}" in refusal
    (folder.path / f"b{suffix}").write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    refusal = folder.refusal(".")
    assert refusal.count("\n") == 0 and f"b{suffix}" in refusal


@pytest.mark.parametrize("pixels", [np.zeros((28, 28)), np.add.outer(np.arange(64), np.arange(64))])
def test_no_bit_of_a_png_changes_without_a_refusal(folder: "DataFolder", pixels: np.ndarray) -> None:
    file = folder.path / "a.png"
    Image.fromarray(pixels.astype(np.uint8)).save(file)
    content = file.read_bytes()
    folder.read(".")
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(DataProblem):
            folder.read(".")
    file.write_bytes(content[:-12])
    assert "a.png: cannot be read: it ends before its last part" in folder.refusal(".")
    file.write_bytes(content[:-13] + bytes([content[-13] ^ 1]) + content[-12:])  # of the last checksum
    assert "a.png: cannot be read: its part IDAT is not what its checksum is of; it is damaged" in folder.refusal(".")


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_an_image_of_several_frames_is_refused_and_not_read_to_its_first(folder: "DataFolder", suffix: str) -> None:
    first, *more = map(Image.fromarray, IMAGES[:5])
    first.save(folder.path / f"a{suffix}", save_all=True, append_images=more)
    assert folder.refusal(".").endswith(
        f"a{suffix} holds 5 frames; save each as an image of its own, or all of them as one .npy [rows, height, width]"
    )
    first.save(folder.path / f"a{suffix}")
    assert len(folder.read(".").rows) == 1


def test_a_camera_s_photograph_with_a_preview_is_one_image(folder: "DataFolder") -> None:
    first, second = map(Image.fromarray, IMAGES[:2])
    first.save(folder.path / "a.jpg", "MPO", save_all=True, append_images=[second])
    first.save(folder.path / "b.jpg")
    rows = folder.read(".").rows
    assert np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_an_image_is_turned_as_its_exif_says_that_it_was_taken(folder: "DataFolder", suffix: str) -> None:
    turned = {1: IMAGES[0], 3: np.rot90(IMAGES[0], 2), 6: np.rot90(IMAGES[0]), 8: np.rot90(IMAGES[0], -1)}
    for orientation, pixels in turned.items():
        image = Image.fromarray(np.stack([pixels] * 3, axis=-1))
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = orientation
        image.save(folder.path / f"{orientation}{suffix}", exif=exif, lossless=True)
    rows = folder.read(".").rows
    assert rows.shape == (4, 5, 4, 3)
    assert np.array_equal(rows[..., 0], np.stack([IMAGES[0]] * 4))


def test_text_in_an_image_that_unpacks_without_end_is_refused(folder: "DataFolder") -> None:
    about = PngInfo()
    about.add_text("a", "0" * 80_000_000, zip=True)
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder.path / "a.png", pnginfo=about)
    assert (folder.path / "a.png").stat().st_size < 200_000
    assert "a.png: cannot be read" in folder.refusal(".")


def test_a_folder_without_data_is_refused_and_a_file_in_it_proposed(folder: "DataFolder") -> None:
    assert folder.refusal(".").endswith("holds neither images nor IDX files")
    np.save(folder.path / "rows.npy", TABLE)
    assert "name the file itself, such as rows.npy" in folder.refusal(".")
