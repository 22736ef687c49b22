"""A user's own Keras layers, and convolutions, trained in a population."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.layers import SearchedDropout
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.pairs import Pair, find_pair
from klsearch.vae.networks.stacking import other_variables, trainable_variables
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.slow("compiles and trains large networks")

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

SETTINGS = Hyperparameters(kl_weight=0.1, clip_low=-10, clip_high=4, annealing_epochs=1, l2=1e-3, learning_rate=1e-2)
STILL = 1e-20
EPOCHS = 15


@pytest.fixture(scope="module")
def images(digits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: rows[:384].reshape(-1, 8, 8) for name, rows in digits.items()}


def sequence_vae(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
    """Rows of an image as a sequence: attention, a recurrent layer, normalization, dropout of both kinds."""
    rows, z = keras.Input(shape), keras.Input((latent_dim,))
    h = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)(rows, rows)
    h = keras.layers.LayerNormalization()(h + rows)
    h = keras.layers.GRU(16)(h)
    h = keras.layers.BatchNormalization(momentum=0.5)(h)
    h = SearchedDropout()(keras.layers.Dropout(0.1)(h))
    mean = keras.layers.Dense(latent_dim, name="mean")(h)
    log_var = keras.layers.Activation("linear")(keras.layers.Dense(latent_dim, name="log_var")(h))
    hidden = keras.layers.Dense(32, "relu", kernel_regularizer=keras.regularizers.L2(0.5), name="regular")(z)
    image = keras.layers.Reshape(shape)(keras.layers.Dense(64, "sigmoid")(hidden))
    return keras.Model(rows, [mean, log_var]), keras.Model(z, image)


class Own:
    """A population of the user's network; members 0 and 1 are equal, 2 has another seed, 3 does not move."""

    def __init__(self, images: dict[str, np.ndarray]) -> None:
        self.network = adopt(find_pair(sequence_vae, (8, 8), 4, {}), images["train"], 4)
        self.population = Population(self.network, images, Objective(), slots=4, batch_size=128)
        for slot, seed in enumerate((1, 1, 2)):
            self.population.start(slot, SETTINGS, seed)
        still = Hyperparameters(kl_weight=0.1, annealing_epochs=0, l2=0.25, learning_rate=STILL)
        self.population.start(3, still, seed=1)

    def others(self, slot: int, name: str) -> list[np.ndarray]:
        """The member's values of the other variables with this in their path."""
        values = self.population.member(slot).others
        paths = [variable.path for variable in other_variables(self.network)]
        return [value[0].numpy() for path, value in zip(paths, values, strict=True) if name in path]

    def squared_norm(self, slot: int, *layers: str) -> float:
        """Squared norms of the member's kernels of these layers."""
        paths = [variable.path for variable in trainable_variables(self.network)]
        values = dict(zip(paths, self.population.weights(slot), strict=True))
        return sum(float(np.sum(np.square(values[f"{layer}/kernel"]))) for layer in layers)


@pytest.fixture(scope="module")
def own(images: dict[str, np.ndarray], train: Train) -> Own:
    members = Own(images)
    train(members.population, EPOCHS)
    return members


def test_a_user_s_network_learns(own: Own) -> None:
    curves = own.population.curves(0)
    assert not curves.diverged
    assert curves.reconstruction[-1] < 0.8 * curves.reconstruction[0]
    assert curves.validation_unexplained[-1] < 1


def test_a_user_s_network_has_the_same_bits_in_every_slot(own: Own, bits: Bits) -> None:
    assert bits(own.population, 0) == bits(own.population, 1) != bits(own.population, 2)


def test_every_member_keeps_its_own_moving_statistics(own: Own) -> None:
    for name, start in (("moving_mean", 0), ("moving_variance", 1)):
        (first,), (same,), (other,) = (own.others(slot, name) for slot in range(3))
        assert (first == same).all()
        assert (first != other).all()
        assert (first != start).all()


def test_every_member_has_its_own_random_stream_that_moves_on(own: Own) -> None:
    first, same, other = ([tuple(state) for state in own.others(slot, "seed_generator_state")] for slot in range(3))
    assert first == same
    assert set(first).isdisjoint(other)
    # Three draws in each epoch by both dropouts; the attention's own, of rate 0, draws nothing.
    assert sorted(draws for _, draws in first) == [0, 3 * EPOCHS, 3 * EPOCHS]


def test_the_searched_dropout_has_the_member_s_rate(own: Own, train: Train) -> None:
    own.population.start(2, Hyperparameters(kl_weight=0.1, encoder_dropout=0.25), seed=5)
    assert [float(rate) for rate in own.others(2, "rate")] == [0.25]
    assert [float(rate) for rate in own.others(0, "rate")] == [0.0]


def test_the_loss_holds_l2_on_the_latent_heads_and_the_layers_own_regularisers(own: Own) -> None:
    curves = own.population.curves(3)
    penalty = 0.25 * own.squared_norm(3, "mean", "log_var") + 0.5 * own.squared_norm(3, "regular")
    assert curves.total == pytest.approx(curves.reconstruction + 0.1 * curves.kl + penalty, rel=1e-5)


def test_a_convolutional_network_learns_alone(images: dict[str, np.ndarray], train: Train) -> None:
    network = conv_network((8, 8), 4, filters=[8], hidden=[16], output_activation="sigmoid")
    population = Population(network, images, Objective(), slots=1, batch_size=64)
    population.start(0, SETTINGS, seed=1)
    train(population, EPOCHS)
    curves, measures = population.curves(0), population.measure([0], "validation")[0]
    assert not curves.diverged
    assert curves.reconstruction[-1] < 0.8 * curves.reconstruction[0]
    assert measures.unexplained < 1


def test_a_decoder_that_uses_the_encoder_s_layers_is_refused() -> None:
    def tied(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
        shared = keras.layers.Dense(latent_dim, name="shared")
        rows, z = keras.Input(shape), keras.Input((latent_dim,))
        heads = [shared(rows), keras.layers.Dense(latent_dim)(rows)]
        return keras.Model(rows, heads), keras.Model(z, shared(z))

    with pytest.raises(ValueError, match=r"encoder and decoder share 'shared/kernel'; each must have variables"):
        adopt(find_pair(tied, (4,), 4, {}), np.ones((9, 4), np.float32), 4)


def _convolved(rows: keras.KerasTensor) -> keras.KerasTensor:
    h = keras.layers.Conv2D(3, 3, strides=2)(keras.layers.Reshape((8, 8, 1))(rows))
    return keras.layers.Flatten()(keras.layers.MaxPooling2D()(h))


LAYERS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "Conv2D": _convolved,
    "Conv1D": lambda rows: keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(6, 3, padding="causal")(rows)),
    "LSTM": lambda rows: keras.layers.LSTM(6)(rows),
    "Bidirectional": lambda rows: keras.layers.Bidirectional(keras.layers.GRU(3, recurrent_dropout=0.1))(rows),
    "Attention": lambda rows: keras.layers.Flatten()(keras.layers.Attention()([rows, rows])),
    "Lambda": lambda rows: keras.layers.Lambda(lambda values: values[:, 0] ** 2)(rows),
    "keras.ops": lambda rows: keras.ops.mean(keras.ops.log1p(keras.ops.square(rows)), axis=1),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_keras_trains_in_a_population(
    name: str, images: dict[str, np.ndarray], train: Train, bits: Bits
) -> None:
    def build(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
        rows, z = keras.Input(shape), keras.Input((latent_dim,))
        h = LAYERS[name](rows)
        heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
        return keras.Model(rows, heads), keras.Model(z, keras.layers.Dense(64, "sigmoid")(z))

    network = adopt(find_pair(build, (8, 8), 2, {}), images["train"], 2)
    population = Population(network, images, Objective(), slots=2, batch_size=128)
    for slot in range(2):
        population.start(slot, SETTINGS, seed=1)
    train(population, 2)
    curves = population.curves(0)
    assert not curves.diverged
    assert curves.reconstruction[-1] < curves.reconstruction[0]
    assert bits(population, 0) == bits(population, 1)


def test_a_stateful_layer_is_refused_by_name() -> None:
    rows, z = keras.Input((8, 8), batch_size=16), keras.Input((2,))
    h = keras.layers.LSTM(4, stateful=True, name="memory")(rows)
    encoder = keras.Model(rows, [keras.layers.Dense(2)(h) for _ in range(2)])
    pair = Pair(encoder=encoder, decoder=keras.Model(z, keras.layers.Dense(64)(z)))
    with pytest.raises(ValueError, match="the layer 'memory' is stateful, so that a batch would go on from the last"):
        adopt(pair, np.zeros((16, 8, 8), np.float32), 2)
