"""A trial's result is a function of its settings and seed: the same bits in any slot, company, tick and K."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from klsearch.vae.data.rows import KeptRows, aligned
from klsearch.vae.data.scaling import fit_scaling
from klsearch.vae.hyperparameters import AFTER, BEFORE, Hyperparameters
from klsearch.vae.layers import SearchedDropout, dense
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.optimizer import OPTIMIZERS
from klsearch.vae.training.population import Population
from klsearch.vae.training.schedules import Learning

pytestmark = pytest.mark.slow("compiles populations of many sizes")

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
    return {"train": rows[:384], "validation": rows[384:]}


@pytest.fixture(scope="module")
def few_features() -> dict[str, np.ndarray]:
    rows = np.random.default_rng(1).random((401, 5), np.float32)
    return {"train": rows[:300], "validation": rows[300:]}


def clipping_population(network: Network, splits: dict[str, np.ndarray], slots: int, batch_size: int) -> Population:
    return Population(network, splits, Objective(), slots=slots, batch_size=batch_size, clips_gradients=True)


def train_among(members: Population, slot: int, late: int, train: Train, bits: Bits) -> dict[str, bytes]:
    """The trial in a slot among neighbours who started `late` epochs before it."""
    for other in range(members.slots):
        members.start(other, NEIGHBOURS[other % 3], 100 + other)
    train(members, late)
    members.start(slot, TRIAL, SEED)
    train(members, EPOCHS)
    return bits(members, slot)


def test_at_the_size_of_digits(digits: dict[str, np.ndarray], train: Train, bits: Bits) -> None:
    network = dense_network((64,), 8, hidden=[128, 64], output_activation="sigmoid")
    splits = {**digits, "train": digits["train"][:512]}  # full batches only: a second kind takes seconds to compile
    two, three, four, eight = (clipping_population(network, splits, slots, 128) for slots in (2, 3, 4, 8))
    expected = train_among(two, 0, 0, train, bits)
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
        assert train_among(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


def test_at_the_size_of_fashion_mnist(garments: dict[str, np.ndarray], train: Train, bits: Bits) -> None:
    network = dense_network((784,), 16, hidden=[512, 256], output_activation="sigmoid")
    two, four, eight = (clipping_population(network, garments, slots, 128) for slots in (2, 4, 8))
    expected = train_among(two, 0, 0, train, bits)
    for members, slot, late in ((two, 1, 1), (four, 3, 0), (eight, 2, 1)):
        assert train_among(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


def awkward_network() -> Network:
    """Widths that fill no packets, and every activation that has a packet's own way of computing it."""
    rows, z = keras.Input((5,)), keras.Input((3,))
    h = SearchedDropout()(dense(13, activation="selu")(dense(7, activation="tanh")(rows)))
    decoder = dense(5, activation="sigmoid")(dense(25, activation="softplus")(dense(50, activation="gelu")(z)))
    return Network(encoder=keras.Model(rows, [dense(3)(h), dense(3)(h)]), decoder=keras.Model(z, decoder))


@pytest.fixture(scope="module")
def awkward(few_features: dict[str, np.ndarray]) -> list[Population]:
    """Three and eight members, trained on eight batches of 37 rows and one of 4."""
    network = awkward_network()
    return [clipping_population(network, few_features, slots, 37) for slots in (3, 8)]


def test_at_awkward_sizes(awkward: list[Population], train: Train, bits: Bits) -> None:
    three, eight = awkward
    expected = train_among(three, 0, 0, train, bits)
    for members, slot, late in ((three, 1, 1), (three, 2, 0), (eight, 7, 1), (eight, 0, 2), (eight, 3, 0)):
        assert train_among(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


def test_in_one_call_per_batch(
    awkward: list[Population], train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    three, _ = awkward
    expected = train_among(three, 0, 0, train, bits)
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)
    assert train_among(three, 0, 0, train, bits) == expected


def test_with_missing_values(few_features: dict[str, np.ndarray], train: Train, bits: Bits) -> None:
    splits = {name: rows.copy() for name, rows in few_features.items()}
    for rows in splits.values():
        rows[::3, 1], rows[1::4, 4] = np.nan, np.nan
    three, eight = (clipping_population(awkward_network(), splits, slots, 50) for slots in (3, 8))
    expected = train_among(three, 0, 0, train, bits)
    assert np.all(np.isfinite(np.frombuffer(expected["curves"])))
    for members, slot, late in ((three, 2, 1), (eight, 7, 1), (eight, 0, 0)):
        assert train_among(members, slot, late, train, bits) == expected, f"slot {slot} of {members.slots}, {late} late"


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "adam"])
def test_under_every_optimizer_a_trial_has_the_same_bits_in_other_company(
    name: str, full_batches: dict[str, np.ndarray], train: Train, bits: Bits
) -> None:
    network, learning = dense_network((64,), 8, hidden=[32]), Learning(optimizer=name, schedule="cosine", epochs=4)
    found = []
    for slots in (2, 4):
        population = Population(
            network, full_batches, Objective(), slots=slots, batch_size=128, clips_gradients=True, learning=learning
        )
        population.start(slots - 1, TRIAL, SEED)
        for slot in range(slots - 1):
            population.start(slot, NEIGHBOURS[slot], slot)
        train(population, 2)
        found.append(bits(population, slots - 1))
    assert found[0] == found[1]


@pytest.mark.parametrize(("slots", "together"), [(1, 1), (6, 3)])
def test_bytes_train_and_measure_as_the_float32_that_they_become(
    slots: int, together: int, train: Train, bits: Bits
) -> None:
    """Of two shards in two threads, too: one copy of the rows serves both."""
    source = aligned(np.random.default_rng(2).integers(0, 256, (300, 8, 8, 3), np.uint8))
    parts = {"train": slice(0, 200), "validation": slice(200, 250), "test": slice(250, 300)}
    scaling = fit_scaling("standard", source[:200])
    kept = {name: scaling.of_split(source, np.arange(300)[part]) for name, part in parts.items()}
    network = conv_network((8, 8, 3), 4, filters=[4], hidden=[16], output_activation="linear")
    found = []
    for splits in (kept, {name: rows[:] for name, rows in kept.items()}):
        members = Population(network, splits, Objective(), slots=slots, together=together, batch_size=64)
        for slot in range(slots):
            members.start(slot, NEIGHBOURS[slot % 3], SEED + slot)
        train(members, EPOCHS)
        tested = members.measure(range(slots), "test")
        found.append(([bits(members, slot) for slot in range(slots)], [one.unexplained for one in tested]))
    assert isinstance(kept["train"], KeptRows)
    assert found[0] == found[1]
