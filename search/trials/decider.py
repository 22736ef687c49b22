"""Whether a study's search is decided: read from the model of its trials, each of which is read once."""

from collections.abc import Callable

from optuna.trial import FrozenTrial

from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import trial_record
from klsearch.search.storage.row_attributes import is_warm_start
from klsearch.search.storage.rows import FINISHED
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import TrialRecord
from klsearch.studies.response import Decision, Response
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS

# After so many more trials the model is fitted anew. The same trials give the same decision, whoever asks when.
_EVERY = 10


class Decider:
    """Decides whether more search of a study pays.

    Fitting the model takes longer than many a training. Of several workers the one whose trial was the last to count
    fits it and writes down what it says; the others go on by what was said before.

    Args:
        study: in its storage.
        definition: of the study, settled.
        is_dead: whether another worker no longer trains, and so decides nothing; all are, to who works alone.
    """

    def __init__(
        self, study: StudyStorage, definition: StudyDefinition, *, is_dead: Callable[[Owner], bool] = lambda owner: True
    ) -> None:
        self._study = study
        self._definition = definition
        self._is_dead = is_dead
        self._records: dict[int, TrialRecord] = {}
        self._counted = 0
        self._decision: Decision | None = None

    def is_decided(self) -> bool:
        """Tell whether more search no longer pays, where the study asks for no more than that."""
        if self._definition.study.stop == "budget":
            return False
        finished = self._finished()
        own, counted = _countable(finished)
        if counted < MIN_FINISHED_TRIALS:
            return False
        known, said = self._study.decided()
        if known >= counted:
            return said
        owner = self._study.rows_of([own[counted - 1]])[0].owner
        if owner != this_process() and not self._is_dead(owner):
            return said
        found = self._decide(finished)
        is_decided = found is not None and found.reached
        self._study.keep_decided(counted, is_decided)
        return is_decided

    def decide(self) -> Decision | None:
        """What the study's first trials say, as many as a multiple of ten; None while there are too few."""
        return self._decide(self._finished())

    def _decide(self, finished: list[FrozenTrial]) -> Decision | None:
        own, counted = _countable(finished)
        if counted < MIN_FINISHED_TRIALS:
            return None
        if counted != self._counted:
            earlier = [trial.number for trial in finished if is_warm_start(trial)]
            numbers = sorted([*earlier, *(trial.number for trial in own[:counted])])
            response = Response.of(self._definition, self._read(numbers))
            self._counted, self._decision = counted, None if response is None else response.decide()
        return self._decision

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.trials() if trial.state in FINISHED]

    def _read(self, numbers: list[int]) -> list[TrialRecord]:
        rows = self._study.rows_at(number for number in numbers if number not in self._records)
        self._records |= {row.number: trial_record(row, self._definition) for row in rows}
        return [self._records[number] for number in numbers]


def _countable(finished: list[FrozenTrial]) -> tuple[list[FrozenTrial], int]:
    """Those of the finished trials that are the study's own, and how many of them a decision rests on."""
    own = [trial for trial in finished if not is_warm_start(trial)]
    return own, len(own) - len(own) % _EVERY
