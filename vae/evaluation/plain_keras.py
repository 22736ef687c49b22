"""A member as ordinary Keras models, which load where this package is not installed."""

import math
from dataclasses import dataclass

import keras

from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.layers import SearchedDropout, SlotFreeDense
from klsearch.vae.networks import stacking
from klsearch.vae.networks.network import Network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainModels:
    """A member's encoder and decoder, apart from the network that trained it.

    Attributes:
        encoder: rows [n, *shape], or [rows, condition], → [μ, z_log_var], each [n, d]; z_log_var is clipped to the
            member's bounds.
        decoder: z [n, d], or [z, condition], → what the likelihood makes a reconstruction of, [n, *shape].
    """

    encoder: keras.Model
    decoder: keras.Model


def plain_models(network: Network, member: Members) -> PlainModels:
    """Copies of the network's models with a member's values.

    Dropout whose rate was searched becomes `keras.layers.Dropout` of the member's rate, and `SlotFreeDense` a
    `keras.layers.Dense`. Layers of the user's own stay what they are.

    Args:
        network: that the member was trained in; left as it is.
        member: one, with its leading axis.
    """
    variables = stacking.trainable_variables(network) + stacking.other_variables(network)
    values = [value[0] for value in (*member.weights, *member.others)]
    copier = _Copier({id(variable): value.numpy() for variable, value in zip(variables, values, strict=True)})
    encoder = _clipped(copier.copy(network.encoder), float(member.clip_low[0]), float(member.clip_high[0]))
    return PlainModels(encoder=encoder, decoder=copier.copy(network.decoder))


def loading_notes(model: keras.Model) -> list[str]:
    """What loading a saved model needs beside Keras, one line each; none for a model of Keras's own layers."""
    layers = model._flatten_layers(include_self=False)
    lambdas = [layer.name for layer in layers if isinstance(layer, keras.layers.Lambda)]
    notes = [f"holds code in the Lambda layer {name!r}: loads only with safe_mode=False" for name in lambdas]
    classes = {type(layer) for layer in layers if type(layer).__module__.partition(".")[0] != "keras"}
    names = sorted(f"{layer.__module__}.{layer.__qualname__}" for layer in classes)
    return notes + [f"needs your layer {name}: import it first, or give it as custom_objects" for name in names]


class _Copier:
    """Copies models layer by layer, each variable with the value given for it.

    Args:
        values: by the identity of the original's variable.
    """

    def __init__(self, values: dict[int, object]) -> None:
        self._values = values
        self._copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy(self, model: keras.Model) -> keras.Model:
        self._copies.clear()
        copied = keras.models.clone_model(model, clone_function=self._copy_layer, recursive=True)
        for original, layer in self._copies:
            for variable, target in zip(original.variables, layer.variables, strict=True):
                target.assign(self._values[id(variable)])
        return copied

    def _copy_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, SearchedDropout):  # whose variables are its rate and its seed alone
            rate = float(self._values[id(layer.rate)])  # type: ignore[arg-type]
            return keras.layers.Dropout(rate, name=layer.name, dtype=layer.dtype_policy)
        kind = keras.layers.Dense if isinstance(layer, SlotFreeDense) else type(layer)
        copied = kind.from_config(layer.get_config())
        if isinstance(layer, keras.layers.Layer):  # not an operation such as `keras.ops.square`, which has no variables
            self._copies.append((layer, copied))
        return copied


def _clipped(encoder: keras.Model, low: float, high: float) -> keras.Model:
    """The encoder with z_log_var clipped, as it was sampled with and entered the KL."""
    mean, log_var = encoder.outputs
    if math.isfinite(low):
        log_var = keras.ops.maximum(log_var, low)
    if math.isfinite(high):
        log_var = keras.ops.minimum(log_var, high)
    inputs = encoder.inputs if len(encoder.inputs) > 1 else encoder.inputs[0]
    return keras.Model(inputs, [mean, log_var], name=encoder.name)
