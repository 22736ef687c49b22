"""Whether a study's search is decided: read from the model of its trials, each of which is read once."""

from collections.abc import Callable, Sequence
from itertools import takewhile

from optuna.trial import FrozenTrial, TrialState

from klsearch.search.layout import next_look
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import trial_record
from klsearch.search.storage.row_attributes import is_row, is_warm_start
from klsearch.search.storage.rows import FINISHED
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import TrialRecord
from klsearch.studies.response import Decision, Response
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS

# By 40 trials, of 20, 40, …, half of ten searches of digits were decided.
_USUALLY = 40
# A gain so many times the tolerance is not used up by as many trials as the next decision rests on.
_FAR = 2.0


class Decider:
    """Decides whether more search of a study pays: from look to look (`next_look`), by the study's own trials so far.

    No trial is asked for before what all trials up to a look say is known. So the same trials decide, and the search
    ends with them, whoever asks when and however many train at a time.

    Fitting the model takes longer than many a training. Of several workers the one whose trial was the last to count
    fits it and writes down what it says; the others wait with trials that would depend on it.

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
        self._lag = study.facts.lag  # 0: of a study that was made when nobody waited for decisions
        self._records: dict[int, TrialRecord] = {}
        self._counted = 0
        self._decision: Decision | None = None

    def is_over(self) -> bool:
        """Tell whether the search is decided, and no trial runs any more."""
        trials = self._study.trials()
        _, is_decided = self._look(trials)
        return is_decided and not any(trial.state is TrialState.RUNNING for trial in trials)

    def find_limit(self) -> int | None:
        """The number of the first trial that may not be asked for, decided or not known yet; None if any may be."""
        if self._definition.study.stop == "budget":
            return None
        trials = self._study.trials()
        counted, is_decided = self._look(trials)
        if is_decided:
            return len(trials)
        return len(trials) + max(0, self._following(counted) - len(_own(trials))) if self._lag else None

    def _following(self, counted: int) -> int:
        return next_look(counted, self._lag)

    def _look(self, trials: Sequence[FrozenTrial]) -> tuple[int, bool]:
        """By how many trials a decision was looked for, and whether it is reached; looks on as far as trials go."""
        if self._definition.study.stop == "budget":
            return 0, False
        finished = _finished_first(_own(trials))
        counted, is_decided = self._study.decided()
        while not is_decided and len(finished) >= (following := self._following(counted)):
            owner = self._study.rows_of([finished[following - 1]])[0].owner
            if owner != this_process() and not self._is_dead(owner):
                break
            found = self._decide(trials, finished[:following])
            counted, is_decided = following, found is not None and found.reached
            self._study.keep_decided(counted, is_decided)
        return counted, is_decided

    def decide(self) -> Decision | None:
        """What the study's trials up to the last look say; None while there are too few."""
        trials = self._study.trials()
        finished, looked = [trial for trial in _own(trials) if trial.state in FINISHED], 0
        while self._following(looked) <= len(finished):
            looked = self._following(looked)
        return self._decide(trials, finished[:looked])

    def expect(self, finished: int) -> int:
        """The number of trials with which the search will probably end, when so many have finished.

        Where it ends once it is decided, that is a guess: the look by which that usually is, then one look more, or two
        where the latest decision is far from it.
        """
        budget = self._definition.study.trials
        if self._definition.study.stop == "budget":
            return budget
        counted, is_decided = self._study.decided()
        deciding = counted if is_decided else self._following(counted)
        while not is_decided and deciding < _USUALLY:
            deciding = self._following(deciding)
        if self._decision is not None and self._counted == counted and not is_decided:
            deciding = self._following(counted)
            if self._decision.gain > _FAR * self._decision.tolerance:
                deciding = self._following(deciding)
        return min(budget, max(deciding, finished))

    def _decide(self, trials: Sequence[FrozenTrial], own: Sequence[FrozenTrial]) -> Decision | None:
        """What some of the study's own trials say, with those of a warm start."""
        if len(own) < MIN_FINISHED_TRIALS:
            return None
        if len(own) != self._counted:
            earlier = [trial.number for trial in trials if trial.state in FINISHED and is_warm_start(trial)]
            numbers = sorted([*earlier, *(trial.number for trial in own)])
            response = Response.of(self._definition, self._read(numbers))
            self._counted, self._decision = len(own), None if response is None else response.decide()
        return self._decision

    def _read(self, numbers: list[int]) -> list[TrialRecord]:
        rows = self._study.rows_at(number for number in numbers if number not in self._records)
        self._records |= {row.number: trial_record(row, self._definition) for row in rows}
        return [self._records[number] for number in numbers]


def _own(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The study's own trials, in ascending number, without those of a warm start and those that failed."""
    return [
        trial for trial in trials if is_row(trial) and trial.state is not TrialState.FAIL and not is_warm_start(trial)
    ]


def _finished_first(own: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those before the first that is not finished."""
    return list(takewhile(lambda trial: trial.state in FINISHED, own))
