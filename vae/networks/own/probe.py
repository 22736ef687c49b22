"""What a model does, found out by calling it with other values of its variables."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from klsearch.vae.data.rows import Rows
from klsearch.vae.networks.own.calling import alone

_MODERATE, _EXTREME = 1e4, 1e7
CLOSE = 0.02  # for 8 bits of a number
_PROBED_ROWS = 48


def probed_inputs(rows: Rows, condition: np.ndarray | None = None) -> list[np.ndarray]:
    """What an encoder is tried on: the first rows, 0 where a value is missing, and what is told of them if anything is.

    Args:
        rows: to be trained on, float32 [n, *shape]; NaN where a value is missing.
        condition: of them, float32 [n, c].
    """
    some = np.nan_to_num(rows[:_PROBED_ROWS], nan=0.0)
    return [some] if condition is None else [some, condition[:_PROBED_ROWS]]


class Probe:
    """A model called on a few inputs, with some of its variables changed; nothing of it is left changed.

    Args:
        model: that can be called on a batch.
        inputs: a batch of each of its inputs.
    """

    def __init__(self, model: keras.Model, *inputs: np.ndarray) -> None:
        self.model, self._inputs = model, alone(inputs)
        self.layers = [layer for layer in model._flatten_layers(include_self=False) if has_kernel(layer)]

    def outputs(self, changes: Mapping[int, Any] | None = None) -> list[np.ndarray]:
        """The outputs in order, with other values of the variables of these identities."""
        changes = changes or {}
        values = [
            [changes.get(id(variable), variable.value) for variable in variables]
            for variables in (self.model.trainable_variables, self.model.non_trainable_variables)
        ]
        called, _ = self.model.stateless_call(*values, self._inputs, training=False)
        return [as_array(output) for output in keras.tree.flatten(called)]

    def reach(self, layer: keras.layers.Layer, place: int) -> tuple[float, float]:
        """The least and the greatest value that an output takes as a layer's own output grows without end.

        An end without bound is infinite.
        """
        moderate, extreme = (self._spread(layer, place, factor) for factor in (_MODERATE, _EXTREME))
        stays = [abs(many - few) <= 0.01 * abs(few) + 1e-5 for few, many in zip(moderate, extreme, strict=True)]
        return extreme[0] if stays[0] else -math.inf, extreme[1] if stays[1] else math.inf

    def _spread(self, layer: keras.layers.Layer, place: int, factor: float) -> tuple[float, float]:
        """The least and greatest value of an output with a layer's own output moved far both ways."""
        moved = layer.bias if has_bias(layer) else layer.kernel
        given = []
        for sign in (-1, 1):
            far = moved.value + sign * factor if has_bias(layer) else sign * factor * moved.value
            values = np.asarray(self.outputs({id(moved): far})[place], np.float64)
            given.append(values[~np.isnan(values)])
        known = np.concatenate(given)
        return (float(known.min()), float(known.max())) if known.size else (-math.inf, math.inf)

    def moves(self, layer: keras.layers.Layer) -> list[bool]:
        """Of each output, whether it moves exactly as the layer's own output does: whether the layer is its head."""
        before = self.outputs()
        if has_bias(layer):
            after = self.outputs({id(layer.bias): layer.bias.value + 1.0})
            wanted = [values + 1.0 for values in before]
        else:
            after = self.outputs({id(layer.kernel): layer.kernel.value * 2.0})
            wanted = [values * 2.0 for values in before]
        return [
            not np.array_equal(now, then) and np.allclose(now, aim, rtol=CLOSE, atol=CLOSE)
            for now, aim, then in zip(after, wanted, before, strict=True)
        ]

    def changes(self, layer: keras.layers.Layer) -> list[bool]:
        """Of each output, whether it depends on what the layer gives."""
        after = self.outputs({id(layer.kernel): layer.kernel.value * 2.0})
        return [not np.array_equal(now, then) for now, then in zip(after, self.outputs(), strict=True)]


def as_array(tensor: Any) -> np.ndarray:
    """What a model gave, whatever precision it computes in: float32."""
    values: np.ndarray = keras.ops.cast(tensor, "float32").numpy()
    return values


def has_kernel(layer: Any) -> bool:
    """Whether a layer multiplies by a kernel."""
    return isinstance(getattr(layer, "kernel", None), keras.Variable)


def has_bias(layer: Any) -> bool:
    """Whether a layer adds a bias."""
    return isinstance(getattr(layer, "bias", None), keras.Variable)
