"""Members as stacked variables: their fresh values, their calls, and whether they may share a program."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.convolutional import conv1d_network, conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.recurrent import recurrent_network
from klsearch.vae.networks.stacking import (
    PACKET,
    StackedNetwork,
    gather,
    initial_others,
    initial_values,
    other_variables,
    padded_slots,
    stack,
    trainable_variables,
    trains_alone,
)
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]
SERIES = (20, 2)


def network_of(layer: keras.layers.Layer, shape: tuple[int, ...]) -> Network:
    """A network whose encoder begins with `layer`."""
    rows = keras.Input(shape)
    hidden = keras.layers.Flatten()(layer(rows))
    heads = [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)]
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(int(np.prod(shape)))])
    return Network(encoder=keras.Model(rows, heads), decoder=decoder)


def drawn(network: Network, key: int) -> list[np.ndarray]:
    return [value.numpy() for value in initial_values(network)(tf.constant(key))]


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7, 32, 33])
@pytest.mark.parametrize("rows", [1, 12, 37, 50, 128])
def test_members_are_padded_to_an_even_number_that_fills_packets(slots: int, rows: int) -> None:
    padded = padded_slots(slots, rows)
    if slots == 1:
        assert padded == 1
    else:
        assert slots <= padded < slots + 2 * PACKET
        assert padded % 2 == padded * rows % PACKET == 0


def test_stacked_variables_are_read_by_slot() -> None:
    stacked = stack([keras.Variable(np.ones((2, 3)))], 4)
    assert stacked[0].shape == (4, 2, 3)
    stacked[0][1].assign(np.full((2, 3), 5.0))
    assert gather(stacked, [1, 0, 1])[0].numpy()[:, 0, 0].tolist() == [5, 0, 5]


def test_initial_values_belong_to_the_key() -> None:
    network = dense_network((6,), 2, hidden=[8])
    first, again, other = drawn(network, 1), drawn(network, 1), drawn(network, 2)
    for variable, one, same, different in zip(trainable_variables(network), first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert np.array_equal(one, different) is (variable.name == "bias")


def test_two_kernels_of_one_shape_start_differently() -> None:
    network = dense_network((6,), 6, hidden=[6])
    kernels = [value for value in drawn(network, 1) if value.ndim == 2]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_initial_values_come_from_each_variable_s_own_initializer() -> None:
    uniform = keras.initializers.RandomUniform(2.0, 3.0, seed=7)
    layer = keras.layers.Dense(50, kernel_initializer=uniform, bias_initializer=keras.initializers.Constant(0.5))
    kernel, bias = drawn(network_of(layer, (40,)), 1)[:2]
    assert 2 <= kernel.min() < 2.02
    assert 2.98 < kernel.max() <= 3
    assert (bias == 0.5).all()
    assert (kernel != drawn(network_of(layer, (40,)), 2)[0]).any()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.GRU(3), (5, 4)),
        (keras.layers.LSTM(3), (5, 4)),
        (keras.layers.Bidirectional(keras.layers.LSTM(3)), (5, 4)),
        (keras.layers.Conv2D(3, 3), (5, 4, 2)),
        (keras.layers.DepthwiseConv2D(3), (5, 4, 2)),
        (keras.layers.SeparableConv2D(3, 3), (5, 4, 2)),
        (keras.layers.EinsumDense("abc,cd->abd", (5, 6), bias_axes="d"), (5, 4)),
        (keras.layers.BatchNormalization(), (5,)),
        (keras.layers.LayerNormalization(), (5,)),
        (keras.layers.PReLU(), (5,)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_any_keras_layer_starts_afresh_with_values_like_those_it_was_built_with(
    layer: keras.layers.Layer, shape: tuple[int, ...]
) -> None:
    keras.utils.set_random_seed(0)  # of a few values the standard deviation varies
    network = network_of(layer, shape)
    first, second = drawn(network, 1), drawn(network, 2)
    for variable, one, other in zip(trainable_variables(network), first, second, strict=True):
        built = variable.numpy()
        random = "kernel" in variable.name
        assert (not np.array_equal(one, other)) is random, variable.path
        if random:
            assert 0.3 < np.std(one) / np.std(built) < 3, variable.path
        else:
            np.testing.assert_array_equal(one, built)


class Scaled(keras.layers.Layer):
    """A layer that keeps its initializer to itself."""

    def __init__(self, initializer: Any) -> None:
        super().__init__()
        self.scale = self.add_weight(shape=(4,), initializer=initializer, name="scale")

    def call(self, rows: Any) -> Any:
        return rows * self.scale


def test_values_drawn_by_an_initializer_that_cannot_be_found_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"of '.*scale' cannot be drawn again .* \(Scaled\) hold .* scale_initializer\."
    ):
        initial_values(network_of(Scaled("glorot_uniform"), (4,)))


def test_values_drawn_by_a_function_without_a_seed_are_refused() -> None:
    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        return keras.random.normal(shape, dtype=dtype)

    with pytest.raises(ValueError, match="hold a Keras initializer with a seed as kernel_initializer"):
        initial_values(network_of(keras.layers.Dense(3, kernel_initializer=draw), (4,)))


def test_constant_values_need_no_initializer() -> None:
    assert (drawn(network_of(Scaled("ones"), (4,)), 1)[0] == 1).all()


def test_values_of_an_initializer_without_randomness_are_kept_as_built() -> None:
    identity = network_of(keras.layers.Dense(4, kernel_initializer="identity"), (4,))
    np.testing.assert_array_equal(drawn(identity, 1)[0], np.eye(4))


def test_random_layers_are_seeded_by_the_trial_and_by_nothing_else() -> None:
    network = network_of(keras.layers.Dropout(0.5), (4,))
    keys = [tuple(map(int, initial_others(network, seed)[0])) for seed in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0][1] == 0


def test_moving_statistics_start_as_built() -> None:
    network = network_of(keras.layers.BatchNormalization(), (4,))
    values = dict(zip((v.name for v in other_variables(network)), initial_others(network, 1), strict=True))
    assert values["moving_mean"].numpy().tolist() == [0] * 4
    assert values["moving_variance"].numpy().tolist() == [1] * 4


@pytest.mark.parametrize("slots", [1, 2])
def test_every_member_is_called_on_its_own_values(slots: int) -> None:
    network = dense_network((6,), 2, hidden=[8])
    values = [drawn(network, key) for key in range(slots)]
    others = [initial_others(network, seed) for seed in range(slots)]
    rows = np.random.default_rng(0).normal(size=(slots, 5, 6)).astype(np.float32)
    stacked, other = ([tf.stack(column) for column in zip(*table, strict=True)] for table in (values, others))
    mean, log_var, _ = StackedNetwork(network).encode(stacked, other, tf.constant(rows), training=False)
    for slot in range(slots):
        for variable, value in zip(trainable_variables(network), values[slot], strict=True):
            variable.assign(value)
        alone = network.encoder(rows[slot])
        np.testing.assert_allclose(mean[slot], alone[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_var[slot], alone[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("slots", [1, 2])
def test_what_layers_add_to_the_loss_is_given_for_each_member(slots: int) -> None:
    network = network_of(keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1)), (4,))
    kernels = [np.full((slots, *v.shape), 2.0, np.float32) for v in trainable_variables(network)]
    kernels[0][-1] = 3.0
    _, _, effects = StackedNetwork(network).encode(
        [tf.constant(kernel) for kernel in kernels], [], tf.zeros([slots, 5, 4]), training=True
    )
    assert effects.losses[0].numpy() == pytest.approx([0.1 * 12 * 4, 0.1 * 12 * 9][-slots:])


class _Attention(layers.Layer):
    """Attention of each step to all, in a layer of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(3, 4)

    def call(self, inputs: Any) -> Any:
        return self.attention(inputs, inputs)


ALONE: dict[str, Callable[[], Network]] = {
    "GRU": lambda: network_of(layers.GRU(16), SERIES),
    "LSTM, both ways": lambda: network_of(layers.Bidirectional(layers.LSTM(8)), SERIES),
    "Conv1D": lambda: network_of(layers.Conv1D(8, 5), SERIES),
    "SeparableConv1D": lambda: network_of(layers.SeparableConv1D(8, 5), SERIES),
    "built-in conv1d": lambda: conv1d_network(SERIES, 2, filters=[8]),
    "built-in recurrent": lambda: recurrent_network(SERIES, 2, hidden=[8]),
    "built-in LSTM": lambda: recurrent_network(SERIES, 2, hidden=[8], cell="lstm"),
    "Dense of 12": lambda: network_of(keras.Sequential([layers.Flatten(), layers.Dense(12)]), SERIES),
    "Conv2D of 12": lambda: network_of(
        keras.Sequential([layers.Reshape((20, 2, 1)), layers.Conv2D(12, 3, padding="same")]), SERIES
    ),
    "LayerNormalization of 12": lambda: network_of(
        keras.Sequential([layers.Dense(12, use_bias=False), layers.LayerNormalization()]), SERIES
    ),
    "PReLU of 20 · 2 · 3": lambda: network_of(
        keras.Sequential([layers.Dense(3, use_bias=False), layers.PReLU(), layers.Flatten()]), SERIES
    ),
    "MultiHeadAttention of 3 · 4": lambda: network_of(_Attention(), SERIES),
}
SHARING: dict[str, Callable[[], Network]] = {
    "Dense of 7 and 16": lambda: network_of(
        keras.Sequential([layers.Flatten(), layers.Dense(7, "relu"), layers.Dense(16, "relu")]), SERIES
    ),
    "Dense of 12 without bias": lambda: network_of(
        keras.Sequential([layers.Flatten(), layers.Dense(12, "relu", use_bias=False)]), SERIES
    ),
    "Conv2D of 8": lambda: network_of(
        keras.Sequential([layers.Reshape((20, 2, 1)), layers.Conv2D(8, 3, padding="same")]), SERIES
    ),
    "built-in dense of 12 and 20": lambda: dense_network(SERIES, 9, hidden=[12, 20]),
    "built-in conv of 8": lambda: conv_network(SERIES, 2, filters=[8], hidden=[12]),
}


@pytest.mark.parametrize("kind", ALONE)
def test_models_of_series_and_of_vectors_that_straddle_packets_train_alone(kind: str) -> None:
    assert trains_alone(ALONE[kind]())


@pytest.mark.parametrize("kind", SHARING)
def test_all_others_may_share_a_program(kind: str) -> None:
    assert not trains_alone(SHARING[kind]())


@pytest.mark.slow("compiles a program for each")
@pytest.mark.parametrize("kind", SHARING)
def test_what_may_share_a_program_has_the_same_bits_in_every_place_of_it(kind: str, train: Train, bits: Bits) -> None:
    rows = np.random.default_rng(0).normal(size=(192, *SERIES)).astype(np.float32)
    splits = {"train": rows[:128], "validation": rows[128:]}
    population = Population(SHARING[kind](), splits, Objective(), slots=4, together=4, batch_size=64)
    for slot in range(4):
        population.start(slot, Hyperparameters(kl_weight=0.01), 7 if slot in (0, 3) else slot)
    train(population, 2)
    assert bits(population, 0) == bits(population, 3)
    assert bits(population, 0) != bits(population, 1)
