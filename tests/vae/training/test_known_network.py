"""Training of a network whose outputs are known: what is sampled is what is reported, and what is infinite shows."""

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks import streams
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

SEED = 3
LATENTS = 3
ROWS = np.random.default_rng(0).uniform(-3, 3, size=(64, LATENTS)).astype(np.float32)
# The last row has a z_log_var of 300: its KL of e³⁰⁰ is more than float32 can hold.
HELD_OUT = np.concatenate([ROWS[:15], np.full((1, LATENTS), 100, np.float32)])
SUMS = np.sum(ROWS, axis=1, keepdims=True) * np.ones(LATENTS)


@pytest.fixture(scope="module")
def population(train: Callable[[Population, int], None]) -> Population:
    """μ = 0, raw z_log_var = the row's sum, reconstruction = z; member 0 is clipped, member 1 is not. One epoch."""
    rows, z = keras.Input((LATENTS,)), keras.Input((LATENTS,))
    mean = keras.layers.Dense(LATENTS, kernel_initializer="zeros", use_bias=False)(rows)
    log_var = keras.layers.Dense(LATENTS, kernel_initializer="ones", use_bias=False)(rows)
    decoder = keras.Model(z, keras.layers.Activation("linear")(z))
    network = Network(encoder=keras.Model(rows, [mean, log_var]), decoder=decoder)
    members = Population(network, {"train": ROWS, "validation": HELD_OUT}, Objective(), slots=2, batch_size=len(ROWS))
    members.start(0, Hyperparameters(kl_weight=0.1, clip_low=-2, clip_high=1, learning_rate=1e-20), SEED)
    members.start(1, Hyperparameters(kl_weight=0.1, learning_rate=1e-20), SEED)
    train(members, 1)
    return members


@pytest.mark.parametrize(("slot", "log_var"), [(0, np.clip(SUMS, -2, 1)), (1, SUMS)], ids=["clipped", "free"])
def test_the_log_variance_that_is_reported_is_the_one_that_is_sampled(
    population: Population, slot: int, log_var: np.ndarray
) -> None:
    order = streams.batch_order(SEED, 0, len(ROWS))
    noise = tf.random.stateless_normal(ROWS.shape, (streams.noise_key(SEED), 0)).numpy()
    samples = np.exp(log_var[order] / 2) * noise
    reconstruction = np.mean(np.sum(np.square(ROWS[order] - samples), axis=1))
    kl = np.mean(0.5 * (np.exp(log_var) - 1 - log_var))
    curves = population.curves(slot)
    assert curves.reconstruction[0] == pytest.approx(reconstruction, rel=1e-5)
    assert curves.kl[0] == pytest.approx(kl, rel=1e-5)


def test_the_clip_shares_are_those_of_the_raw_log_variance(population: Population) -> None:
    sums = np.sum(HELD_OUT, axis=1)
    assert population.curves(0).clip_share_low[0] == pytest.approx(np.mean(sums <= -2))
    assert population.curves(0).clip_share_high[0] == pytest.approx(np.mean(sums >= 1))
    assert population.curves(1).clip_share_low[0] == population.curves(1).clip_share_high[0] == 0


def test_a_validation_value_beyond_float32_counts_as_a_step_that_is_not_finite(population: Population) -> None:
    clipped, free = population.curves(0), population.curves(1)
    assert math.isfinite(clipped.validation_kl[0])
    assert not clipped.diverged
    assert math.isfinite(free.kl[0])
    assert free.validation_kl[0] == math.inf
    assert free.nonfinite_steps.tolist() == [1]


def test_initial_weights_are_those_of_the_initializers(population: Population) -> None:
    mean, log_var = population.weights(0)
    assert np.abs(mean).max() < 1e-15
    assert (log_var == 1).all()
