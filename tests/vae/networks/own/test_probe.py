"""A model called with other values leaves it as it was."""

import math

import keras
import numpy as np
import pytest

from klsearch.vae.networks.own.probe import Probe, has_bias, has_kernel

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


@pytest.mark.parametrize("use_bias", [True, False])
def test_the_head_of_an_output_is_the_layer_that_it_moves_with(use_bias: bool) -> None:
    inputs = keras.Input((4,))
    first, second = (keras.layers.Dense(3, use_bias=use_bias) for _ in range(2))
    hidden = keras.layers.Dense(5, "gelu")
    h = hidden(inputs)
    probe = Probe(keras.Model(inputs, [first(h), second(h)]), ROWS)
    assert probe.moves(first) == [True, False]
    assert probe.moves(second) == [False, True]
    assert probe.moves(hidden) == [False, False]


def test_a_probe_leaves_the_model_as_it_was() -> None:
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, "tanh")
    model = keras.Model(inputs, keras.layers.BatchNormalization()(layer(inputs)))
    before = [variable.numpy() for variable in model.variables]
    probe = Probe(model, ROWS)
    low, high = probe.reach(layer, 0)
    assert (low, high) == pytest.approx((-1, 1), abs=1e-3)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_an_output_that_grows_with_its_layer_has_no_bound() -> None:
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3)
    model = keras.Model(inputs, [layer(inputs), keras.ops.exp(layer(inputs)), keras.ops.minimum(layer(inputs), 2.0)])
    probe = Probe(model, ROWS)
    assert [probe.reach(layer, place) for place in range(3)] == [
        (-math.inf, math.inf), (0, math.inf), (-math.inf, 2)
    ]  # fmt: skip


def test_layers_that_multiply_are_told_from_others() -> None:
    dense, norm = keras.layers.Dense(2, use_bias=False), keras.layers.BatchNormalization()
    for layer in (dense, norm):
        layer.build((None, 3))
    assert (has_kernel(dense), has_bias(dense), has_kernel(norm)) == (True, False, False)
