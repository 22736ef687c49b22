"""Networks: what is built, where the latent heads are found, and what is refused."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.networks.network import (
    Network,
    dense_network,
    with_learned_columns,
)

SHAPES = ((4, 4), (16,), (4, 4, 1), (2, 8))
Heads = Sequence[keras.KerasTensor] | dict[str, keras.KerasTensor]


def encoder(heads: Any, inputs: keras.KerasTensor) -> keras.Model:
    return keras.Model(inputs, heads)


def decoder(latent_dim: int = 2, features: int = 4) -> keras.Model:
    return keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(features)])


@pytest.fixture
def inputs() -> keras.KerasTensor:
    return keras.Input((4,))


def linear(units: int, name: str | None = None) -> keras.layers.Dense:
    return keras.layers.Dense(units, name=name)


def test_a_dense_network_mirrors_its_widths() -> None:
    network = dense_network((64,), 8, hidden=[32, 16], output_activation="sigmoid")
    shapes = [tuple(variable.shape) for variable in network.encoder.trainable_variables[::2]]
    assert shapes == [(64, 32), (32, 16), (16, 8), (16, 8)]
    assert [tuple(v.shape) for v in network.decoder.trainable_variables[::2]] == [(8, 16), (16, 32), (32, 64)]
    assert (network.input_shape, network.latent_dim) == ((64,), 8)
    assert len(network.searched_dropouts()) == 2


@pytest.mark.parametrize(("activation", "low", "high"), [("sigmoid", 0, 1), ("linear", -math.inf, math.inf)])
def test_the_output_activation_bounds_the_reconstruction(activation: str, low: float, high: float) -> None:
    network = dense_network((64,), 8, hidden=[32], output_activation=activation)
    outputs = network.decoder(np.full((1, 8), 1e3)).numpy()
    assert low <= outputs.min() < outputs.max() <= high
    assert (np.abs(outputs).max() > 1) == (activation == "linear")


def test_the_latent_heads_are_linear_with_glorot_normal_kernels() -> None:
    network = dense_network((64,), 8, hidden=[32])
    heads = [network.encoder.get_layer(name) for name in ("z_mean", "z_log_var")]
    assert all(isinstance(head.kernel_initializer, keras.initializers.GlorotNormal) for head in heads)
    assert all(head.activation is keras.activations.linear for head in heads)
    assert network.latent_head_kernels() == [head.kernel for head in heads]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_a_dense_network_takes_images_too(shape: tuple[int, ...]) -> None:
    network = dense_network(shape, 2, hidden=[8])
    assert network.decoder(np.zeros((3, 2))).shape == (3, *shape)


def test_an_encoder_must_give_two_outputs_in_order(inputs: keras.KerasTensor) -> None:
    for heads, count in ((linear(2)(inputs), 1), ([linear(2)(inputs)] * 3, 3), ({"b": inputs, "a": inputs}, 2)):
        with pytest.raises(ValueError, match=rf"a list of two outputs, \[z_mean, z_log_var\], but gives {count}\."):
            Network(encoder=encoder(heads, inputs), decoder=decoder())


def test_the_encoder_s_outputs_must_be_vectors_of_one_size(inputs: keras.KerasTensor) -> None:
    for heads in ([linear(2)(inputs), linear(3)(inputs)], [keras.layers.Reshape((2, 2))(inputs)] * 2):
        with pytest.raises(ValueError, match=r"both have shape \[n, latent_dim\], but have \[\[None, 2"):
            Network(encoder=encoder(heads, inputs), decoder=decoder())


def test_a_decoder_must_fit_the_encoder(inputs: keras.KerasTensor) -> None:
    fitting = encoder([linear(2)(inputs), linear(2)(inputs)], inputs)
    with pytest.raises(ValueError, match=r"the decoder must take \[n, 2\], but takes \[None, 3\]\."):
        Network(encoder=fitting, decoder=decoder(latent_dim=3))
    with pytest.raises(ValueError, match=r"the decoder must give rows of shape \[4\], but gives \[5\]\."):
        Network(encoder=fitting, decoder=decoder(features=5))
    latents = keras.Input((2,))
    with pytest.raises(ValueError, match=r"the decoder must give one tensor, but gives a list\."):
        Network(encoder=fitting, decoder=keras.Model(latents, [linear(4)(latents), linear(1)(latents)]))


class Subclassed(keras.Model):
    pass


def test_models_without_one_input_of_fixed_shape_are_refused(inputs: keras.KerasTensor) -> None:
    fitting = encoder([linear(2)(inputs), linear(2)(inputs)], inputs)
    open_ended = keras.Input((None, 4))
    three = [inputs, keras.Input((1,)), keras.Input((1,))]
    expected = "must be a functional or sequential Keras model with one input of fixed shape"
    for unfit in (
        Subclassed(),
        keras.Sequential([linear(4)]),
        keras.Model(open_ended, linear(2)(open_ended)),
        keras.Model(three, keras.layers.Concatenate()(three)),
    ):
        with pytest.raises(ValueError, match=f"the encoder {expected}"):
            Network(encoder=unfit, decoder=decoder())
        with pytest.raises(ValueError, match=f"the decoder {expected}"):
            Network(encoder=fitting, decoder=unfit)


@pytest.mark.parametrize("features", [5, 16, 20])
def test_what_a_column_learns_follows_and_is_the_same_for_every_row(features: int) -> None:
    network = with_learned_columns(dense_network((features,), 2, hidden=[4]), {"log_dispersion": -0.5})
    output = network.decoder(np.random.default_rng(0).normal(size=(7, 2))).numpy()
    assert output.shape == (7, features, 2)
    assert np.all(output[..., 1] == -0.5)
    network.decoder.get_layer("log_dispersion").bias.assign(np.arange(features))
    assert np.all(network.decoder(np.ones((3, 2))).numpy()[..., 1] == np.arange(features))


def test_without_columns_to_learn_a_network_stays_as_it_is() -> None:
    network = dense_network((5,), 2, hidden=[4])
    assert with_learned_columns(network, {}) is network


def test_a_decoder_of_too_few_numbers_for_each_value_is_refused_in_one_line(inputs: keras.KerasTensor) -> None:
    both = encoder([linear(2)(inputs), linear(2)(inputs)], inputs)
    expected = r"^the decoder must give 2 numbers for each value, rows of shape \[4, 2\], but gives \[4\]\.$"
    with pytest.raises(ValueError, match=expected):
        Network(encoder=both, decoder=decoder(), outputs=2)
    assert Network(encoder=both, decoder=decoder(features=8), outputs=2).outputs == 2


def test_a_decoder_of_images_of_another_shape_is_refused_and_a_flat_one_taken() -> None:
    """16 values either way: but 2×8 of them would be compared with those of another pixel."""
    inputs, latents = keras.Input((4, 4)), keras.Input((2,))
    h = keras.layers.Flatten()(inputs)
    images = encoder([linear(2)(h), linear(2)(h)], inputs)
    shaped = {shape: keras.Model(latents, keras.layers.Reshape(shape)(linear(16)(latents))) for shape in SHAPES}
    for shape in ((4, 4), (16,), (4, 4, 1)):
        assert Network(encoder=images, decoder=shaped[shape]).decoder is shaped[shape]
    with pytest.raises(ValueError, match=r"the decoder must give rows of shape \[4, 4\], but gives \[2, 8\]\."):
        Network(encoder=images, decoder=shaped[2, 8])


@pytest.mark.parametrize("shape", [(5,), (6, 5), (6, 5, 3)])
def test_several_numbers_for_each_value_stand_on_a_last_axis(shape: tuple[int, ...]) -> None:
    assert dense_network(shape, 2, hidden=[4], outputs=2).decoder.output_shape == (None, *shape, 2)
