"""Trials trained again from their rows."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.running.reproduction import changes
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.study import StudyStorage

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]


@pytest.mark.parametrize("trial", [0, 23])
def test_a_finished_trial_is_reproduced_bit_for_bit(trial: int, finished: "Finished", klsearch: Klsearch) -> None:
    """It was trained among eight, and is trained alone now."""
    document = klsearch("reproduce", finished.folder, trial, "--json").document
    assert (document["trial"], document["matches"], document["mismatches"]) == (trial, True, [])


def test_a_stored_value_that_was_changed_is_named(finished_copy: "Finished", klsearch: Klsearch) -> None:
    journal = finished_copy.folder / "storage.journal"
    lines = journal.read_text().splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if '"klsearch:result"' in line)
    entry = json.loads(lines[at])
    measures = entry["user_attr"]["klsearch:result"]["measures"]["validation"]
    real = measures["elbo"]
    measures["elbo"] = float(np.nextafter(real, 0))
    lines[at] = json.dumps(entry) + "\n"
    journal.write_text("".join(lines))
    place = known_place(str(finished_copy.folder), storage=None, study=None)
    with open_storage(place.url, create=False) as storage:
        rows = StudyStorage.load(storage, place.name).rows()
    (trial,) = [row.number for row in rows if row.result and row.result.measures["validation"].elbo == measures["elbo"]]
    called = klsearch("reproduce", finished_copy.folder, trial)
    assert called.code == 1
    assert f"Trial {trial}, trained again" in called.out
    assert f"  elbo: stored {measures['elbo']!r}, now {real!r}\n" in called.out
    assert "Versions and processor are those that the study recorded." in called.out


def test_a_trial_that_is_not_there_is_refused(finished: "Finished", klsearch: Klsearch) -> None:
    called = klsearch("reproduce", finished.folder, 24)
    assert (called.code, called.out) == (2, "")
    assert "study 'tiny' has no trial 24; it has 24, from 0." in called.err


def test_what_changed_since_the_study_is_what_was_recorded_otherwise() -> None:
    stored = {"keras": "3.15.1", "numpy": "2.4.0", "tensorflow": "2.21.0 (earlier 2.20.0)"}
    now = {"keras": "3.15.1", "numpy": "2.5.0", "tensorflow": "2.21.0"}
    assert changes(stored, now) == {
        "numpy": ("2.4.0", "2.5.0"),
        "tensorflow": ("2.21.0 (earlier 2.20.0)", "2.21.0"),
    }
