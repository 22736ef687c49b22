"""The first wave of a study is its ladder, and what it says is told once."""

import math
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.ladder import LadderTeller
from klsearch.search.trials.pruning import MedianPruner
from klsearch.search.trials.source import TrialSource
from klsearch.search.trials.warm_start import WarmStart
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import LADDER, ladder_of, rung_settings
from klsearch.studies.record import StudyRecord

if TYPE_CHECKING:
    from tests.search.conftest import Leave, Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]
Record = Callable[[StudyStorage], StudyRecord]


def rungs_of(study: StudyStorage) -> list[Row]:
    return [row for row in study.rows() if row.run.label == LADDER]


def change(definition: StudyDefinition, **tables: dict[str, Any]) -> StudyDefinition:
    """A definition with some values of its tables changed; baselines are replaced."""
    before = definition.model_dump(exclude_unset=True)
    merged = {name: values if name == "baselines" else before[name] | values for name, values in tables.items()}
    return StudyDefinition.model_validate(before | merged)


def test_rungs_are_the_trials_after_the_baselines_and_are_told_once_whole(
    workshop: "Workshop", study: StudyStorage
) -> None:
    study.change_facts(ladder=3)
    said: list[str] = []
    teller = LadderTeller(study, workshop.definition, said.append)
    workshop.search(study, 4)
    teller.look()
    assert said == []
    workshop.search(study, 6)
    teller.look()
    teller.look()
    assert [row.run.label for row in study.rows()] == ["before", "mine", "ladder", "ladder", "ladder", "search"]
    settings = [row.run.hyperparameters for row in study.rows() if row.run.label == "ladder"]
    assert settings == list(rung_settings(workshop.definition, 3))
    assert len(said) == 1 and said[0].startswith("KL is in the band for ")
    again: list[str] = []
    LadderTeller(study, workshop.definition, again.append).look()
    assert again == [], "who resumes a study knows it"


def test_a_study_that_began_without_a_ladder_gets_none(workshop: "Workshop", study: StudyStorage) -> None:
    workshop.search(study, 4)
    assert "ladder" not in [row.run.label for row in study.rows()]


@pytest.fixture(scope="module")
def uninterrupted(leave: "Leave") -> list[dict[str, Any]]:
    """What the trials of a study leave that began with five rungs and was not interrupted."""
    return leave(8, lambda study: study.change_facts(ladder=5))


@pytest.mark.parametrize("epochs", [0, 5, 14])
def test_a_study_killed_on_its_ladder_is_the_uninterrupted_one_once_resumed(
    workshop: "Workshop", study: StudyStorage, uninterrupted: list[dict[str, Any]], outcomes: Outcomes, epochs: int
) -> None:
    study.change_facts(ladder=5)
    workshop.search(study, 8, owner=replace(this_process(), started="1"), epochs=epochs, killed=True)
    assert any(row.state is TrialState.RUNNING for row in rungs_of(study))
    said: list[str] = []
    teller = LadderTeller(study, workshop.definition, said.append)
    workshop.search(study, 8)
    teller.look()
    assert outcomes(study.rows()) == uninterrupted
    assert len(said) == 1


def test_two_workers_share_the_rungs_out_and_train_none_twice(
    workshop: "Workshop", study: StudyStorage, other: tuple[Owner, "subprocess.Popen[str]"]
) -> None:
    study.change_facts(ladder=5, lag=8)
    owners = (this_process(), other[0])
    for owner in owners:
        study.leases.say_alive(owner, {})
    sources = [
        TrialSource(
            study,
            workshop.definition,
            budget=12,
            worker=Worker(owner=owner, is_dead=study.leases.is_dead),
            tell=print,
            decider=Decider(study, workshop.definition),
        )
        for owner in owners
    ]
    labels = [[job.run.label for job in source.take(4)] for source in sources]
    assert labels == [["before", "mine", LADDER, LADDER], [LADDER, LADDER, LADDER, "search"]]
    assert [row.run.hyperparameters for row in rungs_of(study)] == list(rung_settings(workshop.definition, 5))


def test_rungs_of_a_warm_start_are_not_trained_again(
    workshop: "Workshop", study: StudyStorage, record: Record, tmp_path: Path
) -> None:
    study.change_facts(ladder=3)
    workshop.search(study, 4)  # two baselines and two rungs
    earlier = WarmStart(study="old", storage="", rows=tuple(study.rows()), complete=4, ended_early=0, outside={})
    with open_storage(f"journal:///{tmp_path / 'warm'}", create=True) as storage:
        warm = StudyStorage.create(
            storage,
            "warm",
            definition=study.definition,
            facts=replace(workshop.facts, ladder=3),
            earlier=earlier.trials(workshop.definition),
        )
        workshop.search(warm, 2)
        assert [row.run.label for row in warm.rows()[4:]] == [LADDER, "search"]
        ladder = ladder_of(record(warm))
    assert ladder is not None and ladder.is_whole
    assert [rung.trial for rung in ladder.rungs] == [2, 3, 4]


def test_the_ladder_stays_what_it_was_when_the_budget_changes(workshop: "Workshop", study: StudyStorage) -> None:
    study.change_facts(ladder=3)
    workshop.search(study, 3)
    workshop.search(study, 8, definition=change(workshop.definition, study={"trials": 300}))
    assert [row.run.hyperparameters for row in rungs_of(study)] == list(rung_settings(workshop.definition, 3))


def test_a_pruner_that_would_end_every_trial_leaves_the_rungs_alone(
    workshop: "Workshop", study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MedianPruner, "looks_at", lambda pruner, settings, epochs: epochs >= 4)
    monkeypatch.setattr(MedianPruner, "ends", lambda pruner, number, settings, curves: True)
    study.change_facts(ladder=3)
    workshop.search(study, 6, definition=change(workshop.definition, study={"pruner": "median"}))
    ended = {row.run.label: row.state for row in study.rows()}
    assert ended == {
        "before": TrialState.PRUNED,
        "mine": TrialState.PRUNED,
        LADDER: TrialState.COMPLETE,
        "search": TrialState.PRUNED,
    }


def test_a_baseline_that_is_a_rung_is_trained_once_and_counts_as_one(
    workshop: "Workshop", study: StudyStorage, record: Record
) -> None:
    rung = rung_settings(workshop.definition, 3)[1]
    mine = {name: getattr(rung, name) for name in ("kl_weight", "annealing_epochs", "encoder_dropout")}
    definition = change(workshop.definition, baselines={"mine": mine})
    study.change_facts(ladder=3)
    workshop.search(study, 5, definition=definition)
    assert [row.run.label for row in study.rows()] == ["before", "mine", LADDER, LADDER, "search"]
    assert study.rows()[1].run.hyperparameters == rung
    ladder = ladder_of(record(study))
    assert ladder is not None and ladder.is_whole
    assert [rung.trial for rung in ladder.rungs] == [2, 1, 3]
    assert all(math.isfinite(rung.kl) for rung in ladder.rungs)
