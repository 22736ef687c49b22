"""The linear probe: which labels it takes, and what it reads off latents whose content is known."""

import numpy as np
import pytest

from klsearch.vae.evaluation.probe import fit_probe, probe_measure

Splits = dict[str, np.ndarray]


@pytest.mark.parametrize(
    ("labels", "measure"),
    [
        (np.array(["cat", "dog", "cat"]), "accuracy"),
        (np.array([True, False]), "accuracy"),
        (np.arange(10), "accuracy"),
        (np.array([0.0, 1.0, 2.0]), "accuracy"),  # a column of whole numbers that was read as floats
        (np.arange(101), "r2"),
        (np.array([0.5, 1.5]), "r2"),
        (np.array([str(name) for name in range(101)]), None),  # names of rows
        (np.array([3, 3, 3]), None),
        (np.array([0.0, np.nan]), None),
    ],
)
def test_labels_are_classes_or_quantities_or_neither(labels: np.ndarray, measure: str | None) -> None:
    assert probe_measure(labels) == measure


def splits(rows: np.ndarray) -> Splits:
    return dict(zip(("train", "validation", "test"), np.split(rows, [300, 400]), strict=True))


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    """Three latents of 500 rows; the third is a thousandth of the others."""
    return np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1.0, 1e-3]


def test_classes_that_a_plane_parts_are_found(latents: np.ndarray) -> None:
    labels = np.where(latents[:, 0] + latents[:, 1] > 0, "above", "below")
    probe = fit_probe(splits(latents), splits(labels), "accuracy")
    assert probe is not None
    assert min(probe.validation, probe.test) > 0.95
    assert probe.chance == np.mean(splits(labels)["test"] == max(set(labels[:300]), key=labels[:300].tolist().count))


def test_a_latent_counts_whatever_its_scale(latents: np.ndarray) -> None:
    labels = latents[:, 2] > 0
    probe = fit_probe(splits(latents), splits(labels), "accuracy")
    assert probe is not None
    assert probe.test > 0.95


def test_a_quantity_that_is_linear_in_the_latents_is_explained(latents: np.ndarray) -> None:
    labels = 3 * latents[:, 0] - 2 * latents[:, 1] + 7
    probe = fit_probe(splits(latents), splits(labels), "r2")
    assert probe is not None
    assert (probe.validation, probe.test) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert probe.chance == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("measure", ["accuracy", "r2"])
def test_latents_that_know_nothing_of_the_labels_score_no_better_than_chance(latents: np.ndarray, measure: str) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 500)
    probe = fit_probe(splits(latents), splits(labels), measure)  # type: ignore[arg-type]
    assert probe is not None
    assert probe.test - probe.chance < 0.15


def test_a_member_that_diverged_has_no_probe(latents: np.ndarray) -> None:
    broken = latents.copy()
    broken[450] = np.nan
    assert fit_probe(splits(broken), splits(np.arange(500) % 2), "accuracy") is None
