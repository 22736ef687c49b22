"""How many members to train at a time."""

from collections.abc import Callable

from studies.definition import StudyDefinition
from vae.datasets import Dataset
from vae.networks import Network


def auto_slots(network: Network, dataset: Dataset, definition: StudyDefinition, *, say: Callable[[str], None]) -> int:
    """The number of slots, at most a quarter of the budget."""
    return min(32, max(2, definition.study.trials // 8 * 2))
