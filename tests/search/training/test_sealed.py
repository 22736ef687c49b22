"""Files of arrays that are read whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from klsearch.search.training.sealed import DamagedFile, open_sealed, set_aside, write_sealed

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(np.nan), "none": np.zeros((0, 2), np.uint8)}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    write_sealed(tmp_path / "arrays.npz", ARRAYS)
    with open_sealed(tmp_path / "arrays.npz") as arrays:
        assert sorted(arrays) == sorted(ARRAYS)
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], values, strict=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "arrays.npz")
    with pytest.raises(OSError, match="it is no ordinary file"), open_sealed(tmp_path / "arrays.npz"):
        pass


def test_a_file_with_any_single_bit_flipped_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    write_sealed(path, ARRAYS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"arrays\.npz is damaged"), open_sealed(path):
            pytest.fail(f"bit {place % 8} of byte {place}")


def test_a_file_cut_off_anywhere_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    write_sealed(path, ARRAYS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile), open_sealed(path):
            pytest.fail(f"{length} bytes")


def test_a_file_without_a_seal_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **ARRAYS)
    with pytest.raises(DamagedFile), open_sealed(tmp_path / "arrays.npz"):
        pytest.fail("nobody vouches for it")


def test_what_is_set_aside_keeps_its_content_and_is_not_found_again(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(b"damaged")
    assert set_aside(path).endswith(
        "arrays.npz is damaged or of something else; it was set aside as arrays.npz.damaged"
    )
    assert not path.exists()
    assert (tmp_path / "arrays.npz.damaged").read_bytes() == b"damaged"
    assert "cannot be set aside (No such file or directory)" in set_aside(path)
