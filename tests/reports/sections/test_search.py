"""What mattered, and whether the search was healthy."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from klsearch.reports.page import Block, Exhibit, Facts, Gallery, Prose, Table
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


def exhibits(blocks: Iterable[Block]) -> dict[str, Exhibit]:
    return {one.identity: one for block in blocks if isinstance(block, Gallery) for one in block.exhibits}


def test_scores_over_ranges_are_of_trials_trained_to_their_end(pruning: StudyRecord) -> None:
    found = exhibits(importance_section(pruning, summarize(pruning)).blocks)
    scores = {number(trial.score) for trial in pruning.complete}
    assert {row[2] for name, one in found.items() if name.startswith("slice-") for row in one.data.rows} <= scores


def test_what_mattered_is_told_of_every_hyperparameter_around_the_leading_trial(study: StudyRecord) -> None:
    summary = summarize(study)
    found = exhibits(blocks := importance_section(study, summary).blocks)
    searched = set(study.definition.space.searched())
    assert all({row[0] for row in found[name].data.rows} == searched for name in ("effects-unexplained", "effects-kl"))
    kl = {row[0]: str(row[3]) for row in found["effects-kl"].data.rows}
    assert kl["kl_weight"].startswith("changes by a factor of ")
    assert summary.best is not None
    (told,) = (block.text for block in blocks if isinstance(block, Prose) and "expected" in block.text)
    assert f"the others as trial {summary.best.number} has them" in told


def test_of_too_few_trials_no_effect_is_told_and_why_not(make: Make) -> None:
    few = make(19, seeds=0)
    blocks = importance_section(few, summarize(few)).blocks
    assert not any(name.startswith("effects-") for name in exhibits(blocks))
    trained = sum(not trial.diverged for trial in few.complete)
    (text,) = (block.text for block in blocks if isinstance(block, Prose) and "effect" in block.text)
    assert text == (
        "Telling an effect from chance takes a model of 20 trials that were trained to their end without diverging; "
        f"the study has {trained}."
    )


def test_the_two_that_matter_most_are_drawn_together_with_every_trial(study: StudyRecord) -> None:
    found = exhibits(importance_section(study, summarize(study)).blocks)
    surface, effects = found["surface"], found["effects-unexplained"].data.rows
    assert surface.title == f"{effects[0][0]} and {effects[1][0]} together"
    finished = [trial for trial in study.trials if not trial.diverged]
    assert all(f'<a href="#trial-{trial.number}">' in surface.svg for trial in finished)
    least = float(surface.alternative.split("least ")[1].split(" ")[0])
    assert (
        0.5 * min(t.unexplained for t in finished)
        < least
        <= min(float(str(cell)) for row in surface.data.rows for cell in row[1:])
    )


def test_a_choice_has_a_table_of_what_its_names_scored_and_an_effect(make: Make) -> None:
    space = {
        "kl_weight": {"low": 1e-3, "high": 1.0, "log": True},
        "annealing_epochs": 10,
        "kl_schedule": ["linear", "cosine", "sigmoid"],
    }
    study = make(30, seeds=0, space=space)
    scores = {name: [1.0, 3.0] if name == "linear" else [2.0] for name in ("linear", "cosine")}
    trials = iter(study.trials)
    told = tuple(
        replace(trial, score=score, hyperparameters=replace(trial.hyperparameters, kl_schedule=name))
        for name, some in scores.items()
        for score, trial in zip(some, trials, strict=False)
    )
    few = importance_section(replace(study, trials=told), summarize(study)).blocks
    (table,) = (block for block in few if isinstance(block, Table) and block.caption == "Score by kl_schedule")
    assert table.rows == (("linear", "2", "1", "2"), ("cosine", "1", "2", "2"), ("sigmoid", "0", "–", "–"))
    found = exhibits(importance_section(study, summarize(study)).blocks)
    assert {row[0] for row in found["effects-kl"].data.rows} == {"kl_weight", "kl_schedule"}
    assert "slice-kl-schedule" not in found
