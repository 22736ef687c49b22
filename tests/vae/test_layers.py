"""Layers whose hyperparameters are variables."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.layers import SearchedDropout, SlotFreeDense, dense, keep_rate, search_rate, traced_for_xla

ONES = np.ones((200, 100), np.float32)


def dropout(rate: float) -> SearchedDropout:
    layer = SearchedDropout()
    layer.rate.assign(rate)
    return layer


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    values = dropout(rate)(ONES, training=True).numpy()
    # 20,000 draws: the standard deviation of the share is at most 0.0036.
    assert np.mean(values == 0) == pytest.approx(rate, abs=0.015)
    assert np.unique(values[values != 0]) == pytest.approx([1 / (1 - rate)])


def test_dropout_draws_anew_at_every_call() -> None:
    layer = dropout(0.5)
    assert (layer(ONES, training=True) != layer(ONES, training=True)).numpy().any()


def test_dropout_is_off_outside_training_and_at_rate_0() -> None:
    np.testing.assert_array_equal(dropout(0.5)(ONES, training=False), ONES)
    np.testing.assert_array_equal(dropout(0.0)(ONES, training=True), ONES)


def test_another_rate_acts_without_another_trace() -> None:
    layer = dropout(0.0)
    call = tf.function(lambda values: layer(values, training=True))
    assert np.mean(call(tf.constant(ONES)) == 0) == 0
    layer.rate.assign(0.5)
    assert np.mean(call(tf.constant(ONES)) == 0) == pytest.approx(0.5, abs=0.02)
    assert call.experimental_get_tracing_count() == 1


def test_gradients_pass_dropout_where_the_values_did() -> None:
    layer, values = dropout(0.5), tf.constant(ONES)
    with tf.GradientTape() as tape:
        tape.watch(values)
        kept = layer(values, training=True)
    np.testing.assert_array_equal(tape.gradient(kept, values), kept)


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_a_dropout_whose_rate_was_searched_is_given_back_with_the_variables_that_it_had(rate: float) -> None:
    layer = keras.layers.Dropout(rate)
    had = [variable.path for variable in layer.variables]
    for _ in range(2):
        searched = search_rate(layer)
        assert searched is layer
        assert len(layer.variables) == 2, "a rate and a seed"
        keep_rate(searched)
        assert type(layer) is keras.layers.Dropout
        assert layer.rate == rate
        assert [variable.path for variable in layer.variables] == had
    dropped = np.mean(layer(ONES, training=True).numpy() == 0)
    assert dropped == pytest.approx(rate, abs=0.015)


@pytest.mark.parametrize(
    ("units", "kind"),
    [
        (1, keras.layers.Dense),
        (7, keras.layers.Dense),
        (8, keras.layers.Dense),
        (64, keras.layers.Dense),
        (9, SlotFreeDense),
        (30, SlotFreeDense),
    ],
)
def test_only_widths_that_straddle_members_need_another_bias(units: int, kind: type) -> None:
    assert type(dense(units)) is kind


def test_the_slot_free_layer_computes_and_learns_as_a_dense_layer() -> None:
    rows = tf.constant(np.random.default_rng(0).normal(size=(37, 5)), tf.float32)
    ours, theirs = SlotFreeDense(13, activation="tanh"), keras.layers.Dense(13, activation="tanh")
    gradients = []
    for layer in (ours, theirs):
        layer.build(rows.shape)
        layer.set_weights([np.linspace(-1, 1, 65).reshape(5, 13), np.linspace(-1, 1, 13)])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(rows)))
        gradients.append(tape.gradient(loss, [layer.kernel.value, layer.bias.value]))
    np.testing.assert_allclose(ours(rows), theirs(rows), rtol=1e-5, atol=1e-6)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2.4
def test_a_model_of_our_layers_can_be_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, SearchedDropout()(dense(9, activation="relu")(inputs)))
    model.layers[-1].rate.assign(0.25)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(loaded(rows), model(rows))
    assert loaded.layers[-1].rate.numpy() == 0.25


def test_what_xla_compiles_adds_a_bias_plainly_to_the_same_sum() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    layer = SlotFreeDense(11, bias_initializer="ones")
    product = np.asarray(layer(rows))
    with traced_for_xla():
        plain = np.asarray(layer(rows))
    np.testing.assert_allclose(plain, product, rtol=1e-6)
    np.testing.assert_array_equal(plain, np.asarray(keras.layers.Dense.call(layer, rows)))
    np.testing.assert_array_equal(np.asarray(layer(rows)), product)
