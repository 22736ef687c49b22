"""Records that are made of a study's rows and facts."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import confirmed_rows, watch_study
from klsearch.search.storage.rows import Run
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.record import StudyRecord

if TYPE_CHECKING:
    from tests.search.conftest import Finished

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


def test_a_record_holds_what_the_storage_holds(
    finished: "Finished", record: Callable[[StudyStorage], StudyRecord]
) -> None:
    with open_storage(f"journal:///{finished.folder / 'storage.journal'}", create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        made, rows = record(study), study.rows()
    assert (made.name, made.slots, made.winner) == ("tiny", 8, study.facts.winner)
    assert [trial.number for trial in made.trials] == list(range(24))
    for trial, row in zip(made.trials, rows, strict=True):
        assert row.result is not None and trial.curves is not None and trial.measures is not None
        assert trial.kl == pytest.approx(float(np.mean(row.result.curves.validation_kl[-2:])))
        assert trial.kl_sum == pytest.approx(3 * trial.kl)
        assert (trial.score, trial.seed, trial.epochs) == (row.score, row.run.seed, 12)
        assert [gate.name for gate in trial.gates][:2] == ["finite", "band"]


def test_a_baseline_whose_method_changed_is_not_the_one_that_was_trained(
    study: StudyStorage, tmp_path: Path, write: Callable[..., Path]
) -> None:
    fitted, aimed = (
        parse_definition(
            write(tmp_path, ("[confirmation]", f'[baselines.rival]\nmethod = "{method}"\n[confirmation]')).read_text(),
            "tiny.toml",
        ).settle(features=6, kl_band=None)
        for method in ("sigma", "control")
    )
    run = Run(
        hyperparameters=fitted.baseline_hyperparameters()["rival"],
        seed=confirmation_seed(fitted.study.seed, 0),
        label="rival",
        method="sigma",
    )
    study.confirmation().create_row(run, this_process())
    assert [row.run for row in confirmed_rows(study, fitted)] == [run]
    assert aimed.baseline_hyperparameters()["rival"] == run.hyperparameters
    assert confirmed_rows(study, aimed) == []
