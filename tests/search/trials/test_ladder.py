"""The first wave of a study is its ladder, and what it says is told once."""

from typing import TYPE_CHECKING

from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.ladder import LadderTeller
from klsearch.studies.ladder import rung_settings

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


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
