"""Watching a study while processes work on it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.study import StudyStorage

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]


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
