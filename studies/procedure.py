"""How a study comes to its winner: what a release does, and what studies of earlier ones go on with."""

from enum import IntEnum


class Procedure(IntEnum):
    """The rules under which a study was begun, and under which it goes on.

    OWN_SEEDS: of the first release. Every trial is trained on a seed of its own; every leading trial and every baseline
    is trained on all fresh seeds, on which the winner is chosen and proven alike.

    RACE: all trials share one seed; leading trials race on seeds of the race; the winner is proven on fresh seeds that
    chose nothing, and a baseline that fails the gates on the first of them leaves.
    """

    OWN_SEEDS = 1
    RACE = 2
