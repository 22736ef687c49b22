"""The JSON documents: exactly their fields, and numbers that agree with each other and with the storage."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from klsearch.search.commands.documents import (
    as_text,
    best_document,
    comparison_document,
    status_document,
    trials_document,
)
from klsearch.search.seeds import confirmation_seed, race_seeds, shared_seed
from klsearch.search.storage.leases import Activity
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.record import StudyRecord
from klsearch.vae.diagnostics.gates import GATE_NAMES, wilson_interval
from klsearch.vae.hyperparameters import NAMES

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop

Klsearch = Callable[..., "Called"]

TRIAL = {
    *("trial", "feasible", "score", "kl", "kl_sum", "unexplained", "reconstruction", "active_units", "elbo"),
    *("hyperparameters", "seed", "gates"),
}
BEST = {
    *("schema_version", "study", "verdict", "sentence", "passed", "seeds", "interval", "caveats", "confirmation"),
    *("kl_band", "kl_band_reference", "probe_measure", "since_confirmed", "ladder", "race"),
    *("causes", "price", "next", "pca", "same_as"),
    *TRIAL,
}
IDLE = Activity(is_worked_on=False)
CONFIRMED = {"name", "method", "trial", "seed", "passed", "split", "kl", "unexplained", "probe"}
LISTED = {
    *("number", "state", "origin", "warm_start", "score", "kl", "kl_sum", "unexplained", "feasible", "hyperparameters"),
    *("seconds", "epochs", "gates", "seed", "diverged", "error"),
}
STATUS = {
    *(
        "schema_version",
        "study",
        "verdict",
        "sentence",
        "causes",
        "price",
        "next",
        "budget",
        "finished",
        "counts",
        "slots",
        "warm_start",
        "is_worked_on",
        "seconds_left",
        "confirmation",
    ),
    *("confirmation", "best", "running", "since_confirmed", "ladder"),
}


@pytest.fixture(scope="module")
def best(finished: "Finished", klsearch: Klsearch) -> dict[str, Any]:
    return klsearch("best", finished.folder, "--json").document


@pytest.fixture(scope="module")
def trials(finished: "Finished", klsearch: Klsearch) -> list[dict[str, Any]]:
    document = klsearch("trials", finished.folder, "--json").document
    assert set(document) == {"schema_version", "study", "trials"}
    listed: list[dict[str, Any]] = document["trials"]
    return listed


def test_best_has_exactly_its_fields(best: dict[str, Any]) -> None:
    assert set(best) == BEST
    assert set(best["hyperparameters"]) == set(NAMES)
    assert set(best["gates"]) == set(GATE_NAMES)
    assert all(set(entry) == CONFIRMED for entry in best["confirmation"])
    assert best["schema_version"] == 1
    assert best["study"] == "tiny"


def test_without_methods_labels_and_reference_there_is_nothing_of_them(best: dict[str, Any]) -> None:
    assert (best["kl_band"], best["kl_band_reference"], best["probe_measure"]) == ([0.0, 5.0], None, None)
    assert {(entry["method"], entry["probe"]) for entry in best["confirmation"]} == {(None, None)}


def test_the_winner_is_one_of_the_trials(best: dict[str, Any], trials: list[dict[str, Any]]) -> None:
    trial = trials[best["trial"]]
    for name in ("score", "kl", "kl_sum", "unexplained", "feasible", "hyperparameters", "seed", "gates"):
        assert best[name] == trial[name]
    assert best["kl_sum"] == pytest.approx(3 * best["kl"])
    assert best["hyperparameters"]["clip_low"] is None, "no bound"
    assert best["hyperparameters"]["clipnorm"] is None


def test_the_winner_and_every_baseline_are_proven_on_both_splits_and_leaders_raced_on_validation(
    best: dict[str, Any],
) -> None:
    splits: dict[str, list[str]] = {}
    for entry in best["confirmation"]:
        splits.setdefault(entry["name"], []).append(entry["split"])
    both = sorted(8 * ["test", "validation"])
    assert {name: sorted(found) for name, found in splits.items()} == dict.fromkeys(
        ("before", "after", "mine", "winner"), both
    )
    assert [entry["split"] for entry in best["race"]] == 2 * 3 * ["validation"]
    winner, other = sorted({entry["name"] for entry in best["race"]}, reverse=True)
    assert winner == "winner"
    assert other.startswith("trial ")


def test_no_seed_of_the_proof_chose_anything(best: dict[str, Any], trials: list[dict[str, Any]]) -> None:
    seeds = [confirmation_seed(0, index) for index in range(8)]
    for name in {entry["name"] for entry in best["confirmation"]}:
        of_name = [e["seed"] for e in best["confirmation"] if (e["name"], e["split"]) == (name, "validation")]
        assert of_name == seeds
    assert {trial["seed"] for trial in trials} == {shared_seed(0)}
    assert {entry["seed"] for entry in best["race"]} == set(race_seeds(0))
    assert set(seeds).isdisjoint({shared_seed(0), *race_seeds(0)})


def test_the_verdict_counts_the_winner_s_seeds(best: dict[str, Any]) -> None:
    passed = [e["passed"] for e in best["confirmation"] if (e["name"], e["split"]) == ("winner", "validation")]
    assert (best["passed"], best["seeds"]) == (sum(passed), 8)
    assert best["interval"] == pytest.approx(wilson_interval(sum(passed), 8))
    assert f"{sum(passed)} of 8 fresh seeds" in best["sentence"]


def test_trials_have_exactly_their_fields(trials: list[dict[str, Any]]) -> None:
    assert [trial["number"] for trial in trials] == list(range(24))
    for trial in trials:
        assert set(trial) == LISTED
        assert (trial["state"], trial["epochs"], trial["error"], trial["diverged"]) == ("complete", 12, None, False)
        assert set(trial["gates"]) == set(GATE_NAMES)
        assert trial["seconds"] > 0
    assert [trial["origin"] for trial in trials] == ["before", "mine"] + 6 * ["ladder"] + 16 * ["search"]


def test_the_ladder_holds_what_its_trainings_measured(
    finished: "Finished", klsearch: Klsearch, best: dict[str, Any], trials: list[dict[str, Any]]
) -> None:
    ladder = best["ladder"]
    assert ladder == klsearch("status", finished.folder, "--json").document["ladder"]
    assert (ladder["asked"], ladder["is_whole"]) == (6, True)
    rungs = {rung["trial"]: rung for rung in ladder["rungs"]}
    assert list(rungs) == list(range(2, 8))
    assert [rung["kl_weight"] for rung in ladder["rungs"]] == pytest.approx(np.geomspace(1e-3, 10, 6), rel=5e-3)
    for trial in trials[2:8]:
        rung = rungs[trial["number"]]
        assert (rung["kl"], rung["unexplained"]) == (trial["kl"], trial["unexplained"])
        assert rung["kl_weight"] == trial["hyperparameters"]["kl_weight"]
    inside = [rung["kl_weight"] for rung in ladder["rungs"] if rung["place"] == "in the band"]
    assert ladder["in_band"][0][0] <= inside[0] and inside[-1] <= ladder["in_band"][-1][1]
    assert ladder["sentence"].startswith("KL is in the band for ")


def test_feasible_trials_pass_the_gates_that_are_constraints(trials: list[dict[str, Any]]) -> None:
    for trial in trials:
        gates = trial["gates"]
        assert trial["feasible"] == all(gates[name] for name in ("band", "alive", "settled", "clipping"))
        if gates["band"]:
            assert trial["score"] == trial["unexplained"]


def test_status_has_exactly_its_fields(finished: "Finished", klsearch: Klsearch, best: dict[str, Any]) -> None:
    status = klsearch("status", finished.folder, "--json").document
    assert set(status) == STATUS
    assert (status["budget"], status["finished"], status["slots"], status["running"]) == (24, 24, 8, [])
    assert status["counts"] == {"complete": 24, "pruned": 0, "failed": 0, "running": 0}
    assert status["confirmation"] == {"finished": 38, "started": 38}
    assert set(status["best"]) == TRIAL
    assert status["best"] == {name: best[name] for name in TRIAL}
    assert (status["verdict"], status["sentence"]) == (best["verdict"], best["sentence"])


def test_a_study_without_trials_has_the_same_fields_with_nothing_in_them(
    study: StudyStorage, record: Callable[[StudyStorage], StudyRecord]
) -> None:
    empty = record(study)
    best = json.loads(as_text(best_document(empty)))
    assert set(best) == BEST
    assert {best[name] for name in TRIAL} == {None}
    assert (best["verdict"], best["confirmation"], best["interval"]) == ("not enough evidence", [], [0.0, 1.0])
    assert json.loads(as_text(trials_document(empty, ())))["trials"] == []
    status = json.loads(as_text(status_document(empty, IDLE)))
    assert set(status) == STATUS
    assert status["best"] is None


def test_a_running_trial_is_listed_without_results_and_watched_in_the_status(
    workshop: "Workshop", study: StudyStorage, record: Callable[[StudyStorage], StudyRecord]
) -> None:
    workshop.search(study, 2, epochs=3)
    running = study.running_rows()[0]
    study.leases.say_alive(running.owner, {running.number: {"epoch": 3.0, "epochs": 12.0, "kl": 2.5, "kl_weight": 0.1}})
    seen = record(study)
    (first, second) = json.loads(as_text(trials_document(seen, seen.trials)))["trials"]
    assert (first["state"], second["state"]) == ("running", "running")
    assert [first[name] for name in ("score", "kl", "kl_sum", "unexplained", "seconds")] == [None] * 5
    assert (first["gates"], first["epochs"], first["feasible"]) == ({}, 0, False)
    status = json.loads(as_text(status_document(seen, replace(IDLE, is_worked_on=True, left=2.5))))
    assert status["running"] == [{"trial": 0, "epoch": 3.0, "epochs": 12.0, "kl": 2.5, "kl_weight": 0.1}]
    assert status["counts"]["running"] == 2
    assert (status["is_worked_on"], status["seconds_left"]) == (True, 2.5)


def test_numbers_that_are_not_finite_are_null_wherever_they_stand() -> None:
    document = {"a": math.nan, "b": [math.inf, 1.0, {"c": -math.inf}], "d": (0.0, np.float64("nan"))}
    expected = {"schema_version": 1, "a": None, "b": [None, 1.0, {"c": None}], "d": [0.0, None]}
    assert json.loads(as_text(document)) == expected


def test_a_study_that_is_compared_with_itself_differs_in_nothing(finished: "Finished", klsearch: Klsearch) -> None:
    folder = finished.folder
    found = klsearch("compare", folder, folder, "--json", "-o", folder.parent / "itself.html").document
    assert set(found) == {
        *("schema_version", "studies", "best", "differing", "obstacle", "unlike", "paired", "unpaired", "better")
    }
    assert (found["unlike"], found["unpaired"]) == (None, {})
    assert (found["studies"], found["differing"], found["obstacle"]) == (["tiny (A)", "tiny (B)"], [], None)
    best = klsearch("best", folder, "--json").document
    assert found["best"] == 2 * [{name: value for name, value in best.items() if name != "schema_version"}]
    nothing = {"mean": 0.0, "low": 0.0, "high": 0.0, "pairs": 8, "left_out": [0, 0]}
    assert found["paired"] == dict.fromkeys(("kl", "unexplained", "active_units", "prior_mismatch"), nothing)
    assert found["better"] is None


def test_what_two_studies_differ_in_keeps_its_type(
    study: StudyStorage, record: Callable[[StudyStorage], StudyRecord]
) -> None:
    empty = record(study)
    space = empty.definition.space.model_copy(update={"encoder_dropout": 0.25})
    changed = replace(empty, name="changed", definition=empty.definition.model_copy(update={"space": space}))
    found = json.loads(as_text(comparison_document(empty, changed)))
    assert found["studies"] == ["tiny", "changed"]
    assert found["differing"] == [
        {"table": "space.encoder_dropout", "key": name, "values": [value, None]}
        for name, value in (("low", 0.0), ("high", 0.4), ("log", False))
    ] + [{"table": "space", "key": "encoder_dropout", "values": [None, 0.25]}]
    assert (found["paired"], found["better"]) == ({}, None)
    assert found["obstacle"].startswith("No winner of tiny and changed is confirmed yet")
