"""A user's own VAE under experiment: steps are taken without being learned from, and everything is put back."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

_SEED = 20_260
_LATE = 10**6  # steps or epochs: past any annealing
_KERAS_RANDOM = ("global_random_seed", "global_seed_generator")
_COUNTER = re.compile(r"(^|_)(step|steps|epoch|epochs|iteration|iterations|t)(_?(count|counter|var|variable|now))?$")
_LENGTH = re.compile(r"anneal|warm|ramp|cycl|total|max|num|n_|per_|^_?(steps|epochs)$")  # of which a counter has none
_LOG_VAR = re.compile(r"log_?var|log_?sigma|logvariance|log_?std", re.IGNORECASE)
_MEAN = re.compile(r"(^|_)(mean|mu)($|_)", re.IGNORECASE)


class AuditProblem(ValueError):
    """A model that cannot be examined; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of `train_step`: gradients by the id of their variable, and what the decoder was given."""

    gradients: dict[int, np.ndarray]
    z: np.ndarray | None

    def of(self, variable: Any) -> np.ndarray:
        """A variable's gradient; zeros where it got none."""
        return self.gradients.get(id(variable), np.zeros(variable.shape))

    def distance(self, other: "Step") -> float:
        """The largest difference of a gradient to another step's, relative to the largest gradient."""
        pairs = [(value, other.gradients.get(key, np.zeros(1))) for key, value in self.gradients.items()]
        largest = max((float(np.max(np.abs(value))) for pair in pairs for value in pair), default=0.0)
        return max((float(np.max(np.abs(a - b))) for a, b in pairs), default=0.0) / max(largest, 1e-12)


class Laboratory:
    """A model, its heads, and a batch of its rows; what `experiment()` encloses may change anything of the model.

    Attributes:
        model: the user's.
        rows: a batch, in the shape that the encoder takes.
        mean: the layer whose bias sets z_mean.
        log_var: the layer whose bias sets z_log_var.
        callbacks: those that came with the model.
        takes_pairs: whether `train_step` takes rows and targets.
        kl_weights: the attributes known to act as KL weight: holder, name, value.
    """

    def __init__(self, model: keras.Model, rows: np.ndarray, callbacks: tuple[Any, ...] = ()) -> None:
        for name in ("encoder", "decoder"):
            if not isinstance(getattr(model, name, None), keras.layers.Layer):
                raise AuditProblem(f"the model has no attribute '{name}' that is a Keras model.")
        if getattr(model, "optimizer", None) is None:
            raise AuditProblem("the model is not compiled; call compile(optimizer=…) in the function that makes it.")
        self.model, self.callbacks = model, callbacks
        self.rows = _shaped(model.encoder, rows)
        self.kl_weights: list[tuple[Any, str, Any]] = []
        self.takes_pairs = False
        with self.experiment():
            self._first_step()
            self.mean, self.log_var = _heads(model.encoder)
        self.latent_dim = int(self.log_var.bias.shape[-1])

    @contextmanager
    def experiment(self) -> Iterator[None]:
        """A block after which weights, optimizer, metrics, settings and random states are what they were before."""
        model = self.model
        variables = _variables(model)
        values = [np.copy(variable.numpy()) for variable in variables]
        numbers = [(holder, name, value) for holder, name, value in settings(model) if isinstance(value, int | float)]
        regularizers = [(variable, getattr(variable, "regularizer", None)) for variable in model.trainable_variables]
        functions = {name: getattr(model, name, None) for name in ("train_function", "test_function")}
        eagerly = model.run_eagerly
        eager = context.context()
        states = random.getstate(), np.random.get_state(), eager._seed, getattr(eager, "_rng", None)
        of_keras = {name: global_state.get_global_attribute(name) for name in _KERAS_RANDOM}
        try:
            yield
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            for holder, name, number in numbers:
                setattr(holder, name, number)
            for variable, regularizer in regularizers:
                variable.regularizer = regularizer
            for name, function in functions.items():
                setattr(model, name, function)
            if model.run_eagerly != eagerly:
                model.run_eagerly = eagerly
            random.setstate(states[0])
            np.random.set_state(states[1])
            eager._seed, eager._rng = states[2], states[3]
            for name, value in of_keras.items():
                global_state.set_global_attribute(name, value)

    def step(self) -> Step:
        """Take one step from the present weights, always with the same random numbers; nothing is learned."""
        self._reseed()
        with self._recorded() as (gradients, given):
            self.model.train_step(self._batch())
        return Step({key: _dense(value) for key, value in gradients.items()}, given[-1] if given else None)

    def validation_z(self) -> np.ndarray | None:
        """What the decoder is given in `test_step`; None if the model cannot validate."""
        self._reseed()
        with self._recorded() as (_, given), suppress(Exception):  # whatever a user's unfinished test_step raises
            self.model.test_step(self._batch())
        return given[-1] if given else None

    def traced(self) -> Callable[[], Step]:
        """A step compiled as `fit` compiles it, at the present settings, to be called after they have changed."""
        ids: list[int] = []

        @tf.function
        def compiled() -> list[Any]:
            with self._recorded() as (gradients, _):
                self.model.train_step(self._batch())
            ids[:] = list(gradients)
            return [tf.convert_to_tensor(value) for value in gradients.values()]

        def call() -> Step:
            self._reseed()
            found = compiled()
            return Step({key: keras.ops.convert_to_numpy(value) for key, value in zip(ids, found, strict=True)}, None)

        call()
        return call

    def hold_latents(self, mean: float, log_var: float) -> None:
        """Let the heads give the same z_mean and raw z_log_var for every row and latent."""
        _hold(self.mean, mean)
        self.hold_log_var(log_var)

    def hold_log_var(self, log_var: float) -> None:
        """Let its head give the same raw z_log_var for every row and latent."""
        _hold(self.log_var, log_var)

    def silence_decoder(self) -> None:
        """Let no gradient of the reconstruction reach the encoder, nor any of L2."""
        for variable in self.model.trainable_variables:
            variable.regularizer = None
        for variable in self.model.decoder.trainable_variables:
            variable.assign(np.zeros(variable.shape))

    def set_time(self, time: int = _LATE) -> None:
        """Set every counter of steps or epochs that the model or its optimizer holds, and tell the callbacks."""
        self.model.optimizer.iterations.assign(time)
        for holder, name, value in settings(self.model):
            if _COUNTER.search(name.lower()) and not _LENGTH.search(name.lower()):
                assign(holder, name, value, time)
        for callback in self.callbacks:
            callback.set_model(self.model)
            callback.on_epoch_begin(time, {})

    def weigh_fully(self) -> None:
        """Go past any annealing, with KL weights of 1."""
        self.set_time()
        for weight in self.kl_weights:
            assign(*weight, 1.0)

    def _batch(self) -> Any:
        rows = tf.convert_to_tensor(self.rows)
        return (rows, rows) if self.takes_pairs else rows

    def _first_step(self) -> None:
        """Build what is not built, and find out whether the step takes rows, or rows and targets."""
        try:
            self.step()
        except Exception as of_rows:
            self.takes_pairs = True
            try:
                self.step()
            except Exception:
                line = str(of_rows).strip().splitlines()[0] if str(of_rows).strip() else ""
                raise AuditProblem(f"train_step failed on a batch: {type(of_rows).__name__}: {line}") from of_rows

    def _reseed(self) -> None:
        keras.utils.set_random_seed(_SEED)
        for variable in self.model.variables:
            if "seed_generator" in variable.path:
                variable.assign(np.array([_SEED, 0]))

    @contextmanager
    def _recorded(self) -> Iterator[tuple[dict[int, Any], list[np.ndarray]]]:
        """A block in which the optimizer keeps gradients in place of applying them, and the decoder its inputs."""
        gradients: dict[int, Any] = {}
        given: list[np.ndarray] = []
        optimizer, decoder = self.model.optimizer, self.model.decoder
        decode = decoder.call

        def apply(grads: Any, variables: Any = None) -> None:
            targets = self.model.trainable_variables if variables is None else variables
            for gradient, variable in zip(grads, targets, strict=True):
                if gradient is not None:
                    gradients[id(variable)] = gradients.get(id(variable), 0) + gradient

        def apply_gradients(pairs: Any, **_: Any) -> None:
            pairs = list(pairs)
            apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

        def call(inputs: Any, *arguments: Any, **keywords: Any) -> Any:
            z = inputs[0] if isinstance(inputs, list | tuple) else inputs
            if tf.executing_eagerly():
                given.append(keras.ops.convert_to_numpy(z))
            return decode(inputs, *arguments, **keywords)

        object.__setattr__(optimizer, "apply", apply)
        object.__setattr__(optimizer, "apply_gradients", apply_gradients)
        object.__setattr__(decoder, "call", call)
        try:
            yield gradients, given
        finally:
            object.__delattr__(optimizer, "apply")
            object.__delattr__(optimizer, "apply_gradients")
            object.__delattr__(decoder, "call")


def settings(model: keras.Model) -> list[tuple[Any, str, Any]]:
    """Numbers and scalar variables that the model and its layers hold as attributes: holder, name, value."""
    return [
        (layer, name, value)
        for layer in model._flatten_layers()
        for name, value in list(vars(layer).items())
        if (isinstance(value, int | float) and not isinstance(value, bool)) or _is_scalar(value)
    ]


def assign(holder: Any, name: str, value: Any, number: float) -> None:
    """Set an attribute, or the variable that it is."""
    if _is_scalar(value):
        value.assign(number)
    else:
        setattr(holder, name, number)


def _hold(layer: Any, value: float) -> None:
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign(np.full(layer.bias.shape, value))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, keras.Variable | tf.Variable) and value.shape == ()


def _variables(model: keras.Model) -> list[Any]:
    found = [*model.variables, *model.optimizer.variables, *(v for metric in model.metrics for v in metric.variables)]
    found += [value for _, _, value in settings(model) if _is_scalar(value)]
    return list({id(variable): variable for variable in found}.values())


def _dense(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tf.convert_to_tensor(value)))


def _shaped(encoder: Any, rows: np.ndarray) -> np.ndarray:
    shape = getattr(encoder, "input_shape", None)
    shape = shape[0] if isinstance(shape, list) else shape
    if shape is None or any(size is None for size in shape[1:]):
        return rows
    if int(np.prod(shape[1:])) != int(np.prod(rows.shape[1:])):
        raise AuditProblem(
            f"the encoder takes rows of shape {list(shape[1:])}, but the data's have {list(rows.shape[1:])}."
        )
    return rows.reshape(len(rows), *shape[1:])


def _heads(encoder: Any) -> tuple[Any, Any]:
    """The two layers with a kernel and a bias that set z_mean and z_log_var, from the outputs or by their names."""
    outputs = getattr(encoder, "outputs", None)
    if outputs:
        layers = [_head_above(output) for output in outputs]
        names = list(encoder.output) if isinstance(encoder.output, dict) else [layer and layer.name for layer in layers]
        log_vars = [layer for layer, name in zip(layers, names, strict=True) if layer and _LOG_VAR.search(name)]
        means = [layer for layer, name in zip(layers, names, strict=True) if layer and _MEAN.search(name)]
        pair = (means[0], log_vars[0]) if means and log_vars else tuple(layers[:2])
    else:
        layers = [layer for layer in encoder._flatten_layers() if hasattr(layer, "kernel") and _has_bias(layer)]
        held = [(name, layer) for name, layer in vars(encoder).items() if any(layer is other for other in layers)]
        log_vars = [layer for name, layer in held if _LOG_VAR.search(name) or _LOG_VAR.search(layer.name)]
        means = [layer for name, layer in held if _MEAN.search(name) or _MEAN.search(layer.name)]
        pair = (*means[:1], *log_vars[:1])
    if len(pair) < 2 or pair[0] is None or pair[1] is None or pair[0] is pair[1]:
        raise AuditProblem(
            "the layers of z_mean and z_log_var, Dense layers with a bias, were not found in the encoder."
        )
    return pair[0], pair[1]


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
