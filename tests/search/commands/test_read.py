"""Watching a study while processes work on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from klsearch.search.commands.read import without_samples
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import load_study
from klsearch.search.storage.study import StudyStorage
from klsearch.vae.data.cautions import Caution

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


def test_without_samples_what_names_a_column_is_left_out_and_nothing_else(finished: "Finished") -> None:
    record = load_study(known_place(str(finished.folder), storage=None, study=None))
    assert record.data is not None
    notes = ("t.csv: decimal commas in columns 'age', 'pulse'", "the last column has neither name nor values")
    warnings = (
        Caution("row numbers: columns 'id'", "row-numbers"),
        Caution("80 training rows are fewer than the 90 columns", "few-rows"),
        Caution("of an earlier release: columns 'id'"),
        Caution("of an earlier release: many columns"),
    )
    told = without_samples(replace(record, data=replace(record.data, notes=notes, warnings=warnings)))
    assert told.samples is None and told.data is not None
    assert told.data.notes == notes[1:]
    assert told.data.warnings == (warnings[1], warnings[3])
