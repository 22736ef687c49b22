"""How sure."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard

import numpy as np
import pytest

from klsearch.reports.page import Block, Fold, Gallery, Mark, Prose, Table
from klsearch.reports.readings.candidates import compared_candidates, confirmed_candidates
from klsearch.reports.readings.differences import difference_on_test
from klsearch.reports.sections.evidence import evidence_section, gates_table, pass_rates_table
from klsearch.studies.definitions.sections import Baseline
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.diagnostics.gates import GATE_NAMES

Make = Callable[..., StudyRecord]


def evidence_prose(study: StudyRecord) -> str:
    blocks = evidence_section(study, summarize(study)).blocks
    return " ".join(block.text for block in blocks if isinstance(block, Prose))


def test_each_gate_has_a_row_with_how_many_seeds_pass_it(study: StudyRecord) -> None:
    table = gates_table(study, compared_candidates(study)[0])
    assert [row[0] for row in table.rows] == list(GATE_NAMES)
    assert {row[1] for row in table.rows} == {Mark("8 of 8 seeds", "good")}
    before = gates_table(study, compared_candidates(study)[1])
    assert before.rows[GATE_NAMES.index("band")][1] == Mark("0 of 8 seeds", "bad")


def test_the_gates_of_one_training_are_passed_or_missed(unconfirmed: StudyRecord) -> None:
    table = gates_table(unconfirmed, compared_candidates(unconfirmed)[0])
    assert {row[1] for row in table.rows} == {Mark("passed", "good")}


def test_pass_rates_have_wilson_s_interval(study: StudyRecord) -> None:
    rows = {row[0]: row[1:] for row in pass_rates_table(study, confirmed_candidates(study)).rows}
    assert rows["before"] == (Mark("0 of 8 seeds", "bad"), "0 %", "0.00 to 0.32", "KL ends above the band")


def test_a_rival_that_still_moves_its_weight_says_so(make: Make) -> None:
    """The weight of the controller doubles from epoch to epoch; the gates of its seeds say the rest."""
    study = make(30, baselines={"rival": {"kl_weight": 1e-4}})
    baselines = {"rival": Baseline(method="control")}
    study = replace(study, definition=study.definition.model_copy(update={"baselines": baselines}))
    moving = [
        replace(run, curves=replace(run.curves, kl_weight=(2.0 ** np.arange(run.epochs)).astype(np.float32)))
        if run.candidate == "rival" and run.curves is not None
        else run
        for run in study.confirmation
    ]
    rows = {row[0]: row for row in pass_rates_table(study, confirmed_candidates(study)).rows}
    assert "controller" not in str(rows["rival"][-1])
    moved = replace(study, confirmation=tuple(moving))
    failing = {row[0]: row for row in pass_rates_table(moved, confirmed_candidates(moved)).rows}["rival"]
    # A straight line through 1, 2, 4, 8, 16 rises by 3.6 per epoch, where the mean is 6.2.
    assert str(failing[-1]).endswith("its controller still moves the weight, by up to 58 % per epoch")


def test_the_pass_rates_of_leading_trials_of_a_first_release_stand_beside_the_winner_s(
    first_release: StudyRecord,
) -> None:
    study = first_release
    leading = {f"trial {run.trial}" for run in study.confirmation if run.trial not in (None, study.winner)}
    table = next(block for block in evidence_section(study, summarize(study)).blocks if is_table(block, "Fresh seeds"))
    assert {row[0] for row in table.rows} == {f"winner (trial {study.winner})", "before", "after", *leading}
    assert len(leading) == 2


def test_a_summed_band_gets_summed_differences(study_of_kind: Callable[[str], StudyRecord]) -> None:
    study = study_of_kind("summed KL")
    table = next(block for block in evidence_section(study, summarize(study)).blocks if is_table(block, "Winner less"))
    mean = difference_on_test(study, "after", lambda measures: measures.kl).mean
    assert float(str(next(row for row in table.rows if row[0] == "after")[1])) == pytest.approx(8 * mean, rel=0.01)


def is_table(block: Block, caption: str) -> TypeGuard[Table]:
    return isinstance(block, Table) and block.caption.startswith(caption)


def test_the_section_says_what_its_intervals_do_not_cover(study: StudyRecord) -> None:
    assert "training noise, not of sampling the data" in evidence_prose(study)
    assert "The winner was picked among 60 trials on the validation split" in evidence_prose(study)
    assert evidence_prose(study).endswith("The test split has been scored once.")
    assert evidence_prose(replace(study, test_looks=3)).endswith("The test split has been scored 3 times.")


def test_every_confirmation_run_is_listed(study: StudyRecord) -> None:
    folds = [block for block in evidence_section(study, summarize(study)).blocks if isinstance(block, Fold)]
    tables = [table for fold in folds for table in fold.blocks if isinstance(table, Table)]
    assert [len(table.rows) for table in tables] == [len(study.race), len(study.confirmation)] == [3 * 3, 3 * 8]


def test_an_unconfirmed_study_says_so_and_draws_no_seeds(unconfirmed: StudyRecord) -> None:
    blocks = evidence_section(unconfirmed, summarize(unconfirmed)).blocks
    assert evidence_prose(unconfirmed).startswith("Not confirmed on fresh seeds.")
    assert not any(isinstance(block, Gallery) for block in blocks)


def test_one_seed_gives_no_difference(make: Make) -> None:
    study = make(30, seeds=1)
    tables = [block for block in evidence_section(study, summarize(study)).blocks if isinstance(block, Table)]
    assert tables[-1].rows[0][-1] == "too few pairs to tell"
    assert tables[-1].rows[0][2] == "needs 2 pairs"


def test_it_is_told_which_seeds_chose_and_which_proved(study: StudyRecord, first_release: StudyRecord) -> None:
    told = evidence_prose(study)
    assert "The first 3 raced on 3 other seeds, on the validation split; the winner is chosen by the number" in told
    assert "its 8 fresh seeds and the test split played no part in choosing it" in told
    alone = replace(study, race=())
    assert "The first is proven, on fresh seeds that played no part in choosing it." in evidence_prose(alone)
    earlier = evidence_prose(first_release)
    assert "The winner is chosen among the 3 leading trials" in earlier
    assert "so its pass rate is optimistic" in earlier
    assert "fresh seeds and the test split played no part" not in earlier
