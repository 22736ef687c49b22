"""A user's models in Python: what leads to their layers, and what becomes of them in training."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from klsearch.vae.layers import SearchedDropout
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.calling import call_on
from klsearch.vae.networks.own.pairs import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCode:
    """What a training step says of a user's two models, as Python; layers follow `encoder` or `decoder`.

    Attributes:
        origin: how they come from what the user named.
        rows: what the encoder is called with, of `rows`, and of `condition` where there is one.
        latents: what the decoder is called with, of `z` and `condition`.
        heads: z_mean and raw z_log_var, of `given`, what the encoder gives.
        inside: layers of the encoder that give them instead, where they are no outputs; else none.
        decoded: the tensor, of `given`, what the decoder gives.
        kernels: layers whose kernels L2 acts on.
        dropouts: layers of the encoder whose rate was searched, and whether that is a variable.
        silenced: layers of the encoder whose own KL is left out.
        sigmoid: layer of the decoder whose sigmoid is left out; None for none.
        probabilities: whether logits are worked out from what the decoder gives.
    """

    origin: Origin
    rows: str
    latents: str
    heads: tuple[str, str]
    inside: tuple[str, ...]
    decoded: str
    kernels: tuple[str, str]
    dropouts: Mapping[str, bool]
    silenced: tuple[str, ...]
    sigmoid: str | None
    probabilities: bool


def own_code(network: Network) -> OwnCode | None:
    """The Python of a network of the user's own; None where it cannot be told, or of another network."""
    brought = network.brought
    if brought is None:
        return None
    encoder, decoder, logits = brought.encoder, brought.decoder, brought.logits
    told = {"condition": (network.condition_width,)} if network.condition_width else {}
    rows, latents = {"rows": network.input_shape, **told}, {"z": (network.latent_dim,), **told}
    with brought.restored():
        given = call_on(encoder, *rows.values())[1]
        decoded = call_on(decoder, *latents.values())[1]
    layers = list(encoder._flatten_layers(include_self=False))
    dropouts = [layer for layer in layers if isinstance(layer, SearchedDropout)]
    silenced = [layer for layer in layers if "add_loss" in layer.__dict__]
    behind = [_holder(encoder, kernel) for kernel in brought.kernels]
    inside = [] if brought.places is not None else [_giving(encoder, head) for head in network.encoder.outputs]
    ways = {id(layer): way_to(encoder, layer) for layer in (*behind, *dropouts, *silenced, *inside)}
    sigmoid = None if logits is None or logits.layer is None else way_to(decoder, logits.layer)
    if None in ways.values() or (logits is not None and logits.layer is not None and sigmoid is None):
        return None

    def ways_to(found: Sequence[Any]) -> tuple[str, ...]:
        return tuple(str(ways[id(layer)]) for layer in found)

    first, second = ways_to(behind)
    return OwnCode(
        origin=brought.origin,
        rows=_taken(encoder, rows),
        latents=_taken(decoder, latents),
        heads=_heads(given, brought.places),
        inside=ways_to(inside),
        decoded=f"given{_paths(decoded)[0]}",
        kernels=(first, second),
        dropouts={way: not hasattr(layer, "own_rate") for way, layer in zip(ways_to(dropouts), dropouts, strict=True)},
        silenced=ways_to(silenced),
        sigmoid=sigmoid,
        probabilities=logits is not None and logits.layer is None,
    )


def way_to(model: Any, layer: Any) -> str | None:
    """What follows a model's name to reach a layer inside it, such as `.get_layer('z_mean')`; None where nothing does.

    Layers that Keras named by itself are counted instead: their names depend on what was made before them.
    """
    ways: deque[tuple[Any, str]] = deque([(model, "")])
    seen = {id(model)}
    while ways:
        holder, way = ways.popleft()
        if holder is layer:
            return way
        for child, step in _steps(holder):
            if id(child) not in seen:
                seen.add(id(child))
                ways.append((child, way + step))
    return None


def _steps(holder: Any) -> Iterator[tuple[Any, str]]:
    """The layers that one holds: those of a graph, and its public attributes."""
    if getattr(holder, "outputs", None):
        layers = holder.layers
        for place, layer in enumerate(layers):
            by_name = not _is_numbered(layer) and [one.name for one in layers].count(layer.name) == 1
            yield layer, f".get_layer({layer.name!r})" if by_name else f".layers[{place}]"
    for name, value in vars(holder).items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.layers.Layer):
            yield value, f".{name}"
        elif isinstance(value, list | tuple):
            yield from ((one, f".{name}[{place}]") for place, one in enumerate(value) if _is_layer(one))
        elif isinstance(value, Mapping):
            yield from ((one, f".{name}[{key!r}]") for key, one in value.items() if _is_layer(one))


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def _is_numbered(layer: keras.layers.Layer) -> bool:
    """Whether a layer's name is Keras's own: its class in snake case, and perhaps a number."""
    kinds = [type(layer).__name__, *(["Dropout"] if isinstance(layer, SearchedDropout) else [])]
    names = "|".join(re.escape(kind.lower().replace("_", "")) for kind in kinds)
    return re.fullmatch(rf"({names})\d*", layer.name.replace("_", "")) is not None


def _holder(model: Any, kernel: keras.Variable) -> Any:
    """The layer of a kernel."""
    return next(
        layer
        for layer in model._flatten_layers(include_self=False)
        if getattr(layer, "kernel", None) is kernel or getattr(layer, "_kernel", None) is kernel
    )


def _giving(model: Any, head: keras.KerasTensor) -> Any:
    """The layer of a graph that gives a tensor; the tensor's operation, which no way leads to, where it is none."""
    return next((layer for layer in model.layers if head is layer.output), head._keras_history.operation)


def _taken(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What a model is called with, of values of these names and shapes."""
    values = list(shapes)
    inputs = getattr(model, "inputs", None)
    if inputs:
        own = [tuple(tensor.shape[1:]) for tensor in inputs]
        pairs = zip(shapes.items(), own, strict=True)
        values = [name if taken == shape else f"ops.reshape({name}, {(-1, *taken)})" for (name, shape), taken in pairs]
    taken = getattr(model, "_inputs_struct", None)
    if isinstance(taken, dict):
        named = zip(sorted(taken), values, strict=True)  # the order in which Keras flattens them
        return "{" + ", ".join(f"{key!r}: {value}" for key, value in named) + "}"
    if len(values) > 1 or isinstance(taken, list | tuple):
        return f"[{', '.join(values)}]"
    return values[0]


def _paths(given: Any) -> list[str]:
    """What follows an output to reach each of its tensors, in the order in which Keras flattens them."""
    return ["".join(f"[{part!r}]" for part in path) for path, _ in keras.tree.flatten_with_path(given)]


def _heads(given: Any, places: tuple[int, int] | None) -> tuple[str, str]:
    """Both heads, of what the encoder gives; of its two inner layers where they are no outputs."""
    if places is None:
        return "given[0]", "given[1]"
    paths = _paths(given)
    if places[0] == places[1]:
        halves = f"ops.split(given{paths[places[0]]}, 2, axis=1)"
        return f"{halves}[0]", f"{halves}[1]"
    return f"given{paths[places[0]]}", f"given{paths[places[1]]}"
