"""K members of one network as stacked variables: their values, their calls, their fresh initial values."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from klsearch.vae.layers import SlotFreeDense
from klsearch.vae.networks import streams
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.fresh import initializer_of

Stacked = Sequence[tf.Tensor]  # each [K, *variable shape]

# Elementwise operations run over eight values at a time, and compute what is left over at the end by other code, whose
# exp or sigmoid may differ in the last bit. A member's result must not depend on whether it sits at that end, so
# members times rows is always a multiple of this.
PACKET = 8
# Layers along the steps of a series, over which their gradients are summed too: those of several members in one program
# have had other bits, and nothing is gained by it.
_OF_STEPS = (
    keras.layers.RNN,
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.SeparableConv1D,
)


def _models(network: Network) -> tuple[keras.Model, keras.Model]:
    return network.encoder, network.decoder


def trainable_variables(network: Network) -> list[keras.Variable]:
    """The encoder's, then the decoder's."""
    return [variable for model in _models(network) for variable in model.trainable_variables]


def other_variables(network: Network) -> list[keras.Variable]:
    """Dropout rates, seeds, moving statistics: the encoder's, then the decoder's."""
    return [variable for model in _models(network) for variable in model.non_trainable_variables]


def stack(variables: Iterable[keras.Variable], slots: int) -> list[tf.Variable]:
    """A variable [slots, ...] for each of `variables`, all zero until a member starts."""
    return [
        tf.Variable(tf.zeros([slots, *variable.shape], variable.value.dtype), name=f"stacked_{variable.name}")
        for variable in variables
    ]


def gather(values: Sequence[tf.Variable], slots: Sequence[int]) -> list[tf.Tensor]:
    """The rows `slots` of stacked variables."""
    # Gathering from a variable itself would make every later read of it a copy.
    return [tf.gather(value.read_value(), list(slots)) for value in values]


def padded_slots(slots: int, rows: int) -> int:
    """The least even number of members, at least `slots`, that makes members times `rows` a multiple of `PACKET`.

    One member stays one.

    >>> padded_slots(2, rows=128), padded_slots(2, rows=37), padded_slots(1, rows=37)
    (2, 8, 1)
    """
    if slots == 1:
        return 1
    return next(count for count in range(slots + slots % 2, slots + 2 * PACKET, 2) if count * rows % PACKET == 0)


def trains_alone(network: Network) -> bool:
    """Whether members of a network must not share a program, for in company their bits would depend on their places.

    That holds of layers along the steps of a series, and of a bias, or whatever else acts on all rows alike and is no
    kernel, of more than a packet of values but no whole number of packets: see `vae.layers.SlotFreeDense`. Built-in
    dense networks have neither.
    """
    layers = [layer for model in _models(network) for layer in model._flatten_layers(include_self=False)]
    if any(isinstance(layer, _OF_STEPS) for layer in layers):
        return True
    free = {id(layer.bias) for layer in layers if isinstance(layer, SlotFreeDense)}
    return any(_straddles(variable) for variable in trainable_variables(network) if id(variable) not in free)


def _straddles(variable: keras.Variable) -> bool:
    """Whether packets hold two members' values of a variable's gradient that is a sum over rows, as no kernel's is."""
    if len(variable.shape) > 1 and "kernel" in variable.name:
        return False
    size: int = math.prod(variable.shape)
    return size > PACKET and size % PACKET > 0


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What calling the members leaves besides their outputs.

    Attributes:
        others: values of the called model's other variables afterwards, each [K, *variable shape].
        losses: what its layers add to each member's loss (regularisers, `add_loss`), each [K].
    """

    others: list[tf.Tensor]
    losses: list[tf.Tensor]


class StackedNetwork:
    """The calls of a network for all members at once, each on its own values.

    `weights` and `others` hold the values of `trainable_variables` and `other_variables`, each with a leading axis K.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._encoder_weights = len(network.encoder.trainable_variables)
        self._encoder_others = len(network.encoder.non_trainable_variables)

    def encode(
        self,
        weights: Stacked,
        others: Stacked,
        rows: tf.Tensor,
        *,
        training: bool,
        condition: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, Effects]:
        """μ and raw z_log_var, each float32 [K, n, d], of rows [K, n, *shape], and the encoder's effects.

        A conditional network is given the condition [K, n, c] of the rows too.
        """
        weights, others = weights[: self._encoder_weights], others[: self._encoder_others]
        (mean, log_var), effects = _call_each(self.network.encoder, weights, others, _inputs(rows, condition), training)
        return tf.cast(mean, tf.float32), tf.cast(log_var, tf.float32), effects

    def decode(
        self,
        weights: Stacked,
        others: Stacked,
        latents: tf.Tensor,
        *,
        training: bool,
        condition: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, Effects]:
        """Flattened outputs, float32 [K, n, D], of latents [K, n, d], and the decoder's effects.

        A conditional network is given a condition [K, n, c] too.
        """
        weights, others = weights[self._encoder_weights :], others[self._encoder_others :]
        output, effects = _call_each(self.network.decoder, weights, others, _inputs(latents, condition), training)
        features = int(tf.TensorShape(output.shape[2:]).num_elements())
        output = tf.cast(tf.reshape(output, [tf.shape(output)[0], tf.shape(output)[1], features]), tf.float32)
        return output, effects


def _inputs(values: tf.Tensor, condition: tf.Tensor | None) -> Any:
    return values if condition is None else [values, condition]


def _call_each(
    model: keras.Model, weights: Stacked, others: Stacked, inputs: Any, training: bool
) -> tuple[Any, Effects]:
    """`model` called for each member on its own values and inputs; outputs and effects are stacked."""

    def call(member: tuple[Stacked, Stacked, Any]) -> Any:
        return model.stateless_call(*member, training=training, return_losses=True)

    members = (list(weights), list(others), inputs)
    if tf.nest.flatten(inputs)[0].shape[0] == 1:
        # One member needs no vectorising, which would only add reshapes (and loops, for convolutions).
        called = call(tf.nest.map_structure(lambda values: tf.squeeze(values, 0), members))
        called = tf.nest.map_structure(lambda values: tf.expand_dims(values, 0), called)
    else:
        called = tf.vectorized_map(call, members, fallback_to_while_loop=True)
    output, updated, losses = called
    return output, Effects(updated, losses)


def initial_values(network: Network) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """A function from a trial's weights key (int32 scalar) to fresh initial values of the trainable variables.

    What a Keras initializer drew when the network was built is drawn again; other values are as built. Traceable: the
    key may be a tensor.

    Raises:
        ValueError: a variable was drawn at random, but not by an initializer that can be found and seeded.
    """
    layers = [layer for model in _models(network) for layer in model._flatten_layers(include_self=False)]
    owners = {id(variable): layer for layer in layers for variable in layer._trainable_variables}
    seeds = keras.random.SeedGenerator(0, name="weights")
    draws = [_drawing(variable, owners[id(variable)], seeds) for variable in trainable_variables(network)]

    def draw(key: tf.Tensor) -> list[tf.Tensor]:
        seeds.state.assign(tf.stack([tf.cast(key, seeds.state.dtype), tf.zeros([], seeds.state.dtype)]))
        return [tf.convert_to_tensor(draw_one()) for draw_one in draws]

    return draw


def initial_others(network: Network, seed: int) -> list[tf.Tensor]:
    """Values of the other variables at the start of a trial: as built, but random layers seeded by the trial."""
    layers = [layer for model in _models(network) for layer in model._flatten_layers()]
    generators = [generator for layer in layers for generator in layer._seed_generators]
    seeded = {id(generator.state): [streams.layer_key(seed, index), 0] for index, generator in enumerate(generators)}
    return [
        tf.constant(seeded[id(variable)], variable.value.dtype)
        if id(variable) in seeded
        else tf.convert_to_tensor(variable.value)
        for variable in other_variables(network)
    ]


def _drawing(
    variable: keras.Variable, layer: keras.layers.Layer, seeds: keras.random.SeedGenerator
) -> Callable[[], Any]:
    """A function that gives a variable's initial values, drawing from `seeds` if they are random."""
    initializer = initializer_of(variable, layer)
    if "seed" in getattr(initializer, "get_config", dict)():
        copy = initializer.__class__.from_config({**initializer.get_config(), "seed": None})
        copy.seed = seeds
        return lambda: copy(variable.shape, dtype=variable.dtype)
    built = variable.numpy()
    if not _is_constant(built) and (initializer is None or _varies(initializer, variable)):
        raise ValueError(
            f"the initial values of {variable.path!r} cannot be drawn again for each trial: let its layer "
            f"({type(layer).__name__}) hold a Keras initializer with a seed as {variable.name}_initializer."
        )
    return lambda: built


def _is_constant(values: np.ndarray) -> bool:
    return bool(np.all(values == values.flat[0]))


def _varies(initializer: Any, variable: keras.Variable) -> bool:
    """Whether an initializer gives other values each time."""
    first, second = (np.asarray(initializer(variable.shape, dtype=variable.dtype)) for _ in range(2))
    return not np.array_equal(first, second)
