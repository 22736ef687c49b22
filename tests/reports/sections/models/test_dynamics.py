"""What the KL did."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from klsearch.reports.page import Exhibit, Gallery, Prose
from klsearch.reports.readings.responses import responses
from klsearch.reports.sections.models.dynamics import dynamics_section, endings_table
from klsearch.reports.tables import confirmation_frame
from klsearch.reports.wording import number
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves

Make = Callable[..., StudyRecord]


def dynamics_exhibits(study: StudyRecord) -> dict[str, Exhibit]:
    galleries = (block for block in dynamics_section(study, responses(study)).blocks if isinstance(block, Gallery))
    return {one.identity: one for gallery in galleries for one in gallery.exhibits}


def dynamics_prose(study: StudyRecord) -> str:
    return " ".join(
        block.text for block in dynamics_section(study, responses(study)).blocks if isinstance(block, Prose)
    )


def test_the_four_watched_curves_and_the_latents_are_drawn(study: StudyRecord) -> None:
    assert list(dynamics_exhibits(study)) == [
        *("curve-validation-kl", "curve-validation-reconstruction", "curve-kl-weight", "curve-total", "latents"),
        *("latent-map-0", "latent-map-1"),
    ]


def test_alternative_texts_hold_the_numbers_of_the_data(study: StudyRecord) -> None:
    kl = dynamics_exhibits(study)["curve-validation-kl"]
    last = str(kl.data.rows[-1][1]).split()[0]
    assert f"winner (trial {study.winner}) from " in kl.alternative
    assert f" to {last}; before from " in kl.alternative
    assert kl.alternative.endswith("The band is 0 to 5.")


def test_over_how_many_seeds_medians_are_taken_is_said_where_a_baseline_left(study: StudyRecord) -> None:
    assert dynamics_exhibits(study)["curve-validation-kl"].caption.startswith("Median over 8 seeds, quartiles shaded.")
    others = [run for run in study.confirmation if run.candidate != "after"]
    three = [run for run in study.confirmation if run.candidate == "after"][:3]
    left = dynamics_exhibits(replace(study, confirmation=(*others, *three)))["curve-validation-kl"]
    assert left.caption.startswith("Median over 3 to 8 seeds, quartiles shaded.")


def test_the_tables_behind_curves_end_with_the_last_epoch(study: StudyRecord) -> None:
    for name, exhibit in dynamics_exhibits(study).items():
        if name.startswith("curve-"):
            assert [row[0] for row in exhibit.data.rows][:: len(exhibit.data.rows) - 1] == ["1", "40"]
            assert len(exhibit.data.rows) == 10


def test_the_endings_are_medians_over_the_seeds(study: StudyRecord) -> None:
    rows = {row[0]: row[1:] for row in endings_table(study).rows}
    frame = confirmation_frame(study)
    medians = [frame[frame["name"] == name].median(numeric_only=True) for name in ("winner", "before", "after")]
    assert rows["KL, nats per latent"] == tuple(number(median["kl"]) for median in medians)
    assert rows["unexplained"] == tuple(number(median["unexplained"]) for median in medians)
    assert rows["ELBO, nats"] == tuple(number(median["elbo"]) for median in medians)


def with_totals(run: ConfirmationRun, totals: list[float]) -> ConfirmationRun:
    rows = np.ones((len(totals), len(CURVE_NAMES)), np.float32)
    rows[:, CURVE_NAMES.index("total")] = totals
    rows[:, CURVE_NAMES.index("kl_weight")] = np.arange(1, len(totals) + 1)
    rows[:, CURVE_NAMES.index("nonfinite_steps")] = 0
    return replace(run, curves=TrainingCurves.from_rows(rows))


def test_a_total_that_rises_while_the_weight_is_annealed_is_explained(study: StudyRecord) -> None:
    runs = tuple(with_totals(run, [5.0, 2.0, 3.0]) for run in study.confirmation if run.trial == study.winner)
    explained = dynamics_prose(replace(study, confirmation=runs))
    assert f"winner (trial {study.winner}) from 2 (epoch 2) to 3 (epoch 3)" in explained
    assert "not a fault" in explained


def test_a_total_that_falls_is_not_explained(study: StudyRecord) -> None:
    assert "not a fault" not in dynamics_prose(study)


def test_the_variance_part_is_told_because_clipping_acts_on_it_alone(study: StudyRecord) -> None:
    assert f"The variance part makes up 70 % of the KL of the winner (trial {study.winner})." in dynamics_prose(study)


def test_a_diverged_baseline_is_told_and_breaks_nothing(make: Make) -> None:
    study = make(30, baselines={"wild": {"kl_weight": 1e-6}})
    assert "wild diverged" in dynamics_prose(study)
    assert "8 of 8 diverged" in dynamics_exhibits(study)["curve-total"].alternative


def test_the_gap_to_training_is_told_with_what_dropout_does_to_it(study: StudyRecord) -> None:
    # In these studies dropout raises the training error by half its rate, and the validation error hardly.
    change = responses(study).found["encoder_dropout"].gap
    assert change.high < 0
    (told,) = re.findall(r"0.1 more encoder dropout changes the gap by (\S+) \(95 % ", dynamics_prose(study))
    assert float(told) == pytest.approx(change.change, rel=0.02)


def test_the_latents_are_said_to_lie_closer_to_the_prior_only_where_they_surely_do(
    study: StudyRecord, unconfirmed: StudyRecord
) -> None:
    assert "lie closer to the prior than those of `before` and `after`. The closer" in dynamics_prose(study)
    same = tuple(
        replace(run, test=replace(run.test, prior_mismatch=np.full(8, 0.1 + 0.01 * (run.seed % 3))))
        if run.test is not None
        else run
        for run in study.confirmation
    )
    assert "lie at a distance indistinguishable from that of `before` and `after`." in dynamics_prose(
        replace(study, confirmation=same)
    )
    assert "closer to the prior" not in dynamics_prose(unconfirmed)


def test_one_training_is_no_median_while_the_seeds_of_the_confirmation_still_train(study: StudyRecord) -> None:
    assert "median over the seeds" in endings_table(study).caption
    first = replace(study, winner=None, confirmation=study.confirmation[:3])
    assert "median" not in endings_table(first).caption
    assert "one training" in dynamics_prose(first)
