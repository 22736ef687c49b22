"""Convolutions over series: what they give, and that they learn."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.evaluation.evaluator import Evaluator
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.conv1d import conv1d_network
from klsearch.vae.networks.kinds import KINDS
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]
SETTINGS = Hyperparameters(kl_weight=0.01, learning_rate=1e-2, encoder_dropout=0.1)
SIZES: dict[str, Any] = {"filters": [8, 12], "hidden": [16]}


def waves(count: int, length: int = 20) -> np.ndarray:
    """Sines of two phases and amplitudes in two channels, [count, length, 2]: two latents make them."""
    rng = np.random.default_rng(count)
    phase, height = rng.uniform(0, np.pi, size=(2, count, 1))
    along = np.linspace(0, 2 * np.pi, length)
    return np.stack([np.sin(along + phase), height * np.cos(along)], axis=-1).astype(np.float32)


SPLITS = {"train": waves(256), "validation": waves(64)}


@pytest.mark.parametrize(("shape", "outputs"), [((20, 2), 1), ((21,), 1), ((20, 3), 2), ((9,), 2)])
def test_what_is_given_has_the_shape_of_a_row(shape: tuple[int, ...], outputs: int) -> None:
    network = conv1d_network(shape, 3, **SIZES, outputs=outputs)
    assert (network.input_shape, network.latent_dim) == (shape, 3)
    expected = (None, *shape) if outputs == 1 else (None, *shape, outputs)
    assert network.decoder.output_shape == expected


@pytest.mark.slow("trains several populations")
def test_equal_members_in_different_slots_have_equal_bits_each_alone(train: Train, bits: Bits) -> None:
    assert KINDS["conv1d"].trains_alone
    network, found = conv1d_network((20, 2), 2, **SIZES), []
    for slots, slot in ((2, 0), (4, 3)):
        population = Population(network, SPLITS, Objective(), slots=slots, together=1, batch_size=64)
        for place in range(slots):
            population.start(place, SETTINGS, 7 if place == slot else place)
        train(population, 2)
        found.append(bits(population, slot))
    assert found[0] == found[1]


@pytest.mark.slow("trains for 30 epochs")
def test_waves_of_two_latents_come_back_and_as_plain_keras(train: Train) -> None:
    network = conv1d_network((20, 2), 2, **SIZES)
    population = Population(network, SPLITS, Objective(), slots=1, batch_size=32)
    population.start(0, SETTINGS, 0)
    train(population, 30)
    measures = population.measure([0], "validation")[0]
    assert measures.unexplained < 0.1
    assert measures.active_units == 2
    member = population.member(0)
    models = plain_models(network, member)
    outcome = Evaluator(network, SPLITS, Objective()).outcome(member, "validation", samples=1)
    mean = np.asarray(models.encoder(SPLITS["validation"])[0])
    np.testing.assert_allclose(mean, outcome.mean[0], rtol=1e-3, atol=1e-4)
    assert all(type(layer).__module__.startswith("keras.") for layer in models.encoder.layers + models.decoder.layers)


def test_each_training_starts_from_weights_of_its_own(train: Train, bits: Bits) -> None:
    network = conv1d_network((20, 2), 2, **SIZES)
    population = Population(network, SPLITS, Objective(), slots=2, batch_size=64)
    for slot in range(2):
        population.start(slot, SETTINGS, slot)
    first, second = (population.weights(slot) for slot in range(2))
    drawn = [index for index, values in enumerate(first) if np.ptp(values) > 0 and values.ndim > 1]
    assert drawn
    assert all(not np.array_equal(first[index], second[index]) for index in drawn)
    assert isinstance(network.decoder, keras.Model)
