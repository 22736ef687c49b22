"""A training that is taken down and put up again goes on as if nothing had happened, to the bit."""

from collections.abc import Callable

import numpy as np
import pytest

from klsearch.vae.hyperparameters import AFTER, Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population
from klsearch.vae.training.snapshot import Snapshot

pytestmark = pytest.mark.slow("compiles two populations")

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

TRIALS = [
    (Hyperparameters(kl_weight=0.1, annealing_epochs=3, encoder_dropout=0.2, learning_rate=2e-3), 7),
    (AFTER, 8),
    (Hyperparameters(kl_weight=0.3, encoder_dropout=0.3, learning_rate=0.01, clip_high=1.0), 9),
]


@pytest.fixture(scope="module")
def two() -> list[Population]:
    """Two populations of four slots, of the same rows and networks of the same shape."""
    rows = np.random.default_rng(0).random((400, 12), np.float32)
    splits = {"train": rows[:300], "validation": rows[300:]}
    return [Population(dense_network((12,), 3, hidden=[16]), splits, Objective(), slots=4, batch_size=64) for _ in "ab"]


def empty(members: Population) -> None:
    """Leave a population between epochs with nobody in it."""
    for slot in range(members.slots):
        members.stop(slot)
    while not members.advance():
        pass


@pytest.fixture
def started(two: list[Population]) -> Population:
    """Three members in the first three slots; the fourth is free."""
    empty(two[0])
    for slot, (hyperparameters, seed) in enumerate(TRIALS):
        two[0].start(slot, hyperparameters, seed)
    return two[0]


@pytest.fixture
def another(two: list[Population]) -> Population:
    """Another population, in which others have trained."""
    empty(two[1])
    two[1].start(3, AFTER, 1)
    two[1].advance()
    empty(two[1])
    return two[1]


@pytest.mark.parametrize("epochs", [0, 2])
def test_between_epochs(started: Population, another: Population, epochs: int, train: Train, bits: Bits) -> None:
    train(started, epochs)
    another.restore(started.snapshot())
    for members in (started, another):
        train(members, 2)
    for slot in range(3):
        assert bits(another, slot) == bits(started, slot)
        assert another.epoch(slot) == epochs + 2


@pytest.mark.parametrize("batches", [1, 3])
def test_in_the_middle_of_an_epoch(
    started: Population,
    another: Population,
    batches: int,
    train: Train,
    bits: Bits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(started, 1)
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)  # a batch in each call
    assert not any([started.advance() for _ in range(batches)])
    snapshot = started.snapshot()
    assert snapshot.batch == batches
    another.restore(snapshot)
    for members in (started, another):
        train(members, 2)
    for slot in range(3):
        assert bits(another, slot) == bits(started, slot)


def test_taking_a_snapshot_changes_nothing(started: Population, another: Population, train: Train, bits: Bits) -> None:
    for slot, (hyperparameters, seed) in enumerate(TRIALS):
        another.start(slot, hyperparameters, seed)
    for _ in range(3):
        another.snapshot()
        train(another, 1)
    train(started, 3)
    assert bits(another, 1) == bits(started, 1)


def test_one_member_goes_on_among_others(started: Population, another: Population, train: Train, bits: Bits) -> None:
    train(started, 1)
    another.start(0, AFTER, 3)
    train(another, 1)
    another.restore(Snapshot(batch=0, members={2: started.snapshot().members[1]}))
    for members in (started, another):
        train(members, 2)
    assert bits(another, 2) == bits(started, 1)
    assert another.epoch(0) == another.epoch(2) == 3


def test_a_snapshot_says_what_it_holds(started: Population, train: Train) -> None:
    train(started, 2)
    snapshot = started.snapshot()
    assert (snapshot.batch, sorted(snapshot.members)) == (0, [0, 1, 2])
    for slot, (hyperparameters, seed) in enumerate(TRIALS):
        member = snapshot.members[slot]
        assert (member.clock.hyperparameters, member.clock.seed, member.clock.epoch) == (hyperparameters, seed, 2)
        assert member.curves.tobytes() == started.curves(slot).as_rows().tobytes()
        assert member.seconds == started.seconds(slot)


def test_a_population_without_members_has_an_empty_snapshot(another: Population) -> None:
    assert another.snapshot().members == {}


def test_members_that_stand_elsewhere_in_the_epoch_are_refused(
    started: Population, another: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)
    started.advance()
    another.start(3, AFTER, 1)
    with pytest.raises(RuntimeError, match="only join others between epochs"):
        another.restore(started.snapshot())


def test_members_of_another_network_are_refused(started: Population) -> None:
    rows = np.random.default_rng(0).random((400, 12), np.float32)
    splits = {"train": rows[:300], "validation": rows[300:]}
    other = Population(dense_network((12,), 3, hidden=[8]), splits, Objective(), slots=4, batch_size=64)
    with pytest.raises(ValueError, match="taken of another network"):
        other.restore(started.snapshot())
