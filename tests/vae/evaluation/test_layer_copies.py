"""Copies of layers that were made with functions and objects of the user's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from klsearch.vae.evaluation.layer_copies import made_with, revive
from klsearch.vae.evaluation.plain_keras import PlainModels, loading_notes, plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import Pair
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras 3.15, NumPy 2.4
    pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning"),
]

ROWS = np.random.default_rng(0).uniform(size=(32, 6)).astype(np.float32)
LATENTS = 2
FREE = Hyperparameters(kl_weight=0.1)
CLIPPED = Hyperparameters(kl_weight=0.1, clip_low=-0.1, clip_high=0.1)
FACTOR = 3.0


def doubled(values: Any) -> Any:
    return 2 * values


def relu(values: Any) -> Any:
    """Called like one of Keras's, but another."""
    return ops.maximum(values, 0.5 * values)


def same_shape(shape: Any) -> Any:
    return shape


class Ones(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return ops.full(shape, 0.25, dtype)


class Cell(layers.SimpleRNNCell):
    pass


STANDS_ALONE = lambda values: values * 2 - 1  # noqa: E731
NAMES_OTHERS = lambda values: ops.tanh(values) * FACTOR  # noqa: E731
LAYERS: dict[str, Callable[[], Any]] = {
    "a Lambda of a function": lambda: layers.Lambda(doubled),
    "a Lambda of Keras's function": lambda: layers.Lambda(ops.square),
    "a Lambda of a lambda": lambda: layers.Lambda(STANDS_ALONE),
    "a Lambda of a lambda that names others": lambda: layers.Lambda(NAMES_OTHERS, name="scaled"),
    "a Lambda with a shape and arguments": lambda: layers.Lambda(
        lambda values, by: values * by, output_shape=same_shape, arguments={"by": 3.0}
    ),
    "a function as activation": lambda: layers.Dense(6, activation=doubled),
    "a lambda as activation": lambda: layers.Dense(6, activation=NAMES_OTHERS),
    "a function called like Keras's": lambda: layers.Dense(6, activation=relu),
    "an initializer of one's own": lambda: layers.Dense(6, kernel_initializer=Ones()),
    "a Lambda within another layer": lambda: keras.Sequential(
        [layers.Reshape((3, 2)), layers.TimeDistributed(layers.Lambda(doubled)), layers.Flatten()]
    ),
    "a cell of one's own": lambda: keras.Sequential([layers.Reshape((3, 2)), layers.RNN(Cell(6, activation=doubled))]),
}


def encoder_with(made: Callable[[], Any]) -> keras.Model:
    inputs = keras.Input((6,))
    h = made()(layers.Dense(6)(inputs))
    return keras.Model(inputs, [layers.Dense(LATENTS, name=name)(h) for name in ("z_mean", "z_log_var")])


def exported(encoder: keras.Model, settings: Hyperparameters) -> PlainModels:
    """The plain models of a member that is not trained yet."""
    decoder = keras.Sequential([keras.Input((LATENTS,)), layers.Dense(6)])
    network = adopt(Pair(encoder=encoder, decoder=decoder), ROWS, LATENTS)
    population = Population(network, {"train": ROWS, "validation": ROWS}, Objective(), slots=1, batch_size=16)
    population.start(0, settings, 1)
    return plain_models(network, population.member(0))


def custom_objects_of(notes: list[str]) -> dict[str, Any]:
    """The objects that the notes name, as a user looks them up."""
    given: dict[str, Any] = {}
    for note in notes:
        for entry in note.partition("custom_objects={")[2].rstrip("}").split(", "):
            name, _, place = entry.partition(": ")
            if place.startswith("the lambda"):
                given[name.strip('"')] = NAMES_OTHERS
            elif place.startswith(__name__):
                given[name.strip('"')] = globals()[place.rpartition(".")[2]]
            elif place:
                given[name.strip('"')] = ops.square
    return given


@pytest.mark.parametrize("made", LAYERS.values(), ids=LAYERS)
def test_an_encoder_with_code_of_one_s_own_is_copied_and_loads_as_its_notes_say(
    made: Callable[[], Any], tmp_path: Path
) -> None:
    with making_models():
        encoder = encoder_with(made)
    copied = exported(encoder, FREE).encoder
    for old, new in zip(encoder.weights, copied.weights, strict=True):
        old.assign(new)
    expected = [np.asarray(values) for values in encoder(ROWS)]
    for values, now in zip(expected, copied(ROWS), strict=True):
        np.testing.assert_allclose(values, now, rtol=1e-6)
    notes = loading_notes(copied)
    assert notes, "Keras alone cannot load it"
    copied.save(tmp_path / "encoder.keras")
    safe = not any("safe_mode=False" in note for note in notes)
    loaded = keras.models.load_model(
        tmp_path / "encoder.keras", custom_objects=custom_objects_of(notes), safe_mode=safe
    )
    for values, now in zip(expected, loaded(ROWS), strict=True):
        np.testing.assert_allclose(values, now, rtol=1e-6)


def test_a_lambda_is_named_by_its_layer_where_its_code_alone_does_not_load() -> None:
    encoder = exported(encoder_with(LAYERS["a Lambda of a lambda that names others"]), FREE).encoder
    assert loading_notes(encoder) == [
        "needs the lambda of your layer 'scaled': load it with custom_objects={\"scaled\": the lambda of your layer "
        "'scaled'}"
    ]


def test_what_keras_finds_by_itself_is_no_code_of_one_s_own() -> None:
    for layer in (layers.Dense(2, "relu", kernel_regularizer="l2"), layers.LSTM(2), layers.Activation(ops.relu)):
        assert made_with(layer) == {}
    assert made_with(layers.Dense(2, activation=doubled)) == {"activation": doubled}


def test_a_layer_that_takes_no_arguments_but_its_own_is_made_with_those() -> None:
    class Closed(layers.Layer):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "by": self.by}

    assert revive(Closed(3.0), Closed).by == 3.0


def of_maximum(h: Any) -> Any:
    return ops.minimum(ops.maximum(h, 0.0), 6.0)


def of_maximum_layers(h: Any) -> Any:
    return layers.Minimum()([layers.Maximum()([h, layers.Dense(6)(h)]), h])


def of_concatenate(h: Any) -> Any:
    return ops.concatenate([h, ops.square(h)], axis=-1)


def of_split_and_concatenate(h: Any) -> Any:
    return layers.Concatenate()(ops.split(h, 2, axis=1))


@pytest.mark.parametrize("in_one", [False, True], ids=["two outputs", "one output"])
@pytest.mark.parametrize("apply", [of_maximum, of_maximum_layers, of_concatenate, of_split_and_concatenate])
def test_an_encoder_may_hold_the_operations_that_clip_it(apply: Callable[[Any], Any], in_one: bool) -> None:
    with making_models():
        inputs = keras.Input((6,))
        h = apply(layers.Dense(6)(inputs))
        heads = layers.Dense(2 * LATENTS)(h) if in_one else [layers.Dense(LATENTS)(h), layers.Dense(LATENTS)(h)]
        encoder = keras.Model(inputs, heads)
    given = exported(encoder, CLIPPED).encoder(ROWS)
    log_var = np.asarray(given)[:, LATENTS:] if in_one else np.asarray(given[1])
    assert -0.1 <= log_var.min() < log_var.max() <= 0.1
