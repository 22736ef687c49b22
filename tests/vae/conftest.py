"""Real data, small enough to train on in a test, and what tests do with a population."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from klsearch.vae.data.datasets import DataProblem
from klsearch.vae.data.readers.raw import RawData, Request
from klsearch.vae.data.sources import read_source
from klsearch.vae.training.population import Population

Splits = dict[str, np.ndarray]


def split(rows: np.ndarray, train: int, validation: int) -> Splits:
    shuffled = np.random.default_rng(0).permutation(rows).astype(np.float32)
    return dict(zip(("train", "validation", "test"), np.split(shuffled, [train, train + validation]), strict=True))


@pytest.fixture(scope="session")
def digits() -> Splits:
    """1,797 images of digits, 64 features in [0, 1]."""
    return split(load_digits().data / 16, train=1257, validation=270)


@pytest.fixture(scope="session")
def full_batches(digits: Splits) -> Splits:
    """The digits without a short last batch of 128, which would take seconds to compile."""
    return {**digits, "train": digits["train"][: 9 * 128]}


@pytest.fixture(scope="session")
def tumours() -> Splits:
    """569 rows of the breast cancer table as they were measured: 30 features, up to 4,254."""
    return split(load_breast_cancer().data, train=397, validation=86)


@pytest.fixture(scope="session")
def scaled_tumours(tumours: Splits) -> Splits:
    """The breast cancer table, each feature scaled to [0, 1]."""
    low, high = tumours["train"].min(axis=0), tumours["train"].max(axis=0)
    return {name: np.clip((rows - low) / (high - low), 0, 1) for name, rows in tumours.items()}


@pytest.fixture(scope="session")
def train() -> Callable[[Population, int], None]:
    """A function that trains a population for some epochs."""

    def advance(population: Population, epochs: int) -> None:
        for _ in range(epochs):
            while not population.advance():
                pass

    return advance


@pytest.fixture(scope="session")
def bits() -> Callable[[Population, int], dict[str, bytes]]:
    """A function that gives all that a member leaves, to be compared bit for bit."""

    def read(population: Population, slot: int) -> dict[str, bytes]:
        measures = population.measure([slot], "validation")[0]
        return {
            "curves": population.curves(slot).as_rows().tobytes(),
            "weights": b"".join(values.tobytes() for values in population.weights(slot)),
            "measures": b"".join(np.asarray(getattr(measures, name)).tobytes() for name in measures.__slots__),
        }

    return read


class DataFolder:
    """A folder whose files are read as a definition in it names them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, source: str, **options: Any) -> RawData:
        return read_source(Request(source=source, folder=self.path, **options))

    def refusal(self, source: str, **options: Any) -> str:
        with pytest.raises(DataProblem) as caught:
            self.read(source, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


@pytest.fixture
def own_search_path() -> Iterator[None]:
    """Leaves Python's search path as it was, and takes modules called loader… from its memory."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("loader") and name not in modules]:
        del sys.modules[name]
