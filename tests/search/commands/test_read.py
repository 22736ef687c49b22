"""Watching a study while processes work on it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.progress import Silence
from klsearch.search.running.session import open_session
from klsearch.search.stopping import Stopper
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place, known_place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import watch_study
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.assignment import Assignment

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop

Klsearch = Callable[..., "Called"]
Other = tuple[Owner, "subprocess.Popen[str]"]


def say_alive(folder: Path, owner: Owner) -> None:
    with open_storage(f"journal:///{folder / 'storage.journal'}", create=False) as storage:
        StudyStorage.load(storage, "tiny").leases.say_alive(owner, {})


def test_a_study_is_watched_until_the_last_process_that_works_on_it_is_gone(
    finished_copy: "Finished", other: Other
) -> None:
    """Its budget is met: what is still done is the confirmation."""
    owner, process = other
    say_alive(finished_copy.folder, owner)
    seen = watch_study(known_place(str(finished_copy.folder)), seconds=0.01)
    assert [len(next(seen).counted) for _ in range(3)] == [24, 24, 24]
    process.kill()
    process.wait()
    assert len(list(seen)) == 1, "once more, as the process left it"


def test_a_study_that_nobody_works_on_is_shown_once(finished_copy: "Finished", klsearch: Klsearch) -> None:
    """It was stopped before its budget was met."""
    with open_storage(f"journal:///{finished_copy.folder / 'storage.journal'}", create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        study.replace_definition(study.definition.replace("trials = 24", "trials = 30"))
        study.leases.say_alive(this_process(), {})
        assert study.leases.is_worked_on()
        study.leases.say_gone(this_process())
        assert not study.leases.is_worked_on()
    once = klsearch("status", finished_copy.folder)
    assert "24 of 30" in once.out
    assert klsearch("status", finished_copy.folder, "--watch") == once


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
