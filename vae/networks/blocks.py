"""What the networks of every kind are built of."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import keras
import numpy as np

from klsearch.vae.layers import SearchedDropout, dense


def output_shape(input_shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
    """Of what a decoder gives for a row: as the row, with the numbers for each value on a last axis if several."""
    return input_shape if outputs == 1 else (*input_shape, outputs)


def series_shape(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Length and channels of rows that are series; a table's columns are the values of one channel."""
    length, channels = input_shape if len(input_shape) == 2 else (*input_shape, 1)
    return length, channels


def logged(inputs: keras.KerasTensor, places: bool | tuple[bool, ...]) -> keras.KerasTensor:
    """Inputs, or ln(1 + x) of them all, or of some columns of a table."""
    if not np.any(places):
        return inputs
    if np.all(places):
        return keras.ops.log1p(inputs)
    parts, start = [], 0
    for is_logged, columns in groupby(np.atleast_1d(places)):
        stop = start + len(list(columns))
        part = inputs[:, start:stop]
        parts.append(keras.ops.log1p(part) if is_logged else part)
        start = stop
    return keras.layers.Concatenate()(parts)


def taken(
    inputs: keras.KerasTensor, shape: tuple[int, ...], *, log_input: bool | tuple[bool, ...]
) -> keras.KerasTensor:
    """An encoder's inputs, or ln(1 + x) of them, in the shape that its layers take."""
    h = logged(inputs, log_input)
    return h if tuple(h.shape[1:]) == shape else keras.layers.Reshape(shape)(h)


def shaped(h: keras.KerasTensor, input_shape: tuple[int, ...], outputs: int) -> keras.KerasTensor:
    """A decoder's values in the shape of rows; see `output_shape`."""
    shape = output_shape(input_shape, outputs)
    return h if tuple(h.shape[1:]) == shape else keras.layers.Reshape(shape, dtype="float32")(h)


def latent_heads(features: keras.KerasTensor, latent_dim: int) -> list[keras.KerasTensor]:
    """The two linear heads, with the recipe's Glorot-normal initial values."""
    return [
        dense(latent_dim, kernel_initializer="glorot_normal", name=name, dtype="float32")(features)
        for name in ("z_mean", "z_log_var")
    ]


def condition_inputs(width: int) -> list[keras.KerasTensor]:
    """The second input of a conditional model; none where nothing is told."""
    return [keras.Input((width,), name="condition")] if width else []


def told(h: keras.KerasTensor, condition: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Features [n, m] with the condition beside them."""
    return keras.layers.Concatenate(dtype="float32")([h, *condition]) if condition else h


def model_of(first: keras.KerasTensor, condition: list[keras.KerasTensor], outputs: Any, name: str) -> keras.Model:
    """A model of one input, or of two where something is told."""
    return keras.Model([first, *condition] if condition else first, outputs, name=name)


def narrowing(h: keras.KerasTensor, hidden: Sequence[int], activation: str) -> keras.KerasTensor:
    """The encoder's dense hidden layers, with searched dropout after each."""
    for units in hidden:
        h = SearchedDropout()(dense(units, activation=activation)(h))
    return h


def widening(h: keras.KerasTensor, hidden: Sequence[int], activation: str) -> keras.KerasTensor:
    """The decoder's dense hidden layers: the encoder's mirrored."""
    for units in reversed(hidden):
        h = dense(units, activation=activation)(h)
    return h


def activated(h: keras.KerasTensor, activation: str, last: Callable[..., keras.layers.Layer]) -> keras.KerasTensor:
    """`h` through the decoder's last layer and an activation in float32."""
    if keras.config.dtype_policy().compute_dtype == "float32":
        return last(activation=activation)(h)  # in one layer, which is faster
    return keras.layers.Activation(activation, dtype="float32")(last()(h))
