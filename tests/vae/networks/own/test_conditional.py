"""Conditional models: what they must take and give, and that what holds for others holds for them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.own.adoption import ModelFaults
from klsearch.vae.networks.own.brought import Brought
from klsearch.vae.networks.own.conditional import adopt_conditional
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import Pair, find_pair

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).uniform(0, 1, size=(60, 4)).astype(np.float32)
TOLD = np.eye(3, dtype=np.float32)[np.arange(60) % 3]


def conditional(
    input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...] = (0,)
) -> tuple[keras.Model, keras.Model]:
    network = dense_network(input_shape, latent_dim, hidden=[8], condition_width=condition_shape[0])
    return network.encoder, network.decoder


def unconditional(input_shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
    return conditional(input_shape, latent_dim)


def deaf(
    input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]
) -> tuple[keras.Model, keras.Model]:
    del condition_shape
    return unconditional(input_shape, latent_dim)


def half_deaf(
    input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]
) -> tuple[keras.Model, keras.Model]:
    return conditional(input_shape, latent_dim, condition_shape)[0], unconditional(input_shape, latent_dim)[1]


def adopted(named: Any, likelihood: Likelihood = GAUSSIAN, rows: np.ndarray = ROWS) -> Network:
    with making_models():
        pair = find_pair(named, (4,), 2, {}, 3)
        return adopt_conditional(pair, rows, TOLD, 2, likelihood=likelihood)


def record(network: Network) -> Brought:
    assert network.brought is not None
    return network.brought


def test_a_factory_that_takes_condition_shape_gives_models_of_two_inputs() -> None:
    network = adopted(conditional)
    assert (network.input_shape, network.condition_width, len(network.decoder.inputs)) == ((4,), 3, 2)
    assert (record(network).notes, record(network).cautions) == ((), ())


def test_models_that_are_there_already_are_taken_as_they_are() -> None:
    encoder, decoder = conditional((4,), 2, (3,))
    for held in ((encoder, decoder), SimpleNamespace(encoder=encoder, decoder=decoder)):
        network = adopted(held)
        assert (network.encoder, network.decoder) == (encoder, decoder)


class Whole(keras.Model):
    """A model with both, which can be called and takes whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = conditional((4,), 2, (3,))

    def call(self, *inputs: Any, **others: Any) -> Any:
        raise AssertionError("a model is no factory")


def test_a_model_that_can_be_called_is_not_called_for_its_parts() -> None:
    whole = Whole()
    assert adopted(whole).encoder is whole.encoder


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (deaf, "the encoder takes no condition, but data.condition gives \\[n, 3\\]"),
        (half_deaf, "the decoder must take \\[n, 2\\] and the condition \\[n, 3\\], but takes \\[None, 2\\]"),
        (lambda condition_shape: conditional((5,), 2, condition_shape), "takes rows of shape \\[5\\], not \\[4\\]"),
        (lambda condition_shape: conditional((4,), 7, condition_shape), "has 7 latents, but latent_dim is 2"),
        (lambda condition_shape: None, "the model must be or give \\(encoder, decoder\\), two Keras models"),
    ],
)
def test_models_that_do_not_fit_the_rows_or_the_condition_are_refused(
    factory: Callable[..., object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        adopted(factory)


def test_a_conditional_decoder_that_ends_in_a_sigmoid_is_refused_under_bernoulli() -> None:
    def ending(
        input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]
    ) -> tuple[object, object]:
        width = condition_shape[0]
        network = dense_network(input_shape, latent_dim, hidden=[8], output_activation="sigmoid", condition_width=width)
        return network.encoder, network.decoder

    assert adopted(ending).condition_width == 3
    with pytest.raises(ValueError, match="ends in a sigmoid, which 'bernoulli' has already"):
        adopted(ending, BERNOULLI)


class AddedKl(keras.layers.Layer):
    """Adds the KL to the loss and gives on what it takes."""

    def call(self, inputs: Any) -> Any:
        mean, log_var = inputs
        self.add_loss(0.5 * keras.ops.sum(mean**2 + keras.ops.exp(log_var) - 1 - log_var))
        return [mean, log_var]


def built(
    *, mean: str | None = None, end: str | None = None, added: bool = False, shared: bool = False
) -> tuple[keras.Model, keras.Model]:
    """Models of rows [4], 2 latents and a condition [3]."""
    rows, z, told = keras.Input((4,)), keras.Input((2,)), [keras.Input((3,)) for _ in range(2)]
    hidden = keras.layers.Dense(5, "relu", name="hidden")
    h = hidden(keras.layers.Concatenate()([rows, told[0]]))
    heads = [keras.layers.Dense(2, mean)(h), keras.layers.Dense(2)(h)]
    joined = keras.layers.Concatenate()([z, told[1]])
    joined = keras.layers.Dense(7)(joined)
    joined = hidden(joined) if shared else joined
    output = keras.layers.Dense(4, end)(joined)
    return keras.Model([rows, told[0]], AddedKl()(heads) if added else heads), keras.Model([z, told[1]], output)


def test_faults_that_would_train_without_a_word_are_refused_together() -> None:
    with pytest.raises(ModelFaults) as caught:
        adopted(built(mean="relu", end="sigmoid"), rows=ROWS * 7 - 3)
    assert [line.split(" ")[0:2] for line in caught.value.faults] == [["z_mean", "stays"], ["the", "decoder"]]
    assert [caution.code for caution in record(adopted(built(mean="tanh"))).cautions] == ["bounded-mean"]


def test_shared_variables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder and decoder share 'hidden/kernel'"):
        adopted(built(shared=True))


def test_a_kl_of_their_own_is_left_out() -> None:
    network = adopted(built(added=True))
    (note,) = record(network).notes
    assert "(AddedKl) adds a KL of its own (add_loss), which is left out" in note
    network.encoder([ROWS, TOLD], training=True)
    assert network.encoder.losses == []


def test_the_rate_of_their_own_dropout_layers_can_be_searched() -> None:
    rows, z, told = keras.Input((4,)), keras.Input((2,)), [keras.Input((3,)) for _ in range(2)]
    h = keras.layers.Dropout(0.3, name="thin")(keras.layers.Concatenate()([rows, told[0]]))
    encoder = keras.Model([rows, told[0]], [keras.layers.Dense(2)(h), keras.layers.Dense(2)(h)])
    decoder = keras.Model([z, told[1]], keras.layers.Dense(4)(keras.layers.Concatenate()([z, told[1]])))
    pair = Pair(encoder=encoder, decoder=decoder)
    assert adopt_conditional(pair, ROWS, TOLD, 2).searched_dropouts() == []
    network = adopt_conditional(pair, ROWS, TOLD, 2, searched_dropout=("thin",))
    assert [layer.name for layer in network.searched_dropouts()] == ["thin"]
    assert record(network).notes == ("encoder_dropout is the rate of thin",)
    with pytest.raises(ValueError, match=r"no Dropout layer 'thick' for model\.searched_dropout; it has thin"):
        adopt_conditional(pair, ROWS, TOLD, 2, searched_dropout=("thick",))


def test_what_they_were_trained_to_is_forgotten() -> None:
    encoder, decoder = built()
    hidden = encoder.get_layer("hidden")
    hidden.bias.assign(np.arange(5.0))
    (note,) = record(adopted((encoder, decoder))).notes
    assert note.startswith("comes with trained weights (hidden/bias): ")
    np.testing.assert_array_equal(hidden.bias, np.zeros(5))


def test_a_missing_value_hinders_nothing() -> None:
    gaps = np.where(np.arange(240).reshape(60, 4) % 7 == 0, np.nan, ROWS)
    assert record(adopted(built(added=True, end="sigmoid"), rows=gaps)).cautions == ()
