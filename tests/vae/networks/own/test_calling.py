"""Models called as they take their input: those of a condition are taken as all others are."""

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
from klsearch.vae.networks.own.adoption import ModelFaults, adopt
from klsearch.vae.networks.own.as_code import own_code
from klsearch.vae.networks.own.brought import Brought
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import find_pair

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).uniform(0, 1, size=(60, 4)).astype(np.float32)
Z = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
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


def adopted(named: Any, likelihood: Likelihood = GAUSSIAN, rows: np.ndarray = ROWS, **options: Any) -> Network:
    with making_models():
        pair = find_pair(named, (4,), 2, {}, 3)
        return adopt(pair, rows, 2, condition=TOLD, likelihood=likelihood, **options)


def record(network: Network) -> Brought:
    assert network.brought is not None
    return network.brought


def test_a_factory_that_takes_condition_shape_gives_models_of_two_inputs() -> None:
    network = adopted(conditional)
    assert (network.input_shape, network.condition_width, len(network.decoder.inputs)) == ((4,), 3, 2)
    assert (record(network).notes, record(network).cautions) == ((), ())


@pytest.mark.parametrize("named", [lambda: conditional((4,), 2, (3,)), "class"])
def test_what_knows_the_condition_by_itself_need_not_be_told_of_it(named: Any) -> None:
    network = adopted(Whole if named == "class" else named)
    assert (network.condition_width, len(network.encoder.inputs), len(network.decoder.inputs)) == (3, 2, 2)


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
        *(
            (
                one,
                r"^'encoder' must .* \[n, 3\] of data.condition, but takes \[\[None, 4\]\]; .* condition_shape\.$",
            )
            for one in (deaf, unconditional)
        ),
        (half_deaf, r"^'decoder' must take two .* the condition \[n, 3\] of data.condition, but takes \[\[None, 2\]\]"),
        (
            lambda condition_shape: conditional((4,), 2, (7,)),
            r"the condition \[n, 3\] of .* \[\[None, 4\], \[None, 7\]\]",
        ),
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


def test_a_conditional_decoder_that_ends_in_a_sigmoid_trains_on_its_logits_under_bernoulli() -> None:
    models = built(end="sigmoid")
    probabilities = np.array(models[1]([Z, TOLD]))
    network = adopted(models, BERNOULLI)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(network.decoder([Z, TOLD])))), probabilities, rtol=1e-5)
    with record(network).restored():
        np.testing.assert_array_equal(models[1]([Z, TOLD]), probabilities)


def test_an_operation_at_the_end_of_a_conditional_decoder_is_left_out_too() -> None:
    encoder, decoder = built()
    ended = keras.Model(decoder.inputs, keras.ops.sigmoid(decoder.outputs[0]))
    network = adopted((encoder, ended), BERNOULLI)
    np.testing.assert_allclose(network.decoder([Z, TOLD]), decoder([Z, TOLD]), rtol=1e-6)


def kernels(network: Network) -> list[str]:
    return [kernel.path for kernel in network.latent_head_kernels()]


def several_outputs(*, named: bool) -> tuple[keras.Model, keras.Model]:
    """Models whose encoder gives three outputs, of which names tell nothing unless they are named."""
    rows, told = keras.Input((4,)), keras.Input((3,))
    h = keras.layers.Concatenate()([rows, told])
    first, second, third = (keras.layers.Dense(2, name=name)(h) for name in ("one", "two", "three"))
    heads = {"z_log_var": first, "z_mean": third, "more": second} if named else [first, second, third]
    return keras.Model([rows, told], heads), built()[1]


def test_latent_heads_name_those_of_a_conditional_encoder() -> None:
    with pytest.raises(ValueError, match=r"gives 3 outputs, one, two, three: name .* model\.latent_heads"):
        adopted(several_outputs(named=False))
    network = adopted(several_outputs(named=False), latent_heads=("three", "one"))
    assert kernels(network) == ["three/kernel", "one/kernel"]
    assert record(network).places == (2, 0)
    mean, log_var = network.encoder([ROWS, TOLD])
    given = record(network).encoder([ROWS, TOLD])
    np.testing.assert_array_equal(mean, given[2])
    np.testing.assert_array_equal(log_var, given[0])


def test_outputs_of_a_conditional_encoder_are_told_apart_by_name() -> None:
    network = adopted(several_outputs(named=True))
    assert kernels(network) == ["three/kernel", "one/kernel"]
    (note,) = record(network).notes
    assert note.endswith("'more' is left out: samples are drawn by klsearch")


class Subclassed(keras.Model):
    """A conditional encoder without a graph, whose heads a normalisation hides."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_mu, self.fc_logvar, self.norm = (
            keras.layers.Dense(2),
            keras.layers.Dense(2),
            keras.layers.LayerNormalization(),
        )

    def call(self, inputs: Any) -> Any:
        h = keras.ops.concatenate(inputs, axis=1)
        return self.norm(self.fc_mu(h)), self.norm(self.fc_logvar(h))


def test_latent_heads_name_the_layers_of_a_conditional_class_that_l2_acts_on() -> None:
    models = (Subclassed(), built()[1])
    with pytest.raises(ValueError, match=r"name them in model\.latent_heads .* fc_logvar, fc_mu\.$"):
        adopted(models)
    network = adopted(models, latent_heads=("fc_mu", "fc_logvar"))
    assert network.latent_head_kernels() == [models[0].fc_mu.kernel, models[0].fc_logvar.kernel]


def test_rows_and_latents_are_given_as_a_conditional_model_takes_them() -> None:
    """The encoder takes images [2, 2, 1] and their condition by name, the decoder a tuple."""
    image, z, told = (
        keras.Input((2, 2, 1), name="image"),
        keras.Input((2,)),
        [keras.Input((3,), name="label") for _ in "ed"],
    )
    h = keras.layers.Concatenate()([keras.layers.Flatten()(image), told[0]])
    heads = [keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")]
    encoder = keras.Model({"image": image, "label": told[0]}, heads)
    decoder = keras.Model((z, told[1]), keras.layers.Dense(4)(keras.layers.Concatenate()([z, told[1]])))
    images = ROWS.reshape(-1, 2, 2)
    network = adopted((encoder, decoder), rows=images)
    assert (network.input_shape, network.condition_width) == ((2, 2), 3)
    theirs = encoder({"image": images[..., None], "label": TOLD})
    for mine, their in zip(network.encoder([images, TOLD]), theirs, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-6)
    code = own_code(network)
    assert code is not None
    assert code.rows == "{'image': ops.reshape(rows, (-1, 2, 2, 1)), 'label': condition}"
    assert code.latents == "[z, condition]"


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
    assert adopted((encoder, decoder)).searched_dropouts() == []
    network = adopted((encoder, decoder), searched_dropout=("thin",))
    assert [layer.name for layer in network.searched_dropouts()] == ["thin"]
    assert record(network).notes == ("encoder_dropout is the rate of thin",)
    with pytest.raises(ValueError, match=r"no Dropout layer 'thick' for model\.searched_dropout; it has thin"):
        adopted((encoder, decoder), searched_dropout=("thick",))


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
