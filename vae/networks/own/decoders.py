"""A user's decoder as it is trained: one tensor, without the sigmoid that the likelihood has already."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from klsearch.vae.data.rows import Rows, extremes, in_parts
from klsearch.vae.networks.own.calling import alone, call_on, takes_plain
from klsearch.vae.networks.own.changes import note_change
from klsearch.vae.networks.own.heads import layer_behind
from klsearch.vae.networks.own.probe import CLOSE, Probe, as_array

_PROBED_ROWS = 64
_LEAST = 1e-7  # Keras's own distance of a probability from 0 and 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoder:
    """A decoder as it is trained.

    Attributes:
        model: z [n, d], or [z, condition], → what the likelihood makes a reconstruction of; shares the brought
            decoder's variables.
        tried: what it was called with, float32 [n, …] each.
        reach: the least and greatest value that the brought decoder gives; infinite where there is no bound.
        adds_up: how many values in a row, one after the other, add up to 1 as those of a softmax do; 0 where none do.
    """

    model: keras.Model
    tried: tuple[np.ndarray, ...]
    reach: tuple[float, float]
    adds_up: int

    @property
    def is_sigmoid(self) -> bool:
        """Whether it gives probabilities, each by itself."""
        return self.reach == (0.0, 1.0) and not self.adds_up


def take_decoder(decoder: keras.layers.Layer, latent_dim: int, condition: np.ndarray | None = None) -> Decoder:
    """The decoder of latents that gives one tensor, and what it can give.

    Args:
        decoder: as it was brought.
        latent_dim: d.
        condition: of some rows, float32 [n, c], where it is told of one.

    Raises:
        ValueError: it takes other latents or another condition, or gives several tensors.
    """
    tried = _tried(latent_dim, condition)
    inputs = getattr(decoder, "inputs", None)
    if inputs and len(inputs) == len(tried) and tuple(inputs[0].shape[1:]) != (latent_dim,):
        raise ValueError(f"the decoder must take [n, {latent_dim}], but takes {list(inputs[0].shape)}.")
    begin, output = call_on(decoder, *(values.shape[1:] for values in tried))
    flat = keras.tree.flatten(output)
    if len(flat) != 1 or not isinstance(flat[0], keras.KerasTensor):
        kind = type(output).__name__ if not isinstance(output, dict) else f"dictionary of {', '.join(output)}"
        raise ValueError(f"the decoder must give one tensor, but gives a {kind}.")
    plain = bool(inputs) and output is flat[0] and takes_plain(decoder)
    model = decoder if plain else keras.Model(alone(begin), flat[0], name=decoder.name)
    probe = Probe(model, *tried)
    adds_up = _adds_up(probe.outputs()[0])
    return Decoder(model=model, tried=tried, reach=(0.0, 1.0) if adds_up else _reach(probe), adds_up=adds_up)


def _tried(latent_dim: int, condition: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Latents of the prior, and a condition for each."""
    latents = np.random.default_rng(0).normal(size=(_PROBED_ROWS, latent_dim)).astype(np.float32)
    if condition is None:
        return (latents,)
    told = condition[:_PROBED_ROWS]
    return latents[: len(told)], told


def _reach(probe: Probe) -> tuple[float, float]:
    """The bounds of the output, found by moving the layers that give it; rounded where an activation has them."""
    seen = layer_behind(probe.model.outputs[0])
    # Where no graph shows the last layer, it is the one that takes the output farthest.
    reaches = [probe.reach(layer, 0) for layer in ([seen] if seen is not None else probe.layers)]
    if not reaches:
        return -math.inf, math.inf
    return _rounded(min(low for low, _ in reaches)), _rounded(max(high for _, high in reaches))


def _rounded(bound: float) -> float:
    return round(bound, 4) if math.isfinite(bound) else bound


def _adds_up(output: np.ndarray) -> int:
    """How many values add up to 1: those along the last axis, or of the whole row; 0 for neither."""
    widths = (output.shape[-1], math.prod(output.shape[1:]))
    return next((width for width in widths if width > 1 and add_up(output, width, within=CLOSE)), 0)


def add_up(rows: Rows, width: int, *, within: float) -> bool:
    """Whether each `width` values of rows [n, …], one after the other, are shares of 1."""
    if math.prod(rows.shape[1:]) % width or extremes(rows)[0] < 0:
        return False
    return all(np.allclose(part.reshape(-1, width).sum(axis=-1), 1, atol=within) for part in in_parts(rows))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits:
    """A decoder without its sigmoid.

    Attributes:
        model: gives logits.
        layer: whose activation was taken away; None where the graph ends in an operation of its own.
        activation: that it had.
        note: how the logits come about.
    """

    model: keras.Model
    layer: keras.layers.Layer | None
    activation: Any
    note: str

    @contextmanager
    def restored(self) -> Iterator[None]:
        """A block in which the brought decoder has its sigmoid again."""
        if self.layer is not None:
            self.layer.activation = self.activation
        try:
            yield
        finally:
            if self.layer is not None:
                self.layer.activation = keras.activations.linear


def take_logits(decoder: Decoder) -> Logits:
    """What goes into the sigmoid at a decoder's end: found where it can be, else worked out from what comes out."""
    model = decoder.model
    note = "the decoder's sigmoid is left out in training, for 'bernoulli' takes logits; it is exported with it"
    inputs = alone(decoder.tried)
    given = as_array(model(inputs, training=False))
    for layer in reversed(model._flatten_layers(include_self=False)):
        activation = getattr(layer, "activation", None)
        if getattr(activation, "__name__", "") != "sigmoid":
            continue
        layer.activation = keras.activations.linear
        logits = as_array(model(inputs, training=False))
        if np.allclose(as_array(keras.ops.sigmoid(logits)), given, atol=1e-5):
            note_change(layer, partial(setattr, layer, "activation", activation))
            return Logits(model=model, layer=layer, activation=activation, note=note)
        layer.activation = activation
    operation = model.outputs[0]._keras_history.operation
    if type(operation).__name__ == "Sigmoid":
        (before,) = operation._inbound_nodes[model.outputs[0]._keras_history.node_index].input_tensors
        return Logits(
            model=keras.Model(alone(model.inputs), before, name=model.name), layer=None, activation=None, note=note
        )
    likely = keras.ops.clip(model.outputs[0], _LEAST, 1 - _LEAST)
    worked_out = keras.Model(alone(model.inputs), keras.ops.log(likely) - keras.ops.log1p(-likely), name=model.name)
    return Logits(
        model=worked_out,
        layer=None,
        activation=None,
        note="the decoder gives probabilities, from which logits are worked out as Keras's cross-entropy does (kept "
        "1e-7 from 0 and 1); let it end in activation='sigmoid', or in none, to train on the logits themselves",
    )
