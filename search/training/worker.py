"""One worker among those of a study."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from klsearch.search.storage.process import Owner
from klsearch.vae.training.snapshot import MemberState


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker, as its sources of jobs need to know it and the others.

    Attributes:
        owner: this process.
        course: the name of the course that it follows.
        is_dead: whether another worker no longer trains.
        turn: a block in which no other worker decides what to train; may raise `Interrupted` while it waits.
        find_stranded: where the member of a row stood when its worker was killed; None to train it from its start.
        say: a line for the user.
    """

    owner: Owner
    course: str = ""
    is_dead: Callable[[Owner], bool] = lambda owner: owner.is_known_dead()
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    find_stranded: Callable[[int], MemberState | None] = lambda number: None
    say: Callable[[str], None] = lambda line: None

    def may_take(self, owner: Owner) -> bool:
        """Tell whether a running row of `owner` is trained by nobody else."""
        return owner == self.owner or self.is_dead(owner)
