"""A user's models, beside those that are trained."""

import keras
import numpy as np
import pytest

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.pairs import Pair

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).random((32, 4), np.float32)


def test_the_decoder_has_its_sigmoid_within_the_block_alone_and_shares_its_variables() -> None:
    rows, z = keras.Input((4,)), keras.Input((2,))
    encoder = keras.Model(rows, [keras.layers.Dense(2)(rows) for _ in range(2)])
    decoder = keras.Model(z, keras.layers.Dense(4, "sigmoid")(z))
    network = adopt(Pair(encoder=encoder, decoder=decoder), ROWS, 2, likelihood=BERNOULLI)
    assert network.brought is not None
    latents = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    for factor in (1.0, 3.0):  # trained further
        for variable in network.decoder.trainable_variables:
            variable.assign(factor * variable)
        logits = np.asarray(decoder(latents), np.float64)
        with network.brought.restored():
            np.testing.assert_allclose(decoder(latents), 1 / (1 + np.exp(-logits)), rtol=1e-5)
        np.testing.assert_array_equal(decoder(latents), logits)
