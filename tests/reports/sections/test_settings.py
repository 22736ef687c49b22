"""Which settings."""

import math
import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest

from klsearch.reports.page import Mark
from klsearch.reports.sections.settings import (
    effective_beta,
    settings_section,
    settings_table,
    settings_toml,
    weight_table,
)
from klsearch.reports.wording import spread
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import RunState, StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters

Make = Callable[..., StudyRecord]


def test_the_table_holds_the_winner_the_baselines_and_the_searched_ranges(study: StudyRecord) -> None:
    table = settings_table(study, summarize(study))
    assert table.columns[1:4] == (f"winner (trial {study.winner})", "before", "after")
    rows = {row[0]: row for row in table.rows}
    assert rows["clip_low"][2:5] == ("none", "-20", "-20 to -4")
    assert rows["kl_weight"][2:5] == ("0.001", "0.0001", "1e-05 to 1, log")
    assert rows["learning_rate"][-2:] == ("fixed", "")


def test_baselines_are_shown_before_they_are_confirmed(unconfirmed: StudyRecord) -> None:
    assert settings_table(unconfirmed, summarize(unconfirmed)).columns[2:4] == ("before", "after")


def test_a_value_on_an_edge_is_marked_beside_it(make: Make) -> None:
    study = make(30, space={"kl_weight": {"low": 0.3, "high": 0.9}, "l2": 0.0})
    at_edge = replace(study.trials[0].hyperparameters, kl_weight=0.301)
    trials = tuple(replace(trial, hyperparameters=at_edge) for trial in study.trials)
    study = replace(study, trials=trials)
    table = settings_table(study, summarize(study))
    assert table.columns[2:4] == ("note", "before")
    assert table.rows[0][2] == Mark("on the low edge", "caution")


def test_a_trial_stopped_early_is_no_passing_one(pruning: StudyRecord) -> None:
    passed_so_far = [trial for trial in pruning.trials if all(gate.passed for gate in trial.gates)]
    passing = [trial for trial in passed_so_far if trial.state is RunState.COMPLETE]
    assert len(passing) < len(passed_so_far)
    table = settings_table(pruning, summarize(pruning))
    assert f"{len(passing)} passing trials" in table.columns
    weights = [trial.hyperparameters.kl_weight for trial in passing]
    assert spread(min(weights), max(weights)) in table.rows[0]


def test_the_toml_reads_back_to_the_same_settings_as_a_baseline(study: StudyRecord) -> None:
    winner = next(trial for trial in study.trials if trial.number == study.winner)
    baselines = tomllib.loads(settings_toml(study, winner.number, winner.hyperparameters))["baselines"]
    asked = study.definition.model_dump(mode="python") | {"baselines": baselines}
    asked["study"]["kl_band"] = list(asked["study"]["kl_band"])
    assert StudyDefinition.model_validate(asked).baseline_hyperparameters()[f"trial-{winner.number}"] == (
        winner.hyperparameters
    )


def test_absent_bounds_are_infinities_in_the_toml(study: StudyRecord) -> None:
    values = tomllib.loads(settings_toml(study, 3, BEFORE))["baselines"]["trial-3"]
    assert (values["clip_low"], values["clip_high"]) == (-math.inf, math.inf)
    assert "clipnorm" not in values


def test_a_name_with_a_line_break_stays_in_the_comment(study: StudyRecord) -> None:
    text = settings_toml(replace(study, name="a\n[study]\nname = 'b'"), 3, BEFORE)
    assert list(tomllib.loads(text)) == ["baselines"]


@pytest.mark.parametrize(
    ("kl_reduction", "reconstruction_reduction", "expected"),
    # 64 features, 8 latents, weight 0.5
    [("sum", "sum", 0.5), ("sum", "mean", 32.0), ("mean", "mean", 4.0), ("mean", "sum", 0.0625)],
)
def test_the_effective_beta_undoes_the_means_of_the_loss(
    make: Make, kl_reduction: str, reconstruction_reduction: str, expected: float
) -> None:
    study = make(0, study={"kl_reduction": kl_reduction}, model={"reconstruction_reduction": reconstruction_reduction})
    assert effective_beta(study, Hyperparameters(kl_weight=0.5)) == expected


@pytest.mark.parametrize("kl_reduction", ["sum", "mean"])
@pytest.mark.parametrize("reconstruction_reduction", ["sum", "mean"])
def test_the_weight_is_told_for_every_loss_that_sums_or_takes_means(
    make: Make, kl_reduction: str, reconstruction_reduction: str
) -> None:
    """64 features, 8 latents: β = 0.5 is 4 on the mean KL, and a 64th of either beside the mean reconstruction."""
    study = make(0, study={"kl_reduction": kl_reduction}, model={"reconstruction_reduction": reconstruction_reduction})
    own = 0.5 * study.definition.objective().unit_kl_weight(64, 8)
    assert [row[1:] for row in weight_table(study, Hyperparameters(kl_weight=own)).rows] == [
        ("0.5", "4"),
        ("0.007812", "0.0625"),
    ]


@pytest.mark.parametrize(("reconstruction_reduction", "l2"), [("sum", 0.064), ("mean", 0.001)])
def test_l2_is_told_for_every_loss_too(make: Make, reconstruction_reduction: str, l2: float) -> None:
    """A loss whose reconstruction is a mean over 64 features is a 64th of one with their sum, and so is its L2."""
    study = make(0, model={"reconstruction_reduction": reconstruction_reduction})
    assert [row[-1] for row in weight_table(study, Hyperparameters(kl_weight=1.0, l2=l2)).rows] == ["0.064", "0.001"]


@pytest.mark.parametrize(
    ("resume", "export"),
    [
        ("klsearch resume 'my runs/a'", "klsearch export 'my runs/a' best"),
        (
            "klsearch resume --storage sqlite:///a.db --study 'my study'",
            "klsearch export 'my study' best --storage sqlite:///a.db",
        ),
    ],
)
def test_a_usable_winner_is_to_be_set_and_comes_with_the_command_that_exports_it(
    study: StudyRecord, resume: str, export: str
) -> None:
    study = replace(study, resume_command=resume)
    section = settings_section(study, summarize(study))
    assert section.title == "Set these"
    assert export in [getattr(block, "text", "") for block in section.blocks]


def test_what_is_not_stable_is_not_to_be_set(unconfirmed: StudyRecord) -> None:
    section = settings_section(unconfirmed, summarize(unconfirmed))
    assert section.title == "Which settings?"
    assert not any("klsearch export" in getattr(block, "text", "") for block in section.blocks)


def test_the_effective_beta_is_unknown_while_the_data_are(make: Make) -> None:
    study = replace(make(0, model={"reconstruction_reduction": "mean"}), data=None)
    assert math.isnan(effective_beta(study, BEFORE))


def test_a_choice_stands_beside_the_numbers_and_reads_back(make: Make) -> None:
    space = {
        "kl_weight": {"low": 1e-3, "high": 1.0, "log": True},
        "annealing_epochs": 10,
        "kl_schedule": ["linear", "cosine"],
    }
    study = make(30, space=space)
    rows = {row[0]: row for row in settings_table(study, summarize(study)).rows}
    winner = next(trial for trial in study.trials if trial.number == study.winner)
    assert rows["kl_schedule"][1:5] == (winner.hyperparameters.kl_schedule, "linear", "linear", "linear, cosine")
    passing = [trial.hyperparameters.kl_schedule for trial in study.complete if trial.passed]
    assert f"linear {passing.count('linear')}" in str(rows["kl_schedule"][5])
    values = tomllib.loads(settings_toml(study, winner.number, winner.hyperparameters))["baselines"]
    assert values[f"trial-{winner.number}"]["kl_schedule"] == winner.hyperparameters.kl_schedule
    assert "kl_schedule" not in settings_toml(study, 3, BEFORE)
