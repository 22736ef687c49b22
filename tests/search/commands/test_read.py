"""Watching a study while processes work on it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.commands.read import comparison_file
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
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
