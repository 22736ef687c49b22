"""Training with a condition, on rows whose making is known."""

from collections.abc import Callable

import numpy as np
import pytest

from klsearch.vae.data.conditions import Condition as Told
from klsearch.vae.data.conditions import ConditionColumn, ConditionEncoding
from klsearch.vae.evaluation.pictures import take_samples
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]
CLASSES = 4
SETTINGS = Hyperparameters(kl_weight=0.05, learning_rate=5e-3)
ENCODING = ConditionEncoding(columns=(ConditionColumn(name="class", categories=("0", "1", "2", "3")),))


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """4×4 images of one bright row, which the class says, and of a brightness that only the row itself says."""
    rng = np.random.default_rng(seed)
    classes = np.sort(rng.permutation(np.arange(count) % CLASSES)[:count])[rng.permutation(count)]
    brightness = rng.uniform(0.4, 1, size=(count, 1, 1))
    images = np.eye(CLASSES)[classes][:, :, np.newaxis] * brightness * np.ones((1, 1, 4))
    return images.astype(np.float32), np.eye(CLASSES, dtype=np.float32)[classes]


MADE = {name: make(count, count) for name, count in (("train", 512), ("validation", 128))}
ROWS = {name: rows for name, (rows, _) in MADE.items()}
CONDITIONS = {name: condition for name, (_, condition) in MADE.items()}


def test_a_conditional_member_has_the_same_bits_in_every_slot(train: Train, bits: Bits) -> None:
    network = dense_network((4, 4), 2, hidden=[16], condition_width=CLASSES)
    found = []
    for slots, slot in ((2, 0), (4, 3)):
        population = Population(network, ROWS, Objective(), conditions=CONDITIONS, slots=slots, batch_size=64)
        for place in range(slots):
            population.start(place, SETTINGS, 7 if place == slot else place)
        train(population, 2)
        found.append(bits(population, slot))
    assert found[0] == found[1]


@pytest.mark.slow("trains for 40 epochs")
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_what_is_told_needs_no_latent_and_decides_what_the_prior_draws(kind: str, train: Train) -> None:
    classes = CONDITIONS["validation"].argmax(axis=1)

    def class_share(width: int) -> float:
        """The share of the latent's variance that lies between the classes, of a model whose draws are right."""
        network = (
            dense_network((4, 4), 1, hidden=[32], condition_width=width)
            if kind == "dense"
            else conv_network((4, 4), 1, filters=[8], hidden=[32], condition_width=width)
        )
        told = CONDITIONS if width else None
        population = Population(network, ROWS, Objective(), conditions=told, slots=2, batch_size=64)
        for slot in range(2):
            population.start(slot, SETTINGS, slot)
        train(population, 40)
        assert population.measure([0], "validation")[0].unexplained < 0.1
        samples = take_samples(
            network,
            Objective(),
            ROWS,
            {"a": population.member(0)},
            condition=Told(encoding=ENCODING, splits=CONDITIONS) if width else None,
        )
        assert isinstance(samples, ImageSamples)
        if width:
            # The classes are equally common, so that each is drawn twice, and in each the row that its class says.
            assert sorted(samples.conditions) == sorted([f"class {one}" for one in range(CLASSES)] * 2)
            brightest = samples.prior_samples[0, ..., 0].mean(axis=2).argmax(axis=1)
            assert [f"class {row}" for row in brightest] == list(samples.conditions)
            assert samples.traversed_condition == f"class {CONDITIONS['validation'][0].argmax()}"
        (means,) = population.latent_means([population.member(0)], "validation")
        centres = np.array([means[classes == one].mean() for one in range(CLASSES)])
        return float(np.var(centres[classes]) / np.var(means))

    assert class_share(CLASSES) < 0.1 < 0.5 < class_share(0)


def test_columns_of_a_conditional_table_are_measured_under_their_conditions(train: Train) -> None:
    rows = {name: images.reshape(-1, 16)[:, ::4] for name, images in ROWS.items()}
    network = dense_network((4,), 1, hidden=[16], condition_width=CLASSES)
    population = Population(network, rows, Objective(), conditions=CONDITIONS, slots=2, batch_size=64)
    population.start(0, SETTINGS, 0)
    train(population, 10)
    unexplained = population.measure([0], "validation")[0].unexplained
    told = Told(encoding=ENCODING, splits=CONDITIONS)
    errors = take_samples(network, Objective(), rows, {"a": population.member(0)}, condition=told)
    assert isinstance(errors, ColumnErrors)
    assert np.mean(errors.unexplained) == pytest.approx(unexplained, rel=0.1)
