"""What next."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klsearch.reports.page import Code, Steps
from klsearch.reports.sections.advice import advice_section
from klsearch.reports.sections.settings import settings_section
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.advice import advise, widen_range
from klsearch.studies.verdict.candidates import best_trial
from klsearch.studies.verdict.remedies import Advice

Make = Callable[..., StudyRecord]


def advice(study: StudyRecord) -> dict[str, Advice]:
    return {step.action: step for step in advise(study, summarize(study))}


def test_a_stable_winner_is_to_be_used(study: StudyRecord) -> None:
    step = advice(study)[f"Use the settings of trial {study.winner}"]
    assert step.reason.startswith("8 of 8 fresh seeds pass every gate")


def test_an_interrupted_search_is_to_be_continued_with_its_command(running: StudyRecord) -> None:
    step = advice(running)["Go on with the search"]
    assert step.reason == "34 of 60 trials have finished."
    assert step.code == "klsearch resume runs/digits"


def test_an_unconfirmed_winner_is_to_be_confirmed(unconfirmed: StudyRecord) -> None:
    assert "was confirmed on 0 fresh seeds; 8 are needed" in advice(unconfirmed)["Confirm the winner"].reason


def test_a_definition_without_confirmation_is_to_be_given_one(make: Make) -> None:
    study = make(60, seeds=0, confirmation={"seeds": 0})
    assert tomllib.loads(advice(study)["Confirm the winner"].code) == {"confirmation": {"seeds": 8}}


def test_where_too_few_seeds_are_asked_for_the_definition_is_to_ask_for_more(make: Make) -> None:
    step = advice(make(60, seeds=5, confirmation={"seeds": 5}))["Confirm the winner"]
    assert "was confirmed on 5 fresh seeds; 8 are needed" in step.reason
    assert step.code == "[confirmation]\nseeds = 8"


def test_where_nothing_is_feasible_the_first_advice_is_the_remedy_of_the_most_frequent_cause(make: Make) -> None:
    study = make(30, space={"kl_weight": {"low": 1e-4, "high": 1e-3, "log": True}}, study={"trials": 30})
    first = next(advise(study, summarize(study)))
    assert first.action.startswith("Raise the KL weight to about ")
    # Never more than a decade beyond the highest weight that was tried.
    assert tomllib.loads(first.code)["space"]["kl_weight"]["low"] <= 0.01


def test_a_value_on_an_edge_gives_the_toml_of_a_wider_range(make: Make) -> None:
    study = make(60, space={"kl_weight": {"low": 0.02, "high": 0.4, "log": True}})
    edge = [replace(t, hyperparameters=replace(t.hyperparameters, kl_weight=0.0201)) for t in study.trials]
    step = advice(replace(study, trials=tuple(edge)))["Widen the range of `kl_weight` downwards"]
    assert tomllib.loads(step.code) == {"space": {"kl_weight": {"low": 0.002, "high": 0.4, "log": True}}}
    assert "the first of 60 trials, lies on the low edge of 0.02 to 0.4" in step.reason


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("kl_weight", "high", (1e-5, 10.0)),
        ("clip_low", "low", (-28.0, -4.0)),
        ("clip_low", "high", (-20.0, -0.5)),  # one below the least upper bound
        ("clip_high", "low", (-1.25, 4.0)),
        ("annealing_epochs", "high", (0, 22)),
        ("annealing_epochs", "low", (0, 15)),
        ("encoder_dropout", "high", (0.0, 0.75)),
        ("encoder_dropout", "low", (0.0, 0.5)),
    ],
)
def test_ranges_are_widened_only_as_far_as_they_mean_something(
    study: StudyRecord, name: str, side: str, expected: tuple[float, float]
) -> None:
    assert widen_range(study, name, study.definition.space.searched()[name], side) == expected


def test_a_whole_number_on_a_log_scale_stays_above_0(make: Make) -> None:
    space = {"annealing_epochs": {"low": 1, "high": 20, "log": True}, "kl_weight": 0.1}
    study = make(30, space=space)
    assert widen_range(study, "annealing_epochs", study.definition.space.searched()["annealing_epochs"], "low")[0] == 1


def test_a_range_without_room_beyond_it_is_left_as_it_is(make: Make) -> None:
    # 40 epochs, of which the last 5 need the full KL weight
    study = make(30, space={"annealing_epochs": {"low": 0, "high": 35}, "kl_weight": 0.1}, study={"trials": 30})
    edge = [replace(t, hyperparameters=replace(t.hyperparameters, annealing_epochs=35)) for t in study.trials]
    step = advice(replace(study, trials=tuple(edge)))["Leave the range of `annealing_epochs` as it is"]
    assert step.reason.endswith("lies on the high edge of 0 to 35, and there is no room beyond it.")
    assert step.code == ""


def measured_as(study: StudyRecord, unexplained: Callable[[TrialRecord], float]) -> StudyRecord:
    """The study, all of whose trials are feasible and reconstruct as a function says."""
    trials = [
        replace(t, feasible=True, kl=2.0, measures=replace(t.measures, unexplained=unexplained(t)))
        for t in study.trials
        if t.measures is not None
    ]
    return replace(study, trials=tuple(trials))


def scattered(trial: TrialRecord) -> float:
    """No hyperparameter matters: values differ by chance alone, by about 4 %."""
    return 0.2 * math.exp(0.04 * math.sin(1e3 * trial.number))


def falling(trial: TrialRecord) -> float:
    """The smaller the weight, the better: by half for each factor of ten."""
    weight: float = trial.hyperparameters.kl_weight
    return 0.2 * math.exp(0.3 * math.log(weight))


def test_a_search_is_enough_when_no_setting_is_expected_to_beat_what_seeds_make_of_one(make: Make) -> None:
    found = advice(measured_as(make(60, study={"trials": 40}), scattered))
    step = found["Stop searching this space: enough has been searched"]
    assert "is expected to lower `unexplained` by" in step.reason
    assert step.reason.endswith("More trials of this space will hardly help.")


def test_a_search_goes_on_while_a_better_setting_is_expected(make: Make) -> None:
    study = measured_as(make(60, study={"trials": 40}), falling)
    step = advice(study)["Search on: a better setting is expected"]
    assert step.code == f"klsearch resume runs/digits --trials {2 * len(study.trials)}"


def with_warm_start(study: StudyRecord, earlier: int) -> StudyRecord:
    """The study, its first trials being those of a warm start."""
    return replace(study, trials=tuple(replace(trial, warm_start=trial.number < earlier) for trial in study.trials))


def test_trials_of_a_warm_start_do_not_make_a_search_whole(make: Make) -> None:
    found = advice(with_warm_start(make(60, seeds=0, study={"trials": 50}), 50))
    assert found["Go on with the search"].reason == (
        "10 of 50 trials have finished; at least 20 are needed for a verdict."
    )
    assert not any(action.startswith(("Confirm", "Stop", "Search on")) for action in found)
    assert "Confirm the winner" in advice(with_warm_start(make(60, seeds=0, study={"trials": 10}), 50))


def with_mine(make: Make, winner: list[float], mine: list[float]) -> StudyRecord:
    """A study with the baseline `mine`, both leaving so much unexplained on the test split, seed by seed in turn."""
    made = make(60, baselines={"mine": {"kl_weight": 0.05, "clip_low": -10.0, "clip_high": 2.0}})
    errors = {made.winner: winner, "mine": mine}

    def change(run: ConfirmationRun) -> ConfirmationRun:
        whose = run.candidate if run.trial is None else run.trial
        if run.test is None or whose not in errors:
            return run
        return replace(run, test=replace(run.test, unexplained=errors[whose][run.seed % len(errors[whose])]))

    return replace(made, confirmation=tuple(map(change, made.confirmation)))


def test_a_baseline_that_does_as_well_may_be_kept(make: Make) -> None:
    steps = advice(with_mine(make, [0.30, 0.31], [0.31, 0.30]))
    assert next(iter(steps)).startswith("Use the settings of trial")
    assert steps["Consider keeping the settings of mine"].reason.startswith("Over 8 seeds, mine passes no less")


def test_a_baseline_that_does_better_is_to_be_used_instead_of_the_winner(make: Make) -> None:
    study = with_mine(make, [0.36, 0.37, 0.38], [0.30, 0.31, 0.32])
    steps = advice(study)
    assert next(iter(steps)) == "Use the settings of mine, not the winner's"
    assert steps["Use the settings of mine, not the winner's"].reason.startswith("Over 8 seeds, mine passes no less")
    assert not [action for action in steps if action.startswith(("Use the settings of trial", "Consider keeping"))]
    section = settings_section(study, summarize(study))
    assert section.title == "Which settings?"
    assert "The baseline mine does better than the winner" in str(section.blocks[0])


def test_of_seeds_that_fail_the_remedy_is_told_and_where_none_passes_that_too(study: StudyRecord) -> None:
    def failing(seeds: int) -> list[str]:
        broken = [
            replace(run, gates=tuple(replace(gate, passed=gate.passed and gate.name != "alive") for gate in run.gates))
            if run.trial == study.winner and run.seed < 9000 + seeds
            else run
            for run in study.confirmation
        ]
        return [one.words for one in advice(replace(study, confirmation=tuple(broken))).values()]

    some, all_of_them = failing(2), failing(8)
    assert some[0].startswith("Lower the KL weight to about") and "2 of 8 trainings collapsed" in some[0]
    assert not any("rely" in words for words in some)
    assert (
        f"Do not rely on trial {study.winner}: no fresh seed passes. All 8 fresh seeds miss a gate (alive by 8)."
        in (all_of_them)
    )


def test_errors_come_before_going_on(study: StudyRecord) -> None:
    failed = tuple(replace(trial, state=RunState.FAILED, error="OSError") for trial in study.trials)
    assert list(advice(replace(study, trials=failed, confirmation=(), winner=None)))[:2] == [
        "Look at the errors",
        "Go on with the search",
    ]


def test_every_study_gets_advice_and_each_reason_a_number(any_study: StudyRecord) -> None:
    steps = advice(any_study)
    assert steps
    assert all(any(char.isdigit() for char in step.reason) for step in steps.values())


def test_where_nothing_is_feasible_a_confirmed_winner_is_not_advised_nor_are_baselines_that_fail_as_it_does(
    make: Make,
) -> None:
    study = make(30, space={"kl_weight": {"low": 1e-4, "high": 1e-3, "log": True}})
    nearest = best_trial(study.trials)
    assert nearest is not None and study.winner is not None
    confirmed_instead = next(trial for trial in study.trials if trial.number != nearest.number)
    runs = tuple(
        replace(run, trial=confirmed_instead.number) if run.trial == study.winner else run for run in study.confirmation
    )
    steps = advice(replace(study, winner=confirmed_instead.number, confirmation=runs))
    assert next(iter(steps)).startswith("Raise the KL weight to about ")
    assert f"Do not rely on trial {confirmed_instead.number}: no fresh seed passes" in steps
    assert not [action for action in steps if action.startswith(("Consider", "Use", "Look"))]


@pytest.mark.parametrize("name", ["learning_rate", "clipnorm"])
def test_a_range_that_must_stay_above_0_is_widened_to_a_tenth_where_half_its_width_reaches_0(
    make: Make, name: str
) -> None:
    study = make(1, seeds=0, space={"kl_weight": 0.1, name: {"low": 0.001, "high": 0.01}})
    space = study.definition.space.searched()[name]
    assert widen_range(study, name, space, "low") == (0.0001, 0.01)
    assert widen_range(study, name, space, "high") == (0.001, 0.0145)


def test_a_confirmation_is_advised_with_a_test_split_where_there_is_none(make: Make) -> None:
    study = make(60, seeds=0, confirmation={"seeds": 0}, data={"split": {"validation": 0.9, "test": 0.0}})
    step = advice(study)["Confirm the winner"]
    assert "No rows are held out as a test split" in step.reason
    assert accepts(study.definition, step.code)


def merged(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with those of a snippet put over them; a range replaces the one that was there."""
    found = dict(tables)
    for name, value in changes.items():
        old = found.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "low" not in value:
            value = merged(old, value)
        found[name] = value
    return found


def accepts(asked: StudyDefinition, snippet: str) -> bool:
    changes = tomllib.loads(snippet)
    StudyDefinition.model_validate(merged(asked.model_dump(exclude_none=True, exclude_unset=True), changes))
    return bool(changes)


def snippets(study: StudyRecord) -> list[str]:
    """Every TOML that the report prints to be pasted into a definition."""
    summary = summarize(study)
    sections = settings_section(study, summary), advice_section(study, summary)
    blocks = [block for section in sections for block in section.blocks]
    codes = [block.text for block in blocks if isinstance(block, Code)]
    codes += [step.code for block in blocks if isinstance(block, Steps) for step in block.items]
    return [code for code in codes if code and not code.startswith("klsearch ")]


ENDS: dict[str, tuple[float, float]] = {
    "kl_weight": (0.0, 1e300),
    "clip_low": (-1e300, -1.0),
    "clip_high": (1.0, 1e300),
    "l2": (0.0, 1e300),
    "encoder_dropout": (0.0, 0.999),
    "learning_rate": (5e-324, 1e300),
    "clipnorm": (5e-324, 1e300),
}


@st.composite
def ranges(draw: st.DrawFn, name: str, *, widest: float = 1e300) -> dict[str, Any]:
    """A range of a hyperparameter whose ends are no farther from 0 than `widest`, nor, but for 0 itself, nearer."""
    if name == "annealing_epochs":
        wanted: st.SearchStrategy[Any] = st.integers(0, 35)
    else:
        least, most = max(ENDS[name][0], -widest), min(ENDS[name][1], widest)
        wanted = st.floats(least, most).filter(lambda value: value == 0 or abs(value) >= 1 / widest)
    low, high = sorted(draw(st.lists(wanted, min_size=2, max_size=2, unique=True)))
    return {"low": low, "high": high, "log": low > 0 and draw(st.booleans())}


@st.composite
def cornered_studies(draw: st.DrawFn, make: Make) -> StudyRecord:
    """A study of any ranges of which all settings are one, near or far from the edges."""
    names = draw(st.lists(st.sampled_from([*ENDS, "annealing_epochs"]), min_size=1, max_size=4, unique=True))
    space = {"kl_weight": 0.1} | {name: draw(ranges(name, widest=1e4)) for name in names}
    seeds = draw(st.sampled_from([0, 5, 8]))
    test = draw(st.sampled_from([0.0, 0.15])) if seeds == 0 else 0.15
    split = {"validation": draw(st.sampled_from([0.15, 0.9 - test])), "test": test}
    study = make(20, seeds=0, space=space, study={"trials": 20}, confirmation={"seeds": seeds}, data={"split": split})
    found = study.definition.space.searched()
    values: dict[str, Any] = {name: draw(st.sampled_from([space.low, space.high])) for name, space in found.items()}
    moved = [replace(t, hyperparameters=replace(t.hyperparameters, **values)) for t in study.trials]
    return replace(study, trials=tuple(draw(st.sampled_from([tuple(moved), study.trials]))))


@pytest.mark.slow("makes sixty studies")
@settings(max_examples=60)
@given(data=st.data())
def test_every_toml_that_a_report_prints_is_one_that_the_definition_accepts(make: Make, data: st.DataObject) -> None:
    study = data.draw(cornered_studies(make))
    for code in snippets(study):
        assert accepts(study.definition, code), code


@settings(max_examples=300)
@given(data=st.data())
def test_every_widened_range_is_accepted_and_holds_the_old_one(make: Make, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*ENDS, "annealing_epochs"]))
    study = make(0, space={"kl_weight": 0.1, name: data.draw(ranges(name))})
    space = study.definition.space.searched()[name]
    for side in ("low", "high"):
        low, high = widen_range(study, name, space, side)
        assert low <= space.low and space.high <= high
        log = str(space.log).lower()
        assert accepts(study.definition, f"[space]\n{name} = {{ low = {low!r}, high = {high!r}, log = {log} }}")
