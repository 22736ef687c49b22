"""Members as plain values: what a training needs to go on bit for bit in another slot, process or machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from klsearch.vae.training.plan import Clock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberState:
    """One member between two graph calls.

    Attributes:
        clock: its settings, its seed, and the epochs that it has ended.
        seconds: its share of the wall time so far.
        curves: one row per ended epoch, float32 [epochs, 10], columns in the order of `CURVE_NAMES`.
        steps: what was measured of the present epoch's steps so far, float32 [batches, 4].
        values: its row of every stacked variable, in the population's order, each [*variable shape].
    """

    clock: Clock
    seconds: float
    curves: np.ndarray
    steps: np.ndarray
    values: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The active members of a population between two graph calls.

    Attributes:
        batch: batches of the present epoch that are trained; 0 between epochs.
        members: by slot.
    """

    batch: int
    members: Mapping[int, MemberState]
