"""A user's models called as they take their input: rows or latents, and the condition where they are told of one."""

import math
from collections.abc import Sequence
from typing import Any

import keras


def call_on(model: keras.layers.Layer, *shapes: tuple[int, ...]) -> tuple[list[keras.KerasTensor], Any]:
    """A model's symbolic inputs of these shapes for a row, and what it gives for them.

    A model whose first input has this shape but for axes of length 1, or is flat, is given its own shape.

    Args:
        model: that is called.
        shapes: of a row, or of its latents; then of its condition, where the model is told of one.

    Raises:
        ValueError: it takes other rows, more or fewer inputs, or cannot be called.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        begin = [keras.Input(shape) for shape in shapes]
        return begin, model(alone(begin))
    own = [tuple(tensor.shape[1:]) for tensor in inputs]
    if len(own) != len(shapes) or own[1:] != list(shapes[1:]) or any(None in shape for shape in own):
        raise ValueError(_wrong_inputs(model, shapes))
    if own == list(shapes):
        return list(inputs), output_of(model)
    if without_ones(own[0]) not in (without_ones(shapes[0]), [math.prod(shapes[0])]):
        raise ValueError(f"{model.name!r} takes rows of shape {list(own[0])}, not {list(shapes[0])}.")
    begin = [keras.Input(shape) for shape in shapes]
    return begin, model(as_taken(model, [keras.layers.Reshape(own[0])(begin[0]), *begin[1:]]))


def _wrong_inputs(model: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    """What is wrong with the number of a model's inputs, or with what it is told."""
    taken = [list(tensor.shape) for tensor in model.inputs]
    if len(shapes) > 1:
        return (
            f"{model.name!r} must take two inputs of fixed shape, the second the condition [n, {shapes[1][0]}] of "
            f"data.condition, but takes {taken}; a function that makes the models is told the width if it takes "
            "condition_shape."
        )
    second = "; a second one is a condition, for which set data.condition" if len(taken) == 2 else ""
    return f"{model.name!r} must take one input of fixed shape, but takes {taken}{second}."


def alone(values: Sequence[Any]) -> Any:
    """The value itself where there is but one, else a list of them."""
    return values[0] if len(values) == 1 else list(values)


def as_taken(model: Any, values: Sequence[Any]) -> Any:
    """Values as a model takes them: in the list, tuple or dictionary of its graph, else alone or in a list."""
    taken = getattr(model, "_inputs_struct", None)
    return alone(values) if taken is None else keras.tree.pack_sequence_as(taken, list(values))


def takes_plain(model: Any) -> bool:
    """Whether a model takes a tensor by itself, or a list of two."""
    taken = getattr(model, "_inputs_struct", None)
    return not isinstance(taken, dict) and (not isinstance(taken, list | tuple) or len(taken) > 1)


def output_of(model: keras.Model) -> Any:
    """What calling a model gives: a tensor, or a list or dictionary of them."""
    if isinstance(model, keras.Sequential):  # which has no `output` before it is called
        return model.outputs[0] if len(model.outputs) == 1 else model.outputs
    return model.output


def without_ones(shape: Sequence[int]) -> list[int]:
    """A shape without its axes of length 1, which change no order of values."""
    return [size for size in shape if size != 1]
