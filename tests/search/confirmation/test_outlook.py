"""What is still to be trained when a search has ended."""

from pathlib import Path

import pytest

from klsearch.search.confirmation.outlook import closing_ahead, proof_ahead
from klsearch.search.layout import Layout
from klsearch.search.terminal.forecast import Stage
from klsearch.studies.definitions.catalog import define_study
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.procedure import Procedure


def definition(**baselines: dict[str, object]) -> StudyDefinition:
    loaded = define_study(
        {
            "study": {"name": "made", "trials": 24},
            "data": {"source": "digits"},
            "model": {"kind": "dense", "hidden": [8], "latent_dim": 4},
            "training": {"epochs": 60},
            "space": {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}},
            "confirmation": {"seeds": 8, "top": 3},
            **({"baselines": baselines} if baselines else {}),
        },
        Path(),
    )
    return loaded.definition


def test_a_proof_races_the_leaders_opens_the_baselines_and_proves_the_winner() -> None:
    """Three leaders on three seeds and two baselines on three: 15; then eight seeds, and five rungs find idle slots."""
    ahead = proof_ahead(definition(), Layout(20, 10), Procedure.RACE, ladder=6)
    assert [stage.trainings for stage in ahead if stage.trainings] == [15, 8]
    assert {stage.slots for stage in ahead} == {20}
    assert not any(stage.compiles for stage in ahead)


def test_a_baseline_that_weighs_the_kl_by_a_method_trains_in_slots_of_its_own() -> None:
    settled = definition(rival={"method": "sigma"}).settle(shape=(64,), kl_band=None)
    ahead = proof_ahead(settled, Layout(20, 10), Procedure.RACE, ladder=0)
    assert Stage(trainings=3, slots=8, compiles=True) in ahead
    assert sum(stage.trainings for stage in ahead) == 15 + 3 + 8


def test_studies_of_the_first_release_choose_and_prove_on_the_same_seeds() -> None:
    ahead = proof_ahead(definition(), Layout(8, 8), Procedure.OWN_SEEDS, ladder=0)
    assert [stage.trainings for stage in ahead] == [3 * 8 + 2 * 8]


@pytest.mark.parametrize(("slots", "left"), [(2, 5), (3, 4), (6, 1), (20, 0)])
def test_rungs_that_find_no_idle_slot_beside_the_proof_come_after_it(slots: int, left: int) -> None:
    """Eight seeds leave 0, 1, 4 or 12 slots idle."""
    assert [stage.trainings for stage in closing_ahead(Layout(slots, slots), proof=8, ladder=6)] == [left]
    assert closing_ahead(Layout(slots, slots), proof=8, ladder=0) == []
