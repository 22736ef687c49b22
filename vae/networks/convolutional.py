"""Convolutional networks, for images and for series."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Required, TypedDict, Unpack

import keras

from klsearch.vae.layers import SearchedDropout, dense
from klsearch.vae.networks.blocks import (
    activated,
    condition_inputs,
    latent_heads,
    model_of,
    narrowing,
    series_shape,
    shaped,
    taken,
    told,
    widening,
)
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.workload import IMAGE_KERNEL, SERIES_KERNEL


class _Sizes(TypedDict, total=False):
    """What `vae.networks.network.dense_network` takes too, and the convolutions' filters."""

    filters: Required[Sequence[int]]
    hidden: Sequence[int]
    activation: str
    output_activation: str
    outputs: int
    log_input: bool | tuple[bool, ...]
    condition_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    """Keras's layers for places along one axis or two."""

    convolution: Callable[..., Any]
    transposed: Callable[..., Any]
    cropping: Callable[..., Any]
    kernel: int


_OF_SERIES = _Layers(
    convolution=keras.layers.Conv1D,
    transposed=keras.layers.Conv1DTranspose,
    cropping=keras.layers.Cropping1D,
    kernel=SERIES_KERNEL,
)
_OF_IMAGES = _Layers(
    convolution=keras.layers.Conv2D,
    transposed=keras.layers.Conv2DTranspose,
    cropping=keras.layers.Cropping2D,
    kernel=IMAGE_KERNEL,
)


def conv_network(input_shape: tuple[int, ...], latent_dim: int, **sizes: Unpack[_Sizes]) -> Network:
    """A convolutional VAE for images [h, w] or [h, w, channels].

    Each of `filters` is a 3×3 convolution of stride 2, mirrored by transposed ones; `hidden` are dense layers between
    them and the latents. The decoder's last image is cropped to the input's size.
    """
    image_shape = input_shape if len(input_shape) == 3 else (*input_shape, 1)
    return _network(_OF_IMAGES, input_shape, image_shape, latent_dim, **sizes)


def conv1d_network(input_shape: tuple[int, ...], latent_dim: int, **sizes: Unpack[_Sizes]) -> Network:
    """The same for series [length, channels], or [length] of one channel, with convolutions over 5 steps."""
    return _network(_OF_SERIES, input_shape, series_shape(input_shape), latent_dim, **sizes)


def _network(
    kind: _Layers,
    input_shape: tuple[int, ...],
    places_shape: tuple[int, ...],
    latent_dim: int,
    *,
    filters: Sequence[int],
    hidden: Sequence[int] = (),
    activation: str = "relu",
    output_activation: str = "linear",
    outputs: int = 1,
    log_input: bool | tuple[bool, ...] = False,
    condition_width: int = 0,
) -> Network:
    """The network of rows that are reshaped to places with channels on a last axis."""
    inputs, condition = keras.Input(input_shape), condition_inputs(condition_width)
    h = taken(inputs, places_shape, log_input=log_input)
    for count in filters:
        h = kind.convolution(count, kind.kernel, strides=2, padding="same", activation=activation)(h)
        h = SearchedDropout()(h)
    smallest = tuple(h.shape[1:])
    h = told(keras.layers.Flatten()(h), condition)
    encoder = model_of(inputs, condition, latent_heads(narrowing(h, hidden, activation), latent_dim), "encoder")

    latents, condition = keras.Input((latent_dim,)), condition_inputs(condition_width)
    h = widening(told(latents, condition), hidden, activation)
    h = keras.layers.Reshape(smallest)(dense(math.prod(smallest), activation=activation)(h))
    for count in reversed(filters):
        h = kind.transposed(count, kind.kernel, strides=2, padding="same", activation=activation)(h)
    h = activated(
        h, output_activation, partial(kind.convolution, places_shape[-1] * outputs, kind.kernel, padding="same")
    )
    beyond = tuple((0, made - wanted) for made, wanted in zip(h.shape[1:-1], places_shape[:-1], strict=True))
    if any(excess for _, excess in beyond):
        h = kind.cropping(beyond if len(beyond) > 1 else beyond[0], dtype="float32")(h)
    h = shaped(h, input_shape, outputs)
    return Network(encoder=encoder, decoder=model_of(latents, condition, h, "decoder"), outputs=outputs)
