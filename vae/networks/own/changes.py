"""What was changed in a user's layers, where they stand, so that it can be put back before they are taken again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras

_UNDO = "_klsearch_undo"


def note_change(layer: keras.layers.Layer, undo: Callable[[], None]) -> None:
    """Keep with a layer how to put back what was changed in it."""
    layer.__dict__.setdefault(_UNDO, []).append(undo)


def undo_changes(model: keras.layers.Layer) -> None:
    """Put back all that was changed in a model's layers, last first."""
    for layer in model._flatten_layers():
        for undo in reversed(layer.__dict__.pop(_UNDO, [])):
            undo()


@contextmanager
def variables_kept(model: keras.layers.Layer) -> Iterator[None]:
    """A block after which a model's variables hold what they held: moving statistics and seeds too."""
    before = [variable.numpy() for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
