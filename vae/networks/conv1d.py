"""Convolutional networks for series."""

import math
from collections.abc import Sequence
from functools import partial

import keras

from klsearch.vae.layers import SearchedDropout, dense
from klsearch.vae.networks.blocks import (
    activated,
    condition_inputs,
    latent_heads,
    model_of,
    narrowing,
    output_shape,
    series_shape,
    told,
    widening,
)
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.workload import SERIES_KERNEL


def conv1d_network(
    input_shape: tuple[int, ...],
    latent_dim: int,
    *,
    filters: Sequence[int],
    hidden: Sequence[int] = (),
    activation: str = "relu",
    output_activation: str = "linear",
    outputs: int = 1,
    log_input: bool = False,
    condition_width: int = 0,
) -> Network:
    """A convolutional VAE for series [length, channels], or [length] of one channel.

    Each of `filters` is a convolution over 5 steps with stride 2, mirrored by transposed ones; `hidden` are dense
    layers between them and the latents. The decoder's last series is cropped to the input's length.

    Args: see `vae.networks.network.conv_network`.
    """
    length, channels = series_shape(input_shape)
    inputs, condition = keras.Input(input_shape), condition_inputs(condition_width)
    h = keras.ops.log1p(inputs) if log_input else inputs
    h = h if len(input_shape) == 2 else keras.layers.Reshape((length, channels))(h)
    for count in filters:
        h = keras.layers.Conv1D(count, SERIES_KERNEL, strides=2, padding="same", activation=activation)(h)
        h = SearchedDropout()(h)
    smallest = tuple(h.shape[1:])
    h = told(keras.layers.Flatten()(h), condition)
    encoder = model_of(inputs, condition, latent_heads(narrowing(h, hidden, activation), latent_dim), "encoder")

    latents, condition = keras.Input((latent_dim,)), condition_inputs(condition_width)
    h = widening(told(latents, condition), hidden, activation)
    h = keras.layers.Reshape(smallest)(dense(math.prod(smallest), activation=activation)(h))
    for count in reversed(filters):
        h = keras.layers.Conv1DTranspose(count, SERIES_KERNEL, strides=2, padding="same", activation=activation)(h)
    last = partial(keras.layers.Conv1D, channels * outputs, SERIES_KERNEL, padding="same")
    h = activated(h, output_activation, last)
    if excess := h.shape[1] - length:
        h = keras.layers.Cropping1D((0, excess), dtype="float32")(h)
    if len(input_shape) == 1 or outputs > 1:
        h = keras.layers.Reshape(output_shape(input_shape, outputs), dtype="float32")(h)
    return Network(encoder=encoder, decoder=model_of(latents, condition, h, "decoder"), outputs=outputs)
