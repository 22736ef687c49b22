"""The layout of a study's members: how many train at a time, and how many of them in each thread."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS
from klsearch.vae.networks.kinds import shares_programs

MEMORY_SHARE = 0.25
"""Of the memory that is free, what members may take: how much each takes is reckoned roughly."""
_MOST = 128
_MOST_ON_CARD = 512
_EVERY = 10


@dataclass(frozen=True, slots=True)
class Layout:
    """The numbers in which a study's members are trained.

    Attributes:
        slots: K, the number of members trained at a time.
        together: how many of them one thread trains as one program.
        within: how many threads share the work within an operation, which for a member alone may decide its last bits.
        xla: whether XLA compiles the steps, which decides their last bits.
    """

    slots: int
    together: int
    within: int = 1
    xla: bool = False

    def as_json(self) -> dict[str, int]:
        """The numbers as JSON values; what earlier studies did not know is left out where it is off."""
        return {name: value for name, value in asdict(self).items() if value or name != "xla"}

    def filled_by(self, count: int) -> "Layout":
        """The layout of which so many members fill every slot; one alone has two where members share programs.

        A training has the same bits in it, unless XLA compiles the steps.

        >>> Layout(24, 12).filled_by(11)
        Layout(slots=8, together=4, within=1, xla=False)
        """
        if count >= self.slots:
            return self
        least = min(2, self.together)
        shards = min(self.slots // self.together, max(1, count // least))
        together = max(least, count // shards // least * least)
        return replace(self, slots=together * shards, together=together)

    def for_members(self, count: int) -> "Layout":
        """The layout with no more slots than so many members need, in which a training has the same bits."""
        shards = self.slots // self.together
        share = -(-count // shards)
        together = min(self.together, share + share % 2)  # one member alone only where all are
        return replace(self, slots=together * min(shards, -(-count // together)), together=together)


def layout_of(slots: int, definition: StudyDefinition, threads: int) -> Layout:
    """The layout for a given number of slots: a shard for each thread if that leaves it an even number of members.

    Where a member does not gain from company, as with convolutions, each is alone.
    """
    if not shares_programs(definition.model.kind):
        return Layout(slots, 1)
    sizes = [slots // shards for shards in range(min(threads, slots), 0, -1) if slots % shards == 0]
    return Layout(slots, next((size for size in sizes if size % 2 == 0), slots))


def least_together(definition: StudyDefinition) -> int:
    """The fewest members that a thread trains: two, where one has the same bits in any company, but others alone."""
    return 2 if shares_programs(definition.model.kind) else 1


def most_slots(definition: StudyDefinition, *, on_card: bool = False) -> int:
    """The most members that may train at a time: a fifth of the budget, so that the sampler gets to learn."""
    return max(2, min(_MOST_ON_CARD if on_card else _MOST, definition.study.trials // 5))


def next_look(counted: int, lag: int) -> int:
    """By how many trials a decision is looked for after it was by so many: never within fewer than may train at a time.

    >>> next_look(0, 6), next_look(20, 6), next_look(20, 20)
    (20, 30, 40)
    """
    return max(counted + max(_EVERY, lag), MIN_FINISHED_TRIALS)


def blocks_of(definition: StudyDefinition) -> list[int]:
    """The numbers of trials that are trained one block after the other: where a search may be decided, look by look."""
    budget = definition.study.trials
    if definition.study.stop == "budget":
        return [budget]
    ends = [0]
    while ends[-1] < budget:
        ends.append(min(next_look(ends[-1], most_slots(definition)), budget))
    return [end - begin for begin, end in pairwise(ends)]
