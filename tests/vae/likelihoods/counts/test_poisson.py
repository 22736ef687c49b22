"""Counts of a rate against SciPy's probabilities."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from klsearch.vae.likelihoods.counts.poisson import POISSON
from tests.vae.likelihoods.conftest import Fit

ROWS = np.array([[0.0, 1.0, 7.0], [250.0, 0.0, 3.0]], np.float32)
LOG_RATES = np.array([[-2.0, 0.5, 2.0], [5.5, 0.0, -1.0]], np.float32)


def test_the_error_of_a_count_is_the_logarithm_of_its_probability() -> None:
    expected = -stats.poisson(np.exp(LOG_RATES.astype(float))).logpmf(ROWS)
    assert POISSON.error(tf.constant(ROWS), tf.constant(LOG_RATES)).numpy() == pytest.approx(expected, rel=1e-4)


def test_the_reconstruction_is_the_rate() -> None:
    assert POISSON.mean(tf.constant(LOG_RATES), tf.constant(ROWS)).numpy() == pytest.approx(np.exp(LOG_RATES))


def test_the_deviance_is_twice_what_a_row_s_own_rate_gains() -> None:
    rows, rates = ROWS.astype(float), np.exp(LOG_RATES.astype(float))
    own = stats.poisson(np.maximum(rows, 1e-300)).logpmf(rows)
    expected = 2 * (own - stats.poisson(rates).logpmf(rows))
    assert POISSON.deviance.between(tf.constant(rates), tf.constant(rows), tf.ones([3])).numpy() == pytest.approx(
        expected
    )


def test_a_count_that_was_never_seen_in_training_costs_much_and_not_infinitely_much() -> None:
    assert 20 < float(POISSON.deviance.between(tf.zeros([1]), tf.ones([1]), tf.ones([1]))[0]) < 30


@pytest.mark.slow("trains on 1,400 rows")
def test_simulated_counts_give_back_their_rates(fit: Fit) -> None:
    rng = np.random.default_rng(0)
    log_rates = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 30)) * 0.5 + rng.normal(1.0, 0.7, size=30)
    counts = rng.poisson(np.exp(log_rates)).astype(np.float32)
    fitted = fit(POISSON, {"train": counts[:1400], "validation": counts[1400:]}, 100)
    assert np.corrcoef(fitted.parts["output"].ravel(), log_rates[1400:].ravel())[0, 1] > 0.95
    # As many counts as the truth expects, and no column is off: the log-rates have no bias.
    assert np.abs(np.mean(fitted.parts["output"] - log_rates[1400:], axis=0)).max() < 0.2
