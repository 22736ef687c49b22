"""What one training step does with its gradients, seen from outside: nothing is learned from it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True, slots=True)
class Step:
    """One call of `train_step`, arrays by the id of their variable.

    Attributes:
        gradients: of the loss.
        z: what the decoder was given in the call through which the loss's gradient ran, else last; None if unseen.
        applied: what an optimizer was given.
        is_altered: whether these differ, as where gradients are clipped in between.
    """

    gradients: dict[int, np.ndarray]
    z: np.ndarray | None
    applied: dict[int, np.ndarray]
    is_altered: bool = False

    def of(self, variable: Any) -> np.ndarray:
        """A variable's gradient; zeros where it got none."""
        return self.gradients.get(id(variable), np.zeros(variable.shape))

    def distance(self, other: "Step") -> float:
        """The largest difference of a gradient to another step's, relative to the largest gradient."""
        pairs = [(value, other.gradients.get(key, np.zeros(1))) for key, value in self.gradients.items()]
        largest = max((float(np.max(np.abs(value))) for pair in pairs for value in pair), default=0.0)
        return max((float(np.max(np.abs(a - b))) for a, b in pairs), default=0.0) / max(largest, 1e-12)


@dataclass(slots=True)
class Recording:
    """What was seen of a step while it ran: tensors by the id of their variable, and what the decoder was given.

    Attributes:
        applied: what an optimizer was given.
        taped: what tapes gave.
        given: what the decoder was given, call by call.
        differentiated: through which of these calls a gradient ran.
    """

    applied: dict[int, Any] = field(default_factory=dict)
    taped: dict[int, list[Any]] = field(default_factory=dict)
    given: list[Any] = field(default_factory=list)
    differentiated: set[int] = field(default_factory=set)

    @property
    def z(self) -> Any:
        """What was decoded for the loss; draws of the prior, or means, may be decoded beside it for a metric."""
        return self.given[max(self.differentiated, default=-1)] if self.given else None

    def step(self) -> Step:
        """The step that it was."""
        applied = {key: dense(value) for key, value in self.applied.items()}
        gradients, is_altered = dict(applied), False
        for key, values in self.taped.items():
            arrays = [dense(value) for value in values]
            loss = _gradient_of_the_loss(arrays, applied.get(key))
            if loss is not None:
                gradients[key] = loss
                is_altered |= key in applied
        return Step(gradients, None if self.z is None else dense(self.z), applied, is_altered)

    def give(self, z: Any) -> Any:
        """Keep what the decoder is given; gives it on so that a gradient through it is noticed."""
        call = len(self.given)
        self.given.append(z)

        @tf.custom_gradient
        def noticed(value: Any) -> tuple[Any, Any]:
            def backward(upstream: Any) -> Any:
                self.differentiated.add(call)
                return upstream

            return tf.identity(value), backward

        return noticed(z)


@contextmanager
def recorded(model: keras.Model, decoder: Any, optimizers: Sequence[Any]) -> Iterator[Recording]:
    """A block in which the optimizers keep gradients in place of applying them, tapes theirs, and the decoder its z.

    Losses are not scaled for a low precision.
    """
    seen, graph = Recording(), _graph()
    decode, differentiate = decoder.call, tf.GradientTape.gradient
    # A tape may be asked for Keras's variables or for TensorFlow's within them.
    own = {id(each): id(v) for v in model.trainable_variables for each in (v, getattr(v, "_value", v))}

    def apply(grads: Any, variables: Any = None) -> None:
        targets = model.trainable_variables if variables is None else variables
        for gradient, variable in zip(grads, targets, strict=True):
            if gradient is not None:
                seen.applied[id(variable)] = seen.applied.get(id(variable), 0) + gradient

    def apply_gradients(pairs: Any, **_: Any) -> None:
        pairs = list(pairs)
        apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def gradient(tape: Any, target: Any, sources: Any, *arguments: Any, **keywords: Any) -> Any:
        found = differentiate(tape, target, sources, *arguments, **keywords)
        for source, value in zip(tf.nest.flatten(sources), tf.nest.flatten(found), strict=True):
            if value is not None and id(source) in own:
                seen.taped.setdefault(own[id(source)], []).append(value)
        return found

    def call(inputs: Any, *arguments: Any, **keywords: Any) -> Any:
        if _graph() is graph and not isinstance(inputs, Mapping):
            several = isinstance(inputs, list | tuple)
            z = seen.give(tf.convert_to_tensor(inputs[0] if several else inputs))
            inputs = [z, *inputs[1:]] if several else z
        return decode(inputs, *arguments, **keywords)

    hooks = {"apply": apply, "apply_gradients": apply_gradients, "scale_loss": lambda loss: loss}
    for optimizer in optimizers:
        for name, hook in hooks.items():
            object.__setattr__(optimizer, name, hook)
    object.__setattr__(decoder, "call", call)
    tf.GradientTape.gradient = gradient
    try:
        yield seen
    finally:
        tf.GradientTape.gradient = differentiate
        object.__delattr__(decoder, "call")
        for optimizer in optimizers:
            for name in hooks:
                object.__delattr__(optimizer, name)


def optimizers_of(model: keras.Model) -> list[Any]:
    """Those that the model and its layers hold as attributes, in lists or dictionaries too."""
    held = [value for layer in model._flatten_layers() for value in list(vars(layer).values())]
    for value in list(held):
        held += list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    found = [model.optimizer, *(each for each in held if isinstance(each, keras.optimizers.Optimizer))]
    return list({id(each): each for each in found}.values())


def count_steps(optimizer: Any, steps: int, *, of_batches: bool = False) -> None:
    """Let an optimizer have taken steps, or seen as many batches, of which it may gather some for a step."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    batches = steps if of_batches else steps * (inner.gradient_accumulation_steps or 1)
    inner._iterations.assign(min(batches, np.iinfo(np.int32).max))


def dense(value: Any) -> np.ndarray:
    """A tensor, or rows of one, as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tf.convert_to_tensor(value)))


def _graph() -> Any:
    """That in which code is traced at present; None where it just runs."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _gradient_of_the_loss(taped: list[np.ndarray], applied: np.ndarray | None) -> np.ndarray | None:
    """What the tapes gave for a variable, where that is not what was applied; None where it is."""
    distinct: list[np.ndarray] = []
    for value in taped:
        if not any(_is_same(value, other) for other in distinct):
            distinct.append(value)
    whole = np.sum(distinct, axis=0)
    # Of several, one may be of the loss and the others of what is only logged, or each of a term of the loss.
    if applied is not None and any(_is_same(applied, value) for value in (*distinct, whole)):
        return None
    return np.asarray(whole)


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    largest = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3, atol=1e-6 * largest, equal_nan=True))
