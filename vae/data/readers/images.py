"""Folders of image files."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from klsearch.vae.data.readers.gathering import Gathering
from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, reading

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
# Pillow's names of what we take, by what we take it for; grey images have no channel axis.
_MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}
_WITH_PREVIEWS = ("MPO",)  # of cameras: one photograph, and behind it the same once more
_PNG_SIGNATURE = 8  # bytes, before its parts
_PIECE = 2**20


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder and the folders in it, by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def read_images(folder: Path, files: list[Path], request: Request) -> RawData:
    """The images as uint8, shape [N, height, width] when grey and [N, height, width, 3] in colour.

    Raises:
        DataProblem: a file cannot be read, holds several frames, or differs from the first one in size or colour; it
            is named.
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
    """One image, shape [height, width] or [height, width, 3], uint8; upright, as its EXIF tells how it was taken."""
    place = f"{folder.name}: {path.relative_to(folder)}"
    with reading(place), path.open("rb") as file:
        try:
            image = Image.open(file)
        except UnidentifiedImageError as error:
            raise DataProblem(f"{place} is not an image that Pillow can read") from error
        with image:
            if image.mode not in _MODES:
                raise DataProblem(f"{place} has mode {image.mode}; save it as 8-bit grey or RGB")
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format not in _WITH_PREVIEWS:
                raise DataProblem(
                    f"{place} holds {frames:,} frames; save each as an image of its own, or all of them as one .npy "
                    "[rows, height, width]"
                )
            pixels = np.asarray(ImageOps.exif_transpose(image).convert(_MODES[image.mode]), np.uint8)
            if image.format == "PNG":
                _check_png(file)
            return pixels


def _check_png(file: BinaryIO) -> None:
    """Compare each part of a PNG with its checksum; Pillow reads no further than the last row of pixels needs.

    Raises:
        ValueError: a part differs, or the last is missing.
    """
    file.seek(_PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it ends before its last part")
        length, kind = struct.unpack(">I4s", head)
        checksum = zlib.crc32(kind)
        while length and (piece := file.read(min(length, _PIECE))):
            checksum = zlib.crc32(piece, checksum)
            length -= len(piece)
        if file.read(4) != checksum.to_bytes(4, "big"):
            raise ValueError(f"its part {kind.decode(errors='replace')} is not what its checksum is of; it is damaged")


def _describe(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]} {'grey' if pixels.ndim == 2 else 'RGB'}"
