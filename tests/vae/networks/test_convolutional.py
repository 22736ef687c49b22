"""Convolutional networks: what they give for images and series, and what all built-in encoders take of counts."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import pytest

from klsearch.vae.networks.convolutional import conv1d_network, conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.recurrent import recurrent_network

BUILDERS: dict[str, Callable[..., Network]] = {
    "dense": partial(dense_network, hidden=[4]),
    "conv": partial(conv_network, filters=[3]),
    "conv1d": partial(conv1d_network, filters=[3]),
    "recurrent": partial(recurrent_network, hidden=[4]),
}


@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (8, 8, 3), (5, 11, 2)])
def test_a_convolutional_network_gives_images_of_the_size_it_takes(shape: tuple[int, ...]) -> None:
    network = conv_network(shape, 2, filters=[4, 8], hidden=[10])
    mean, log_var = network.encoder(np.zeros((3, *shape)))
    assert mean.shape == log_var.shape == (3, 2)
    assert network.decoder(mean).shape == (3, *shape)
    assert len(network.searched_dropouts()) == 3


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_several_numbers_for_each_value_stand_on_a_last_axis(shape: tuple[int, ...]) -> None:
    assert conv_network(shape, 2, filters=[3], outputs=2).decoder.output_shape == (None, *shape, 2)


def test_kernels_span_five_steps_or_three_by_three_pixels() -> None:
    first = [build((9, 2), 2, filters=[4]).encoder.trainable_variables[0] for build in (conv1d_network, conv_network)]
    assert [tuple(kernel.shape) for kernel in first] == [(5, 2, 4), (3, 3, 1, 4)]


@pytest.mark.parametrize("kind", BUILDERS)
def test_an_encoder_of_counts_takes_their_logarithm_first(kind: str) -> None:
    def built(*, log_input: bool) -> Network:
        keras.utils.set_random_seed(0)
        return BUILDERS[kind]((4, 4), 2, log_input=log_input)

    rows = np.random.default_rng(0).integers(0, 1000, size=(3, 4, 4)).astype(np.float32)
    plain, of_counts = built(log_input=False).encoder(np.log1p(rows))[0], built(log_input=True).encoder(rows)[0]
    np.testing.assert_allclose(of_counts, plain, rtol=1e-5)
