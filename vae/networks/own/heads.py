"""The outputs of a user's encoder that are z_mean and z_log_var, and the layers that L2 acts on behind them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from klsearch.vae.networks.own.calling import alone, as_taken, call_on, takes_plain
from klsearch.vae.networks.own.probe import Probe, as_array, has_kernel

_LOG_VAR = re.compile(r"log_?_?(var|sigma|std|scale)|logv|lv(_|$)", re.IGNORECASE)
_LOG_DEVIATION = re.compile(r"log_?(sigma|std|scale)", re.IGNORECASE)
_MEAN = re.compile(r"mean|(^|_)(mu|loc)($|_|\d)", re.IGNORECASE)
_PROBED_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """An encoder as it is trained, with where its two outputs come from.

    Attributes:
        encoder: rows [n, *shape], or [rows, condition], → [μ, raw z_log_var], each [n, d]; shares the brought
            encoder's variables.
        layers: whose kernels give them; none where they need not be known and are not found.
        places: of them among the flattened outputs of the brought encoder, the same one where it is cut in two; None
            where they lie inside.
        notes: what was taken for what, where that is not plain.
    """

    encoder: keras.Model
    layers: tuple[keras.layers.Layer, ...]
    places: tuple[int, int] | None
    notes: tuple[str, ...]

    @property
    def kernels(self) -> tuple[keras.Variable, keras.Variable]:
        """The kernels that L2 acts on."""
        first, second = self.layers
        return first.kernel, second.kernel


def take_heads(
    encoder: keras.layers.Layer, given: Sequence[np.ndarray], named: Sequence[str], *, needs_kernels: bool = True
) -> Heads:
    """The encoder that gives z_mean and raw z_log_var alone.

    Args:
        encoder: as it was brought.
        given: some rows of those to be trained on, float32 [n, *shape]; then their condition, where it is told of one.
        named: `latent_heads` of the definition: two outputs, or layers, in this order; empty to find them by name.
        needs_kernels: whether L2 shall act on them.

    Raises:
        ValueError: they cannot be told, or there is none of a name, or no kernel; the message says how to name them.
    """
    inputs, output = call_on(encoder, *(values.shape[1:] for values in given))
    flat, labels = _outputs(output)
    if named:
        pair, places, notes = _named_pair(encoder, inputs, given, flat, labels, named)
    elif len(flat) == 1:
        pair, places, notes = _in_one(encoder, flat[0])
    else:
        places, notes = _two_of(encoder, given, flat, labels)
        pair = [flat[place] for place in places]
    shapes = [list(head.shape) for head in pair]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] is None:
        raise ValueError(f"the encoder's outputs must both have shape [n, latent_dim], but have {shapes}.")
    view = encoder if _is_plain(encoder, pair) else keras.Model(alone(inputs), list(pair), name=encoder.name)
    layers = _head_layers(view, encoder, given, named)
    if not layers and needs_kernels:
        raise ValueError(
            "found no layer with a kernel to regularise behind an encoder output; let a Dense layer give z_mean and "
            'another z_log_var, or name them in model.latent_heads = ["…", "…"]; layers with a kernel: '
            f"{_known_layers(encoder, view)}."
        )
    if places is not None and not named and _are_reversed(encoder, layers, [labels[place] for place in places]):
        first, second = (_words(encoder, layer) for layer in layers)
        if places[0] == places[1]:
            raise ValueError(f"the encoder's one output begins with {first!r}; let z_mean be its first half.")
        notes = [f"the encoder gives {first!r} before {second!r}: {second!r} is taken for z_mean"]
        places, layers = (places[1], places[0]), (layers[1], layers[0])
        view = keras.Model(alone(inputs), [pair[1], pair[0]], name=encoder.name)
    deviations = [name for layer in layers[1:] for name in names_of(encoder, layer) if _LOG_DEVIATION.search(name)]
    if deviations:
        notes.append(
            f"{deviations[0]!r} is taken for a log-variance; if it is the logarithm of a standard deviation, give "
            "twice that"
        )
    return Heads(encoder=view, layers=layers, places=places, notes=tuple(notes))


def _outputs(output: Any) -> tuple[list[keras.KerasTensor], list[str]]:
    """An encoder's outputs in the order in which Keras flattens them, and what each is called."""
    pairs = keras.tree.flatten_with_path(output)
    flat = [tensor for _, tensor in pairs]
    if not flat or not all(isinstance(tensor, keras.KerasTensor) for tensor in flat):
        raise ValueError("the encoder must give tensors: z_mean and z_log_var.")
    named = [[part for part in path if isinstance(part, str)] for path, _ in pairs]
    given = zip(named, flat, strict=True)
    labels = [path[-1] if path else _operation_behind(tensor).name for path, tensor in given]
    return flat, [label if labels.count(label) == 1 else f"output {place}" for place, label in enumerate(labels)]


def _operation_behind(tensor: keras.KerasTensor) -> Any:
    """The operation that gives a tensor: of models inside models the innermost."""
    operation, _, index = tensor._keras_history
    inside = isinstance(operation, keras.Model) and getattr(operation, "outputs", None)
    return _operation_behind(operation.outputs[index]) if inside else operation


def _is_plain(encoder: Any, pair: Sequence[keras.KerasTensor]) -> bool:
    """Whether the encoder gives just these two in a list."""
    outputs = getattr(encoder, "outputs", None) or ()
    listed = isinstance(getattr(encoder, "output", None), list | tuple)
    same = len(outputs) == 2 and all(a is b for a, b in zip(outputs, pair, strict=True))
    return same and listed and takes_plain(encoder)


def _named_pair(
    encoder: Any,
    inputs: Sequence[keras.KerasTensor],
    given: Sequence[np.ndarray],
    flat: list[keras.KerasTensor],
    labels: list[str],
    named: Sequence[str],
) -> tuple[list[keras.KerasTensor], tuple[int, int] | None, list[str]]:
    """Both heads as the user names them, and their places: a layer that no graph shows gives the output that it moves.

    Raises:
        ValueError: there is none of a name, or z_mean is the second half of one output.
    """
    seen = [_named_tensor(encoder, name, flat, labels) for name in named]
    layers = [_named_layer(encoder, name) for name in named]
    for name, tensor, layer in zip(named, seen, layers, strict=True):
        if tensor is None and layer is None:
            raise ValueError(
                f"the encoder has no output and no layer {name!r} for model.latent_heads; outputs: "
                f"{', '.join(labels)}; layers with a kernel: {_known_layers(encoder, encoder)}."
            )
    if None not in seen:
        return seen, _places(seen, flat), []
    candidates, places, _ = _in_one(encoder, flat[0]) if len(flat) == 1 else (flat, None, None)
    steady = [0, 1] if len(flat) == 1 else steady_places(encoder, given)
    probe = Probe(keras.Model(alone(inputs), candidates), *_few(given))
    moved = [
        tensor if tensor is not None else _moved_by(probe, layer, candidates, steady)
        for tensor, layer in zip(seen, layers, strict=True)
    ]
    if None in moved or moved[0] is moved[1]:
        if len(flat) > 1:
            places = _two_of(encoder, given, flat, labels)[0]
            candidates = [flat[place] for place in places]
        first, second = named
        note = f"which outputs {first!r} and {second!r} give cannot be told: the first is taken for z_mean"
        return list(candidates), places, [note]
    if places == (0, 0) and moved[0] is candidates[1]:
        raise ValueError(f"the encoder's one output begins with {named[1]!r}; let z_mean be its first half.")
    return moved, places if len(flat) == 1 else _places(moved, flat), []


def _moved_by(
    probe: Probe, layer: keras.layers.Layer, tensors: Sequence[keras.KerasTensor], steady: Sequence[int]
) -> Any:
    """The one output, of those that are not drawn at random, that a layer is the head of, or at least acts on."""
    for follows in (probe.moves(layer), probe.changes(layer)):
        found = [place for place in steady if follows[place]]
        if len(found) == 1:
            return tensors[found[0]]
    return None


def _named_layer(encoder: Any, name: str) -> Any:
    """The layer with a kernel of this name; None where there is none."""
    inside = [layer for layer in encoder._flatten_layers(include_self=False) if has_kernel(layer)]
    return next((layer for layer in inside if name in names_of(encoder, layer)), None)


def _named_tensor(encoder: Any, name: str, flat: list[keras.KerasTensor], labels: list[str]) -> Any:
    """The output of this name, or what a layer of this name gives; None where neither is seen from outside."""
    if name in labels:
        return flat[labels.index(name)]
    inside = getattr(encoder, "layers", ()) if getattr(encoder, "outputs", None) else ()
    return next((layer.output for layer in inside if layer.name == name), None)


def _places(pair: Sequence[keras.KerasTensor], flat: list[keras.KerasTensor]) -> tuple[int, int] | None:
    found = [next((place for place, tensor in enumerate(flat) if tensor is head), None) for head in pair]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def _in_one(
    encoder: Any, tensor: keras.KerasTensor
) -> tuple[list[keras.KerasTensor], tuple[int, int] | None, list[str]]:
    """Both heads where the encoder has one output: its halves, or layers on the way to it."""
    inside = getattr(encoder, "layers", ()) if getattr(encoder, "outputs", None) else ()
    log_vars = [layer for layer in inside if _LOG_VAR.search(layer.name) and has_kernel(layer)]
    means = [layer for layer in inside if _is_mean(layer.name) and has_kernel(layer)]
    if len(log_vars) == len(means) == 1:
        note = f"the layers {means[0].name!r} and {log_vars[0].name!r} inside the encoder are taken for its outputs"
        return [means[0].output, log_vars[0].output], None, [note]
    if len(tensor.shape) != 2 or tensor.shape[1] is None or tensor.shape[1] % 2:
        raise ValueError(
            f"the encoder gives one output of shape {list(tensor.shape)}; let it give [z_mean, z_log_var], or name the "
            'layers that do in model.latent_heads = ["z_mean", "z_log_var"].'
        )
    half = tensor.shape[1] // 2
    note = f"the encoder gives {2 * half} numbers: the first {half} are taken for z_mean, the others for z_log_var"
    return list(keras.ops.split(tensor, 2, axis=1)), (0, 0), [note]


def _is_mean(name: str) -> bool:
    return bool(_MEAN.search(name)) and not _LOG_VAR.search(name)


def _two_of(
    encoder: Any, given: Sequence[np.ndarray], flat: list[keras.KerasTensor], labels: list[str]
) -> tuple[tuple[int, int], list[str]]:
    """The places of both heads among several outputs: by name, else the two that are not drawn at random."""
    log_vars = [place for place, label in enumerate(labels) if _LOG_VAR.search(label)]
    means = [place for place, label in enumerate(labels) if _is_mean(label)]
    if len(log_vars) == len(means) == 1:
        places = (means[0], log_vars[0])
    elif len(flat) == 2:
        places = (0, 1)
    elif len(steady := steady_places(encoder, given)) == 2:
        places = (steady[0], steady[1])
    else:
        raise ValueError(
            f"the encoder gives {len(flat)} outputs, {', '.join(labels)}: name the two that are mean and log-variance, "
            f"such as model.latent_heads = {_toml(labels[:2])}."
        )
    rest = [label for place, label in enumerate(labels) if place not in places]
    mean, log_var = (labels[place] for place in places)
    is_plain = places[0] < places[1] and ((mean, log_var) == ("z_mean", "z_log_var") or not rest)
    said = [] if is_plain else [f"{mean!r} is taken for z_mean and {log_var!r} for z_log_var"]
    verb = "is" if len(rest) == 1 else "are"
    said += [f"{' and '.join(map(repr, rest))} {verb} left out: samples are drawn by klsearch"] if rest else []
    return places, [f"of the encoder's outputs {'; '.join(said)}"] if said else []


def _toml(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def steady_places(encoder: Any, given: Sequence[np.ndarray]) -> list[int]:
    """Places of the outputs that two calls give alike: a sample is drawn anew."""
    some, inputs = _few(given), getattr(encoder, "inputs", None)
    if inputs:
        some[0] = some[0].reshape(-1, *inputs[0].shape[1:])
    first, second = (keras.tree.flatten(encoder(as_taken(encoder, some), training=False)) for _ in range(2))
    return [
        place
        for place, (one, other) in enumerate(zip(first, second, strict=True))
        if np.array_equal(as_array(one), as_array(other))
    ]


def _few(given: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [values[:_PROBED_ROWS] for values in given]


def _head_layers(view: keras.Model, encoder: Any, given: Sequence[np.ndarray], named: Sequence[str]) -> tuple[Any, ...]:
    """The layers that L2 acts on: those that are named, those nearest upstream of the outputs, or those that move them.

    Returns:
        Two, or none where one is not to be found.
    """
    inside = [layer for layer in view._flatten_layers(include_self=False) if has_kernel(layer)]
    by_name = [_named_layer(encoder, name) for name in named]
    upstream = [layer_behind(output) for output in view.outputs]
    found = [one or other for one, other in zip(by_name or [None, None], upstream, strict=True)]
    if None in found:
        probe = Probe(view, *_few(given))
        # A layer that moves both may lie farther back than the heads, or be both of them.
        moved = sorted([(probe.moves(layer), layer) for layer in inside], key=lambda one: sum(one[0]))
        heads = [next((layer for moves, layer in moved if moves[place]), None) for place in (0, 1)]
        found = [one or other for one, other in zip(found, heads, strict=True)]
    return () if None in found else (found[0], found[1])


def _known_layers(encoder: Any, view: Any) -> str:
    """The layers with a kernel, in words."""
    inside = [layer for layer in view._flatten_layers(include_self=False) if has_kernel(layer)]
    return ", ".join(sorted({_words(encoder, layer) for layer in inside})) or "none"


def layer_behind(tensor: keras.KerasTensor) -> Any:
    """The nearest layer upstream of a tensor that has a kernel; None where ways meet, or the graph shows none."""
    operation, node, index = tensor._keras_history
    if has_kernel(operation):
        return operation
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return layer_behind(operation.outputs[index])
    if not operation._inbound_nodes or _multiplies_inside(operation):
        return None
    inputs, outputs = operation._inbound_nodes[node].input_tensors, operation._inbound_nodes[node].output_tensors
    if len(inputs) == len(outputs) > 1 and all(a.shape == b.shape for a, b in zip(inputs, outputs, strict=True)):
        return layer_behind(inputs[index])  # what it takes it gives on, as a layer that adds a KL does
    return layer_behind(inputs[0]) if len(inputs) == 1 else None


def _multiplies_inside(operation: Any) -> bool:
    """Whether an operation has matrices of weights that no graph shows."""
    weights = operation.trainable_variables if isinstance(operation, keras.layers.Layer) else ()
    return any(len(weight.shape) > 1 for weight in weights)


def names_of(encoder: Any, layer: Any) -> list[str]:
    """What a layer is called: by the attributes that hold it, and by itself."""
    holders = [encoder, *encoder._flatten_layers(include_self=False)]
    held = [name for holder in holders for name, value in vars(holder).items() if value is layer]
    return [*held, layer.name]


def _words(encoder: Any, layer: Any) -> str:
    return names_of(encoder, layer)[0]


def _are_reversed(encoder: Any, layers: Sequence[Any], labels: Sequence[str]) -> bool:
    """Whether the names of the first head speak of a log-variance, or only the second's of a mean."""
    if not layers:
        return False
    first, second = ([*names_of(encoder, layer), label] for layer, label in zip(layers, labels, strict=True))
    log_vars = [any(map(_LOG_VAR.search, names)) for names in (first, second)]
    means = [any(map(_is_mean, names)) for names in (first, second)]
    return log_vars == [True, False] or (means == [False, True] and not any(log_vars))
