"""Models of a user's own made anew: the same names each time, and initial values that can be drawn again."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from klsearch.vae.networks.own.changes import note_change

_NAMES = "object_name_uids"  # where Keras counts the names that it has given
_NUMBERED = re.compile(r"(.+?)(?:_(\d+))?", re.DOTALL)  # as it makes them unlike


@contextmanager
def making_models() -> Iterator[None]:
    """A block in which layers are named as in a process of their own, and variables remember their initializers.

    Keras keeps an initializer only where a layer does; a layer of the user's own seldom does.
    """
    counts, add_weight = global_state.get_global_attribute(_NAMES), keras.layers.Layer.add_weight

    @wraps(add_weight)
    def remember(*arguments: Any, **keywords: Any) -> Any:
        variable = add_weight(*arguments, **keywords)
        given = keywords.get("initializer", arguments[2] if len(arguments) > 2 else None)
        if given is None:  # Keras's own choice
            given = "glorot_uniform" if "float" in variable.dtype else "zeros"
        variable.drawn_by = keras.initializers.get(given)
        return variable

    global_state.set_global_attribute(_NAMES, defaultdict(int))
    keras.layers.Layer.add_weight = remember
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight
        global_state.set_global_attribute(_NAMES, counts)


@contextmanager
def names_beside(*models: keras.layers.Layer) -> Iterator[None]:
    """A block in which what is made gets names that nothing in these models has: a graph takes each name once."""
    counts = global_state.get_global_attribute(_NAMES)
    beside = defaultdict(int, counts or {})
    for model in models:
        for operation in (*model._flatten_layers(), *getattr(model, "operations", ())):
            kind, number = _NUMBERED.fullmatch(operation.name).groups()  # type: ignore[union-attr]
            beside[kind] = max(beside[kind], int(number or 0) + 1)
    global_state.set_global_attribute(_NAMES, beside)
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAMES, counts)


def forget_training(model: keras.Model) -> list[str]:
    """Give what a model has learned its initial values again, where those are not random; frozen layers keep it.

    Returns:
        The paths of what had other values: a sign that the model comes trained.
    """
    found = []
    for layer in model._flatten_layers(include_self=False):
        if not layer.trainable:
            continue
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            initial = _initial(variable, layer)
            if initial is not None and not np.array_equal(initial, variable.numpy()):
                note_change(layer, partial(variable.assign, variable.numpy()))
                variable.assign(initial)
                found.append(variable.path)
    return found


def initializer_of(variable: keras.Variable, layer: keras.layers.Layer) -> Any:
    """What a variable's initial values were made by: as remembered, or as its layer keeps it; None if unknown.

    Keras keeps it on the layer under a name made from the variable's. Recurrent and separable layers say
    `recurrent_initializer` of their `recurrent_kernel`, depthwise ones `depthwise_initializer` of their `kernel`.
    """
    remembered = getattr(variable, "drawn_by", None)
    if remembered is not None:
        return remembered
    for name in (variable.name, variable.name.removesuffix("_kernel"), "depthwise"):
        initializer = getattr(layer, f"{name}_initializer", None)
        if initializer is not None:
            return initializer
    return None


def _initial(variable: keras.Variable, layer: keras.layers.Layer) -> np.ndarray | None:
    """A variable's initial values; None where they are random or unknown."""
    initializer = initializer_of(variable, layer)
    if initializer is None or "seed" in getattr(initializer, "get_config", dict)():
        return None
    first, second = (np.array(initializer(variable.shape, dtype=variable.dtype)) for _ in range(2))
    if not np.array_equal(first, second):
        return None
    if initializer is getattr(layer, "bias_initializer", None) and getattr(layer, "unit_forget_bias", False):
        first[layer.units : 2 * layer.units] = 1  # an LSTM's forget gate, of which its layer says no more
    return first
