"""Rows from whatever the user names."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vae.data_sources import is_path, read_source
from vae.datasets import DataProblem, load_dataset
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


def test_what_is_not_there_is_refused_with_what_may_be_given(tmp_path: Path) -> None:
    text = refusal(tmp_path, "digit")
    assert "no such file or folder" in text
    assert "digits, fashion-mnist, mnist" in text
    assert "package.module:function" in text


def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path / "rows.xlsx", "x")
    assert "files of data are .npy, .npz, .csv, .parquet" in refusal(tmp_path, "rows.xlsx")


def test_what_the_system_refuses_to_open_is_refused_with_its_reason(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in refusal(tmp_path, "x" * 300 + ".csv")


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


def test_what_cannot_be_downloaded_is_refused_with_the_ways_to_get_it(tmp_path: Path) -> None:
    code = "from pathlib import Path; from vae.datasets import load_dataset; load_dataset('mnist', folder=Path())"
    nowhere = "http://127.0.0.1:9"  # the port of the discard service, which nobody runs
    called = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_HOME": str(tmp_path), "https_proxy": nowhere, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    problem = called.stderr.splitlines()[-1]
    assert "DataProblem: mnist: not in" in problem
    assert "Keras cannot download it" in problem
    assert "put its IDX files into a folder" in problem
