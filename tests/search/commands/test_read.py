"""Watching a study while processes work on it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.commands.read import comparison_file, without_samples
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


def test_trials_can_be_sorted_limited_and_left_to_the_feasible(finished: "Finished", klsearch: Klsearch) -> None:
    every = klsearch("trials", finished.folder, "--json").document["trials"]
    assert [trial["number"] for trial in every] == list(range(24))

    def chosen(*options: object) -> list[int]:
        found = klsearch("trials", finished.folder, "--json", *options).document["trials"]
        return [trial["number"] for trial in found]

    by_score = sorted(every, key=lambda trial: trial["score"])
    assert chosen("--sort", "score") == [trial["number"] for trial in by_score]
    feasible = [trial["number"] for trial in by_score if trial["feasible"]]
    assert chosen("--sort", "best", "--feasible", "--limit", 3) == feasible[:3]
    assert klsearch("trials", finished.folder, "--limit", 2, "--csv").out.count("\n") == 3
    shown = klsearch("trials", finished.folder, "--limit", 23).out.splitlines()
    assert shown[-1] == "1 more trial is not shown."
    assert klsearch("trials", finished.folder, "--sort", "luck").code == 2


def test_on_a_narrow_terminal_no_line_of_a_table_is_broken(
    finished: "Finished", klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, klsearch("trials", finished.folder).out.splitlines())) <= 80
    table = klsearch("best", finished.folder).out.split("\n\n")[2]
    assert "winner" in table
    assert max(map(len, table.splitlines())) <= 80


def test_comparisons_of_different_pairs_have_different_names(finished: "Finished", tmp_path: Path) -> None:
    folders = [tmp_path / "runs" / "a", tmp_path / "runs" / "b", tmp_path / "elsewhere" / "b"]
    for folder in folders:
        shutil.copytree(finished.folder, folder)
    first, beside, elsewhere = (known_place(str(folder)) for folder in folders)
    assert comparison_file(first, beside) == "compared-a-with-b.html"
    names = {comparison_file(first, beside), comparison_file(first, elsewhere), comparison_file(beside, first)}
    assert len(names) == 3
    assert comparison_file(first, elsewhere).startswith("compared-a-with-b-")
