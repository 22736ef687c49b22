"""What mattered, and whether the search was healthy."""

from collections.abc import Callable
from dataclasses import replace

from klsearch.reports.page import Facts, Gallery, Prose
from klsearch.reports.readings.responses import responses
from klsearch.reports.sections.search import health_section, importance_section
from klsearch.reports.wording import number
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize

Make = Callable[..., StudyRecord]


def health(study: StudyRecord) -> dict[str, str]:
    facts = next(block for block in health_section(study).blocks if isinstance(block, Facts))
    return dict(facts.pairs)


def test_repeated_settings_are_counted_whatever_their_seed(study: StudyRecord) -> None:
    assert health(study)["settings tried more than once"] == "0 of 60 trials"
    first = study.trials[0].hyperparameters
    again = tuple(replace(trial, hyperparameters=first) for trial in study.trials[:3])
    assert (
        health(replace(study, trials=(*again, *study.trials[3:])))["settings tried more than once"] == "2 of 60 trials"
    )


def test_trials_on_an_edge_are_counted_by_edge_the_most_frequent_first(make: Make) -> None:
    study = make(30, seeds=0, space={"kl_weight": {"low": 1e-3, "high": 1.0, "log": True}})
    weights = [1e-3] * 2 + [1.0] * 5 + [0.1] * 23
    trials = tuple(
        replace(trial, hyperparameters=replace(trial.hyperparameters, kl_weight=weight))
        for trial, weight in zip(study.trials, weights, strict=True)
    )
    told = health(replace(study, trials=trials))["tried at an edge of a range"]
    assert told == "5 on the high edge of `kl_weight`; 2 on the low edge of `kl_weight`"
    inside = tuple(replace(trial, hyperparameters=trials[-1].hyperparameters) for trial in trials)
    assert health(replace(study, trials=inside))["tried at an edge of a range"] == "none"


def test_the_time_of_a_warm_start_s_trials_was_not_spent_here(study: StudyRecord) -> None:
    trials = (replace(trial, seconds=10.0, warm_start=trial.number >= 6) for trial in study.trials)
    told = health(replace(study, trials=tuple(trials)))["time per trial"]
    assert told == "10 s, median; 1 min of training in all"


def test_importance_and_pass_rates_are_of_trials_trained_to_their_end(pruning: StudyRecord) -> None:
    blocks = importance_section(pruning, summarize(pruning), responses(pruning)).blocks
    exhibits = [one for block in blocks if isinstance(block, Gallery) for one in block.exhibits]
    (caption,) = (one.caption for one in exhibits if one.identity == "importance-shares")
    assert caption.startswith("PED-ANOVA over 30 complete trials: ")
    scores = {number(trial.score) for trial in pruning.complete}
    best = {row[2] for one in exhibits if one.identity.startswith("slice-") for row in one.data.rows}
    assert best <= scores
    texts = [block.text for block in blocks if isinstance(block, Prose)]
    assert any(text.startswith("Share of 30 complete trials that passes in each fifth of a range") for text in texts)
