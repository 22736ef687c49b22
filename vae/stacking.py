"""K members of one network as stacked variables: their values, their calls, their fresh initial values."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae import streams
from vae.networks import Network

Stacked = Sequence[tf.Tensor]  # each [K, *variable shape]

# Elementwise operations run over eight values at a time, and compute what is left over at the end by other code, whose
# exp or sigmoid may differ in the last bit. A member's result must not depend on whether it sits at that end, so
# members times rows is always a multiple of this.
PACKET = 8


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


def padded_slots(slots: int, rows: int) -> int:
    """The least even number of members, at least `slots`, that makes members times `rows` a multiple of `PACKET`.

    One member stays one.

    >>> padded_slots(2, rows=128), padded_slots(2, rows=37), padded_slots(1, rows=37)
    (2, 8, 1)
    """
    if slots == 1:
        return 1
    return next(count for count in range(slots + slots % 2, slots + 2 * PACKET, 2) if count * rows % PACKET == 0)


class StackedNetwork:
    """The calls of a network for all members at once, each on its own values.

    `weights` and `others` hold the values of `trainable_variables` and `other_variables`, each with a leading axis K.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._encoder_weights = len(network.encoder.trainable_variables)
        self._encoder_others = len(network.encoder.non_trainable_variables)

    def encode(
        self, weights: Stacked, others: Stacked, rows: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """μ and raw z_log_var, each [K, n, d], of rows [K, n, *shape], and the encoder's other variables afterwards."""
        (mean, log_var), updated = _call_each(
            self.network.encoder, weights[: self._encoder_weights], others[: self._encoder_others], rows, training
        )
        return mean, log_var, updated

    def decode(
        self, weights: Stacked, others: Stacked, latents: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Flattened outputs [K, n, D] of latents [K, n, d], and the decoder's other variables afterwards."""
        output, updated = _call_each(
            self.network.decoder, weights[self._encoder_weights :], others[self._encoder_others :], latents, training
        )
        features = int(tf.TensorShape(output.shape[2:]).num_elements())
        return tf.reshape(output, [tf.shape(output)[0], tf.shape(output)[1], features]), updated


def _call_each(
    model: keras.Model, weights: Stacked, others: Stacked, inputs: tf.Tensor, training: bool
) -> tuple[Any, list[tf.Tensor]]:
    """`model` called for each member on its own values and inputs; outputs and updated others are stacked."""

    def call(member: tuple[Stacked, Stacked, tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        return model.stateless_call(member[0], member[1], member[2], training=training)

    members = (list(weights), list(others), inputs)
    if inputs.shape[0] != 1:
        return tf.vectorized_map(call, members, fallback_to_while_loop=True)
    # One member needs no vectorising, which would only add reshapes (and loops, for convolutions).
    outputs = call(tf.nest.map_structure(lambda values: values[0], members))
    return tf.nest.map_structure(lambda values: values[tf.newaxis], outputs)


def initial_values(network: Network) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """A function from a trial's weights key (int32 scalar) to fresh initial values of the trainable variables.

    Each value is drawn by its variable's own initializer. Traceable: the key may be a tensor.

    Raises:
        ValueError: a variable's initializer cannot be found, so that a trial could not start afresh.
    """
    variables = trainable_variables(network)
    seeds = keras.random.SeedGenerator(0, name="weights")
    initializers = [_reseeded(initializer, seeds) for initializer in map(_finder(network), variables)]

    def draw(key: tf.Tensor) -> list[tf.Tensor]:
        seeds.state.assign(tf.stack([tf.cast(key, seeds.state.dtype), tf.zeros([], seeds.state.dtype)]))
        return [
            tf.convert_to_tensor(initializer(variable.shape, dtype=variable.dtype))
            for initializer, variable in zip(initializers, variables, strict=True)
        ]

    return draw


def initial_others(network: Network, seed: int) -> list[tf.Tensor]:
    """Values of the other variables at the start of a trial: as built, but random layers seeded by the trial."""
    layers = [layer for model in _models(network) for layer in model._flatten_layers()]
    generators = [generator for layer in layers for generator in layer._seed_generators]
    seeded = {
        id(generator.state): [streams.layer_key(seed, index), 0] for index, generator in enumerate(generators)
    }
    return [
        tf.constant(seeded[id(variable)], variable.value.dtype)
        if id(variable) in seeded
        else tf.convert_to_tensor(variable.value)
        for variable in other_variables(network)
    ]


def _finder(network: Network) -> Callable[[keras.Variable], keras.initializers.Initializer]:
    """Finds a variable's initializer on its layer: `kernel_initializer` for `kernel`, and so on through Keras."""
    layers = [layer for model in _models(network) for layer in model._flatten_layers(include_self=False)]
    owners = {id(variable): layer for layer in layers for variable in layer._trainable_variables}

    def find(variable: keras.Variable) -> keras.initializers.Initializer:
        layer = owners[id(variable)]
        # Recurrent and separable layers say `recurrent_initializer` of their `recurrent_kernel`.
        for name in (variable.name, variable.name.removesuffix("_kernel")):
            initializer = getattr(layer, f"{name}_initializer", None)
            if initializer is not None:
                return initializer
        built = variable.numpy()
        if np.all(built == built.flat[0]):
            return keras.initializers.Constant(built.flat[0])
        raise ValueError(
            f"the initial values of {variable.path!r} cannot be drawn again for each trial: give the layer "
            f"{type(layer).__name__} an attribute {variable.name}_initializer that holds its Keras initializer."
        )

    return find


def _reseeded(
    initializer: keras.initializers.Initializer, seeds: keras.random.SeedGenerator
) -> keras.initializers.Initializer:
    """A copy of a random initializer that draws from `seeds`; any other initializer unchanged."""
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    copy = initializer.__class__.from_config({**config, "seed": None})
    copy.seed = seeds
    return copy
