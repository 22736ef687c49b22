"""The files that a run leaves."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.running.done.outputs import has_outputs, write_outputs
from klsearch.search.stopping import Stopper
from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.studies.errors import KlsearchError

if TYPE_CHECKING:
    from tests.search.conftest import Finished, Told


def test_both_files_are_written_again(finished_copy: "Finished", told: "Told") -> None:
    place = known_place(str(finished_copy.folder))
    record = load_study(place)
    assert has_outputs(place, record)
    for name in ("report.html", "trials.csv"):
        (place.folder / name).unlink()
    assert not has_outputs(place, record)
    write_outputs(record, place, progress=told, stopper=Stopper())
    assert has_outputs(place, record)
    assert told.lines == ["Writing the report…"]


def test_files_from_before_the_last_training_are_none_of_it(finished_copy: "Finished") -> None:
    place = known_place(str(finished_copy.folder))
    record = load_study(place)
    ended = max(run.ended for run in record.confirmation if run.ended is not None).timestamp()
    os.utime(place.folder / "report.html", (ended - 60, ended - 60))
    assert not has_outputs(place, record)


def test_a_signal_leaves_the_report_unwritten_and_says_what_writes_it(
    finished_copy: "Finished", told: "Told", monkeypatch: pytest.MonkeyPatch
) -> None:
    place, stopper = known_place(str(finished_copy.folder)), Stopper()
    record = load_study(place)
    (place.folder / "report.html").unlink()

    def press(record: object, path: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("klsearch.reports.tables.write_trials_csv", press)
    with stopper.listen():
        write_outputs(record, place, progress=told, stopper=stopper)
    assert stopper.signalled
    assert not (place.folder / "report.html").exists()
    command = place.resume_command
    assert told.lines[1] == (f"Stopped before the report was written. All results are stored; `{command}` writes it.")


def test_a_file_that_cannot_be_written_is_named_with_the_way_out(finished_copy: "Finished", told: "Told") -> None:
    place = known_place(str(finished_copy.folder))
    (place.folder / "trials.csv").unlink()
    (place.folder / "trials.csv").mkdir()
    with pytest.raises(KlsearchError, match=r"trials\.csv.* All results are in the storage; `klsearch resume"):
        write_outputs(load_study(place), place, progress=told, stopper=Stopper())
