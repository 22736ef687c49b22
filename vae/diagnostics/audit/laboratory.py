"""A user's own VAE under experiment: steps are taken without being learned from, and everything is put back."""

import copy
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

from klsearch.vae.diagnostics.audit.heads import find_heads
from klsearch.vae.diagnostics.audit.recording import Step, count_steps, dense, optimizers_of, recorded
from klsearch.vae.host.own_code import with_line

_SEED = 20_260
_LATE = 10**6  # steps or epochs: past any annealing
_KERAS_RANDOM = ("global_random_seed", "global_seed_generator")
_COUNTER = re.compile(r"(^|_)(step|steps|epoch|epochs|iteration|iterations|t)(_?(count|counter|var|variable|now))?$")
_LENGTH = re.compile(r"anneal|warm|ramp|cycl|total|max|num|n_|per_|^_?(steps|epochs)$")  # of which a counter has none


class AuditProblem(ValueError):
    """A model that cannot be examined; the message says why, in one line."""


class Laboratory:
    """A model, its heads, and a batch of its rows; what `experiment()` encloses may change anything of the model.

    Attributes:
        model: the user's.
        encoder: its encoder.
        decoder: its decoder.
        optimizers: those that it holds.
        rows: a batch, in the shape that the encoder takes.
        mean: the layer whose bias sets z_mean.
        log_var: the layer whose bias sets z_log_var.
        callbacks: those that came with the model.
        takes_pairs: whether `train_step` takes rows and targets.
        kl_weights: the attributes known to act as KL weight: holder, name, value.
        late: the step or epoch that counts as past any annealing.
        raised: settings as the callbacks leave them where KL weighs most: holder, name, value, number.
        alters_gradients: whether a step gave an optimizer other gradients than the loss has.
    """

    def __init__(
        self,
        model: keras.Model,
        rows: np.ndarray,
        callbacks: tuple[Any, ...] = (),
        networks: tuple[keras.layers.Layer, keras.layers.Layer] | None = None,
    ) -> None:
        self.encoder, self.decoder = networks or _networks_of(model)
        if getattr(model, "optimizer", None) is None:
            raise AuditProblem("the model is not compiled; call compile(optimizer=…) in the function that makes it.")
        for callback in callbacks:
            if not isinstance(callback, keras.callbacks.Callback):
                raise AuditProblem(
                    f"beside the model go Keras callbacks, but one is of type {type(callback).__name__}."
                )
        self.model, self.callbacks = model, callbacks
        self.optimizers = optimizers_of(model)
        self.rows = _shaped(self.encoder, rows)
        self.kl_weights: list[tuple[Any, str, Any]] = []
        self.late = _LATE
        self.raised: list[tuple[Any, str, Any, float]] = []
        self.takes_pairs = self.alters_gradients = False
        with self.experiment():
            self._first_step()
            heads = find_heads(self.encoder)
        if heads is None:
            raise AuditProblem(
                "the layers of z_mean and z_log_var, Dense layers with a bias, were not found in the encoder."
            )
        self.mean, self.log_var = heads
        self.latent_dim = int(self.log_var.bias.shape[-1])

    @contextmanager
    def experiment(self) -> Iterator[None]:
        """A block after which weights, optimizers, callbacks and random states are what they were before.

        Scalar variables of the modules that define model and callbacks are among it; an optimizer that is held
        elsewhere than as an attribute is not.
        """
        model = self.model
        variables = self._variables()
        values = [np.copy(variable.numpy()) for variable in variables]
        numbers = [(holder, name, value) for holder, name, value in settings(model) if isinstance(value, int | float)]
        regularizers = [(variable, getattr(variable, "regularizer", None)) for variable in model.trainable_variables]
        functions = {name: getattr(model, name, None) for name in ("train_function", "test_function", "stop_training")}
        of_callbacks = [
            {name: copy.copy(value) if isinstance(value, list | dict | set) else value for name, value in own.items()}
            for own in map(vars, self.callbacks)
        ]
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
            for callback, own in zip(self.callbacks, of_callbacks, strict=True):
                vars(callback).clear()
                vars(callback).update(own)
            if model.run_eagerly != eagerly:
                model.run_eagerly = eagerly
            random.setstate(states[0])
            np.random.set_state(states[1])
            eager._seed, eager._rng = states[2], states[3]
            for name, value in of_keras.items():
                global_state.set_global_attribute(name, value)

    def step(self, seed: int = _SEED) -> Step:
        """Take one step from the present weights, with the random numbers of a seed; nothing is learned."""
        self.reseed(seed)
        with recorded(self.model, self.decoder, self.optimizers) as seen:
            self.model.train_step(self.batch())
        step = seen.step()
        self.alters_gradients |= step.is_altered
        return step

    def validation_zs(self) -> list[np.ndarray]:
        """What the decoder is given in `test_step`, call by call; nothing if the model cannot validate."""
        self.reseed()
        with recorded(self.model, self.decoder, ()) as seen, suppress(Exception):  # whatever an unfinished one raises
            self.model.test_step(self.batch())
        return [dense(z) for z in seen.given]

    def traced(self, *, is_seeded: bool = True) -> Callable[[], Step]:
        """A step compiled as `fit` compiles it, at the present settings, to be called after they have changed.

        Args:
            is_seeded: whether each call has the same noise; else random states go on from call to call, as in `fit`.
        """
        ids: list[int] = []

        @tf.function(autograph=False)  # as `fit` does
        def compiled() -> tuple[list[Any], list[Any]]:
            with recorded(self.model, self.decoder, self.optimizers) as seen:
                self.model.train_step(self.batch())
            ids[:] = list(seen.applied)
            applied = [tf.convert_to_tensor(value) for value in seen.applied.values()]
            return applied, [] if seen.z is None else [tf.identity(seen.z)]

        self.reseed()
        concrete = compiled.get_concrete_function()
        generator = global_state.get_global_attribute("global_seed_generator")  # which the compiled step goes on with

        def call() -> Step:
            if is_seeded:
                self.reseed()
                _rewind(generator)
            found, decoded = concrete()
            arrays = {key: keras.ops.convert_to_numpy(value) for key, value in zip(ids, found, strict=True)}
            return Step(arrays, dense(decoded[0]) if decoded else None, arrays)

        return call

    def logs(self) -> dict[str, float]:
        """What a step's metrics are at present, and as `val_…` too: the logs that a callback gets."""
        self.reseed()
        with recorded(self.model, self.decoder, self.optimizers):
            found = self.model.train_step(self.batch())
        values = {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}
        return values | {f"val_{name}": value for name, value in values.items()}

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
        for variable in self.decoder.trainable_variables:
            variable.assign(np.zeros(variable.shape))

    def spread_decoded(self) -> None:
        """Let the decoder's biases differ, for where it gives 0.5 throughout its errors resemble each other."""
        drawn = np.random.default_rng(_SEED)
        for variable in self.decoder.trainable_variables:
            if variable.path.endswith("bias"):
                variable.assign(variable.numpy() + drawn.normal(0.0, 2.0, variable.shape))

    def set_time(self, time: int) -> None:
        """Set every counter of steps or epochs that the model or an optimizer holds."""
        for optimizer in self.optimizers:
            count_steps(optimizer, time)
        for holder, name, value in settings(self.model):
            if _COUNTER.search(name.lower()) and not _LENGTH.search(name.lower()):
                assign(holder, name, value, time)

    def go_late(self) -> None:
        """Go past any annealing: the counters', and the callbacks'."""
        self.set_time(self.late)
        for setting in self.raised:
            assign(*setting)

    def weigh_fully(self) -> None:
        """Go past any annealing, with KL weights of 1."""
        self.go_late()
        for weight in self.kl_weights:
            assign(*weight, 1.0)

    def settings(self) -> list[tuple[Any, str, Any]]:
        """Numbers and scalar variables that may be settings of the training: holder, name, value.

        They are the model's and its layers', and the scalar variables of callbacks and of the modules of both.
        """
        modules = [sys.modules.get(type(each).__module__) for each in (self.model, *self.callbacks)]
        others = [*self.callbacks, *(module for module in modules if module is not None)]
        beside = [(each, name, value) for each in others for name, value in vars(each).items() if _is_scalar(value)]
        return settings(self.model) + beside

    def batch(self) -> Any:
        """The rows as `train_step` takes them."""
        rows = tf.convert_to_tensor(self.rows)
        return (rows, rows) if self.takes_pairs else rows

    def _first_step(self) -> None:
        """Build what is not built, and find out whether the step takes rows, or rows and targets."""
        try:
            step = self.step()
        except Exception as of_rows:
            self.takes_pairs = True
            try:
                step = self.step()
            except Exception as of_pairs:
                raise AuditProblem(_of_batches(of_rows, of_pairs)) from of_rows
        if not step.applied:
            raise AuditProblem(
                "train_step gives gradients to no optimizer that the model holds, so that nothing can be examined; "
                "apply them by self.optimizer, or hold another as an attribute."
            )

    def _variables(self) -> list[Any]:
        model = self.model
        found = [*model.variables, *(v for metric in model.metrics for v in metric.variables)]
        found += [variable for optimizer in self.optimizers for variable in optimizer.variables]
        found += [value for _, _, value in self.settings() if _is_scalar(value)]
        return list({id(variable): variable for variable in found}.values())

    def reseed(self, seed: int = _SEED) -> None:
        """Let what comes have the random numbers of a seed."""
        keras.utils.set_random_seed(seed)
        for variable in self.model.variables:
            if "seed_generator" in variable.path:
                variable.assign(np.array([seed, 0]))


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


def number_of(value: Any) -> float:
    """A setting's number, be it a variable."""
    return float(value.numpy() if hasattr(value, "numpy") else value)


def _networks_of(model: keras.Model) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """The attributes `encoder` and `decoder`.

    Raises:
        AuditProblem: it has none.
    """
    for name in ("encoder", "decoder"):
        if not isinstance(getattr(model, name, None), keras.layers.Layer):
            raise AuditProblem(
                f"the model has no attribute '{name}' that is a Keras model; set self.encoder and self.decoder in it."
            )
    return model.encoder, model.decoder


def _of_batches(of_rows: Exception, of_pairs: Exception) -> str:
    """What is said of a step that takes neither rows nor rows and targets."""
    first, second = (with_line(error, Path.cwd()) for error in (of_rows, of_pairs))
    given = f"rows: {first}; given (rows, rows): {second}" if first != second else f"rows, and (rows, rows): {first}"
    return (
        f"train_step failed on a batch, given {given}; labels, or a condition, beside the rows are not supported by "
        "an audit."
    )


def _rewind(generator: Any) -> None:
    """Let Keras's own generator, if there is one, give the same numbers again."""
    if generator is not None:
        generator.state.assign(np.array([_SEED, 0]))


def _hold(layer: Any, value: float) -> None:
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign(np.full(layer.bias.shape, value))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, keras.Variable | tf.Variable) and value.shape == ()


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
