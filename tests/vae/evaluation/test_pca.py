"""The linear yardstick."""

import numpy as np
import pytest

from klsearch.vae.evaluation.pca import pca_unexplained
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR
from klsearch.vae.likelihoods.poisson import POISSON


def test_a_pca_leaves_what_its_dropped_directions_hold() -> None:
    """Independent columns of variance 4, 2 and 1: two components leave 1 of 7."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(20000, 3)) * np.sqrt([4.0, 2.0, 1.0])).astype(np.float32)
    found = pca_unexplained({"train": rows[:10000], "validation": rows[10000:], "test": rows[:0]}, 2, SQUARED_ERROR)
    assert found == {"train": pytest.approx(1 / 7, rel=0.05), "validation": pytest.approx(1 / 7, rel=0.05)}


def test_more_components_than_columns_leave_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert pca_unexplained({"train": rows}, 8, SQUARED_ERROR)["train"] == pytest.approx(0, abs=1e-6)


def test_missing_values_are_seen_as_the_training_mean_and_not_measured() -> None:
    """Of two equal columns one is missing: half of the other comes back, so that a quarter of its square is left."""
    train = np.repeat(np.random.default_rng(0).normal(size=(400, 1)), 2, axis=1).astype(np.float32)
    train -= train.mean(axis=0)
    other = train.copy()
    other[:, 1] = np.nan
    found = pca_unexplained({"train": train, "validation": other}, 1, SQUARED_ERROR)
    assert found == {"train": pytest.approx(0, abs=1e-6), "validation": pytest.approx(1 / 4, rel=1e-5)}


def test_squared_errors_of_a_pca_are_never_put_beside_another_deviance() -> None:
    assert pca_unexplained({"train": np.ones((50, 3), np.float32)}, 2, POISSON.deviance) == {}
