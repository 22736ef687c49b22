"""Models made anew: the same names each time, and nothing learned before."""

from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.networks.own.changes import undo_changes
from klsearch.vae.networks.own.fresh import forget_training, initializer_of, making_models, names_beside

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4


class Scale(keras.layers.Layer):
    """A layer of the user's own, which keeps no initializer."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(2.0))

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


def model() -> keras.Model:
    inputs = keras.Input((5, 4))
    h = keras.layers.BatchNormalization()(keras.layers.LSTM(3)(inputs))
    return keras.Model(inputs, Scale()(keras.layers.Dense(2)(keras.layers.Dropout(0.1)(h))))


def test_layers_have_the_names_that_a_process_of_its_own_gives_them() -> None:
    outside = keras.layers.Dropout(0.1).name
    for _ in range(2):
        with making_models():
            made = model()
        assert {"lstm", "batch_normalization", "dropout", "dense", "scale"} <= {layer.name for layer in made.layers}
    assert keras.layers.Dropout(0.1).name not in ("dropout", outside), "the count outside goes on"


def test_what_was_just_made_has_learned_nothing() -> None:
    with making_models():
        made = model()
    before = [variable.numpy() for variable in made.variables]
    assert forget_training(made) == [], "nor is an LSTM's forget bias, which starts at 1"
    for variable, value in zip(made.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_trained_biases_scales_and_statistics_start_afresh_but_for_frozen_layers() -> None:
    with making_models():
        made = model()
    start = {variable.path: variable.numpy() for variable in made.variables}
    for variable in made.variables:
        if "seed" not in variable.path:
            variable.assign(variable + 0.5)
    trained = {variable.path: variable.numpy() for variable in made.variables}
    made.get_layer("dense").trainable = False
    paths = forget_training(made)
    assert {"batch_normalization/moving_mean", "batch_normalization/gamma", "scale/variable"} <= set(paths)
    assert not any(path.startswith("dense/") for path in paths)
    for variable in made.variables:
        wanted = start if variable.path in paths else trained
        np.testing.assert_array_equal(variable, wanted[variable.path])
    undo_changes(made)
    for variable in made.variables:
        np.testing.assert_array_equal(variable, trained[variable.path])


def test_a_model_that_was_made_elsewhere_forgets_too_by_what_its_layers_keep() -> None:
    made = model()
    assert forget_training(made) == [], "nor is an LSTM's forget bias, which starts at 1"
    lstm = made.get_layer(index=1)
    lstm.cell.bias.assign(np.arange(12.0))
    paths = forget_training(made)
    assert paths == [lstm.cell.bias.path]
    np.testing.assert_array_equal(lstm.cell.bias, [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])


class Silent(keras.layers.Layer):
    """Names no initializer at all."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(shape=(shape[-1], 200))
        self.steps = self.add_weight(shape=(), dtype="int32", trainable=False)

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, self.w)


def test_weights_without_an_initializer_have_keras_s_own() -> None:
    with making_models():
        layer = Silent()
        layer.build((1, 400))
    again = initializer_of(layer.w, layer)(layer.w.shape)
    assert np.std(again) == pytest.approx(np.std(layer.w), rel=0.05), "drawn from the same distribution"
    assert np.abs(again).max() == pytest.approx(0.1, rel=0.01), "Glorot's √(6 / (400 + 200))"
    assert int(initializer_of(layer.steps, layer)((), dtype="int32")) == 0


def test_what_is_made_beside_a_model_has_names_that_nothing_in_it_has() -> None:
    inputs = keras.Input((4,))
    halves = keras.ops.split(keras.layers.Dense(4, name="reshape_7")(inputs), 2, axis=1)
    loaded = keras.models.clone_model(keras.Model(inputs, keras.layers.Concatenate()(halves)))
    with making_models():
        with names_beside(loaded):
            made = [keras.layers.Reshape((2,)).name, keras.layers.Concatenate().name]
            longer = keras.Model(loaded.inputs, keras.ops.split(loaded.outputs[0], 2, axis=1))
        assert keras.layers.Reshape((2,)).name == "reshape", "the count outside goes on"
    assert made[0] == "reshape_8"
    assert len({operation.name for operation in longer.operations}) == len(longer.operations)
