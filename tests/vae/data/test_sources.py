"""Rows from whatever the user names."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from klsearch.vae.data.datasets import load_dataset
from klsearch.vae.data.readers.raw import Request
from klsearch.vae.data.sources import is_path, read_source

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = np.random.default_rng(1).normal(size=(40, 3))
IMAGES = np.random.default_rng(2).integers(0, 256, (12, 5, 4), np.uint8)


@pytest.mark.parametrize("source", ["digits", "mnist", "fashion-mnist", "my_loaders.train:rows"])
def test_names_and_functions_are_no_paths(source: str) -> None:
    assert not is_path(source)


def test_the_digits_are_scikit_learn_s_whether_or_not_it_keeps_them_where_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, labels = load_digits(return_X_y=True)
    for find in (find_spec, lambda name: None):
        monkeypatch.setattr("klsearch.vae.data.sources.find_spec", find)
        raw = read_source(Request(source="digits", folder=tmp_path))
        assert raw.labels is not None
        assert raw.rows.shape == (1797, 8, 8)
        assert raw.rows.dtype == images.dtype and raw.labels.dtype == labels.dtype
        assert np.array_equal(raw.rows.reshape(-1, 64), images) and np.array_equal(raw.labels, labels)


@pytest.mark.parametrize("source", ["rows.npy", "./digits", "a/b.csv", "C:/rows.csv", "/data/images"])
def test_files_and_folders_are_paths(source: str) -> None:
    assert is_path(source)


def test_what_is_not_there_is_refused_with_what_may_be_given(folder: "DataFolder") -> None:
    text = folder.refusal("digit")
    assert "no such file or folder" in text
    assert "digits, fashion-mnist, mnist" in text
    assert "package.module:function" in text


def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(folder: "DataFolder") -> None:
    (folder.path / "rows.xlsx").write_text("x")
    assert "files of data are .csv, .tsv, .npy, .npz, .parquet (text also as .gz," in folder.refusal("rows.xlsx")


def test_what_the_system_refuses_to_open_is_refused_with_its_reason(folder: "DataFolder") -> None:
    assert "cannot be read: File name too long" in folder.refusal("x" * 300 + ".csv")


def test_a_path_may_be_absolute_or_relative_to_the_folder(folder: "DataFolder") -> None:
    np.save(folder.path / "rows.npy", TABLE)
    assert np.array_equal(folder.read("rows.npy").rows, TABLE)
    assert np.array_equal(read_source(Request(source=str(folder.path / "rows.npy"), folder=Path("/"))).rows, TABLE)


@pytest.mark.parametrize(
    ("name", "key"),
    [("rows.npy", "array"), ("rows.npy", "labels"), ("rows.csv", "array"), ("idx", "group"), ("pictures", "labels")],
)
def test_an_option_that_a_source_cannot_use_is_refused(folder: "DataFolder", name: str, key: str) -> None:
    np.save(folder.path / "rows.npy", TABLE)
    (folder.path / "rows.csv").write_text("a\n1\n2\n")
    for subfolder in ("idx", "pictures"):
        (folder.path / subfolder).mkdir()
    (folder.path / "idx" / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9]))
    Image.fromarray(IMAGES[0]).save(folder.path / "pictures" / "a.png")
    assert f"{name}: data.{key} = 'x' cannot be used" in folder.refusal(name, **{key: "x"})


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)
def test_fashion_mnist_comes_from_debian_s_package_as_70_000_labelled_images() -> None:
    data = load_dataset(Request(source="fashion-mnist", folder=Path(), rows=16000), validation=0.125, test=0.125)
    assert data.rows == {"train": 12000, "validation": 2000, "test": 2000}
    assert (data.shape, data.scaling.kind, data.unit_interval) == ((28, 28), "image", True)
    assert data.labels is not None
    assert sorted(set(data.labels["test"].tolist())) == list(range(10))
    assert len(read_source(Request(source="fashion-mnist", folder=Path())).rows) == 70_000


@pytest.mark.slow("loads TensorFlow in a process")
def test_what_cannot_be_downloaded_is_refused_with_the_ways_to_get_it(tmp_path: Path) -> None:
    code = (
        "import pathlib, klsearch.vae.data.datasets as d\n"
        "d.load_dataset(d.Request(source='mnist', folder=pathlib.Path()))"
    )
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


def test_a_pipe_is_refused_and_not_waited_for(folder: "DataFolder") -> None:
    os.mkfifo(folder.path / "rows.csv")
    assert "is a pipe or device" in folder.refusal("rows.csv")


def test_dates_are_refused_by_name_and_truth_values_are_numbers(folder: "DataFolder") -> None:
    np.save(folder.path / "days.npy", np.array([["2020-01-01"], ["2020-01-02"]], "M8[D]"))
    assert "days.npy: holds dates or times (dtype datetime64[D])" in folder.refusal("days.npy")
    np.save(folder.path / "truth.npy", np.eye(3, dtype=bool))
    assert folder.read("truth.npy").rows.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize("source", ["rows.npy", "rows.npz", "images", "idx", "digits", "rows_of_no_names:load"])
def test_what_is_said_of_columns_that_no_source_of_this_kind_has_is_refused(folder: "DataFolder", source: str) -> None:
    for name in ("images", "idx"):
        (folder.path / name).mkdir()
    np.save(folder.path / "rows.npy", TABLE)
    np.savez(folder.path / "rows.npz", x=TABLE)
    Image.fromarray(IMAGES[0]).save(folder.path / "images" / "a.png")
    (folder.path / "idx" / "a-idx2-ubyte").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6]))
    (folder.path / "rows_of_no_names.py").write_text("def load(): return [[1, 2], [3, 4]]\n")
    assert folder.refusal(source, columns={"2": "ignore"}) == (
        f"{source}: [data.columns] 2 = \"ignore\" cannot be used: only tables have columns by name, and '2' is no "
        "condition; leave it out, or save the rows as .csv or .parquet"
    )


def test_a_condition_of_arrays_may_be_said_what_it_is_and_nothing_else(folder: "DataFolder") -> None:
    np.savez(folder.path / "rows.npz", x=TABLE, ward=np.arange(40) % 3, codes=np.arange(80).reshape(40, 2))
    kinds = {"ward": "number", "codes": "number", "codes[1]": "category"}
    assert len(folder.read("rows.npz", condition=("ward", "codes"), columns=kinds).rows) == 40
    assert "'codes' is no condition" in folder.refusal("rows.npz", array="x", condition=("ward",), columns=kinds)


def test_labels_without_a_name_that_are_told_may_be_said_what_they_are(tmp_path: Path) -> None:
    request = Request(source="digits", folder=tmp_path, columns={"label": "number"})
    told = load_dataset(request, condition_on_labels=True)
    assert told.condition is not None and told.condition.encoding.width == 1


@pytest.mark.parametrize("kind", ["str", "bytes", "object"])
def test_words_beside_the_rows_have_no_blanks_about_them(folder: "DataFolder", kind: str) -> None:
    (folder.path / "blank_words.py").write_text(
        "import numpy as np\n\n"
        "def load():\n"
        f"    words = np.array(['a', 'a ', ' b'] * 2).astype({kind})\n"
        "    return np.eye(6), words, {'c': words, 'n': np.arange(6)}\n"
    )
    sys.modules.pop("blank_words", None)
    raw = folder.read("blank_words:load", condition=("c", "n"))
    assert raw.labels is not None
    assert raw.labels.astype(str).tolist() == raw.conditions["c"].astype(str).tolist() == ["a", "a", "b"] * 2
    assert raw.conditions["n"].tolist() == list(range(6))


def test_arrays_of_words_have_no_blanks_about_them(folder: "DataFolder") -> None:
    words = np.array(["a", "a ", " b", "b"] * 10)
    np.savez(folder.path / "rows.npz", x=TABLE, y=words, g=words, c=words)
    raw = folder.read("rows.npz", labels="y", group="g", condition=("c",))
    for told in (raw.labels, raw.group, raw.conditions["c"]):
        assert told is not None and sorted(set(told.tolist())) == ["a", "b"]
