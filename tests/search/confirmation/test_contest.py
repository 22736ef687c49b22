"""The rules of a confirmation: seeds, leaving baselines, and the winner."""

from typing import TYPE_CHECKING

import pytest

from klsearch.search.confirmation.contest import Contest
from klsearch.search.seeds import confirmation_seed, race_seeds
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.procedure import Procedure

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


def definition(workshop: "Workshop", seeds: int) -> StudyDefinition:
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["confirmation"] = {"seeds": seeds}
    return StudyDefinition.model_validate(tables)


@pytest.mark.parametrize("seeds", [1, 2, 3, 8])
def test_the_seeds_of_the_race_choose_and_those_of_the_proof_do_not(workshop: "Workshop", seeds: int) -> None:
    contest = Contest.of(definition(workshop, seeds), Procedure.RACE)
    assert contest.race == race_seeds(0)
    assert contest.proof == tuple(confirmation_seed(0, index) for index in range(seeds))
    assert contest.opening == contest.proof[:3]
    assert not set(contest.race) & set(contest.proof)


def test_a_study_of_the_first_release_chooses_and_proves_on_the_same_seeds(workshop: "Workshop") -> None:
    contest = Contest.of(definition(workshop, 8), Procedure.OWN_SEEDS)
    assert contest.race == contest.proof == contest.opening
    assert len(contest.proof) == 8
