"""A trial's result is a function of its settings and seed: the same bits in any slot, company, tick and K."""

from collections.abc import Callable

import numpy as np
import pytest

from vae.elbo import Objective
from vae.hyperparameters import AFTER, BEFORE, Hyperparameters
from vae.networks import Network, dense_network
from vae.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

TRIAL = Hyperparameters(
    kl_weight=0.1,
    clip_low=-20,
    clip_high=2,
    annealing_epochs=2,
    l2=1e-4,
    encoder_dropout=0.1,
    learning_rate=2e-3,
    clipnorm=3.0,
)
NEIGHBOURS = (BEFORE, AFTER, Hyperparameters(kl_weight=0.3, encoder_dropout=0.3, learning_rate=0.01))
SEED = 7
EPOCHS = 3


@pytest.fixture(scope="module")
def garments() -> dict[str, np.ndarray]:
    """Rows of Fashion-MNIST's size; what is in them does not matter here."""
    rows = np.random.default_rng(0).random((500, 784), np.float32)
    return {"train": rows[:400], "validation": rows[400:]}


@pytest.fixture(scope="module")
def few_features() -> dict[str, np.ndarray]:
    rows = np.random.default_rng(1).random((401, 5), np.float32)
    return {"train": rows[:301], "validation": rows[301:]}


def population(network: Network, splits: dict[str, np.ndarray], slots: int, batch_size: int) -> Population:
    return Population(network, splits, Objective(), slots=slots, batch_size=batch_size, clips_gradients=True)


def run(members: Population, slot: int, late: int, train: Train, bits: Bits) -> dict[str, bytes]:
    """The trial in a slot among neighbours who started `late` epochs before it."""
    for other in range(members.slots):
        members.start(other, NEIGHBOURS[other % 3], 100 + other)
    train(members, late)
    members.start(slot, TRIAL, SEED)
    train(members, EPOCHS)
    return bits(members, slot)


def test_at_the_size_of_digits(digits: dict[str, np.ndarray], train: Train, bits: Bits) -> None:
    network = dense_network((64,), 8, hidden=[128, 64], output_activation="sigmoid")
    splits = {**digits, "train": digits["train"][:600]}  # four batches of 128 and one of 88
    two, three, four, eight = (population(network, splits, slots, 128) for slots in (2, 3, 4, 8))
    expected = run(two, 0, 0, train, bits)
    for members, slot, late in (
        (two, 1, 0),
        (two, 0, 3),
        (three, 2, 1),
        (three, 0, 0),
        (four, 3, 0),
        (four, 1, 2),
        (eight, 7, 1),
        (eight, 0, 0),
        (eight, 4, 5),
    ):
        assert run(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


def test_at_the_size_of_fashion_mnist(garments: dict[str, np.ndarray], train: Train, bits: Bits) -> None:
    network = dense_network((784,), 16, hidden=[512, 256], output_activation="sigmoid")
    two, four, eight = (population(network, garments, slots, 128) for slots in (2, 4, 8))
    expected = run(two, 0, 0, train, bits)
    for members, slot, late in ((two, 1, 1), (four, 3, 0), (four, 0, 1), (eight, 7, 1), (eight, 2, 0)):
        assert run(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


@pytest.mark.parametrize(
    ("hidden", "latent_dim", "batch_size", "activation"),
    [([7, 13], 3, 37, "tanh"), ([50, 25], 5, 50, "selu"), ([20, 9], 1, 64, "gelu")],
)
def test_at_awkward_sizes(
    few_features: dict[str, np.ndarray],
    train: Train,
    bits: Bits,
    hidden: list[int],
    latent_dim: int,
    batch_size: int,
    activation: str,
) -> None:
    network = dense_network((5,), latent_dim, hidden=hidden, activation=activation, output_activation="sigmoid")
    two, more = (population(network, few_features, slots, batch_size) for slots in (2, 5))
    expected = run(two, 0, 0, train, bits)
    for members, slot, late in ((two, 1, 1), (more, 4, 0), (more, 0, 2), (more, 2, 1)):
        assert run(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


def test_trials_of_another_seed_or_setting_differ(
    few_features: dict[str, np.ndarray], train: Train, bits: Bits
) -> None:
    members = population(dense_network((5,), 3, hidden=[8]), few_features, 4, 64)
    for slot, (settings, seed) in enumerate(((TRIAL, SEED), (TRIAL, SEED), (TRIAL, SEED + 1), (AFTER, SEED))):
        members.start(slot, settings, seed)
    train(members, 1)
    first, same, *others = (bits(members, slot)["curves"] for slot in range(4))
    assert first == same
    assert len({first, *others}) == 3
