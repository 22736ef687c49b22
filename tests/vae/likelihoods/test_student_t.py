"""Student's t against SciPy's density."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.student_t import STUDENT_T
from tests.vae.likelihoods.conftest import Fit

ROWS = np.array([[0.0, 1.0], [2.0, -30.0]], np.float32)
MEANS = np.array([[0.5, 1.0], [-1.0, 2.0]], np.float32)
LOG_SCALE = np.array([-2.0, 1.0], np.float32)
OUTPUT = tf.constant(np.stack([MEANS, np.tile(LOG_SCALE, (2, 1))], axis=-1).reshape(2, 4))


def test_the_error_of_a_value_is_the_logarithm_of_its_density() -> None:
    expected = -stats.t(4, MEANS, np.exp(LOG_SCALE.astype(float)) + 1e-3).logpdf(ROWS)
    assert STUDENT_T.error(tf.constant(ROWS), OUTPUT).numpy() == pytest.approx(expected, rel=1e-5)
    assert STUDENT_T.mean(OUTPUT, tf.constant(ROWS)).numpy().tolist() == MEANS.tolist()


def test_the_scale_of_the_deviance_is_not_moved_by_outliers() -> None:
    rows = np.random.default_rng(0).normal(scale=[2.0, 0.5], size=(20_000, 2))
    rows[:200] = [1e3, -1e3]
    assert STUDENT_T.deviance.spread(rows, np.zeros(2)) == pytest.approx([2.0, 0.5], rel=0.03)


def test_a_column_that_hardly_varies_has_a_scale_all_the_same() -> None:
    rows = np.zeros((100, 2))
    rows[0, 0] = 5.0
    assert STUDENT_T.deviance.spread(rows, np.zeros(2)) == pytest.approx([np.std(rows[:, 0]), 1.0])


def test_what_is_missing_has_no_part_in_the_scale() -> None:
    rows = np.array([[1.0, np.nan], [-2.0, np.nan], [np.nan, np.nan], [np.nan, np.nan], [np.nan, 4.0]])
    assert STUDENT_T.deviance.spread(rows, np.array([0.0, 4.0])) == pytest.approx([1.4826 * 1.5, 1.0])
    assert STUDENT_T.deviance.spread(np.full((3, 1), np.nan), np.zeros(1)).tolist() == [1.0]


@pytest.mark.slow("trains on 1,400 rows twice")
def test_simulated_outliers_give_back_their_latents_and_scales_and_pull_a_gaussian_more(fit: Fit) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 30))
    log_scale = rng.uniform(-0.5, 0.5, size=30)
    rows = (signal + rng.standard_t(4, size=signal.shape) * np.exp(log_scale)).astype(np.float32)
    rows[:1400][rng.random((1400, 30)) < 0.01] = 40.0  # wild values, in training alone
    splits = {"train": rows[:1400], "validation": rows[1400:]}
    fitted = fit(STUDENT_T, splits, 100)
    assert fitted.active == 2
    assert np.abs(fitted.parts["log_scale"][0] - log_scale).max() < 0.3

    def missed(mean: np.ndarray) -> float:
        return float(np.mean(np.square(mean - signal[1400:])))

    assert missed(fitted.mean) < 0.5 * missed(fit(GAUSSIAN, splits, 100).mean)
