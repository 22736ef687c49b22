"""Where rows lie in latent spaces."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from klsearch.vae.evaluation.latent_map import map_latents

ROWS = np.random.default_rng(0).normal(size=(400, 3)) * [3.0, 2.0, 0.1] + 5.0


def test_the_axes_are_those_of_a_pca_whatever_the_sign() -> None:
    found = map_latents({"winner": ROWS}, None, "test")
    pca = PCA(2).fit(ROWS)
    shown = np.linspace(0, 399, 300).round().astype(int)
    assert np.abs(found.places[0]) == pytest.approx(np.abs(pca.transform(ROWS)[shown]), abs=1e-9)
    assert found.shares[0] == pytest.approx(pca.explained_variance_ratio_.sum())
    assert (found.of, found.labels) == (400, ())


def test_the_largest_weight_of_an_axis_is_positive_so_that_no_map_is_mirrored() -> None:
    mirrored = map_latents({"winner": -ROWS}, None, "test")
    assert mirrored.places == pytest.approx(-map_latents({"winner": ROWS}, None, "test").places)


def test_one_latent_lies_on_a_line_and_means_that_are_not_finite_lie_nowhere() -> None:
    found = map_latents({"one": ROWS[:10, :1], "lost": np.full((10, 4), np.nan)}, None, "test")
    assert np.ptp(found.places[0][:, 0]) > 0 and not np.any(found.places[0][:, 1])
    assert found.shares[0] == pytest.approx(1)
    assert np.all(np.isnan(found.places[1])) and np.isnan(found.shares[1])


@pytest.mark.parametrize(("labels", "named"), [(np.arange(10) % 3, True), (np.linspace(0, 1, 10), False)])
def test_rows_are_named_by_class_and_not_by_quantity(labels: np.ndarray, named: bool) -> None:
    found = map_latents({"winner": ROWS[:10]}, {"train": labels, "test": labels}, "test")
    assert found.labels == (tuple(map(str, labels)) if named else ())
