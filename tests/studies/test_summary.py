"""What a study may claim, from records made by hand."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from klsearch.studies import summary
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict import candidates
from klsearch.studies.verdict.candidates import best_trial
from klsearch.studies.verdict.differences import Difference, paired_difference, unpaired_difference
from klsearch.vae.diagnostics.gates import GATE_NAMES, Gate, Verdict
from klsearch.vae.hyperparameters import Hyperparameters
from tests.studies.conftest import measures_that_leave

DEFINITION = StudyDefinition.model_validate(
    {
        "study": {"name": "made", "trials": 20},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [8], "latent_dim": 2},
        "training": {"epochs": 60},
        "space": {
            "kl_weight": {"low": 1e-4, "high": 1.0, "log": True},
            "clip_low": {"low": -20.0, "high": -10.0},
            "clip_high": 2.0,
            "annealing_epochs": {"low": 0, "high": 20},
        },
    }
)
MIDDLE = Hyperparameters(kl_weight=0.01, clip_low=-15.0, clip_high=2.0, annealing_epochs=10)


def gates(**violations: float) -> tuple[Gate, ...]:
    """The six gates; those named are missed by so much."""
    return tuple(
        Gate(name=name, passed=name not in violations, value=0.0, threshold="", violation=violations.get(name, 0.0))
        for name in GATE_NAMES
    )


def trial(number: int, score: float = 0.5, *, settings: Hyperparameters = MIDDLE, **violations: float) -> TrialRecord:
    feasible = not set(violations) & {"band", "alive", "settled", "clipping"}
    return TrialRecord(
        number=number,
        state=RunState.COMPLETE,
        hyperparameters=settings,
        seed=number,
        score=score,
        gates=gates(**violations),
        feasible=feasible,
    )


def confirm(candidate: str, passes: list[bool], unexplained: list[float] | None = None) -> list[ConfirmationRun]:
    """A candidate's runs by seed, with `unexplained` on the test split."""
    return [
        ConfirmationRun(
            candidate=candidate,
            trial=int(candidate.removeprefix("trial ")) if candidate.startswith("trial ") else None,
            state=RunState.COMPLETE,
            hyperparameters=MIDDLE,
            seed=seed,
            gates=gates() if passed else gates(band=1.0),
            test=measures_that_leave(unexplained[seed]) if unexplained is not None else None,
        )
        for seed, passed in enumerate(passes)
    ]


def study_with(
    trials: list[TrialRecord] | None = None, confirmation: list[ConfirmationRun] | None = None, **changes: Any
) -> StudyRecord:
    made = [trial(number, 0.5 + number) for number in range(20)] if trials is None else trials
    values: dict[str, Any] = {
        **{"name": "made", "definition": DEFINITION, "definition_toml": "", "fingerprint": "", "slots": 2},
        **{"trials": tuple(made), "confirmation": tuple(confirmation or []), "winner": 0 if confirmation else None},
    }
    return StudyRecord(**(values | changes))


ALL, MOST, FEW = [True] * 8, [True] * 6 + [False] * 2, [True] * 5 + [False] * 3
CLEARLY_WORSE = [0.4, 0.41, 0.42, 0.39, 0.4, 0.41, 0.42, 0.39]
GOOD = [0.1, 0.11, 0.12, 0.09, 0.1, 0.11, 0.12, 0.09]


def test_the_best_trial_is_the_feasible_one_of_the_lowest_score() -> None:
    trials = (trial(0, 0.3), trial(1, 0.1, band=0.5), trial(2, 0.2), trial(3, 0.2))
    assert best_trial(trials) is trials[2], "of equal ones the first"


def test_without_a_feasible_trial_the_least_violating_is_best() -> None:
    trials = (trial(0, 0.1, band=0.5, alive=0.5), trial(1, 0.9, settled=0.7), trial(2, 0.2, clipping=0.7))
    assert best_trial(trials) is trials[2], "of equally violating ones the lower score"


def test_only_constraints_decide_over_feasibility() -> None:
    trials = (trial(0, 0.3), trial(1, 0.1, reconstruction=1e6))
    assert best_trial(trials) is trials[1]


def test_trials_that_are_not_complete_are_never_best() -> None:
    states = (RunState.RUNNING, RunState.FAILED, RunState.PRUNED)
    assert best_trial(tuple(replace(trial(0), state=state) for state in states)) is None
    assert best_trial(()) is None


def test_a_paired_difference_has_student_s_interval() -> None:
    """Differences 1, 2, 3, 4: mean 2.5, standard deviation 1.29099, t(0.975, 3) = 3.18245: ± 2.05426."""
    found = paired_difference({n: 10.0 + n for n in range(1, 5)}, dict.fromkeys(range(1, 5), 10.0))
    assert (found.mean, found.pairs) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((0.44574, 4.55426), abs=1e-4)


def test_only_seeds_with_two_finite_values_are_paired() -> None:
    found = paired_difference({1: 1.0, 2: math.nan, 3: 5.0, 4: 9.0}, {1: 0.0, 2: 0.0, 3: 2.0, 5: 0.0})
    assert (found.mean, found.pairs) == (2.0, 2)
    # Differences 1 and 3: standard deviation √2, t(0.975, 1) = 12.7062, ± 12.7062 · √2 / √2.
    assert (found.low, found.high) == pytest.approx((2 - 12.7062047, 2 + 12.7062047))


def test_seeds_on_which_a_side_diverged_are_left_out_and_counted() -> None:
    nan = math.nan
    found = paired_difference(
        {1: nan, 2: nan, 3: 1.0, 4: 1.1, 5: nan, 6: 9.0}, {1: nan, 2: 2.0, 3: 2.0, 4: 2.1, 5: 2.0}
    )
    assert (found.pairs, found.left_out) == (2, (3, 1))
    words = "left out, having diverged: winner on 3 seeds and before on 1 seed"
    assert found.left_out_words("winner", "before") == words
    assert found.high < 0 and not found.first_less, "it diverged more often"
    assert unpaired_difference({1: nan, 2: 1.0}, {3: 1.0}).left_out == (1, 0)


def test_a_winner_that_diverged_more_often_than_a_baseline_that_passes_as_often_is_tied() -> None:
    halved = [replace(run, test=None) if run.seed < 4 else run for run in confirm("trial 0", FEW, GOOD)]
    made = study_with(confirmation=[*halved, *confirm("before", FEW, CLEARLY_WORSE)])
    assert candidates.ties(made, "before")
    assert not candidates.beats(made, "before")


def test_a_run_that_the_test_split_has_not_scored_yet_is_not_taken_to_have_diverged() -> None:
    (run,) = confirm("trial 0", [True])
    assert candidates.unexplained_on_test((replace(run, measures=measures_that_leave(0.1)),)) == {}
    assert math.isnan(candidates.unexplained_on_test((run,))[0])


def test_one_pair_says_nothing_and_none_even_less() -> None:
    assert paired_difference({1: 1.0}, {1: 0.0}) == Difference(mean=1.0, low=-math.inf, high=math.inf, pairs=1)
    assert math.isnan(paired_difference({1: 1.0}, {2: 0.0}).mean)


def test_both_intervals_are_those_of_scipy() -> None:
    first, second = ([0.31, 0.42, 0.27, 0.55, 0.38, 0.44], [0.35, 0.49, 0.25, 0.71, 0.40, 0.58])
    by_seed = [dict(enumerate(values)) for values in (first, second)]
    paired, unpaired = paired_difference(*by_seed), unpaired_difference(*by_seed)
    assert (paired.low, paired.high) == pytest.approx(tuple(ttest_rel(first, second).confidence_interval()))
    welch = ttest_ind(first, second, equal_var=False)
    assert (unpaired.low, unpaired.high) == pytest.approx(tuple(welch.confidence_interval()))


def test_a_difference_without_pairs_has_welch_s_interval() -> None:
    """Means 3 and 1, variances 2.5 and 1 over 5 and 3 seeds: ± t(0.975, 5.882) · √(0.5 + 1/3) = 2.4588 · 0.9129."""
    found = unpaired_difference({n: float(n) for n in range(1, 6)}, {7: 0.0, 8: 1.0, 9: 2.0, 10: math.nan})
    assert (found.mean, found.pairs) == (2.0, 0)
    assert (found.low, found.high) == pytest.approx((-0.24459, 4.24459), abs=1e-4)
    assert unpaired_difference({1: 1.0, 2: 1.0}, {3: 1.0}).high == math.inf
    assert unpaired_difference({1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.0}).low == -1.0


def test_many_pairs_have_nearly_the_normal_interval() -> None:
    found = paired_difference({n: float(n % 2) for n in range(100)}, dict.fromkeys(range(100), 0.0))
    assert found.high - found.mean == pytest.approx(1.984217 * math.sqrt(25 / 99) / 10)


def test_runs_are_found_by_candidate_in_the_order_of_their_seeds() -> None:
    runs = [
        *confirm("trial 0", ALL)[::-1],
        *confirm("trial 1", ALL),
        *confirm("before", ALL, GOOD),
    ]
    made = study_with(confirmation=runs)
    assert [run.seed for run in candidates.runs_of(made, "winner")] == list(range(8))
    assert {run.candidate for run in candidates.runs_of(made, "winner")} == {"trial 0"}
    assert {run.candidate for run in candidates.runs_of(made, "before")} == {"before"}
    assert candidates.baseline_names(made) == ("before",)
    assert candidates.unexplained_on_test(candidates.runs_of(made, "before")) == dict(enumerate(GOOD))


def test_runs_that_have_not_ended_do_not_count() -> None:
    runs = confirm("trial 0", ALL)
    made = study_with(confirmation=[*runs, replace(runs[0], seed=8, state=RunState.RUNNING, gates=())])
    assert (summarize(made).passed, summarize(made).seeds) == (8, 8)


@pytest.mark.parametrize(
    ("changes", "edges"),
    [
        ({}, ()),
        ({"kl_weight": 1e-4}, (("kl_weight", "low"),)),
        ({"kl_weight": 1.1e-4}, (("kl_weight", "low"),)),  # 1 % of the range on its log scale
        ({"kl_weight": 1.3e-4}, ()),  # 2.8 %
        ({"kl_weight": 0.9}, (("kl_weight", "high"),)),  # 98.9 %
        ({"kl_weight": 0.8}, ()),  # 97.6 %
        ({"clip_low": -19.9}, (("clip_low", "low"),)),
        ({"clip_low": -10.1}, (("clip_low", "high"),)),
        ({"annealing_epochs": 0}, ()),  # there is no shorter annealing than none
        ({"annealing_epochs": 20}, (("annealing_epochs", "high"),)),
        ({"clip_high": 9.0}, ()),  # not searched
        ({"kl_weight": 1.0, "annealing_epochs": 20}, (("kl_weight", "high"), ("annealing_epochs", "high"))),
    ],
)
def test_an_edge_is_what_lies_within_two_percent_of_it(
    changes: dict[str, Any], edges: tuple[tuple[str, str], ...]
) -> None:
    assert summary.edges(study_with(), trial(0, settings=replace(MIDDLE, **changes))) == edges


@pytest.mark.parametrize(
    ("slope", "trials", "caveats"),
    [
        (0.0, 40, ()),
        (1.0, 40, ("clip_low lies on the low edge of its range",)),
        (-1.0, 40, ()),  # the others are better
        (0.0, 19, ("clip_low lies on the low edge of its range",)),  # which are too few to say
    ],
)
def test_an_edge_is_a_caveat_only_where_the_trials_show_that_it_matters(
    slope: float, trials: int, caveats: tuple[str, ...]
) -> None:
    """`unexplained` follows the place of `clip_low` in its range by a slope, and the KL weight as a bowl."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(trials):
        place = rng.uniform() if number else 0.0
        weight = 10.0 ** rng.uniform(-4, 0) if number else 0.01
        unexplained = 0.2 * math.exp(0.1 * (math.log10(weight) + 2) ** 2 + slope * place + 0.01 * rng.normal())
        settings = replace(
            MIDDLE, kl_weight=weight, clip_low=-20 + 10 * place, annealing_epochs=int(rng.integers(0, 21))
        )
        found = replace(trial(number, unexplained, settings=settings), measures=measures_that_leave(unexplained))
        made.append(replace(found, kl=weight**-0.1))
    study = study_with(made, confirm("trial 0", ALL))
    assert summary.edges(study, made[0])[0] == ("clip_low", "low")
    assert tuple(one for one in summarize(study).caveats if one.startswith("clip_low")) == caveats


@pytest.mark.parametrize(
    ("passes", "unexplained", "tie"),
    [
        (ALL, GOOD, True),
        (ALL, GOOD[::-1], True),  # not better beyond noise
        (ALL, [value - 0.05 for value in GOOD], True),  # better than the winner
        (ALL, CLEARLY_WORSE, False),
        (MOST, GOOD, False),  # passes on fewer seeds
        (ALL, [math.nan] * 8, True),  # nothing to tell them apart by
    ],
)
def test_a_baseline_ties_if_it_passes_as_often_and_is_not_clearly_worse(
    passes: list[bool], unexplained: list[float], tie: bool
) -> None:
    made = study_with(confirmation=[*confirm("trial 0", ALL, GOOD), *confirm("before", passes, unexplained)])
    assert candidates.ties(made, "before") is tie
    assert candidates.beats(made, "before") is (tie and max(unexplained) < min(GOOD))


def test_where_neither_passes_on_any_seed_nothing_is_as_good_as_the_winner() -> None:
    none = [False] * 8
    made = study_with(confirmation=[*confirm("trial 0", none, GOOD), *confirm("before", none, GOOD)])
    assert not candidates.ties(made, "before")
    assert summarize(made).caveats == ()


@pytest.mark.parametrize(
    ("made", "verdict", "sentence"),
    [
        (study_with([]), Verdict.NOT_ENOUGH_EVIDENCE, "No trial has finished yet (0 started)."),
        (
            study_with([replace(trial(0), state=RunState.RUNNING)]),
            Verdict.NOT_ENOUGH_EVIDENCE,
            "No trial has finished yet (1 started).",
        ),
        (
            study_with([trial(number) for number in range(19)], confirm("trial 0", ALL)),
            Verdict.NOT_ENOUGH_EVIDENCE,
            "Only 19 trials have finished; 20 are needed to judge.",
        ),
        (study_with(), Verdict.NOT_ENOUGH_EVIDENCE, "Trial 0 leads, confirmed on 0 fresh seeds; 8 are needed."),
        (
            study_with(confirmation=confirm("trial 0", [True] * 7)),
            Verdict.NOT_ENOUGH_EVIDENCE,
            "Trial 0 leads, confirmed on 7 fresh seeds; 8 are needed.",
        ),
        (
            study_with(confirmation=confirm("trial 0", ALL)),
            Verdict.STABLE,
            "Trial 0: 8 of 8 fresh seeds pass all gates (95 % interval 0.68 to 1.00).",
        ),
        (
            study_with(
                confirmation=[
                    *confirm("trial 0", ALL, GOOD),
                    *confirm("before", ALL, CLEARLY_WORSE),
                ]
            ),
            Verdict.STABLE,
            "Trial 0: 8 of 8 fresh seeds pass all gates (95 % interval 0.68 to 1.00).",
        ),
        (
            study_with(confirmation=[*confirm("trial 0", ALL, GOOD), *confirm("before", ALL, GOOD)]),
            Verdict.CAVEATS,
            "Trial 0: 8 of 8 fresh seeds pass all gates (95 % interval 0.68 to 1.00), but baseline before does as "
            "well.",
        ),
        (
            study_with(confirmation=confirm("trial 0", MOST)),
            Verdict.CAVEATS,
            "Trial 0: 6 of 8 fresh seeds pass all gates (95 % interval 0.41 to 0.93).",
        ),
        (
            study_with(confirmation=confirm("trial 0", FEW)),
            Verdict.NOT_STABLE,
            "Trial 0: 5 of 8 fresh seeds pass all gates (95 % interval 0.31 to 0.86).",
        ),
        (
            study_with(confirmation=[*confirm("trial 0", FEW, GOOD), *confirm("before", ALL, GOOD)]),
            Verdict.NOT_STABLE,
            "Trial 0: 5 of 8 fresh seeds pass all gates (95 % interval 0.31 to 0.86), and baseline before does as "
            "well.",
        ),
        (
            study_with(
                [trial(n, settings=replace(MIDDLE, kl_weight=1.0)) for n in range(20)],
                confirm("trial 0", ALL),
            ),
            Verdict.CAVEATS,
            "Trial 0: 8 of 8 fresh seeds pass all gates (95 % interval 0.68 to 1.00), but kl_weight lies on the high "
            "edge of its range.",
        ),
        (
            study_with(confirmation=confirm("trial 0", [True] * 19 + [False])),
            Verdict.STABLE,
            "Trial 0: 19 of 20 fresh seeds pass all gates (95 % interval 0.76 to 0.99).",
        ),
    ],
    ids=lambda value: value.value.replace(" ", "-") if isinstance(value, Verdict) else "",
)
def test_the_verdict_and_why(made: StudyRecord, verdict: Verdict, sentence: str) -> None:
    found = summarize(made)
    assert found.verdict is verdict
    assert found.why.startswith(sentence)
    assert found.sentence == f"{found.verdict.capitalize()}: {found.why}"


def test_the_confirmed_winner_is_best_even_where_another_trial_scored_lower() -> None:
    made = study_with(confirmation=confirm("trial 3", ALL), winner=3)
    found = summarize(made)
    assert found.best is made.trials[3]
    assert (found.passed, found.seeds) == (8, 8)
    assert found.interval == pytest.approx((0.6756, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("own", "verdict", "sentence"),
    [
        (0, Verdict.NOT_ENOUGH_EVIDENCE, "Only 0 trials have finished beside 30 of an earlier study; 20 are needed"),
        (1, Verdict.NOT_ENOUGH_EVIDENCE, "Only 1 trial has finished beside 30 of an earlier study; 20 are needed"),
        (19, Verdict.NOT_ENOUGH_EVIDENCE, "Only 19 trials have finished beside 30 of an earlier study; 20 are needed"),
        (20, Verdict.STABLE, "Trial 0: 8 of 8 fresh seeds pass all gates"),
    ],
)
def test_trials_of_a_warm_start_are_no_evidence_of_this_search(own: int, verdict: Verdict, sentence: str) -> None:
    trials = [replace(trial(number), warm_start=number < 30) for number in range(30 + own)]
    found = summarize(study_with(trials, confirm("trial 0", ALL)))
    assert found.verdict is verdict
    assert found.why.startswith(sentence)
    assert found.sentence == f"{found.verdict.capitalize()}: {found.why}"


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trial_at(number: int, score: float = 0.5, **violations: Any) -> TrialRecord:
    """A trial that ended as many minutes after noon as its number says."""
    return replace(trial(number, score, **violations), ended=NOON + timedelta(minutes=number))


def later_on(*later: TrialRecord, **changes: Any) -> StudyRecord:
    """A study of 20 trials whose first one was confirmed among them, and then the later ones."""
    values: dict[str, Any] = {"winner": 0, "confirmed_among": 20, "resume_command": "klsearch resume runs/made"}
    earlier = [trial_at(number) for number in range(20)]
    return study_with([*earlier, *later], confirm("trial 0", ALL), **(values | changes))


@pytest.mark.parametrize(
    ("later", "trials", "better", "found"),
    [
        ([trial_at(20, 0.6)], 1, None, "before 1 more trial finished; none of them scores better."),
        (
            [trial_at(20, 0.5), trial_at(21, 0.7)],
            2,
            None,
            "before 2 more trials finished; none of them scores better.",
        ),
        (
            [trial_at(20, 0.4), trial_at(21, 0.25)],
            2,
            21,
            "before 2 more trials finished; trial 21 scores better (0.25 against 0.5).",
        ),
        ([trial_at(20, 0.1, band=1.0)], 1, None, "before 1 more trial finished; none of them scores better."),
    ],
)
def test_what_finished_since_the_winner_was_confirmed_is_counted_and_compared(
    later: list[TrialRecord], trials: int, better: int | None, found: str
) -> None:
    since = summary.since_confirmed(later_on(*later))
    assert since is not None
    assert (since.trials, since.better) == (trials, better)
    assert (
        since.sentence == f"The winner, trial 0, was confirmed {found} Confirm anew with `klsearch confirm runs/made`."
    )


def test_where_trials_are_still_to_come_going_on_confirms_anew() -> None:
    tables = {**DEFINITION.model_dump(exclude_unset=True), "study": {"name": "made", "trials": 40}}
    since = summary.since_confirmed(later_on(trial_at(20), definition=StudyDefinition.model_validate(tables)))
    assert since is not None
    assert since.sentence.endswith("Confirm anew with `klsearch resume runs/made`.")


def test_where_nothing_finished_since_or_nothing_is_confirmed_there_is_nothing_to_say() -> None:
    assert summary.since_confirmed(later_on()) is None
    assert summary.since_confirmed(later_on(trial_at(20), winner=None)) is None
    assert summary.since_confirmed(later_on(trial_at(20), confirmed_among=21)) is None


def test_of_the_first_release_the_clock_says_what_finished_since() -> None:
    made = later_on(trial_at(20), trial_at(40), confirmed_among=None)
    assert summary.since_confirmed(made) is None, "nobody knows when it was confirmed"
    runs = tuple(replace(run, started=NOON + timedelta(minutes=30)) for run in made.confirmation)
    since = summary.since_confirmed(replace(made, confirmation=runs))
    assert since is not None
    assert since.trials == 1
