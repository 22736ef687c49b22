"""Recurrent networks for series."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras

from klsearch.vae.layers import SearchedDropout
from klsearch.vae.networks.blocks import (
    activated,
    condition_inputs,
    latent_heads,
    model_of,
    series_shape,
    shaped,
    taken,
    told,
)
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.workload import CELLS, DEFAULT_CELL


def recurrent_network(
    input_shape: tuple[int, ...],
    latent_dim: int,
    *,
    hidden: Sequence[int],
    cell: str = DEFAULT_CELL,
    output_activation: str = "linear",
    outputs: int = 1,
    log_input: bool | tuple[bool, ...] = False,
    condition_width: int = 0,
) -> Network:
    """A recurrent VAE for series [length, channels], or [length] of one channel.

    Each of `hidden` is a recurrent layer of so many states; the last state of the last one, with the condition, gives
    the latents. The decoder mirrors them: it is given the latents at every step and never the
    values before it, so that what it gives comes from the latents alone.

    Args: see `vae.networks.network.dense_network`; `cell` is a name in `CELLS`.
    """
    length, channels = series_shape(input_shape)
    recurrent: Any = getattr(keras.layers, CELLS[cell].layer)
    inputs, condition = keras.Input(input_shape), condition_inputs(condition_width)
    h = taken(inputs, (length, channels), log_input=log_input)
    for place, units in enumerate(hidden):
        h = recurrent(units, return_sequences=place < len(hidden) - 1)(h)
        h = SearchedDropout()(h)
    encoder = model_of(inputs, condition, latent_heads(told(h, condition), latent_dim), "encoder")

    latents, condition = keras.Input((latent_dim,)), condition_inputs(condition_width)
    h = keras.layers.RepeatVector(length)(told(latents, condition))
    for units in reversed(hidden):
        h = recurrent(units, return_sequences=True)(h)
    h = activated(h, output_activation, partial(keras.layers.Dense, channels * outputs))
    h = shaped(h, input_shape, outputs)
    return Network(encoder=encoder, decoder=model_of(latents, condition, h, "decoder"), outputs=outputs)
