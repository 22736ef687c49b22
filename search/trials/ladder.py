"""Telling where the ladder puts the KL, as soon as its last rung has been trained, whoever trained it."""

from collections.abc import Callable

from klsearch.search.storage.records import trial_record
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import Ladder, rung_settings


class LadderTeller:
    """Tells what a study's ladder says, once: unless it was whole when this was made.

    Args:
        study: in its storage.
        definition: of the study, settled.
        say: is told the sentence.
    """

    def __init__(self, study: StudyStorage, definition: StudyDefinition, say: Callable[[str], None]) -> None:
        self._study = study
        self._definition = definition
        self._say = say
        self._count = study.facts.ladder
        self._settings = frozenset(rung_settings(definition, self._count))
        self._is_told = not self._settings or self._read().is_whole

    def look(self) -> None:
        """Tell it if the ladder has become whole."""
        if not self._is_told and (ladder := self._read()).is_whole:
            self._is_told = True
            self._say(ladder.sentence)

    def _read(self) -> Ladder:
        numbers = [row.number for row in self._study.rows(results=False) if row.run.hyperparameters in self._settings]
        trials = [trial_record(row, self._definition) for row in self._study.rows_at(numbers)]
        ladder = Ladder.of(self._definition, trials, self._count)
        assert ladder is not None
        return ladder
