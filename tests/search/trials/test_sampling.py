"""What to try next."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.seeds import sampler_seed
from klsearch.search.storage.rows import FINISHED
from klsearch.search.trials import sampling
from klsearch.search.trials.sampling import Advisor, Suggestion, distributions_of
from klsearch.studies.definitions.space import IntegerRange, Options, Range

RANGES = {
    "kl_weight": Range(low=1e-4, high=1.0, log=True),
    "clip_low": Range(low=-20.0, high=-4.0),
    "annealing_epochs": IntegerRange(low=0, high=5),
}
DISTRIBUTIONS = distributions_of(RANGES)
Rate = Callable[[dict[str, Any]], tuple[float, ...]]
KINDS = ("tpe", "random", "qmc")


def complete_trial(suggestion: Suggestion, value: float, *violations: float) -> FrozenTrial:
    """A suggestion as a complete trial of that score, violating constraints that much."""
    return create_trial(
        params=suggestion.params,
        distributions=suggestion.distributions,
        value=value,
        system_attrs={f"constraints:{index}": violation for index, violation in enumerate(violations)},
    )


def searched(advisor: Advisor, count: int, rate: Rate, history: list[FrozenTrial] | None = None) -> list[FrozenTrial]:
    """So many trials, each asked for when all before it have ended; `rate` gives a score and perhaps violations."""
    trials = list(history or [])
    for _ in range(count):
        advisor.learn(trials)
        suggestion = advisor.suggest()
        trials.append(complete_trial(suggestion, *rate(suggestion.params)))
    return trials


def by_weight(params: dict[str, float]) -> tuple[float]:
    """Best at a KL weight of 0.01."""
    return (abs(math.log10(params["kl_weight"]) + 2),)


@pytest.mark.parametrize("kind", KINDS)
def test_every_suggestion_lies_in_its_range(kind: str) -> None:
    for trial in searched(Advisor(kind, RANGES, 0), 40, by_weight):
        assert set(trial.params) == set(RANGES)
        assert all(RANGES[name].low <= value <= RANGES[name].high for name, value in trial.params.items())
        assert isinstance(trial.params["annealing_epochs"], int)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_history_and_seed_give_the_same_suggestion(kind: str) -> None:
    history = searched(Advisor(kind, RANGES, 0), 15, by_weight)
    first, again = Advisor(kind, RANGES, 0), Advisor(kind, RANGES, 0)
    again.learn(history[:3])  # what it was asked before does not matter
    again.suggest()
    for advisor in (first, again):
        advisor.learn(history)
    assert [first.suggest().params for _ in range(4)] == [again.suggest().params for _ in range(4)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_is_resumed_suggests_what_an_uninterrupted_one_does(kind: str) -> None:
    whole = searched(Advisor(kind, RANGES, 0), 16, by_weight)
    first = searched(Advisor(kind, RANGES, 0), 9, by_weight)
    assert [trial.params for trial in searched(Advisor(kind, RANGES, 0), 7, by_weight, first)] == [
        trial.params for trial in whole
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_no_suggestion_is_repeated_and_other_seeds_suggest_others(kind: str) -> None:
    one, other = (
        [trial.params["kl_weight"] for trial in searched(Advisor(kind, RANGES, seed), 30, by_weight)] for seed in (0, 1)
    )
    assert len({*one, *other}) == 60


def test_tpe_suggests_what_optunas_own_does_on_the_same_history() -> None:
    def rate(params: dict[str, float]) -> tuple[float, float]:
        return *by_weight(params), params["clip_low"] + 8

    for count in (1, 9, 10, 30):
        history = searched(Advisor("tpe", RANGES, 0), count, rate)
        sampler = TPESampler(multivariate=True, constant_liar=True, seed=sampler_seed(0, count))
        study = optuna.create_study(sampler=sampler)
        study.add_trials(history)
        advisor = Advisor("tpe", RANGES, 0)
        advisor.learn(history)
        assert advisor.suggest().params == study.ask(distributions_of(RANGES)).params


def random_trial(rng: np.random.Generator) -> FrozenTrial:
    """A trial in one of the states in which a study may hold it; some rest on nothing that is searched."""
    params = {
        "kl_weight": float(10 ** rng.uniform(-4, 0)),
        "clip_low": float(rng.uniform(-20, -4)),
        "annealing_epochs": int(rng.integers(0, 6)),
    }
    states = [TrialState.COMPLETE] * 12 + [TrialState.PRUNED] * 3 + [TrialState.RUNNING, TrialState.FAIL]
    state = states[rng.integers(len(states))]
    if state not in FINISHED:
        return create_trial(state=state, params=params, distributions=DISTRIBUTIONS)
    value = round(rng.uniform(), 2)  # so that some are equal
    if rng.uniform() < 0.05:
        return create_trial(state=state, value=value)  # another program's
    return create_trial(
        state=state,
        params=params,
        distributions=DISTRIBUTIONS,
        value=value,
        intermediate_values={int(rng.integers(1, 9)): value} if state is TrialState.PRUNED else {},
        constraints={"one": rng.normal(-0.5), "two": rng.normal(-0.5)},
    )


@pytest.mark.parametrize("count", [8, 12, 60, 500])
def test_tpe_suggests_what_optunas_own_does_beside_trials_in_every_state(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(count)
    history = [random_trial(rng) for _ in range(count)]
    study = optuna.create_study()
    study.add_trials(history)
    advisor = Advisor("tpe", RANGES, 0)
    advisor.learn(history)
    monkeypatch.setattr(TPESampler, "infer_relative_search_space", lambda *_: dict(sorted(DISTRIBUTIONS.items())))
    for number in range(count, count + 3):  # those that were asked for before count as running
        study.sampler = TPESampler(multivariate=True, constant_liar=True, seed=sampler_seed(0, number))
        assert advisor.suggest().params == study.ask(distributions_of(RANGES)).params


@pytest.mark.parametrize("most", [sampling.MOST_LOOKED_AT, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_a_history_taken_in_step_by_step_gives_what_one_taken_in_afresh_does(
    kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials end in any order, others ask and end between two turns, and what was asked for is not always written."""
    monkeypatch.setattr(sampling, "MOST_LOOKED_AT", most)
    rng = np.random.default_rng(0)
    known = Advisor(kind, RANGES, 0)
    trials: list[FrozenTrial] = []
    for _ in range(25):
        for number, trial in enumerate(trials):
            if trial.state is TrialState.RUNNING and rng.uniform() < 0.5:
                trials[number] = random_trial(rng)
        trials += [random_trial(rng) for _ in range(rng.integers(0, 4))]
        afresh = Advisor(kind, RANGES, 0)
        for advisor in (known, afresh):
            advisor.learn(trials)
        asked = [known.suggest() for _ in range(3)]
        assert [afresh.suggest() for _ in range(3)] == asked
        trials += [
            create_trial(state=TrialState.RUNNING, params=suggestion.params, distributions=suggestion.distributions)
            for suggestion in asked[: rng.integers(0, 4)]
        ]


def test_of_many_trials_the_sampler_looks_at_the_best_the_running_and_some_from_the_first_to_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[FrozenTrial] = []

    def look(_sampler: TPESampler, study: optuna.Study, *_: object) -> dict[str, float]:
        looked_at[:] = study.get_trials(deepcopy=False)
        return {"kl_weight": 0.1, "clip_low": -9.0, "annealing_epochs": 1}

    monkeypatch.setattr(sampling, "MOST_LOOKED_AT", 100)
    rng = np.random.default_rng(1)
    history = [random_trial(rng) for _ in range(450)]
    below, _ = _split_trials(optuna.create_study(), numbered(history), 25)
    advisor = Advisor("tpe", RANGES, 0)
    monkeypatch.setattr(TPESampler, "sample_relative", look)
    for step in (200, 450):  # trials that were among the best of fewer may be no more
        advisor.learn(history[:step])
    advisor.suggest()
    numbers = [trial.number for trial in looked_at]
    assert numbers == sorted(set(numbers))
    finished = [trial.number for trial in looked_at if trial.state in FINISHED]
    assert len(finished) == 100
    assert {trial.number for trial in below} <= set(finished)
    running = [number for number, trial in enumerate(history) if trial.state is TrialState.RUNNING]
    assert sorted(set(numbers) - set(finished)) == running
    assert max(np.diff(finished)) <= 12
    assert finished[0] <= 6
    assert finished[-1] == max(number for number, trial in enumerate(history) if trial.state in FINISHED)


def numbered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those of the trials that are finished, under their numbers."""
    for number, trial in enumerate(trials):
        trial.number = number
    return [trial for trial in trials if trial.state in FINISHED]


class Watched(FrozenTrial):
    """A trial that says when its constraints are read."""

    reads: ClassVar[list[int]] = []

    @property
    def constraints(self) -> dict[str, float]:
        """The constraints."""
        Watched.reads.append(id(self))
        return super().constraints


def test_a_closed_trial_is_taken_in_once() -> None:
    rng = np.random.default_rng(0)
    history = [random_trial(rng) for _ in range(30)]
    for trial in history:
        trial.__class__ = Watched
    advisor = Advisor("tpe", RANGES, 0)
    for _ in range(3):
        advisor.learn(history)
        advisor.suggest()
    read = Counter(Watched.reads)
    assert [read[id(trial)] for trial in history] == [int(trial.state in FINISHED) for trial in history]


def test_suggestions_for_several_slots_differ_though_none_has_ended() -> None:
    advisor = Advisor("tpe", RANGES, 0)
    advisor.learn(searched(Advisor("tpe", RANGES, 0), 20, by_weight))
    weights = [advisor.suggest().params["kl_weight"] for _ in range(8)]
    assert len(set(weights)) == 8


def test_tpe_comes_to_suggest_what_was_good() -> None:
    trials = searched(Advisor("tpe", RANGES, 0), 60, by_weight)
    first, last = ([trial.value or 0.0 for trial in part] for part in (trials[:10], trials[-20:]))
    assert sum(last) / 20 < sum(first) / 10 / 3


def test_tpe_turns_to_what_meets_the_constraints() -> None:
    """The score alone calls for high weights; only those up to 0.01 are feasible."""

    def free(params: dict[str, float]) -> tuple[float]:
        return (-math.log10(params["kl_weight"]),)

    def bound(params: dict[str, float]) -> tuple[float, float]:
        return *free(params), math.log10(params["kl_weight"]) + 2

    feasible = {
        rate.__name__: sum(trial.params["kl_weight"] <= 0.01 for trial in trials[-20:])
        for rate in (free, bound)
        if (trials := searched(Advisor("tpe", RANGES, 0), 60, rate))
    }
    assert feasible["free"] <= 3
    assert feasible["bound"] >= 10


def test_given_settings_are_taken_as_they_are() -> None:
    advisor = Advisor("tpe", RANGES, 0)
    given = {"kl_weight": 0.123, "clip_low": -20.0, "annealing_epochs": 5}
    suggestion = advisor.suggest(given)
    assert suggestion.params == given
    assert suggestion.distributions == distributions_of(RANGES)
    assert advisor.suggest().params != given


def test_random_suggestions_do_not_depend_on_the_scores() -> None:
    def other(params: dict[str, float]) -> tuple[float]:
        return (params["clip_low"],)

    one, two = (searched(Advisor("random", RANGES, 0), 12, rate) for rate in (by_weight, other))
    assert [trial.params for trial in one] == [trial.params for trial in two]


def test_quasi_random_suggestions_cover_every_range_evenly() -> None:
    trials = searched(Advisor("qmc", RANGES, 0), 48, by_weight)
    decades = Counter(math.floor(math.log10(trial.params["kl_weight"])) for trial in trials)
    assert {decade: decades[decade] for decade in range(-4, 0)} == dict.fromkeys(range(-4, 0), 12)
    epochs = Counter(trial.params["annealing_epochs"] for trial in trials)
    assert set(epochs) == set(range(6))
    assert max(epochs.values()) - min(epochs.values()) <= 2


def test_quasi_random_whole_numbers_on_a_log_scale_favour_the_small_ones() -> None:
    trials = searched(
        Advisor("qmc", {"annealing_epochs": IntegerRange(low=1, high=15, log=True)}, 0), 64, lambda _: (0,)
    )
    epochs = Counter(trial.params["annealing_epochs"] for trial in trials)
    assert epochs[1] == pytest.approx(16, abs=2)  # a quarter: log 2 / log 16
    assert sum(epochs[n] for n in range(8, 16)) == pytest.approx(16, abs=2)


def test_a_trial_that_runs_elsewhere_counts_to_the_numbering() -> None:
    advisor = Advisor("random", RANGES, 0)
    fresh = [advisor.suggest().params for _ in range(2)]
    running = create_trial(state=TrialState.RUNNING, params=fresh[0], distributions=DISTRIBUTIONS)
    advisor.learn([running])
    assert advisor.suggest().params == fresh[1]


def test_ranges_keep_their_scale_and_kind() -> None:
    assert distributions_of(RANGES) == {
        "kl_weight": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "clip_low": optuna.distributions.FloatDistribution(-20.0, -4.0),
        "annealing_epochs": optuna.distributions.IntDistribution(0, 5),
    }


CHOSEN: dict[str, Range | Options] = {**RANGES, "kl_schedule": ("linear", "cosine", "cyclical")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_a_choice_is_tried(kind: str) -> None:
    trials = searched(Advisor(kind, CHOSEN, 0), 45, by_weight)
    counts = Counter(trial.params["kl_schedule"] for trial in trials)
    assert set(counts) == {"linear", "cosine", "cyclical"}
    assert min(counts.values()) >= 5
    resumed = Advisor(kind, CHOSEN, 0)
    resumed.learn(trials[:30])
    assert resumed.suggest().params == trials[30].params


def test_quasi_random_suggestions_try_every_name_equally_often() -> None:
    advisor = Advisor("qmc", {**RANGES, "kl_schedule": ("linear", "cosine", "sigmoid", "cyclical")}, 0)
    trials = searched(advisor, 64, by_weight)
    assert set(Counter(trial.params["kl_schedule"] for trial in trials).values()) == {16}


def test_the_better_name_of_a_choice_is_tried_more_often_as_the_search_learns() -> None:
    def rate(params: dict[str, Any]) -> tuple[float]:
        return (by_weight(params)[0] + 3 * (params["kl_schedule"] != "cosine"),)

    late = searched(Advisor("tpe", CHOSEN, 0), 60, rate)[30:]
    assert sum(trial.params["kl_schedule"] == "cosine" for trial in late) > 20
