"""The text that the command line prints for people, from records made by hand."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klsearch.search.commands.check import Estimate, OwnModel
from klsearch.search.commands.export.winner import Exported
from klsearch.search.commands.text import (
    best_text,
    check_text,
    export_text,
    reproduction_text,
    result_text,
    shown_settings,
    status_text,
    trials_text,
)
from klsearch.search.running.reproduction import Reproduction
from klsearch.search.storage.leases import Activity
from klsearch.search.training.retraining import Mismatch
from klsearch.studies.definitions.catalog import load_definition
from klsearch.studies.definitions.data import load_data
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.vae.data.cautions import Caution
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.gates import GATE_NAMES, Gate
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.hyperparameters import Hyperparameters

DEFINITION = StudyDefinition.model_validate(
    {
        "study": {"name": "made", "trials": 20},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [8], "latent_dim": 4},
        "training": {"epochs": 60},
        "space": {
            "kl_weight": {"low": 1e-4, "high": 1.0, "log": True},
            "clip_high": 2.0,
            "annealing_epochs": {"low": 0, "high": 20},
        },
    }
)
SETTINGS = Hyperparameters(kl_weight=1 / 3, clip_high=2.0, annealing_epochs=10)
RESUME = "klsearch resume runs/made"

WORKED_ON = Activity(is_worked_on=True)
IDLE = Activity(is_worked_on=False)


def measures_with(kl: float, *, unexplained: float = 0.25, active: int = 3) -> Measures:
    latent = np.full(4, kl / 2)
    return Measures(
        reconstruction=1.0,
        unexplained=unexplained,
        elbo=-1.0,
        active_units=active,
        clip_share_low=0.0,
        clip_share_high=0.0,
        kl_mean_part=latent,
        kl_variance_part=latent,
        prior_mismatch=latent,
    )


def gates_but(*missed: str) -> tuple[Gate, ...]:
    return tuple(
        Gate(name=name, passed=name not in missed, value=0.0, threshold="", violation=float(name in missed))
        for name in GATE_NAMES
    )


def trial(number: int, *missed: str, kl: float = 1.5, score: float = 0.25, **fields: Any) -> TrialRecord:
    known: dict[str, Any] = {
        "state": RunState.COMPLETE,
        "hyperparameters": SETTINGS,
        "seed": number,
        "measures": measures_with(kl, unexplained=score),
        "kl": kl,
        "score": score,
        "gates": gates_but(*missed),
        "feasible": not missed,
    }
    return TrialRecord(number=number, **{**known, **fields})


def unfinished(number: int, state: RunState, **fields: Any) -> TrialRecord:
    return TrialRecord(number=number, state=state, hyperparameters=SETTINGS, seed=number, **fields)


def study_of(*trials: TrialRecord, **fields: Any) -> StudyRecord:
    return StudyRecord(
        name="made",
        definition=DEFINITION,
        definition_toml="",
        fingerprint="",
        slots=4,
        trials=trials,
        resume_command=RESUME,
        **fields,
    )


def runs_of(
    candidate: str, kls: Sequence[float], *, passed: int, tested: bool = True, probes: Sequence[float] = ()
) -> tuple[ConfirmationRun, ...]:
    """A candidate's runs on as many seeds as KLs, of which so many pass; with an accuracy for each where probed."""
    return tuple(
        ConfirmationRun(
            candidate=candidate,
            trial=0 if candidate == "trial 0" else None,
            state=RunState.COMPLETE,
            hyperparameters=SETTINGS,
            seed=seed,
            measures=measures_with(kl),
            kl=kl,
            gates=gates_but(*([] if seed < passed else ["band"])),
            test=measures_with(kl / 2, unexplained=kl / 8, active=seed) if tested else None,
            probe=Probe(measure="accuracy", validation=0.5, test=probes[seed], chance=0.1) if probes else None,
        )
        for seed, kl in enumerate(kls)
    )


def test_the_status_of_a_study_that_has_just_begun() -> None:
    assert status_text(study_of(), WORKED_ON) == (
        "made: 0 of 20 trials done (none yet)\nNot enough evidence: No trial has finished yet (0 started)."
    )


def test_the_status_counts_own_trials_by_state_and_shows_the_leading_and_the_best() -> None:
    watched = {"epochs": 60, "kl": 1.2345, "reconstruction": 12.3456, "kl_weight": 0.125, "total": math.inf}
    trials = (
        trial(0, score=0.1, warm_start=True, origin="digits trial 3"),
        trial(1, score=0.5),
        trial(2, "settled", score=0.01),
        trial(3, state=RunState.PRUNED, score=0.001),
        unfinished(4, RunState.FAILED, error="void"),
        unfinished(5, RunState.RUNNING, progress={"epoch": 3, **watched}),
        unfinished(6, RunState.RUNNING, progress={"epoch": 8, **watched}),
        unfinished(7, RunState.RUNNING),
    )
    assert status_text(study_of(*trials, warm_start="1 trial of digits"), WORKED_ON).splitlines() == [
        "made: 3 of 20 trials done (2 complete, 1 pruned, 1 failed, 3 running)",
        "warm start: 1 trial of digits",
        "running trial 6: epoch 8/60  KL 1.23 nats per latent  reconstruction 12.35  KL weight 0.125  total not finite",
        "best trial 0: score 0.1, KL 1.5 nats per latent",
        "Not enough evidence: Only 3 trials have finished beside 1 of an earlier study; 20 are needed to judge.",
    ]


def study_with(count: int) -> StudyRecord:
    return study_of(*(trial(number) for number in range(count)))


def test_the_status_of_a_study_that_is_worked_on_says_how_long_it_has_left() -> None:
    running = unfinished(1, RunState.RUNNING, progress={"epoch": 0, "epochs": 60})
    lines = status_text(study_of(trial(0), running), replace(WORKED_ON, left=203.0)).splitlines()
    assert lines[:2] == ["made: 1 of 20 trials done (1 complete, 1 running)", "about 3 min left"]
    assert lines[2] == "running trial 1: first epoch"


def test_the_status_of_a_study_whose_process_was_killed_says_what_is_unfinished_and_how_to_go_on() -> None:
    running = unfinished(1, RunState.RUNNING, progress={"epoch": 9, "epochs": 60})
    searching = status_text(study_of(trial(0), running), IDLE).splitlines()
    assert searching[:2] == [
        "made: 1 of 20 trials done (1 complete, 1 cut off)",
        f"nothing runs, and the search is unfinished. Go on with: {RESUME}",
    ]
    assert not any(line.startswith("running") for line in searching)
    done = study_with(20)
    cut_off = replace(runs_of("before", [1.0], passed=1)[0], state=RunState.RUNNING)
    for proving in (done, replace(done, race=(cut_off,)), replace(done, winner=0, confirmation=(cut_off,))):
        assert status_text(proving, IDLE).splitlines()[1] == (
            f"nothing runs, and the proof is unfinished. Go on with: {RESUME}"
        )


def test_the_status_of_a_study_that_is_done_says_so() -> None:
    confirmed = replace(study_with(20), is_confirmed=True)
    assert status_text(confirmed, IDLE).splitlines()[1] == "nothing runs: all is done"


def test_the_status_counts_the_confirmation_s_trainings_and_names_trials_that_came_after_it() -> None:
    ends = [datetime(2026, 3, 1 + number, tzinfo=UTC) for number in range(2)]
    trials = tuple(trial(number, score=0.5 - number / 10, ended=ends[number]) for number in range(2))
    running = replace(runs_of("before", [1.0], passed=1)[0], state=RunState.RUNNING)
    confirmed = (*runs_of("trial 0", [1.0, 1.0], passed=2), running)
    lines = status_text(study_of(*trials, confirmation=confirmed, winner=0, confirmed_among=1), WORKED_ON).splitlines()
    assert lines[2] == "confirmation: 2 of 3 trainings done"
    assert lines[-1] == (
        "note: The winner, trial 0, was confirmed before 1 more trial finished; trial 1 scores better (0.4 against "
        f"0.5). Confirm anew with `{RESUME}`."
    )


def test_settings_are_shown_as_toml_in_four_digits_without_a_clipping_that_is_none() -> None:
    assert shown_settings(SETTINGS) == {
        "kl_weight": "0.3333",
        "clip_low": "-inf",
        "clip_high": "2",
        "annealing_epochs": "10",
        "l2": "0",
        "encoder_dropout": "0",
        "learning_rate": "0.001",
    }
    assert shown_settings(replace(SETTINGS, clipnorm=0.5))["clipnorm"] == "0.5"


def test_without_a_finished_trial_the_verdict_is_all() -> None:
    assert best_text(study_of(unfinished(0, RunState.RUNNING))) == (
        "NOT ENOUGH EVIDENCE: No trial has finished yet (1 started).\n"
        "Next: Go on with the search. 0 of 20 trials have finished; at least 20 are needed for a verdict.\n"
        f"  {RESUME}"
    )


def test_before_a_confirmation_the_best_so_far_stands_alone_with_the_gates_that_it_missed() -> None:
    lines = best_text(study_of(trial(3, "settled", "alive", kl=12.5))).partition("\n\nNext: ")[0].splitlines()
    assert lines[0] == "NOT ENOUGH EVIDENCE: Only 1 trial has finished; 20 are needed to judge."
    assert lines[2] == "Trial 3, the best so far (in the search it failed: settled, alive):"
    assert lines[3] == "  kl_weight = 0.3333"
    assert lines[-2:] == [
        "on validation  KL per latent  unexplained  active latents",
        "trial 3                 12.5         0.25          3 of 4",
    ]


def test_a_best_trial_that_was_never_measured_shows_dashes() -> None:
    lost = replace(trial(3, *GATE_NAMES, score=3.0), measures=None, kl=math.nan)
    assert best_text(study_of(lost)).partition("\n\nNext: ")[0].splitlines()[-1].split() == [
        "trial",
        "3",
        "–",
        "–",
        "–",
    ]


def test_a_confirmed_winner_stands_beside_the_baselines_with_medians_over_the_seeds() -> None:
    """Of 1, 2, 4 and 6: the median is 3, so 1.5 on the test split, whose `unexplained` is an eighth of each."""
    confirmed = (
        *runs_of("trial 0", [6.0, 1.0, 4.0, 2.0], passed=3, probes=[0.9, 0.5, 0.75, 0.25]),
        *runs_of("before", [4.0], passed=0, probes=[0.125]),
    )
    lines = best_text(study_of(trial(0), confirmation=confirmed, winner=0)).partition("\n\nNext: ")[0].splitlines()
    assert lines[2] == "Trial 0, the winner:"
    assert lines[-3:] == [
        "median on the test split  KL per latent  unexplained  active latents  seeds passed  probe accuracy",
        "winner                              1.5        0.375        1.5 of 4        3 of 4           0.625",
        "before                                2          0.5          0 of 4        0 of 1           0.125",
    ]


def test_before_the_look_at_the_test_split_the_medians_are_those_on_validation() -> None:
    confirmed = runs_of("trial 0", [1.0, 3.0], passed=2, tested=False)
    lines = best_text(study_of(trial(0), confirmation=confirmed, winner=0)).partition("\n\nNext: ")[0].splitlines()
    assert lines[-2].split("  ")[0] == "median on the validation split"
    assert lines[-1].split() == ["winner", "2", "0.25", "3", "of", "4", "2", "of", "2"]


def test_a_candidate_that_was_not_probed_has_a_dash_where_others_have_a_probe() -> None:
    confirmed = (*runs_of("trial 0", [1.0], passed=1, probes=[0.5]), *runs_of("before", [1.0], passed=1))
    lines = best_text(study_of(trial(0), confirmation=confirmed, winner=0)).partition("\n\nNext: ")[0].splitlines()
    assert [line.split()[-1] for line in lines[-2:]] == ["0.5", "–"]


@pytest.mark.parametrize(
    ("done", "stopped", "told"), [(20, False, False), (20, True, True), (19, False, True), (25, False, False)]
)
def test_a_result_says_how_to_go_on_where_something_is_left_to_do(done: int, stopped: bool, told: bool) -> None:
    text = result_text(study_with(done), report=None, stopped=stopped)
    assert text.startswith(best_text(study_with(done)))
    assert (f"\n\n{done} of 20 trials are done. Go on with: {RESUME}" in text) is told
    assert "Report" not in text


def test_a_result_ends_with_its_report() -> None:
    report = Path("runs/made/report.html")
    text = result_text(study_with(20), report=report, stopped=False)
    assert text == f"{best_text(study_with(20))}\n\nReport: {report}"


def test_trials_are_a_table_with_a_column_for_each_searched_hyperparameter() -> None:
    trials = (
        trial(0, origin="before"),
        trial(1, "settled", "clipping", kl=1234.5678, score=0.123456),
        unfinished(12, RunState.RUNNING),
    )
    assert trials_text(study_of(*trials), trials, width=80).splitlines() == [
        "                               KL per                  gates     kl_  annealing_",
        "trial     state   score        latent  unexplained    failed  weight      epochs",
        "0      complete    0.25           1.5         0.25         –  0.3333          10",
        "1      complete  0.1235          1235       0.1235  settled,  0.3333          10",
        "                                                    clipping",
        "12      running       –             –            –         –  0.3333          10",
        "",
        "trial  origin",
        "0      before",
        "1      search",
        "12     search",
    ]
    assert trials_text(study_of(*trials), trials).splitlines() == [
        "trial     state   score  KL per latent  unexplained      gates failed  kl_weight  annealing_epochs  origin",
        "0      complete    0.25            1.5         0.25                 –     0.3333                10  before",
        "1      complete  0.1235           1235       0.1235  settled,clipping     0.3333                10  search",
        "12      running       –              –            –                 –     0.3333                10  search",
    ]


def test_a_table_of_some_trials_says_how_many_there_are_beside() -> None:
    trials = tuple(trial(number) for number in range(3))
    assert trials_text(study_of(*trials), trials[1:]).splitlines()[-1] == "1 more trial is not shown."
    assert trials_text(study_of(*trials), trials[:1]).splitlines()[-1] == "2 more trials are not shown."


def test_a_winner_that_was_not_the_best_in_the_search_says_why_in_one_sentence() -> None:
    """Trial 1 scored best, on the one seed of the search."""
    trials = (trial(0, score=0.25), trial(1, score=0.125))
    confirmed = runs_of("trial 0", [1.0, 3.0], passed=2)
    raced = tuple(
        replace(run, candidate=f"trial {number}", trial=number)
        for number in (0, 1)
        for run in runs_of(f"trial {number}", [1.0] * 3, passed=3)
    )
    study = study_of(*trials, confirmation=confirmed, winner=0, race=raced)
    why = "Trial 1 was best in the search, on one seed (score 0.125 against 0.25); "
    assert f"\n{why}on the 3 seeds of the race trial 0 was chosen, by gates passed, then by score.\n" in best_text(
        study
    )
    alone = replace(study, race=raced[:3])
    told = "a model of all trials expects more of others, of which trial 0 won on 3 seeds."
    assert f"\n{why}{told}\n" in best_text(alone)
    assert "was best in the search" not in best_text(replace(study, winner=1))


def test_a_result_with_a_winner_ends_with_the_commands_that_come_next() -> None:
    confirmed = replace(study_with(20), winner=3, confirmation=runs_of("trial 3", [1.0] * 8, passed=8))
    lines = result_text(confirmed, report=Path("runs/made/report.html"), stopped=False).splitlines()
    assert lines[lines.index("Then:") :] == [
        "Then:",
        "  klsearch report runs/made --open       # read the report",
        "  klsearch export runs/made best         # take the winner away as Keras models",
        "  klsearch confirm runs/made --seeds 16  # prove it on more seeds",
        "",
        "Report: runs/made/report.html",
    ]
    shared = replace(confirmed, resume_command="klsearch resume --storage sqlite:///x.db --study made")
    assert "  klsearch export made best --storage sqlite:///x.db " in result_text(shared, report=None, stopped=False)


def test_after_a_winner_that_diverged_there_is_nothing_to_take_away() -> None:
    curves = TrainingCurves.from_rows(np.ones((1, len(CURVE_NAMES)), np.float32))  # a step of the epoch was not finite
    trials = (trial(number, kl=math.nan, curves=curves) for number in range(20))
    study = replace(study_of(*trials), winner=3, confirmation=runs_of("trial 3", [math.nan] * 8, passed=0))
    lines = result_text(study, report=None, stopped=False).splitlines()
    assert lines[lines.index("Then:") :] == ["Then:", "  klsearch report runs/made --open  # read the report"]


def test_under_summed_kl_every_line_and_table_gives_the_sum_over_the_latents_and_says_so() -> None:
    """The study's models have 4 latents."""
    watched = {"epoch": 8, "epochs": 60, "kl": 1.25, "reconstruction": 1.0, "kl_weight": 0.125, "total": 1.0}
    trials = (trial(0, kl=1.5), unfinished(1, RunState.RUNNING, progress=watched))
    study = study_of(*trials, confirmation=runs_of("trial 0", [1.0, 3.0], passed=2), winner=0)
    asked = study.definition
    asked = asked.model_copy(update={"study": asked.study.model_copy(update={"kl_reduction": "sum"})})
    summed = replace(study, definition=asked)
    latents = asked.model.latent_dim
    status, best, table = (
        status_text(summed, WORKED_ON),
        best_text(summed).splitlines(),
        trials_text(summed, trials).splitlines(),
    )
    assert f"running trial 1: epoch 8/60  KL {1.25 * latents:.3g} nats over all latents  " in status
    assert f"winner: trial 0: score 0.25, KL {1.5 * latents:g} nats over all latents" in status
    assert "  KL over all latents  " in table[0]
    assert table[1].split()[3] == f"{1.5 * latents:g}"
    heading = next(index for index, line in enumerate(best) if "  KL over all latents  " in line)
    assert best[heading + 1].split()[0] == "winner"
    alone = best_text(replace(summed, confirmation=(), winner=None)).splitlines()
    heading = next(index for index, line in enumerate(alone) if "  KL over all latents  " in line)
    assert alone[heading + 1].split()[2] == f"{1.5 * latents:g}"


def test_a_study_without_trials_is_a_table_without_rows() -> None:
    assert trials_text(study_of(), ()).split() == [
        *("trial", "state", "score", "KL", "per", "latent", "unexplained", "gates", "failed"),
        *("kl_weight", "annealing_epochs", "origin"),
    ]


EXPORTED = Exported(
    folder=Path("out"),
    files=("encoder.keras", "best.toml"),
    trial=7,
    confirmed=True,
    seed=123,
    fresh=True,
    kl=1.23456,
    window=5,
    matches=True,
    notes=("rows must be scaled",),
)


def test_an_export_names_what_was_trained_again_and_the_files() -> None:
    assert export_text(EXPORTED).splitlines() == [
        "Trial 7, the winner, trained again on fresh seed 123, with the stored result bit for bit: KL 1.235 nats per "
        "latent on the validation split, mean of the last 5 epochs.",
        f"  {Path('out/encoder.keras')}",
        f"  {Path('out/best.toml')}",
        "note: rows must be scaled.",
    ]


def test_an_export_of_what_is_not_confirmed_or_came_out_otherwise_says_so() -> None:
    text = export_text(replace(EXPORTED, confirmed=False, fresh=False, matches=False, files=(), notes=()))
    assert text == (
        "Trial 7, the best so far, not confirmed, trained again on its own seed 123, but NOT with the stored result: "
        "KL 1.235 nats per latent on the validation split, mean of the last 5 epochs."
    )


REPRODUCED = Reproduction(study="made", trial=3, seed=9, epochs=60, mismatches=(), changed={"keras": ("3", "4")})


def test_a_trial_that_is_reproduced_is_said_to_be_in_one_line_whatever_changed() -> None:
    assert reproduction_text(REPRODUCED) == (
        "Trial 3, trained again on its seed 9 for 60 epochs, matches bit for bit: every curve and every measure."
    )


def test_a_trial_that_is_not_reproduced_is_told_to_the_last_bit_with_what_changed_since() -> None:
    found = (
        Mismatch(value="kl", place=5, stored=0.1, now=math.nextafter(0.1, 1)),
        Mismatch(value="elbo", place=None, stored=-math.inf, now=math.inf),
        Mismatch(value="epochs", place=None, stored=60, now=59),
    )
    assert reproduction_text(replace(REPRODUCED, mismatches=found)).splitlines() == [
        "Trial 3, trained again on its seed 9 for 60 epochs, does not match:",
        "  kl at 5: stored 0.1, now 0.10000000000000002",
        "  elbo: stored minus infinity, now infinity",
        "  epochs: stored 60, now 59",
        "Changed since then:",
        "  keras: 3, now 4",
    ]
    assert reproduction_text(replace(REPRODUCED, mismatches=found, changed={})).splitlines()[-1] == (
        "Versions and processor are those that the study recorded."
    )


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (
            Estimate(trainings=64, device="the processor", seconds=200.0, memory=1_500_000),
            "time: about 3 min on the processor at the speed that it has now, for at most 64 trainings of 12 "
            "epochs; up to 0.0 GB of memory",
        ),
        (
            Estimate(trainings=64, device="the processor", seconds=17_000.0, memory=10**18),
            "time: about 5 h on the processor at the speed that it has now, for at most 64 trainings of 12 "
            "epochs; up to 1000000000.0 GB of memory, but ",
        ),
        (
            Estimate(
                trainings=64, device="NVIDIA H200", seconds=None, memory=1_500_000_000, card_memory=12_340_000_000
            ),
            "time: not estimated on NVIDIA H200, for at most 64 trainings of 12 epochs; up to 1.5 GB of memory, and "
            "12.3 GB of the card's",
        ),
        (None, "time and memory: not known for a model of your own; "),
    ],
)
def test_a_check_tells_data_search_cost_and_warnings(
    definition_file: Path, expected: Estimate | None, told: str
) -> None:
    loaded = load_definition(str(definition_file))
    dataset = replace(load_data(loaded.definition, loaded.folder), warnings=(Caution("few rows"),), notes=("tabs",))
    own = OwnModel(weights=12345, notes=("its sigmoid is left out",), cautions=(Caution("a clip", "own-clip"),))
    lines = check_text(loaded, dataset, expected, own=own).splitlines()
    assert lines[:2] == [
        "tiny: valid",
        f"data: 128 train, 36 validation, 36 test rows of 6 values; scaling: {dataset.scaling.words}",
    ]
    columns, rest = lines[2:9], lines[9:]
    assert columns[0] == "columns:"
    assert [line.split() for line in columns[1:]] == [[name, "number"] for name in dataset.columns or ()]
    assert rest[:3] == [
        "model: dense, 12,345 weights",
        "  its sigmoid is left out",
        "search: 24 trials over kl_weight, annealing_epochs, encoder_dropout",
    ]
    assert rest[3] == "baselines: before, after, mine"
    assert re.match(r"proposal: kl_weight from \S+ to \S+; from about \S+ on a linear VAE keeps no latent", rest.pop(4))
    assert rest[4].startswith(told)
    assert rest[4].endswith(" GB are free") is (expected is not None and expected.memory > 10**15)
    assert rest.pop(5) == "note: tabs", "what was recognised is no warning"
    assert rest[5].startswith("warning: training.epochs: 12 epochs are too short to judge `settled`")
    assert rest[6:] == ["warning: few rows", "warning: a clip", f"Next: klsearch run {definition_file}"]
