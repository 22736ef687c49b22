"""When a study's search is decided, read from the rows that its trials left."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.decider import Decider
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

ByHand = Callable[..., Result]


def stopping(workshop: "Workshop", stop: str) -> StudyDefinition:
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["study"] |= {"stop": stop}
    return StudyDefinition.model_validate(tables)


def add_trials(
    study: StudyStorage, make_result: ByHand, count: int, *, slope: float, first: int = 0, owner: Owner | None = None
) -> None:
    """Trials all over the space whose `unexplained` falls with the KL weight by a slope, and else by chance."""
    rng = np.random.default_rng(first)
    for _ in range(count):
        settings = Hyperparameters(
            kl_weight=10.0 ** rng.uniform(-3, 1),
            annealing_epochs=int(rng.integers(0, 7)),
            encoder_dropout=rng.uniform(0, 0.4),
            learning_rate=1e-2,
        )
        unexplained = 0.2 * math.exp(slope * math.log10(settings.kl_weight) + 0.02 * rng.normal())
        number = study.create_row(Run(hyperparameters=settings, seed=1, label="search"), owner or this_process())
        left = make_result([2.0] * 12, unexplained=unexplained)
        study.finish_row(number, left, owner=owner or this_process(), score=unexplained, constraints={})


def is_decided(study: StudyStorage, decider: Decider) -> bool:
    decider.find_limit()
    return study.decided()[1]


@pytest.mark.parametrize(("slope", "decided"), [(0.0, True), (-1.0, False)])
def test_a_search_is_decided_once_no_other_setting_is_expected_to_be_better(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand, slope: float, decided: bool
) -> None:
    """Where more KL weight is better all the way up, its upper end is expected to beat every trial."""
    add_trials(study, make_result, 40, slope=slope)
    assert is_decided(study, Decider(study, stopping(workshop, "decided"))) is decided


def test_a_study_whose_budget_is_to_be_met_is_never_decided(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    add_trials(study, make_result, 40, slope=0.0)
    assert not is_decided(study, Decider(study, stopping(workshop, "budget")))


def test_it_is_asked_at_every_tenth_trial_from_twenty_on(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    decider = Decider(study, stopping(workshop, "decided"))
    add_trials(study, make_result, 19, slope=0.0)
    assert decider.decide() is None
    add_trials(study, make_result, 1, slope=0.0, first=1)
    first = decider.decide()
    assert first is not None
    assert first.trials == 20
    add_trials(study, make_result, 9, slope=0.0, first=2)
    assert decider.decide() == first
    add_trials(study, make_result, 1, slope=0.0, first=3)
    assert trials_of(decider) == 30


def trials_of(decider: Decider) -> int:
    found = decider.decide()
    assert found is not None
    return found.trials


def test_whoever_asks_gets_the_same_decision(workshop: "Workshop", study: StudyStorage, make_result: ByHand) -> None:
    """One that has asked all along, and one that begins now, as after a kill."""
    before = Decider(study, stopping(workshop, "decided"))
    for first in range(4):
        add_trials(study, make_result, 10, slope=-0.1, first=first)
        before.decide()
    assert before.decide() == Decider(study, stopping(workshop, "decided")).decide()


ELSEWHERE = replace(this_process(), host="elsewhere")


def test_the_worker_whose_trial_counted_last_decides_and_the_others_go_by_what_it_said(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = stopping(workshop, "decided")
    add_trials(study, make_result, 19, slope=0.0)
    add_trials(study, make_result, 1, slope=0.0, first=1, owner=ELSEWHERE)
    assert not is_decided(study, Decider(study, definition, is_dead=lambda owner: False)), "nobody has said so yet"
    assert study.decided() == (0, False)
    with monkeypatch.context() as there:
        there.setattr("klsearch.search.trials.decider.this_process", lambda: ELSEWHERE)
        assert is_decided(study, Decider(study, definition, is_dead=lambda owner: False))
    assert study.decided() == (20, True)
    other = Decider(study, definition, is_dead=lambda owner: False)
    monkeypatch.setattr(other, "decide", lambda: pytest.fail("the model is fitted once"))
    assert is_decided(study, other)


def test_a_worker_that_died_leaves_the_decision_to_the_others(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    add_trials(study, make_result, 40, slope=0.0, owner=ELSEWHERE)
    assert is_decided(study, Decider(study, stopping(workshop, "decided"), is_dead=lambda owner: owner == ELSEWHERE))


def test_the_search_ends_with_the_trials_that_decide_it(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    decider = Decider(study, stopping(workshop, "decided"))
    add_trials(study, make_result, 12, slope=0.0)
    assert decider.find_limit() == 20, "nobody knows yet what the first twenty say"
    add_trials(study, make_result, 8, slope=0.0)
    assert decider.find_limit() == 20
    assert is_decided(study, decider)
    assert decider.is_over()


def test_trials_beyond_the_next_look_are_not_asked_for(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    decider = Decider(study, stopping(workshop, "decided"))
    add_trials(study, make_result, 19, slope=-1.0)
    settings = Hyperparameters(kl_weight=0.1, learning_rate=1e-2)
    study.create_row(Run(hyperparameters=settings, seed=1, label="search"), this_process())
    assert decider.find_limit() == 20, "number 19 still trains"
    assert not is_decided(study, decider)


def test_where_nothing_is_decided_the_search_goes_on_to_the_next_look(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    decider = Decider(study, stopping(workshop, "decided"))
    add_trials(study, make_result, 20, slope=-1.0)
    assert not is_decided(study, decider)
    assert decider.find_limit() == 30


def test_how_many_trials_there_will_be_is_the_budget_or_a_guess_that_a_decision_corrects(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    """The workshop's study has a budget of 24."""
    assert Decider(study, stopping(workshop, "budget")).expect(0) == 24
    tables = stopping(workshop, "decided").model_dump(exclude_unset=True)
    tables["study"] |= {"trials": 100}
    decider = Decider(study, StudyDefinition.model_validate(tables))
    assert (decider.expect(0), decider.expect(47)) == (40, 47), "as many as it usually takes, and those there are"
    add_trials(study, make_result, 40, slope=-1.0)
    assert not is_decided(study, decider)
    assert decider.expect(40) in (50, 60), "as many as the next decision rests on, or the one after it"
    decided = Decider(study, StudyDefinition.model_validate(tables))
    add_trials(study, make_result, 60, slope=0.0, first=1)
    assert decided.expect(100) == 100
