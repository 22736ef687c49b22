"""The linear yardstick."""

import numpy as np
import pytest

from klsearch.vae.data import rows as rows_module
from klsearch.vae.data.rows import unscaled
from klsearch.vae.evaluation import pca
from klsearch.vae.evaluation.pca import pca_unexplained
from klsearch.vae.likelihoods.counts.poisson import POISSON
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR


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


@pytest.mark.parametrize("gaps", [False, True])
def test_rows_beyond_memory_are_taken_by_parts_and_leave_the_same(monkeypatch: pytest.MonkeyPatch, gaps: bool) -> None:
    """Three directions that stand out; two of them are kept."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(3000, 3)) * [4, 3, 2] @ np.linalg.qr(rng.normal(size=(40, 3)))[0].T
    rows = (10 + mixed + 0.1 * rng.normal(size=mixed.shape)).astype(np.float32).reshape(-1, 8, 5)
    if gaps:
        rows[rng.random(rows.shape) < 0.05] = np.nan
    splits = {"train": rows[:2000], "validation": rows[2000:], "test": rows[:0]}
    at_once = pca_unexplained(splits, 2, SQUARED_ERROR)
    monkeypatch.setattr(pca, "MOST_VALUES", splits["train"].size - 1)  # all rows but one
    monkeypatch.setattr(rows_module, "_VALUES", 4000)  # of 80,000
    by_parts = pca_unexplained(splits, 2, SQUARED_ERROR)
    assert by_parts == pytest.approx(at_once, rel=1e-3)
    if not gaps:
        assert by_parts["train"] == pytest.approx((4 + 0.38) / (16 + 9 + 4 + 0.4), rel=0.05)


def test_bytes_leave_what_float32_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(0).integers(0, 256, (300, 6, 4), np.uint8)
    parts = {"train": np.arange(0, 200), "validation": np.arange(200, 300)}
    kept = {name: unscaled(source, numbers) for name, numbers in parts.items()}
    wide = {name: rows[:] for name, rows in kept.items()}
    for most in (2**26, 1000):
        monkeypatch.setattr(pca, "MOST_VALUES", most)
        assert pca_unexplained(kept, 3, SQUARED_ERROR) == pca_unexplained(wide, 3, SQUARED_ERROR)
