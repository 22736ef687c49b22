"""Options for running a study, beside what its definition says."""

from dataclasses import dataclass
from typing import Literal

from klsearch.search.storage.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options for running a study.

    Attributes:
        slots: K for a new study; None for the best, as it is remembered or else measured; "measure" to measure it
            anew. A study that exists keeps its own.
        confirm: whether to confirm once the budget is met.
        workers: processes that search; 1 is this process itself. Those of a Dask cluster are as many as it has.
        scheduler: the address of the Dask cluster whose workers search; None for processes of this machine.
        until_converged: whether the search ends before its budget is met, once more of it no longer pays.
        warm_start: where the study is whose complete trials a new one begins with; None to begin with none.
    """

    slots: int | Literal["measure"] | None = None
    confirm: bool = True
    workers: int = 1
    scheduler: str | None = None
    until_converged: bool = False
    warm_start: Place | None = None

    @property
    def given_slots(self) -> int | None:
        """K, if it is given."""
        return None if self.slots == "measure" else self.slots

    @property
    def in_this_process(self) -> bool:
        """True if no other process is started."""
        return self.workers == 1 and self.scheduler is None
