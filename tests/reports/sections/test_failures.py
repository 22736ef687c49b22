"""What failed and why."""

from collections.abc import Callable
from dataclasses import replace

from klsearch.reports.page import Fold, Prose, Table
from klsearch.reports.readings.causes import causes, collapsed_in_band
from klsearch.reports.readings.trials import TrialOutcome, ended_trials, trial_outcome
from klsearch.reports.sections.failures import failures_section
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.advice import advise
from klsearch.studies.verdict.causes import FAILED, PRUNED, VOID

Make = Callable[..., StudyRecord]


def test_a_trial_stopped_early_counts_once_and_passes_nothing(pruning: StudyRecord) -> None:
    stopped = {trial.number for trial in pruning.trials if trial.state is RunState.PRUNED}
    found = causes(pruning)
    for cause in found:
        numbers = {trial.number for trial in cause.trials}
        assert numbers == stopped if cause.name == PRUNED else not numbers & stopped, cause.name
    passing = sum(all(gate.passed for gate in trial.gates) for trial in pruning.complete)
    text = failures_section(pruning, found).blocks[0]
    assert isinstance(text, Prose)
    assert text.text.startswith(f"Every gate is passed by {passing} of 60 trials.")


def test_collapsed_trials_in_the_band_are_explained_with_their_numbers(study: StudyRecord) -> None:
    collapsed = collapsed_in_band(study)
    assert len(collapsed) == 7
    texts = [block.text for block in failures_section(study, causes(study)).blocks if isinstance(block, Prose)]
    assert any(text.startswith("7 trials ended with a KL inside the band and yet collapsed") for text in texts)


def with_error(trial: TrialRecord, error: str) -> TrialRecord:
    return replace(trial, state=RunState.FAILED, error=error, gates=(), curves=None)


def test_equal_errors_are_shown_once_with_their_count(study: StudyRecord) -> None:
    errors = ["ValueError: a\n  here"] * 3 + ["OSError: b"]
    trials = tuple(with_error(trial, error) for trial, error in zip(study.trials, errors, strict=False))
    section = failures_section(replace(study, trials=trials), causes(replace(study, trials=trials)))
    (fold,) = (block for block in section.blocks if isinstance(block, Fold))
    assert [getattr(block, "label", "") for block in fold.blocks] == [
        "3 trials, first trial 0",
        "1 trial, first trial 3",
    ]
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.rows[0][:3] == (FAILED, "4", "100 %")


def test_a_row_that_was_never_trained_is_no_error(study: StudyRecord) -> None:
    void = replace(with_error(study.trials[3], "void, never trained: another row took number 2"), is_void=True)
    trials = (*study.trials[:3], void, *study.trials[4:])
    made = replace(study, trials=trials)
    (cause,) = (cause for cause in causes(made) if cause.name == VOID)
    assert cause.trials == (void,)
    assert not any(cause.name == FAILED for cause in causes(made))
    assert not any(isinstance(block, Fold) for block in failures_section(made, causes(made)).blocks)
    assert trial_outcome(void) is TrialOutcome.VOID
    assert void not in ended_trials(made).trials, "nor a point in a figure"
    assert not any(one.action == "Look at the errors" for one in advise(made, summarize(made)))


def test_where_every_trial_passes_nothing_failed(study: StudyRecord) -> None:
    passing = replace(study, trials=tuple(trial for trial in study.trials if trial.passed))
    (block,) = failures_section(passing, causes(passing)).blocks
    assert isinstance(block, Prose)
    assert block.text.startswith("Nothing: all ")
