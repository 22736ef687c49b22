"""How many members train at a time, and how many of them in each thread."""

from typing import Any

import pytest

from klsearch.search.layout import Layout, blocks_of, layout_of, most_slots
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.studies.definitions.definition import StudyDefinition


def digits(**changes: Any) -> StudyDefinition:
    return override(load_definition("digits"), **changes).definition


@pytest.mark.parametrize(
    ("slots", "threads", "together"),
    [
        (1, 2, 1),
        (2, 2, 2),  # one alone would have bits of its own
        (3, 2, 3),  # neither thread could get an even number
        (4, 2, 2),
        (6, 2, 6),
        (8, 2, 4),
        (8, 3, 4),
        (8, 16, 2),
        (20, 4, 20 // 2),  # five for each of four threads would be odd
        (24, 4, 6),
    ],
)
def test_given_slots_are_dealt_out_to_the_threads(slots: int, threads: int, together: int) -> None:
    assert layout_of(slots, digits(), threads) == Layout(slots, together)


@pytest.mark.parametrize(
    ("layout", "members", "filled"),
    [
        (Layout(24, 12), 30, Layout(24, 12)),
        (Layout(24, 12), 24, Layout(24, 12)),
        (Layout(24, 12), 12, Layout(12, 6)),
        (Layout(20, 10), 10, Layout(8, 4)),  # five in a thread would be odd
        (Layout(20, 10), 3, Layout(2, 2)),
        (Layout(20, 10), 1, Layout(2, 2)),  # one alone would have bits of its own
        (Layout(24, 2), 12, Layout(12, 2)),
        (Layout(5, 5), 3, Layout(2, 2)),
        (Layout(6, 1), 4, Layout(4, 1)),
        (Layout(1, 1), 3, Layout(1, 1)),
        (Layout(8, 4, within=3, xla=True), 4, Layout(4, 2, within=3, xla=True)),
    ],
)
def test_a_share_of_the_members_fills_every_slot_of_its_layout(layout: Layout, members: int, filled: Layout) -> None:
    assert layout.filled_by(members) == filled


@pytest.mark.parametrize(("trials", "most"), [(1, 2), (8, 2), (40, 8), (100, 20), (10_000, 128)])
def test_a_fifth_of_the_budget_trains_at_a_time_at_most(trials: int, most: int) -> None:
    assert most_slots(digits(trials=trials)) == most


@pytest.mark.parametrize(
    ("budget", "stop", "blocks"),
    [(100, "decided", [20, 20, 20, 20, 20]), (30, "decided", [20, 10]), (18, "decided", [18]), (100, "budget", [100])],
)
def test_a_search_that_may_be_decided_is_trained_from_look_to_look(budget: int, stop: str, blocks: list[int]) -> None:
    assert blocks_of(digits(trials=budget, stop=stop)) == blocks
