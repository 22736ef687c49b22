"""Slots dealt out to threads: a member's result does not depend on the dealing."""

from collections.abc import Callable

import numpy as np
import pytest

from klsearch.vae.hyperparameters import AFTER, BEFORE, Hyperparameters
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.slow("compiles populations of many sizes")

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]
Deal = Callable[[int, int], Population]

TRIAL = Hyperparameters(kl_weight=0.1, clip_high=2, annealing_epochs=2, l2=1e-4, encoder_dropout=0.2)
SEED = 7


@pytest.fixture(scope="module")
def network() -> Network:
    return dense_network((12,), 3, hidden=[16])


@pytest.fixture(scope="module")
def deal(network: Network) -> Deal:
    """A function that gives a population of so many slots, so many of them together."""
    rows = np.random.default_rng(0).random((400, 12), np.float32)
    # Full batches only: a second kind takes seconds to compile.
    splits = {"train": rows[:256], "validation": rows[256:]}

    def population(slots: int, together: int) -> Population:
        return Population(network, splits, Objective(), slots=slots, together=together, batch_size=64)

    return population


def train_slot(members: Population, slot: int, train: Train, bits: Bits) -> dict[str, bytes]:
    """The trial in a slot, among neighbours of other settings."""
    for other in range(members.slots):
        members.start(other, BEFORE if other % 2 else AFTER, 100 + other)
    members.start(slot, TRIAL, SEED)
    train(members, 3)
    return bits(members, slot)


def test_a_member_has_the_same_bits_in_every_shard(deal: Deal, train: Train, bits: Bits) -> None:
    expected = train_slot(deal(2, 2), 0, train, bits)
    for slots, together, slot in ((6, 2, 4), (8, 4, 1)):
        assert train_slot(deal(slots, together), slot, train, bits) == expected, f"slot {slot}, {together} of {slots}"


def test_members_that_are_alone_have_the_same_bits_in_every_shard(deal: Deal, train: Train, bits: Bits) -> None:
    expected = train_slot(deal(1, 1), 0, train, bits)
    for slots, slot in ((2, 1), (5, 3)):
        assert train_slot(deal(slots, 1), slot, train, bits) == expected, f"slot {slot} of {slots}"


def test_alone_or_together_makes_a_difference_of_rounding_alone(deal: Deal, train: Train) -> None:
    alone, together = deal(2, 1), deal(2, 2)
    for members in (alone, together):
        members.start(0, TRIAL, SEED)
        train(members, 3)
    np.testing.assert_allclose(alone.curves(0).as_rows(), together.curves(0).as_rows(), rtol=1e-3, atol=1e-5)


def test_few_members_are_spread_over_the_shards(deal: Deal, train: Train) -> None:
    members = deal(6, 2)
    trained: list[int] = []
    for index, shard in enumerate(members._shards):
        once = shard.train

        def noted(first: int, last: int, index: int = index, once: Callable[..., np.ndarray] = once) -> np.ndarray:
            trained.append(index)
            return once(first, last)

        shard.train = noted  # type: ignore[method-assign]
    members.start(0, TRIAL, SEED)
    train(members, 1)
    assert set(trained) == {0}, "a shard without members costs nothing"
    trained.clear()
    members.start(1, TRIAL, SEED)
    train(members, 1)
    assert set(trained) == {0, 1}


def test_shards_are_compiled_once(deal: Deal, train: Train) -> None:
    members = deal(6, 2)
    members.compile()
    before = members.traces()
    for slot in range(6):
        members.start(slot, TRIAL, SEED + slot)
    train(members, 2)
    assert members.traces() == before


def test_slots_that_cannot_be_dealt_out_are_refused(deal: Deal) -> None:
    with pytest.raises(ValueError, match="5 slots cannot be dealt out to shards of 2"):
        deal(5, 2)
