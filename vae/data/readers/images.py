"""Folders of image files."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from klsearch.vae.data.readers.gathering import Gathering
from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, reading

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
# Pillow's names of what we take, by what we take it for; grey images have no channel axis.
_MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder and the folders in it, by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def read_images(folder: Path, files: list[Path], request: Request) -> RawData:
    """The images as uint8, shape [N, height, width] when grey and [N, height, width, 3] in colour.

    Raises:
        DataProblem: a file cannot be read, or differs from the first one in size or colour; it is named.
    """
    request.refuse("array", *request.beside_keys, because="image files have no columns; use an .npz, .csv or .parquet")
    wanted = files[: request.rows]
    first = _pixels(folder, wanted[0])
    gathering = Gathering(folder.name, request.folder)
    for path in wanted:
        pixels = _pixels(folder, path)
        if pixels.shape != first.shape:
            raise DataProblem(
                f"{folder.name}: {path.relative_to(folder)} is {_describe(pixels)}, but "
                f"{wanted[0].relative_to(folder)} is {_describe(first)}; all must be alike"
            )
        gathering.add(pixels)
    return RawData(name=folder.name, rows=gathering.rows())


def _pixels(folder: Path, path: Path) -> np.ndarray:
    """One image, shape [height, width] or [height, width, 3], uint8."""
    place = f"{folder.name}: {path.relative_to(folder)}"
    with reading(place):
        try:
            image = Image.open(path)
        except UnidentifiedImageError as error:
            raise DataProblem(f"{place} is not an image that Pillow can read") from error
        with image:
            if image.mode not in _MODES:
                raise DataProblem(f"{place} has mode {image.mode}; save it as 8-bit grey or RGB")
            return np.asarray(image.convert(_MODES[image.mode]), np.uint8)


def _describe(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]} {'grey' if pixels.ndim == 2 else 'RGB'}"
