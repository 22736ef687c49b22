"""What to do next: nothing that excludes another sentence of the same study."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.advice import advise
from klsearch.vae.diagnostics.gates import Verdict
from klsearch.vae.hyperparameters import Hyperparameters

Ill = Callable[..., StudyRecord]


@st.composite
def trainings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "kl": draw(st.sampled_from([0.0, 0.2, 1.5, 2.0, 9.0, 525.0, float("nan")])),
        "growth": draw(st.sampled_from([0.0, 0.5])),
        "active": draw(st.sampled_from([0, 4])),
        "unexplained": draw(st.floats(0.05, 2.5)),
        "gap": draw(st.sampled_from([0.0, 0.8])),
        "settings": Hyperparameters(kl_weight=draw(st.sampled_from([1e-4, 1e-3, 1e-2, 1.0]))),
    }


@settings(max_examples=150)
@given(data=st.data())
def test_no_two_sentences_of_a_study_exclude_each_other(ill: Ill, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(trainings(), min_size=1, max_size=4))
    seeds, mine = (data.draw(st.lists(st.sampled_from(kinds), min_size=n, max_size=8)) for n in (0, 0))
    study = ill(kinds * (20 // len(kinds)), seeds=seeds, baseline=mine)
    found = summarize(study)
    actions = [one.action for one in advise(study, found)]
    said = {
        word: any(action.startswith(word) for action in actions)
        for word in ("Stop", "Search on", "Widen", "Use the settings")
    }
    assert not (said["Stop"] and said["Widen"])
    assert not (said["Stop"] and said["Search on"])
    assert not (said["Use the settings"] and found.verdict not in (Verdict.STABLE, Verdict.CAVEATS))
    assert not (said["Use the settings"] and any(action.startswith("Do not rely") for action in actions))
    assert len(set(actions)) == len(actions)
    weights = [action for action in actions if action.startswith(("Lower the KL weight", "Raise the KL weight"))]
    assert len(weights) <= 1
    assert found.next.action == actions[0]
    for price in found.price:
        told = any(words in price.words for words in ("not distinguishable", "too few to tell", "no different"))
        assert (price.low <= 0 <= price.high) == told
    if found.next.code and not found.next.code.startswith("klsearch"):
        assert tomllib.loads(found.next.code)


def test_a_winner_that_all_seeds_prove_is_used_before_a_range_is_widened(ill: Ill) -> None:
    edge = Hyperparameters(kl_weight=1.0)
    study = ill([{"settings": edge}] * 20, seeds=[{"settings": edge}] * 8)
    found = summarize(study)
    assert found.verdict is Verdict.CAVEATS
    actions = [one.action for one in advise(study, found)]
    assert actions[:2] == ["Use the settings of trial 0", "Widen the range of `kl_weight` upwards"]


def test_where_no_seed_passes_no_edge_is_named(ill: Ill) -> None:
    edge = {"settings": Hyperparameters(kl_weight=1.0), "kl": float("nan")}
    found = summarize(ill([edge] * 20, seeds=[edge] * 8))
    assert found.edges == () and "edge" not in found.sentence


def test_where_fewer_trials_were_asked_for_than_a_verdict_needs_the_search_goes_on(ill: Ill) -> None:
    found = summarize(ill([{}] * 12, seeds=[{}] * 8, study={"trials": 12}))
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert found.next.code == "klsearch resume runs/made --trials 20"
    assert found.next.code_for == "command"


def test_where_all_few_trials_diverged_more_of_them_are_no_advice(ill: Ill) -> None:
    """Only while the search goes on is going on named, after the remedy."""
    diverged = {"kl": float("nan")}
    done, begun = (ill([diverged] * 4, study={"trials": trials}) for trials in (4, 12))
    remedy = "Lower the learning rate and clip gradients"
    actions = [one.action for one in advise(done, summarize(done))]
    assert actions[:1] == [remedy] and "Go on with the search" not in actions
    assert [one.action for one in advise(begun, summarize(begun))][:2] == [remedy, "Go on with the search"]


@pytest.mark.parametrize("best", [0, 19])
def test_a_search_is_not_still_improving_because_of_where_its_best_trial_lies(ill: Ill, best: int) -> None:
    """All twenty are alike but for chance: neither the first nor the last place of the best is evidence."""
    weights = [10 ** (-4 + 4 * n / 19) for n in range(20)]
    trials = [
        {"unexplained": 0.3 - 0.001 * (n == best), "settings": Hyperparameters(kl_weight=weight)}
        for n, weight in enumerate(weights)
    ]
    study = ill(trials)
    actions = [one.action for one in advise(study, summarize(study))]
    assert not any(action.startswith("Search on") for action in actions)


def test_at_the_cap_of_the_score_nothing_is_still_improving(ill: Ill) -> None:
    trials = [
        {"unexplained": 2.5 + n / 10, "settings": Hyperparameters(kl_weight=10 ** (-4 + 4 * n / 19))} for n in range(20)
    ]
    study = ill(trials)
    actions = [one.action for one in advise(study, summarize(study))]
    assert not any(action.startswith("Search on") for action in actions)


@pytest.mark.parametrize(
    ("scored", "told"),
    [
        (0, "The baseline mine passes no less often, and no seed has the error of both."),
        (1, "Over 1 seed, mine passes no less often, and one pair of seeds gives no interval."),
    ],
)
def test_a_baseline_that_ties_without_two_pairs_has_no_price(ill: Ill, scored: int, told: str) -> None:
    study = ill([{}] * 20, seeds=[{}] * 8, baseline=[{}] * 8)
    own, mine = study.confirmation[:8], study.confirmation[8:]
    runs = (*own, *mine[:scored], *(replace(run, test=None) for run in mine[scored:]))
    study = replace(study, confirmation=runs)
    assert told in [one.reason for one in advise(study, summarize(study))]
