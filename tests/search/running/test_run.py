"""A study from its definition to its report."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from klsearch.search.running.options import RunOptions
from klsearch.search.running.run import train_study
from klsearch.search.stopping import Stopper
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place, known_place
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.catalog import load_definition
from klsearch.studies.definitions.data import load_data
from klsearch.studies.record import StudyRecord
from klsearch.vae.data.cautions import Caution

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Told

Klsearch = Callable[..., "Called"]
Edit = Callable[[Path, str, str], None]
Contents = Callable[[Path], dict[str, str]]


@pytest.mark.slow("trains dozens of trials")
def test_a_search_that_is_decided_ends_before_its_budget_and_can_still_go_on(
    definition_file: Path, klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch, edit: Edit
) -> None:
    monkeypatch.chdir(definition_file.parent)
    edit(definition_file, "low = 1e-3, high = 10.0", "low = 0.03, high = 0.3")
    edit(definition_file, "max_kl_slope = 0.2", "max_kl_slope = 1.0")
    edit(definition_file, "trials = 24", "trials = 400")
    called = klsearch("run", "tiny.toml", "--until-converged", "--no-confirm", "--slots", 16)
    assert called.code == 0, called.err
    (line,) = [line for line in called.err.splitlines() if line.startswith("Decided after")]
    finished = int(line.split()[2])
    assert 20 <= finished < 400
    assert f"Decided after {finished} of at most 400 trials" in line
    numbers = [trial["number"] for trial in klsearch("trials", "tiny", "--json").document["trials"]]
    assert numbers == list(range(finished))
    assert "Go on with the search" not in Path("runs/tiny/report.html").read_text(encoding="utf-8")

    again = klsearch("run", "tiny.toml", "--until-converged", "--no-confirm")
    assert again.code == 0
    assert len(klsearch("trials", "tiny", "--json").document["trials"]) == finished, "it is decided already"
    klsearch("resume", "tiny", "--no-confirm", "--trials", finished + 2)
    assert len(klsearch("trials", "tiny", "--json").document["trials"]) == finished + 2


@pytest.mark.slow("searches whole studies")
def test_on_a_full_disk_the_report_before_stays_and_the_study_is_whole(
    finished_copy: "Finished",
    klsearch: Klsearch,
    full_disk: Callable[[int], AbstractContextManager[None]],
    contents: Contents,
) -> None:
    folder = finished_copy.folder
    assert klsearch("report", folder).code == 0  # it names the copy's own storage
    before = contents(folder)
    with full_disk((folder / "report.html").stat().st_size - 1):
        again = klsearch("report", folder)
        os.utime(folder / "report.html", (0, 0))  # older than the last training, and so to be written again
        resumed = klsearch("resume", folder, "--quiet")
    message = f"klsearch: {folder / 'report.html'}: File too large"
    assert (again.code, again.out, again.err) == (1, "", f"{message}\n")
    assert (resumed.code, resumed.out) == (1, "")
    assert resumed.err == (
        f"{message}. All results are in the storage; `klsearch resume {folder}` writes what is missing.\n"
    )
    after = contents(folder)
    assert {name for name in after if after[name] != before.get(name)} <= {"run.json", "storage.journal", "study.toml"}
    assert klsearch("report", folder).code == 0
    assert contents(folder)["report.html"] == before["report.html"]


def test_a_study_made_before_a_pca_was_measured_gets_it_at_its_next_confirmation(
    finished_copy: "Finished", klsearch: Klsearch
) -> None:
    measured = klsearch("best", finished_copy.folder, "--json").document["pca"]
    place = known_place(str(finished_copy.folder), storage=None, study=None)
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        study.change_facts(data=replace(study.facts.data, pca={}))
    assert klsearch("best", finished_copy.folder, "--json").document["pca"] == {}
    assert klsearch("confirm", finished_copy.folder, "--quiet").code == 0
    assert klsearch("best", finished_copy.folder, "--json").document["pca"] == measured != {}


@pytest.mark.slow("searches a study")
def test_a_study_that_is_deleted_while_it_is_trained_is_a_storage_error(
    klsearch: Klsearch, definition_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{definition_file.parent / 'studies.db'}"

    def delete(phase: str, **values: Any) -> None:
        optuna.delete_study(study_name="tiny", storage=url)

    monkeypatch.setattr("klsearch.search.terminal.progress.Silence.begin", staticmethod(delete))
    options = ("--slots", 2, "--storage", url, "--out", definition_file.parent / "run", "--quiet")
    called = klsearch("run", definition_file, *options)
    assert (called.code, called.out) == (4, "")
    (line,) = called.err.splitlines()
    assert line.endswith("no longer holds study 'tiny': another program deleted it.")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path / "run", url=f"journal:///{tmp_path / 'journal'}", name="tiny", embedded=False)


def train(definition_file: Path, place: Place, told: "Told", stopper: Stopper) -> StudyRecord:
    """What is left of the small study, of whose data something is to be warned."""
    loaded = load_definition(str(definition_file))
    dataset = replace(
        load_data(loaded.definition, loaded.folder), warnings=(Caution("few rows"),), notes=("read as it is",)
    )
    return train_study(loaded, dataset, place, RunOptions(slots=2), progress=told, stopper=stopper)


def test_whoever_has_no_time_left_is_warned_and_has_a_study_a_report_and_a_table_without_trials(
    definition_file: Path, place: Place, told: "Told"
) -> None:
    record = train(definition_file, place, told, Stopper(0.0))
    assert told.lines == [
        "note: read as it is",
        f"warning: {record.definition.cautions()[0]}",
        "warning: few rows",
        "Stopped; what was trained is kept.",
        "Writing the report…",
    ]
    assert (record.name, record.trials, record.storage) == ("tiny", (), place.url)
    assert record.resume_command == f"klsearch resume {place.folder}"
    assert (place.folder / "report.html").read_text().startswith("<!doctype html>")
    assert (place.folder / "trials.csv").read_text().count("\n") == 1


class SignalledInTime(Stopper):
    """Takes a signal when it is first asked whether to stop: the study is made by then."""

    def __call__(self) -> bool:
        """Tell to stop."""
        self.signalled = True
        return super().__call__()


def test_after_a_signal_no_report_is_written_for_which_the_user_would_have_to_wait(
    definition_file: Path, place: Place, told: "Told"
) -> None:
    record = train(definition_file, place, told, SignalledInTime())
    assert told.lines[-1] == "Stopped; what was trained is kept."
    assert record.trials == ()
    assert {path.name for path in place.folder.glob("*.*")} == {"run.json", "study.toml"}
