"""Records that are made of a study's rows and facts."""

import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.layout import Layout
from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place, known_place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import confirmed_rows, load_study, stored_definition, stored_layout, watch_study
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import StorageError
from klsearch.studies.record import Reference, StudyRecord
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop

ByHand = Callable[..., Result]
Record = Callable[[StudyStorage], StudyRecord]
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
    assert [len(next(seen)[0].counted) for _ in range(3)] == [24, 24, 24]
    process.kill()
    process.wait()
    assert len(list(seen)) == 1, "once more, as the process left it"


@pytest.mark.parametrize(
    ("whole", "damaged", "told"),
    [
        (r'"curves":"....', '"curves":"', r"row 0 of study 'tiny' is damaged \(\w+: "),
        (r'"klsearch:owner":\{"host"', '"klsearch:owner":{"hosv"', "row 0 of study 'tiny' is damaged .*hosv"),
        (
            r'"started":"20(..)-',
            r'"started":"20\1;',
            r"row 0 of study 'tiny' is damaged \(ValueError: Invalid isoformat",
        ),
        (
            r'"unexplained":[\d.]+',
            '"unexplained":"x"',
            r"row 0 of study 'tiny' is damaged \(ValueError: could not conv",
        ),
        (r'"seconds":[\d.]+', '"second5":1', r"row 0 of study 'tiny' is damaged \(KeyError: 'seconds'"),
        (
            r"latent_dim = 3",
            "latent_dim = x",
            "the definition of study 'tiny' is damaged .*tiny.toml",
        ),
        (r'\\"procedure\\"', r'\\"procedvre\\"', "what is known of study 'tiny' as a whole is damaged .*procedvre"),
        (
            r'\\"kind\\": \\"columns',
            r'\\"kind\\": \\"colvmns',
            "what study 'tiny' keeps of the data is damaged .*'colvmns'",
        ),
        (
            r'(?s)(.*)\\"progress\\"',  # the last one
            r'\1\\"pr0gress\\"',
            r"what a worker said last is damaged \(KeyError: 'progress'",
        ),
        (r'"op_code":4', '"op_code":44', r"a record is damaged \(AssertionError: Should not reach\."),
        (r'"trial_id":2,', '"trial_jd":2,', r"a record is damaged \(KeyError: 'trial_id'"),
    ],
)
def test_what_is_damaged_in_a_journal_without_checksums_is_named_with_its_file(
    whole: str, damaged: str, told: str, finished_copy: "Finished", klsearch: Callable[..., "Called"]
) -> None:
    """Such are those of the first release, and of Optuna."""
    journal = finished_copy.folder / "storage.journal"
    text, count = re.subn(whole, damaged, re.sub(r',"crc":"\w{8}"\}', "}", journal.read_text()), count=1)
    assert count == 1
    journal.write_text(text)
    called = klsearch("best", finished_copy.folder)
    told = told.replace("is damaged", "is damaged, or of another release of klsearch")
    way_out = r"\); restore it from a copy, or use that release\.\n"
    assert re.fullmatch(f"klsearch: the storage journal:.*/storage.journal: {told}.*{way_out}", called.err)
    assert called.code == 4


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
        ).settle(shape=(6,), kl_band=None)
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


SEEDS = [confirmation_seed(0, index) for index in range(8)]
LEADER = Run(hyperparameters=Hyperparameters(kl_weight=0.1), seed=SEEDS[0], label="trial 3")


def add_confirmed(study: StudyStorage, run: Run, left: Result | None = None) -> int:
    """The number of a new row of the confirmation: running, or finished with a result."""
    rows = study.confirmation()
    number = rows.create_row(run, this_process())
    if left is not None:
        rows.finish_row(number, left, owner=this_process(), score=0.2, constraints={})
    return number


def test_a_training_that_two_processes_confirmed_counts_once(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    add_confirmed(study, LEADER)  # whoever made it is gone
    finished = add_confirmed(study, LEADER, make_result([1.0]))
    add_confirmed(study, LEADER, make_result([2.0]))
    assert [row.number for row in confirmed_rows(study, workshop.definition)] == [finished]


def test_seeds_that_are_no_longer_asked_for_do_not_count(workshop: "Workshop", study: StudyStorage) -> None:
    for seed in (*SEEDS, 12345):
        add_confirmed(study, replace(LEADER, seed=seed))
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["confirmation"]["seeds"] = 3
    for definition, asked in ((workshop.definition, 8), (StudyDefinition.model_validate(tables), 3)):
        assert [row.run.seed for row in confirmed_rows(study, definition)] == SEEDS[:asked]


def test_a_baseline_counts_under_its_settings_as_they_are_now_and_a_trial_under_any(
    workshop: "Workshop", study: StudyStorage
) -> None:
    mine = workshop.definition.baseline_hyperparameters()["mine"]
    for settings in (mine, replace(mine, kl_weight=0.3)):
        add_confirmed(study, Run(hyperparameters=settings, seed=SEEDS[0], label="mine"))
        add_confirmed(study, Run(hyperparameters=settings, seed=SEEDS[0], label="trial 3"))
    add_confirmed(study, Run(hyperparameters=mine, seed=SEEDS[0], label="taken out"))
    counted = [(row.run.label, row.run.hyperparameters.kl_weight) for row in confirmed_rows(study, workshop.definition)]
    assert counted == [("mine", 0.1), ("trial 3", 0.1), ("trial 3", 0.3)]


def add_trial(study: StudyStorage, left: Result, *, pruned: bool = False) -> int:
    number = study.create_row(replace(LEADER, label="search"), this_process())
    study.finish_row(number, left, owner=this_process(), score=0.25, constraints={}, pruned=pruned)
    return number


def test_a_trial_s_numbers_are_those_of_its_last_epochs(
    study: StudyStorage, record: Record, make_result: ByHand
) -> None:
    """The window is 2: KL ends at the mean of 2 and 3, and rises by 1 each epoch; there are 3 latents."""
    add_trial(study, make_result([9.0, 2.0, 3.0], seconds=1.5))
    (trial,) = record(study).trials
    assert (trial.kl, trial.kl_slope, trial.kl_sum) == (2.5, 0.4, 7.5)
    assert (trial.score, trial.unexplained, trial.seconds, trial.epochs) == (0.25, 0.2, 1.5, 3)
    assert [gate.name for gate in trial.gates if not gate.passed] == ["settled"]
    assert not trial.feasible


def test_a_changed_threshold_judges_every_trial_anew_but_scores_none(
    study: StudyStorage, record: Record, make_result: ByHand
) -> None:
    add_trial(study, make_result([2.0, 2.0]))
    assert record(study).trials[0].feasible
    study.replace_definition(study.definition.replace("window = 2", "window = 2\nmin_active_share = 1.0"))
    add_trial(study, make_result([2.0, 2.0], active=2))
    assert [trial.feasible for trial in record(study).trials] == [True, False]
    assert [trial.score for trial in record(study).trials] == [0.25, 0.25]


def test_only_a_trial_that_was_trained_to_its_end_is_feasible(
    study: StudyStorage, record: Record, make_result: ByHand
) -> None:
    add_trial(study, make_result([2.0, 2.0]))
    add_trial(study, make_result([2.0, 2.0]), pruned=True)
    add_trial(study, make_result([math.nan, math.nan], diverged=True))
    study.create_row(LEADER, this_process())
    study.void_row(study.create_row(LEADER, this_process()), "void")
    trials = record(study).trials
    assert [trial.state.value for trial in trials] == ["complete", "pruned", "complete", "running", "failed"]
    assert [trial.feasible for trial in trials] == [True, False, False, False, False]
    assert [len(trial.gates) for trial in trials] == [6, 6, 6, 0, 0]
    assert [trial.diverged for trial in trials] == [False, False, True, False, False]
    for trial in trials[2:]:
        assert trial.measures is None
        assert math.isnan(trial.kl) and math.isnan(trial.kl_slope)
    assert trials[4].error == "void"
    assert [trial.is_void for trial in trials] == [False] * 4 + [True]


def test_a_confirmation_names_candidates_and_trials_and_holds_what_was_measured_on_test(
    workshop: "Workshop", study: StudyStorage, record: Record, make_result: ByHand
) -> None:
    mine = Run(hyperparameters=workshop.definition.baseline_hyperparameters()["mine"], seed=SEEDS[0], label="mine")
    add_confirmed(study, LEADER, make_result([2.0, 2.0]))
    number = add_confirmed(study, mine, make_result([2.0, 2.0]))
    test = make_result([1.0], unexplained=0.125).measures["validation"]
    study.confirmation().add_test_measures(number, test)
    study.confirmation().add_probe(number, Probe(measure="r2", validation=0.5, test=0.25, chance=0.0))
    leader, baseline = record(study).confirmation
    assert (leader.candidate, leader.trial, leader.test, leader.probe) == ("trial 3", 3, None, None)
    assert (baseline.candidate, baseline.trial) == ("mine", None)
    assert baseline.test is not None and baseline.probe is not None and baseline.measures is not None
    assert (baseline.test.unexplained, baseline.measures.unexplained, baseline.probe.test) == (0.125, 0.2, 0.25)


def test_a_band_that_was_found_is_that_of_the_record(study: StudyStorage, record: Record, make_result: ByHand) -> None:
    add_trial(study, make_result([2.0, 2.0]))
    study.replace_definition(study.definition.replace("trials = 24", 'trials = 24\nkl_band = "auto"'))
    study.change_facts(reference=Reference(method="sigma", seeds=2, kl=1.0, kl_band=(0.5, 1.5)))
    made = record(study)
    assert made.definition.thresholds().kl_band == (0.5, 1.5)
    (band,) = (gate for gate in made.trials[0].gates if gate.name == "band")
    assert (band.passed, band.threshold, band.violation) == (False, "0.5 to 1.5", 0.5)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path, url=f"journal:///{tmp_path / 'journal'}", name="tiny", embedded=False)


def test_what_a_place_holds_can_be_asked_for_without_opening_it(
    workshop: "Workshop", study: StudyStorage, place: Place
) -> None:
    loaded = stored_definition(place)
    assert loaded.definition == workshop.definition
    assert (loaded.toml, str(loaded.folder), loaded.path) == (study.definition, workshop.facts.folder, None)
    assert stored_layout(place) == Layout(4, 2)
    assert (load_study(place).name, load_study(place).slots, load_study(place).trials) == ("tiny", 4, ())


@pytest.mark.parametrize("change", [{"name": "other"}, {"url": "journal:////nowhere/journal"}])
def test_a_place_without_the_study_has_no_layout_and_says_why_to_whoever_asks_for_more(
    study: StudyStorage, place: Place, change: dict[str, str]
) -> None:
    elsewhere = replace(place, **change)  # type: ignore[arg-type]  # both are texts
    assert stored_layout(elsewhere) is None
    for read in (load_study, stored_definition):
        with pytest.raises(StorageError, match=r"no study 'other'|there is no storage"):
            read(elsewhere)
