"""A member as ordinary Keras models, which load where this package is not installed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.evaluation.layer_copies import is_plain_lambda, made_with, revive, saved_name, takes_any, was_lambda
from klsearch.vae.layers import SearchedDropout, SlotFreeDense
from klsearch.vae.networks import stacking
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.calling import alone
from klsearch.vae.networks.own.fresh import names_beside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainModels:
    """A member's encoder and decoder, apart from the network that trained it.

    Attributes:
        encoder: rows [n, *shape], or [rows, condition], → [μ, z_log_var], each [n, d]; z_log_var is clipped to the
            member's bounds. A user's own gives all that it gave when it was brought, samples too, of the clipped one.
        decoder: z [n, d], or [z, condition], → what the likelihood makes a reconstruction of, [n, *shape]; a user's own
            with its sigmoid.
        notes: in what a user's own differ from what was brought.
    """

    encoder: keras.Model
    decoder: keras.Model
    notes: tuple[str, ...] = ()


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
    low, high = float(member.clip_low[0]), float(member.clip_high[0])
    told = [(network.condition_width,)] if network.condition_width else []
    brought = network.brought
    if brought is None:
        encoder = copier.copy(network.encoder, network.input_shape, *told)
        decoder = copier.copy(network.decoder, (network.latent_dim,), *told)
        return PlainModels(encoder=_clipped(encoder, (0, 1), low, high)[0], decoder=decoder)
    own = brought.encoder if brought.places is not None else network.encoder
    with brought.restored():
        encoder = copier.copy(own, network.input_shape, *told)
        decoder = copier.copy(brought.decoder, (network.latent_dim,), *told)
    encoder, notes = _clipped(encoder, brought.places or (0, 1), low, high)
    return PlainModels(encoder=encoder, decoder=decoder, notes=(*copier.notes, *notes))


def loading_notes(model: keras.Model) -> list[str]:
    """What loading a saved model needs beside Keras, one line each; none for a model of Keras's own layers."""
    layers = model._flatten_layers(include_self=False)
    lambdas = [layer.name for layer in layers if is_plain_lambda(layer)]
    notes = [f"holds code in the Lambda layer {name!r}: loads only with safe_mode=False" for name in lambdas]
    classes = {type(layer) for layer in layers if type(layer).__module__.partition(".")[0] != "keras"}
    closed = sorted(layer.__qualname__ for layer in classes if not takes_any(layer))
    unknown = [layer for layer in classes if keras.saving.get_registered_name(layer) == layer.__name__]
    registered = sorted(_place(layer) for layer in classes if layer not in unknown)
    notes += [f"needs your layer {place}: import it first" for place in registered]
    own = {layer.__name__: _place(layer) for layer in sorted(unknown, key=lambda layer: layer.__name__)}
    parts = _own_parts(layers)
    if own or parts:  # importing a class is not enough for Keras, unless it is registered
        needed = [f"your layer{'s' * (len(own) > 1)} {' and '.join(own.values())}"] if own else []
        given = ", ".join(f'"{name}": {place}' for name, place in {**own, **parts}.items())
        notes.append(f"needs {' and '.join([*needed, *parts.values()])}: load it with custom_objects={{{given}}}")
    return notes + [
        f"loads once {name}.__init__ takes **kwargs and gives them to super().__init__(), as Keras asks of a layer"
        for name in closed
    ]


def _own_parts(layers: Sequence[keras.layers.Layer]) -> dict[str, str]:
    """The functions and objects of the user's own that layers were made with: where each is, by its name in a file."""
    found: dict[str, str] = {}
    for layer in layers:
        for part in made_with(layer).values():
            at = _place(part if hasattr(part, "__qualname__") else type(part))
            found[saved_name(part)] = f"the lambda of your layer {layer.name!r}" if was_lambda(part) else at
    found.pop("<lambda>", None)  # which the file holds
    return found


def _place(code: Any) -> str:
    return f"{code.__module__}.{code.__qualname__}"


class _Copier:
    """Copies models layer by layer, each variable with the value given for it.

    Args:
        values: by the identity of the original's variable.

    Attributes:
        notes: of what cannot be copied, one line each.
    """

    def __init__(self, values: dict[int, Any]) -> None:
        self._values = values
        self._copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self.notes: list[str] = []

    def copy(self, model: keras.layers.Layer, *shapes: tuple[int, ...]) -> keras.Model:
        """The copy of a model that takes inputs of these shapes."""
        self._copies.clear()
        if getattr(model, "outputs", None):
            copied = keras.models.clone_model(model, clone_function=self._copy_layer, recursive=True)
        else:  # a class of the user's own, whose graph only calling it shows
            layer, inputs = self._copy_layer(model), alone([keras.Input(shape) for shape in shapes])
            copied = keras.Model(inputs, layer(inputs), name=model.name)
        for original, layer in self._copies:
            for old, new in zip(original._flatten_layers(), layer._flatten_layers(), strict=True):
                self._fill(old, new)
        return copied

    def _copy_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, SearchedDropout):
            return keras.layers.Dropout(self._rate(layer), name=layer.name, dtype=layer.dtype_policy)
        copied = revive(layer, keras.layers.Dense if isinstance(layer, SlotFreeDense) else type(layer))
        if isinstance(layer, keras.layers.Layer):  # not an operation such as `keras.ops.square`, which has no variables
            self._copies.append((layer, copied))
        return copied

    def _rate(self, dropout: SearchedDropout) -> float:
        return float(self._values[id(dropout.rate)])

    def _fill(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Give the copy of one layer the values that are its own, not those of layers inside it."""
        if isinstance(old, SearchedDropout):  # inside a class of the user's own, which makes it with a rate of its own
            new.rate = self._rate(old)
            self.notes.append(
                f"loads with the dropout rates of your code; {new.name!r} was trained with {new.rate:.4g}"
            )
            return
        for variable, target in zip(_own_variables(old), _own_variables(new), strict=True):
            if id(variable) in self._values:  # what is not trained, such as a layer that samples, has none
                target.assign(self._values[id(variable)])


def _own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    states = [generator.state for generator in layer._seed_generators]
    return [*layer._trainable_variables, *layer._non_trainable_variables, *states]


def _clipped(
    encoder: keras.Model, places: tuple[int, int], low: float, high: float
) -> tuple[keras.Model, tuple[str, ...]]:
    """The encoder with z_log_var clipped, as it was sampled with and entered the KL; and what had to be left out.

    Args:
        encoder: a copy.
        places: of z_mean and z_log_var among its flattened outputs; the same one where it is cut in two.
        low: lower bound.
        high: upper bound.
    """
    if not (math.isfinite(low) or math.isfinite(high)):
        return encoder, ()
    with names_beside(encoder):
        return _with_clip(encoder, places, low, high)


def _with_clip(
    encoder: keras.Model, places: tuple[int, int], low: float, high: float
) -> tuple[keras.Model, tuple[str, ...]]:
    output = encoder.outputs[0] if isinstance(encoder, keras.Sequential) else encoder.output
    outputs = keras.tree.flatten(output)
    if places[0] == places[1]:
        mean, log_var = keras.ops.split(outputs[places[0]], 2, axis=1)
        both = keras.ops.concatenate([mean, _clip(log_var, low, high)], axis=1)
        return keras.Model(alone(encoder.inputs), keras.tree.pack_sequence_as(output, [both]), name=encoder.name), ()
    mean, log_var = (outputs[place] for place in places)
    rest = [place for place in range(len(outputs)) if place not in places]
    outputs[places[1]] = _clip(log_var, low, high)
    try:
        sampler = keras.Model([mean, log_var], [outputs[place] for place in rest]) if rest else None
    except ValueError:  # made of more than these two, or inside a class of the user's own
        left = (
            "the encoder gives z_mean and the clipped z_log_var alone: its other outputs are made of the unclipped one"
        )
        return keras.Model(alone(encoder.inputs), [mean, outputs[places[1]]], name=encoder.name), (left,)
    drawn = sampler([mean, outputs[places[1]]]) if sampler is not None else []
    for place, tensor in zip(rest, drawn, strict=True):
        outputs[place] = tensor
    return keras.Model(alone(encoder.inputs), keras.tree.pack_sequence_as(output, outputs), name=encoder.name), ()


def _clip(log_var: keras.KerasTensor, low: float, high: float) -> keras.KerasTensor:
    log_var = keras.ops.maximum(log_var, low) if math.isfinite(low) else log_var
    return keras.ops.minimum(log_var, high) if math.isfinite(high) else log_var
