"""Rows that come one after the other, in memory and in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from klsearch.vae.data.readers import gathering as gathering_module
from klsearch.vae.data.readers import raw
from klsearch.vae.data.readers.gathering import Gathering
from klsearch.vae.data.readers.raw import DataProblem
from klsearch.vae.data.rows import ALIGNMENT

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 4, 3), np.uint8)


def gather(rows: Sequence[np.ndarray], folder: Path) -> np.ndarray:
    gathering = Gathering("pictures", folder)
    for row in rows:
        gathering.add(row)
    return gathering.rows()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of the pictures fill a chunk."""
    monkeypatch.setattr(gathering_module, "_CHUNK_BYTES", 7 * PIXELS[0].nbytes)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of half of it, twenty of the pictures take all."""
    monkeypatch.setattr(gathering_module, "free_memory", lambda: 2 * 20 * PIXELS[0].nbytes)
    monkeypatch.setattr(raw, "free_memory", lambda: 2 * 20 * PIXELS[0].nbytes)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_rows_come_out_as_they_went_in(dtype: type, tmp_path: Path) -> None:
    rows = gather(list(PIXELS.astype(dtype)), tmp_path)
    assert rows.dtype == dtype
    assert np.array_equal(rows, PIXELS)
    assert rows.ctypes.data % ALIGNMENT == 0


@pytest.mark.usefixtures("small_chunks", "little_memory")
def test_small_whole_numbers_that_would_fill_memory_lie_in_a_file_that_nobody_has_to_remove(tmp_path: Path) -> None:
    rows = gather(list(PIXELS), tmp_path)
    assert isinstance(rows, np.memmap)
    assert rows.flags.writeable
    assert np.array_equal(rows, PIXELS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_chunks", "little_memory")
def test_the_file_lies_elsewhere_where_the_folder_takes_none(tmp_path: Path) -> None:
    rows = gather(list(PIXELS), tmp_path / "not there")
    assert isinstance(rows, np.memmap)
    assert np.array_equal(rows, PIXELS)


@pytest.mark.usefixtures("small_chunks", "little_memory")
def test_others_that_would_fill_memory_as_float32_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataProblem, match=r"pictures: \d+ values need about .*; take only the first rows with data\.rows"
    ):
        gather(list(PIXELS.astype(np.float32)), tmp_path)


@pytest.mark.usefixtures("small_chunks", "little_memory")
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering_module, "_open_nameless", lambda folder: Path("/dev/full").open("wb"))
    with pytest.raises(
        DataProblem, match=r"pictures: 21 rows fill half of the free memory, and no file takes them \(No space"
    ):
        gather(list(PIXELS), tmp_path)


@pytest.mark.parametrize("at", [3, 12])
@pytest.mark.usefixtures("small_chunks")
def test_a_row_of_another_shape_is_found(at: int, tmp_path: Path) -> None:
    rows = [*PIXELS[:at], PIXELS[at][:2], *PIXELS[at + 1 :]]
    with pytest.raises(ValueError, match="shape"):
        gather(rows, tmp_path)


def test_no_row_is_an_empty_array(tmp_path: Path) -> None:
    assert gather([], tmp_path).shape == (0,)
