"""A Gaussian of one variance against SciPy's density."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from klsearch.vae.likelihoods.gaussian import GAUSSIAN

ROWS = tf.constant([[0.0, 1.0, 0.5], [1.0, 0.0, 0.25]])
OUTPUT = tf.constant([[0.5, 1.0, -0.5], [3.0, 2.0, 0.25]])


def test_the_error_of_a_value_is_its_squared_distance_from_the_output() -> None:
    assert GAUSSIAN.error(ROWS, OUTPUT).numpy().tolist() == [[0.25, 0.0, 1.0], [4.0, 4.0, 0.0]]


def test_the_reconstruction_is_the_output() -> None:
    assert GAUSSIAN.mean(OUTPUT, ROWS) is OUTPUT


@pytest.mark.parametrize("variance", [0.01, 0.5, 7.0])
def test_the_distortion_is_the_density_at_the_training_rows_mean_squared_error(variance: float) -> None:
    errors = np.sum(GAUSSIAN.error(ROWS, OUTPUT).numpy(), axis=1)
    found = GAUSSIAN.distortion(errors, features=3, train_errors=lambda: np.full(2, 3 * variance))
    density = stats.norm(OUTPUT.numpy(), np.sqrt(variance)).logpdf(ROWS.numpy())
    assert found == pytest.approx(-np.sum(density, axis=1), rel=1e-6)


def test_the_fitted_variance_has_a_floor() -> None:
    found = GAUSSIAN.distortion(np.zeros(1), features=2, train_errors=lambda: np.zeros(1))
    assert found == pytest.approx([np.log(2 * np.pi * 1e-6)])


def test_the_decoder_is_bounded_where_the_data_are() -> None:
    assert GAUSSIAN.output_activation(unit_interval=True) == "sigmoid"
    assert GAUSSIAN.output_activation(unit_interval=False) == "linear"


def test_any_numbers_can_be_scored() -> None:
    assert GAUSSIAN.misfit([np.array([[-1e30, 1e30]])], "none") is None
