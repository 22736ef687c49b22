"""Networks of series, recurrent ones beside convolutional ones: what they give, and that they learn."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from klsearch.vae.evaluation.evaluator import Evaluator
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.convolutional import conv1d_network
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.recurrent import recurrent_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]
SETTINGS = Hyperparameters(kl_weight=0.01, learning_rate=1e-2, encoder_dropout=0.1)
BUILDERS: dict[str, Callable[..., Network]] = {
    "conv1d": partial(conv1d_network, filters=[8, 12], hidden=[16]),
    "recurrent": partial(recurrent_network, hidden=[16, 12]),
    "lstm": partial(recurrent_network, hidden=[16, 12], cell="lstm"),
}
of_each_kind = pytest.mark.parametrize("kind", BUILDERS)


def waves(count: int, length: int = 20) -> np.ndarray:
    """Sines of two phases and amplitudes in two channels, [count, length, 2]: two latents make them."""
    rng = np.random.default_rng(count)
    phase, height = rng.uniform(0, np.pi, size=(2, count, 1))
    along = np.linspace(0, 2 * np.pi, length)
    return np.stack([np.sin(along + phase), height * np.cos(along)], axis=-1).astype(np.float32)


SPLITS = {"train": waves(256), "validation": waves(64)}


@of_each_kind
@pytest.mark.parametrize(("shape", "outputs"), [((20, 2), 1), ((21,), 1), ((20, 3), 2), ((9,), 2)])
def test_what_is_given_has_the_shape_of_a_row(kind: str, shape: tuple[int, ...], outputs: int) -> None:
    network = BUILDERS[kind](shape, 3, outputs=outputs)
    assert (network.input_shape, network.latent_dim) == (shape, 3)
    expected = (None, *shape) if outputs == 1 else (None, *shape, outputs)
    assert network.decoder.output_shape == expected


@pytest.mark.slow("trains several populations")
@of_each_kind
def test_equal_members_in_different_slots_have_equal_bits_each_alone(kind: str, train: Train, bits: Bits) -> None:
    network, found = BUILDERS[kind]((20, 2), 2), []
    for slots, slot in ((2, 0), (4, 3)):
        population = Population(network, SPLITS, Objective(), slots=slots, together=1, batch_size=64)
        for place in range(slots):
            population.start(place, SETTINGS, 7 if place == slot else place)
        train(population, 2)
        found.append(bits(population, slot))
    assert found[0] == found[1]


@pytest.mark.slow("trains for dozens of epochs")
@pytest.mark.parametrize(
    ("kind", "epochs", "unexplained"), [("conv1d", 30, 0.1), ("recurrent", 40, 0.15), ("lstm", 40, 0.15)]
)
def test_waves_of_two_latents_come_back_and_as_plain_keras(
    kind: str, epochs: int, unexplained: float, train: Train
) -> None:
    network = BUILDERS[kind]((20, 2), 2)
    population = Population(network, SPLITS, Objective(), slots=1, batch_size=32)
    population.start(0, SETTINGS, 0)
    train(population, epochs)
    measures = population.measure([0], "validation")[0]
    assert measures.unexplained < unexplained
    assert measures.active_units == 2
    member = population.member(0)
    models = plain_models(network, member)
    outcome = Evaluator(network, SPLITS, Objective()).outcome(member, "validation", samples=1)
    mean = np.asarray(models.encoder(SPLITS["validation"])[0])
    np.testing.assert_allclose(mean, outcome.mean[0], rtol=1e-3, atol=1e-4)
    assert all(type(layer).__module__.startswith("keras.") for layer in models.encoder.layers + models.decoder.layers)


@of_each_kind
def test_each_training_starts_from_weights_of_its_own(kind: str) -> None:
    population = Population(BUILDERS[kind]((20, 2), 2), SPLITS, Objective(), slots=2, batch_size=64)
    for slot in range(2):
        population.start(slot, SETTINGS, slot)
    first, second = (population.weights(slot) for slot in range(2))
    is_matrix = [values.ndim > 1 and np.ptp(values) > 0 for values in first]  # GRUs' biases have two axes, of zeros
    assert sum(is_matrix) >= 6, "kernels of three layers, at the least, in the encoder and in the decoder"
    assert [not np.array_equal(*both) for both in zip(first, second, strict=True)] == is_matrix
