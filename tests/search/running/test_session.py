"""One process's work on one study."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.progress import Silence
from klsearch.search.running.session import open_session
from klsearch.search.stopping import Stopper
from klsearch.search.storage.place import Place
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.assignment import Assignment

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


def test_a_process_that_fails_leaves_its_study_to_others(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    """A worker of a pool lives on after an error, and others would wait for what it left running."""
    place = Place(folder=tmp_path, url="", name="tiny", embedded=False)
    assignment = Assignment(study=study, definition=workshop.definition, population=workshop.population, alone=False)
    with (
        pytest.raises(ValueError, match="out of memory"),
        open_session(assignment, place, progress=Silence(), stopper=Stopper()),
    ):
        assert study.leases.is_worked_on()
        raise ValueError("out of memory")
    assert not study.leases.is_worked_on()
