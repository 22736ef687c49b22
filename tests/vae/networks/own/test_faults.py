"""What would train without a word and come to nothing."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.data.cautions import Caution
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.networks.own.decoders import take_decoder
from klsearch.vae.networks.own.faults import find_faults, own_losses, own_regularizers, own_sample, uncopied_layers
from klsearch.vae.networks.own.heads import Heads, take_heads

ROWS = np.random.default_rng(0).uniform(-2, 3, size=(64, 4)).astype(np.float32)
UNIT = (ROWS + 2) / 5


def heads(mean: Any = None, log_var: Any = None) -> Heads:
    inputs = keras.Input((4,))
    h = keras.layers.Dense(8, "relu")(inputs)
    outputs = [keras.layers.Dense(2, activation=activation)(h) for activation in (mean, log_var)]
    return take_heads(keras.Model(inputs, outputs), [ROWS], ())


def told(
    rows: np.ndarray = ROWS,
    *,
    mean: Any = None,
    log_var: Any = None,
    end: str | None = None,
    likelihood: str = "gaussian",
) -> tuple[str, list[str]]:
    """All faults, and the codes of all cautions."""
    z = keras.Input((2,))
    decoder = take_decoder(keras.Model(z, keras.layers.Dense(4, activation=end)(z)), 2)
    wrong, cautions = find_faults(heads(mean, log_var), decoder, rows, LIKELIHOODS[likelihood])
    assert all("\n" not in line for line in (*wrong, *cautions))
    return "; ".join(wrong), [caution.code for caution in cautions]


def clipped(values: Any) -> Any:
    return keras.ops.clip(values, -5.0, 5.0)


@pytest.mark.parametrize("end", [None, "leaky_relu"])
def test_sound_models_get_no_line(end: str | None) -> None:
    assert told(end=end) == ("", [])
    assert told(UNIT, end="sigmoid") == told(UNIT, end="sigmoid", likelihood="bernoulli") == ("", [])


@pytest.mark.parametrize("activation", ["relu", "softplus", "sigmoid", "exponential"])
def test_heads_that_are_never_negative_are_refused(activation: str) -> None:
    wrong, codes = told(mean=activation)
    assert wrong.startswith("z_mean stays ") and wrong.endswith("let a Dense layer without activation give it")
    wrong, _ = told(log_var=activation)
    assert "it looks like a variance or a standard deviation" in wrong
    assert codes == []


@pytest.mark.parametrize(("activation", "bounds"), [("tanh", "within -1 to 1"), (clipped, "within -5 to 5")])
def test_heads_with_bounds_of_their_own_are_warned_of_with_the_bounds(activation: Any, bounds: str) -> None:
    assert told(mean=activation) == ("", ["bounded-mean"])
    assert told(log_var=activation) == ("", ["own-clip"])
    _, cautions = find_faults(heads(log_var=activation), take_decoder(_linear(), 2), ROWS, LIKELIHOODS["gaussian"])
    assert f"z_log_var stays {bounds}" in cautions[0]


def _linear() -> keras.Model:
    z = keras.Input((2,))
    return keras.Model(z, keras.layers.Dense(4)(z))


@pytest.mark.parametrize(
    ("end", "reach"), [("sigmoid", "within 0 to 1"), ("tanh", "within -1 to 1"), ("relu", "at or above 0")]
)
def test_an_output_that_cannot_reach_the_data_is_refused_with_both_ranges(end: str, reach: str) -> None:
    wrong, _ = told(end=end)
    assert f"the decoder gives only values {reach}, but the training rows reach from -1.9" in wrong
    assert "set data.scaling = 'minmax'" in wrong


def test_a_softmax_is_refused_unless_the_data_add_up_to_one() -> None:
    assert "the decoder ends in a softmax" in told(UNIT, end="softmax", likelihood="bernoulli")[0]
    assert "the decoder ends in a softmax" in told(UNIT, end="softmax")[0]
    assert told(UNIT / UNIT.sum(axis=1, keepdims=True), end="softmax") == ("", [])


@pytest.mark.parametrize("likelihood", ["poisson", "categorical"])
def test_a_softmax_where_other_numbers_are_asked_for_is_not_sent_to_a_sigmoid(likelihood: str) -> None:
    wrong, _ = told(np.round(UNIT * 9), end="softmax", likelihood=likelihood)
    assert wrong == (
        f"the decoder gives only values within 0 to 1, but '{likelihood}' takes {LIKELIHOODS[likelihood].output_name}: "
        "end it in no activation"
    )


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "gaussian_variance"])
def test_an_activation_that_a_likelihood_has_already_is_refused(likelihood: str) -> None:
    wrong, _ = told(np.round(UNIT * 9), end="softplus", likelihood=likelihood)
    assert f"but '{likelihood}' takes {LIKELIHOODS[likelihood].output_name}: end it in no activation" in wrong


class OwnKl(keras.layers.Layer):
    """The layer that adds the KL, in the style of many public VAEs."""

    def __init__(self, share: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share

    def call(self, inputs: Sequence[Any]) -> Any:
        mean, log_var = inputs
        kl = -0.5 * keras.ops.sum(1 + log_var - keras.ops.square(mean) - keras.ops.exp(log_var), axis=-1)
        self.add_loss(self.share * keras.ops.mean(kl))
        return [mean, log_var]


class Sparse(OwnKl):
    def call(self, inputs: Sequence[Any]) -> Any:
        self.add_loss(keras.ops.mean(keras.ops.abs(inputs[0])))
        return list(inputs)


def with_layer(layer: keras.layers.Layer) -> Heads:
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(2)(inputs) for _ in range(2)]
    return take_heads(keras.Model(inputs, layer(outputs)), [ROWS], ())


@pytest.mark.parametrize("share", [1.0, 0.01])
def test_a_kl_of_their_own_is_left_out_and_told_by_name(share: float) -> None:
    given = with_layer(OwnKl(share, name="kl_layer"))
    (line,), cautions = own_losses(given.encoder, [ROWS])
    assert cautions == []
    assert line.startswith("the encoder's layer 'kl_layer' (OwnKl) adds a KL of its own (add_loss), which is left out")
    given.encoder(ROWS, training=True)
    assert given.encoder.losses == []


class SampledKl(OwnKl):
    """ln q(z | x) − ln p(z) of one sample each, an estimate of the KL."""

    def call(self, inputs: Sequence[Any]) -> Any:
        mean, log_var = inputs
        noise = keras.random.normal(keras.ops.shape(mean), seed=1)
        z = mean + keras.ops.exp(0.5 * log_var) * noise
        self.add_loss(0.5 * keras.ops.mean(keras.ops.sum(z**2 - log_var - noise**2, axis=-1)))
        return [mean, log_var]


@pytest.mark.parametrize("kind", [Sparse, SampledKl])
def test_a_loss_that_is_no_multiple_of_the_kl_stays_and_is_warned_of_by_name(kind: type[OwnKl]) -> None:
    given = with_layer(kind(name="extra"))
    notes, (caution,) = own_losses(given.encoder, [ROWS])
    assert (notes, caution.code) == ([], "own-loss")
    assert f"the encoder's layer 'extra' ({kind.__name__}) adds a loss of its own (add_loss), which stays" in caution
    given.encoder(ROWS, training=True)
    assert len(given.encoder.losses) == 1
    assert own_losses(heads().encoder, [ROWS]) == ([], [])


def test_looking_for_added_losses_moves_no_statistics_and_no_seed() -> None:
    inputs = keras.Input((4,))
    h = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(inputs))
    encoder = keras.Model(inputs, OwnKl()([keras.layers.Dense(2)(h) for _ in range(2)]))
    before = [variable.numpy() for variable in encoder.variables]
    assert len(own_losses(encoder, [ROWS])[0]) == 1
    for variable, value in zip(encoder.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


class Given(keras.layers.Layer):
    """Is made with a layer, of which Keras knows nothing."""

    def __init__(self, inner: keras.layers.Layer) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def test_a_layer_that_cannot_be_exported_is_warned_of_before_anything_is_trained() -> None:
    inputs = keras.Input((4,))
    (caution,) = uncopied_layers(keras.Model(inputs, Given(keras.layers.Dense(2))(inputs)), _linear())
    assert (caution.code, "Given has arguments that Keras cannot save" in caution) == ("no-get-config", True)
    assert uncopied_layers(_linear()) == []


def test_regularizers_of_their_own_are_warned_of_by_the_variable_they_act_on() -> None:
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(8, kernel_regularizer="l2", bias_regularizer="l1", name="hidden")
    (caution,) = own_regularizers(keras.Model(inputs, hidden(inputs)), keras.Model(inputs, inputs))
    assert caution.code == "own-regularizer"
    assert "the regularizer of hidden/kernel and 1 more stays in every training's loss" in str(caution)
    active = keras.layers.Dense(8, activity_regularizer="l2", name="active")
    (caution,) = own_regularizers(keras.Model(inputs, active(inputs)))
    assert "the regularizer of the output of active stays" in str(caution)
    assert own_regularizers(heads().encoder) == []


class Sampling(keras.layers.Layer):
    """A sample with exp(factor · second head) for its standard deviation."""

    def __init__(self, factor: float, *, drawn: bool = True) -> None:
        super().__init__(name="sampling")
        self.factor, self.drawn = factor, drawn
        self.seed = keras.random.SeedGenerator(1)

    def call(self, inputs: Sequence[Any]) -> Any:
        mean, second = inputs
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed) if self.drawn else 1.0
        return mean + keras.ops.exp(self.factor * second) * noise


def of_samples(*sampling: Sampling) -> list[Caution]:
    rows = keras.Input((4,))
    h = keras.layers.Dense(8, "relu")(rows)
    pair = [keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")]
    encoder = keras.Model(rows, [*pair, *(layer(pair) for layer in sampling)])
    return own_sample(encoder, take_heads(encoder, [ROWS], ()), [ROWS])


def test_a_sample_that_takes_the_log_variance_for_a_log_deviation_is_warned_of() -> None:
    (caution,) = of_samples(Sampling(1.0))
    assert caution.code == "log-deviation"
    assert "the encoder's own sample scatters with exp of 'z_log_var'" in str(caution)


@pytest.mark.parametrize("sampling", [(), (Sampling(0.5),), (Sampling(1.0, drawn=False),)])
def test_without_a_sample_with_a_sound_one_and_with_an_output_not_drawn_there_is_no_line(
    sampling: tuple[Sampling, ...],
) -> None:
    assert of_samples(*sampling) == []
