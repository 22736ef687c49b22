"""Which layers of an encoder set z_mean and z_log_var."""

import re
from typing import Any

_LOG_VAR = re.compile(r"log_?var|log_?sigma|logvariance|log_?std", re.IGNORECASE)
_MEAN = re.compile(r"(^|_)(mean|mu)($|_)", re.IGNORECASE)


def find_heads(encoder: Any) -> tuple[Any, Any] | None:
    """The two layers with a kernel and a bias that set z_mean and z_log_var, from the outputs or by their names."""
    outputs = getattr(encoder, "outputs", None)
    if outputs:
        layers = [_head_above(output) for output in outputs]
        names = list(encoder.output) if isinstance(encoder.output, dict) else [layer and layer.name for layer in layers]
        log_vars = [layer for layer, name in zip(layers, names, strict=True) if layer and _LOG_VAR.search(name)]
        means = [layer for layer, name in zip(layers, names, strict=True) if layer and _MEAN.search(name)]
        pair = (means[0], log_vars[0]) if means and log_vars else tuple(layers[:2])
        return _both(pair) or _both(_called_so(encoder))  # a layer of several inputs, as one that adds KL, hides them
    return _both(_called_so(encoder))


def _both(pair: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """Two layers that are not the same; None if they are fewer."""
    if len(pair) < 2 or pair[0] is None or pair[1] is None or pair[0] is pair[1]:
        return None
    return pair[0], pair[1]


def _called_so(encoder: Any) -> tuple[Any, ...]:
    """The layers that are called so, be it as an encoder's attributes or in its graph."""
    layers = [layer for layer in encoder._flatten_layers() if hasattr(layer, "kernel") and _has_bias(layer)]
    held = [(name, layer) for name, layer in vars(encoder).items() if any(layer is other for other in layers)]
    held += [(layer.name, layer) for layer in layers if getattr(encoder, "outputs", None)]
    log_vars = [layer for name, layer in held if _LOG_VAR.search(name) or _LOG_VAR.search(layer.name)]
    means = [layer for name, layer in held if _MEAN.search(name) or _MEAN.search(layer.name)]
    return (*means[:1], *log_vars[:1])


def _has_bias(layer: Any) -> bool:
    return getattr(layer, "bias", None) is not None


def _head_above(output: Any) -> Any:
    """The nearest layer with a bias on the way up from an output; None where ways meet, as in sampling."""
    for _ in range(20):
        operation = output._keras_history.operation
        if hasattr(operation, "kernel") and _has_bias(operation):
            return operation
        above = operation._inbound_nodes[0].input_tensors
        if len(above) != 1:
            return None
        output = above[0]
    return None
