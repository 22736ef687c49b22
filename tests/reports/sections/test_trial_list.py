"""All trials: the rows shown and the files carried."""

import base64
import gzip
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

from klsearch.reports.page import TrialTable
from klsearch.reports.readings.trials import shown_trials, trial_targets
from klsearch.reports.sections.trial_list import trials_section
from klsearch.reports.tables import as_csv, confirmation_frame, trials_frame
from klsearch.studies.record import RunState, StudyRecord

Make = Callable[..., StudyRecord]


def trial_table(study: StudyRecord) -> TrialTable:
    (block,) = trials_section(study).blocks
    assert isinstance(block, TrialTable)
    return block


def many(study: StudyRecord, n: int) -> StudyRecord:
    trials = (replace(study.trials[number % 60], number=number) for number in range(n))
    return replace(study, trials=tuple(trials))


def test_feasible_trials_come_first_by_score_and_failures_last(study: StudyRecord) -> None:
    shown = shown_trials(study)
    assert [trial.number for trial in shown[:1]] == [study.winner]
    feasible = [trial.feasible for trial in shown]
    assert feasible == sorted(feasible, reverse=True)
    scores = [trial.score for trial in shown if trial.feasible]
    assert scores == sorted(scores)
    assert all(trial.diverged for trial in shown[-3:])


def test_at_most_500_rows_are_shown_and_the_rest_is_counted(study: StudyRecord) -> None:
    large = many(study, 1200)
    shown = shown_trials(large)
    assert len(shown) == 500
    assert sum(trial.diverged for trial in shown) == sum(trial.diverged for trial in large.trials) == 60
    table = trial_table(large)
    assert table.shown == (
        "500 of 1,200 trials: the 440 best and 60 that failed or diverged. The other 700 are in the files."
    )


def test_a_trial_leads_to_its_row_or_where_it_has_none_to_the_table(study: StudyRecord) -> None:
    assert trial_targets(study, study.trials[:2]) == ("trial-0", "trial-1")
    large = many(study, 1200)
    rows = {f"trial-{trial.number}" for trial in shown_trials(large)}
    targets = trial_targets(large, large.trials)
    assert set(targets) == rows | {"trials"} and targets.count("trials") == 700


def test_failures_never_take_more_than_half_of_the_rows(study: StudyRecord) -> None:
    failed = many(study, 1200)
    failed = replace(
        failed, trials=tuple(replace(t, state=RunState.FAILED) for t in failed.trials[:600]) + failed.trials[600:]
    )
    shown = shown_trials(failed)
    assert sum(trial.state is RunState.FAILED or trial.diverged for trial in shown) == 250


def test_the_files_hold_every_trial_at_full_precision(study: StudyRecord) -> None:
    (name, url), (second, runs) = trial_table(study).files
    assert (name, second) == ("trials.csv", "confirmation.csv")
    assert unquote(url.partition(",")[2]) == as_csv(trials_frame(study))
    assert unquote(runs.partition(",")[2]) == as_csv(confirmation_frame(study))


def test_the_file_of_a_large_study_is_compressed_to_the_same_bytes_every_time(study: StudyRecord) -> None:
    large = many(study, 600)
    name, url = trial_table(large).files[0]
    assert name == "trials.csv.gz"
    assert gzip.decompress(base64.b64decode(url.partition(",")[2])).decode() == as_csv(trials_frame(large))
    assert trial_table(large).files[0][1] == url


def test_a_trial_under_way_is_listed_without_numbers(running: StudyRecord) -> None:
    table = trial_table(running)
    rows = [row for row, outcome in zip(table.table.rows, table.outcomes, strict=True) if outcome == "running"]
    assert [row[0] for row in rows] == ["34", "35", "36", "37"]
    assert {row[3] for row in rows} == {"–"}


def test_the_first_line_of_an_error_stands_where_gates_would(make: Make) -> None:
    one = make(1, seeds=0)
    failed = replace(one.trials[0], state=RunState.FAILED, error="ValueError: a\n  b", gates=(), curves=None)
    table = trial_table(replace(one, trials=(failed,))).table
    assert table.rows[0][2] == "ValueError: a"
