"""Confirming a finished study on more fresh seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.record import StudyRecord

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

pytestmark = pytest.mark.slow("searches and confirms whole studies")

Klsearch = Callable[..., "Called"]


def stored(folder: Path) -> StudyRecord:
    return load_study(known_place(str(folder), storage=None, study=None))


def test_more_seeds_are_added_to_those_that_are_trained(finished_copy: "Finished", klsearch: Klsearch) -> None:
    before = stored(finished_copy.folder)
    called = klsearch("confirm", finished_copy.folder, "--seeds", 10, "--json")
    assert called.code == 0, called.err
    assert "confirming on fresh seeds 40/40" in called.err
    after = stored(finished_copy.folder)
    assert after.definition.confirmation.seeds == called.document["seeds"] == 10
    assert len(after.trials) == 24
    kept = {(run.candidate, run.seed): run for run in after.confirmation}
    assert len(after.confirmation) == len(kept) == 40
    assert [run.seed for run in after.race] == [run.seed for run in before.race], "the winner was chosen already"
    assert {run.seed for run in after.confirmation} == {confirmation_seed(0, index) for index in range(10)}
    for run in before.confirmation:
        same = kept[run.candidate, run.seed]
        assert run.curves is not None
        assert same.curves is not None
        np.testing.assert_array_equal(same.curves.as_rows(), run.curves.as_rows())
        assert (same.seconds, same.ended) == (run.seconds, run.ended), "nothing was trained twice"
    winners = [run for run in after.confirmation if run.trial == after.winner]
    assert all(run.test is not None for run in winners), "the new seeds are scored on the test split too"
    assert after.test_looks == before.test_looks + 1
    again = klsearch("confirm", finished_copy.folder, "--json")
    assert again.document == called.document
    assert stored(finished_copy.folder).test_looks == after.test_looks


def test_a_definition_that_asks_for_fewer_seeds_later_drops_none(
    finished_copy: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    more = klsearch("confirm", finished_copy.folder, "--seeds", 9, "--json").document
    called = klsearch("run", finished_copy.definition_file, "--out", finished_copy.folder, "--json")
    assert called.code == 0, called.err
    assert "The winner stays confirmed on 9 fresh seeds, not on the 8 that the definition asks for" in called.err
    assert (called.document, called.document["seeds"]) == (more, 9)
    assert "seeds = 9" in (finished_copy.folder / "study.toml").read_text()


def test_a_winner_that_was_confirmed_before_more_trials_finished_is_said_to_be(
    finished_copy: "Finished", klsearch: Klsearch
) -> None:
    folder = finished_copy.folder
    assert klsearch("best", folder, "--json").document["since_confirmed"] is None
    called = klsearch("resume", folder, "--trials", 30, "--no-confirm")
    assert called.code == 0, called.err
    document = klsearch("best", folder, "--json").document
    since = document["since_confirmed"]
    assert since["trials"] == 6
    assert since["sentence"].startswith(f"The winner, trial {document['trial']}, was confirmed before 6 more trials")
    assert since["sentence"].endswith(f"Confirm anew with `klsearch confirm {folder}`.")
    assert klsearch("status", folder, "--json").document["since_confirmed"] == since
    for shown in (called.out, klsearch("best", folder).out, klsearch("status", folder).out):
        assert f"note: {since['sentence']}\n" in f"{shown}\n"
    assert "was confirmed before 6 more trials finished" in (folder / "report.html").read_text()

    again = klsearch("confirm", folder)
    assert again.code == 0, again.err
    assert klsearch("best", folder, "--json").document["since_confirmed"] is None
    assert "was confirmed before" not in again.out + (folder / "report.html").read_text()


@pytest.mark.parametrize("seeds", [1, 7])
def test_fewer_seeds_than_are_trained_are_refused(seeds: int, finished: "Finished", klsearch: Klsearch) -> None:
    called = klsearch("confirm", finished.folder, "--seeds", seeds)
    assert (called.code, called.out) == (2, "")
    assert "8 fresh seeds are trained already, and none of them is dropped; give --seeds 8 or more." in called.err


def test_a_search_that_is_not_over_is_not_confirmed(
    definition_file: Path, klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(definition_file.parent)
    assert klsearch("run", "tiny.toml", "--timeout", "0s", "--slots", 8, "--quiet").code == 0
    called = klsearch("confirm", "tiny", "--seeds", 9)
    assert (called.code, called.out) == (2, "")
    assert "study 'tiny' has 0 of 24 trials" in called.err
    assert "`klsearch resume runs/tiny`" in called.err


def test_a_search_that_is_not_over_may_be_declared_over(finished_copy: "Finished", klsearch: Klsearch) -> None:
    folder = finished_copy.folder
    with open_storage(f"journal:///{folder / 'storage.journal'}", create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        study.replace_definition(study.definition.replace("trials = 24", "trials = 30"))
    refused = klsearch("confirm", folder)
    way_out = f"klsearch resume {folder} --trials 24"
    assert refused.err.endswith(
        f"has 24 of 30 trials, so its leading ones may change; go on with `klsearch resume {folder}`, "
        f"or stop at these: `{way_out}`.\n"
    )
    assert klsearch(*way_out.split()[1:], "--no-confirm", "--quiet").code == 0
    assert klsearch("confirm", folder).code == 0
