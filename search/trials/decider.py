"""Whether a study's search is decided: read from the model of its trials, each of which is read once."""

from klsearch.search.storage.records import trial_record
from klsearch.search.storage.rows import FINISHED
from klsearch.search.storage.study import StudyStorage, is_warm_start
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import TrialRecord
from klsearch.studies.response import Decision, Response
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS

# After so many more trials the model is fitted anew. The same trials give the same decision, whoever asks when.
_EVERY = 10


class Decider:
    """Decides whether more search of a study pays.

    Args:
        study: in its storage.
        definition: of the study, settled.
    """

    def __init__(self, study: StudyStorage, definition: StudyDefinition) -> None:
        self._study = study
        self._definition = definition
        self._records: dict[int, TrialRecord] = {}
        self._counted = 0
        self._decision: Decision | None = None

    def is_decided(self) -> bool:
        """Tell whether more search no longer pays, where the study asks for no more than that."""
        if self._definition.study.stop == "budget":
            return False
        found = self.decide()
        return found is not None and found.reached

    def decide(self) -> Decision | None:
        """What the study's first trials say, as many as a multiple of ten; None while there are too few."""
        finished = [trial for trial in self._study.trials() if trial.state in FINISHED]
        own = [trial.number for trial in finished if not is_warm_start(trial)]
        counted = len(own) - len(own) % _EVERY
        if counted < MIN_FINISHED_TRIALS:
            return None
        if counted != self._counted:
            earlier = [trial.number for trial in finished if is_warm_start(trial)]
            response = Response.of(self._definition, self._read(sorted([*earlier, *own[:counted]])))
            self._counted, self._decision = counted, None if response is None else response.decide()
        return self._decision

    def _read(self, numbers: list[int]) -> list[TrialRecord]:
        rows = self._study.rows_at(number for number in numbers if number not in self._records)
        self._records |= {row.number: trial_record(row, self._definition) for row in rows}
        return [self._records[number] for number in numbers]
