"""A decoder as it is trained: what it can give, and its logits."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.networks.network import computing_in
from klsearch.vae.networks.own.decoders import add_up, take_decoder, take_logits

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

Z = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)


def ending(activation: Any, features: int = 6) -> keras.Model:
    z = keras.Input((2,))
    return keras.Model(z, keras.layers.Dense(features, activation=activation)(keras.layers.Dense(8, "relu")(z)))


class Subclassed(keras.Model):
    def __init__(self, end: Callable[[Any], Any]) -> None:
        super().__init__()
        self.hidden, self.out, self.end = keras.layers.Dense(8, "tanh"), keras.layers.Dense(6), end

    def call(self, z: Any) -> Any:
        return self.end(self.out(self.hidden(z)))


@pytest.mark.parametrize(
    ("activation", "reach"),
    [
        (None, (-math.inf, math.inf)),
        ("sigmoid", (0, 1)),
        ("tanh", (-1, 1)),
        ("relu", (0, math.inf)),
        ("softplus", (0, math.inf)),
        ("exponential", (0, math.inf)),
        ("leaky_relu", (-math.inf, math.inf)),
        (lambda values: keras.ops.clip(values, -3.0, 2.0), (-3, 2)),
    ],
)
def test_what_a_decoder_can_give_is_found_by_pushing_its_last_layer(
    activation: Any, reach: tuple[float, float]
) -> None:
    assert take_decoder(ending(activation), 2).reach == reach
    end = keras.activations.get(activation)
    assert take_decoder(Subclassed(end), 2).reach == reach, "nor does a class without a graph hide it"


def test_a_softmax_is_no_sigmoid() -> None:
    softmax, sigmoid = (take_decoder(ending(name), 2) for name in ("softmax", "sigmoid"))
    assert (softmax.adds_up, softmax.is_sigmoid) == (6, False)
    assert (sigmoid.adds_up, sigmoid.is_sigmoid) == (0, True)


def test_a_softmax_adds_up_over_the_values_that_it_was_taken_of() -> None:
    model = ending("softmax")
    reshaped = keras.Model(model.inputs[0], keras.layers.Reshape((2, 3))(model.outputs[0]))
    assert take_decoder(reshaped, 2).adds_up == 6
    z = keras.Input((2,))
    places = keras.layers.Softmax()(keras.layers.Reshape((2, 3))(keras.layers.Dense(6)(z)))
    assert take_decoder(keras.Model(z, places), 2).adds_up == 3


@pytest.mark.parametrize("features", [2, 784])
def test_a_softmax_is_known_by_8_bits_of_its_values(features: int) -> None:
    with computing_in("mixed_bfloat16"):
        assert take_decoder(ending("softmax", features), 2).adds_up == features
        assert take_decoder(ending("sigmoid", features), 2).adds_up == 0


def test_shares_of_1_are_counted_off_one_after_the_other() -> None:
    rows = np.array([[0.25, 0.75, 1.0, 0.0], [0.5, 0.5, 0.0, 1.0]])
    assert add_up(rows, 2, within=1e-6)
    assert add_up(rows.reshape(2, 2, 2), 2, within=1e-6)
    assert not add_up(rows, 4, within=1e-6), "a row adds up to 2"
    assert not add_up(rows[:, :3], 2, within=1e-6), "3 values are no pairs"
    assert not add_up(np.array([[1.5, -0.5]]), 2, within=1e-6), "no share is negative"


def with_layer() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(6), keras.layers.Activation("sigmoid")])


def with_reshape() -> keras.Model:
    model = ending("sigmoid")
    return keras.Model(model.inputs[0], keras.layers.Reshape((2, 3))(model.outputs[0]))


def with_operation() -> keras.Model:
    model = ending(None)
    return keras.Model(model.inputs[0], keras.ops.sigmoid(model.outputs[0]))


def nested() -> keras.Model:
    z = keras.Input((2,))
    return keras.Model(z, ending("sigmoid")(z))


@pytest.mark.parametrize(
    "make",
    [lambda: ending("sigmoid"), with_layer, with_reshape, with_operation, nested],
)
def test_the_logits_are_what_went_into_the_sigmoid(make: Callable[[], keras.Model]) -> None:
    model = make()
    model.layers[-1].trainable_weights or None
    far = 30 * Z  # where probabilities round to 0 and 1
    before = np.asarray(model(far))
    logits = take_logits(take_decoder(model, 2))
    given = np.asarray(logits.model(far)).reshape(before.shape)
    np.testing.assert_allclose(1 / (1 + np.exp(-given.astype(np.float64))), before, atol=1e-6)
    assert np.abs(given).max() > 17, "no probability worked out backwards reaches that"
    with logits.restored():
        np.testing.assert_array_equal(model(far), before)


def test_a_sigmoid_that_no_layer_owns_is_worked_backwards_and_said() -> None:
    model = Subclassed(keras.ops.sigmoid)
    logits = take_logits(take_decoder(model, 2))
    likely = np.asarray(model(Z), np.float64)
    np.testing.assert_allclose(logits.model(Z), np.log(likely / (1 - likely)), rtol=1e-3, atol=1e-4)
    assert "let it end in activation='sigmoid'" in logits.note


def test_a_list_or_dictionary_of_one_tensor_is_that_tensor() -> None:
    z = keras.Input((2,))
    output = keras.layers.Dense(6)(z)
    for given in ([output], {"reconstruction": output}):
        model = keras.Model(z, given)
        np.testing.assert_array_equal(take_decoder(model, 2).model(Z), keras.tree.flatten(model(Z))[0])


def test_a_decoder_of_other_latents_or_of_several_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the decoder must take \[n, 3\], but takes \[None, 2\]\.$"):
        take_decoder(ending(None), 3)
    z = keras.Input((2,))
    several = {name: keras.layers.Dense(6)(z) for name in ("mean", "scale")}
    with pytest.raises(ValueError, match=r"must give one tensor, but gives a dictionary of mean, scale\.$"):
        take_decoder(keras.Model(z, several), 2)
