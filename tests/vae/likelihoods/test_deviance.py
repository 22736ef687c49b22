"""What holds of a deviance that says nothing else: it is the squared error."""

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.categorical import CATEGORICAL
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR
from klsearch.vae.likelihoods.likelihood import Likelihood

ROWS = tf.constant([[1.0, 5.0], [0.0, 2.0]])
MEAN = tf.constant([1.0, 3.0])


def test_unless_a_likelihood_has_its_own_the_deviance_is_the_squared_error() -> None:
    assert SQUARED_ERROR.between(MEAN, ROWS, tf.ones([2])).numpy().tolist() == [[0, 4], [1, 1]]
    assert SQUARED_ERROR.predicted_by_mean(MEAN, ROWS) is MEAN
    assert SQUARED_ERROR.spread(ROWS.numpy(), MEAN.numpy()).tolist() == [1, 1]


# A token is certain or it is not: test_categorical.py.
OF_NUMBERS = {name: one for name, one in LIKELIHOODS.items() if one is not CATEGORICAL}


@pytest.mark.parametrize("likelihood", OF_NUMBERS.values(), ids=OF_NUMBERS)
def test_a_deviance_is_least_where_the_prediction_is_the_row(likelihood: Likelihood) -> None:
    """Among predictions of a positive value of 4, on either side of it; nothing is below 0."""
    predictions = tf.constant(np.linspace(1.0, 9.0, 17)[:, np.newaxis])
    found = likelihood.deviance.between(predictions, tf.constant([4.0], tf.float64), tf.constant([0.5], tf.float64))
    values = found.numpy()[:, 0]
    assert values[6] == pytest.approx(0, abs=1e-12)
    assert np.all(np.diff(values[:7]) < 0)
    assert np.all(np.diff(values[6:]) > 0)
