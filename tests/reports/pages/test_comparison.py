"""Two studies side by side."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind

from klsearch.reports.page import Block, Gallery, Page, Prose, Table
from klsearch.reports.pages.comparison import comparison_page
from klsearch.reports.report import render_comparison, write_comparison
from klsearch.reports.tables import confirmation_frame
from klsearch.reports.wording import number, within
from klsearch.studies.record import DataFacts, StudyRecord
from klsearch.vae.diagnostics.gates import wilson_interval

Make = Callable[..., StudyRecord]
NARROW = {"kl_weight": {"low": 0.02, "high": 0.03, "log": True}, "encoder_dropout": 0.4}


@pytest.fixture
def other(make: Make) -> StudyRecord:
    """A study on the same data that searches few KL weights, and whose models reconstruct worse for their dropout."""
    return replace(make(30, space=NARROW, training={"learning_rate": 0.00123456}), name="narrow")


def section_blocks(page: Page, identity: str) -> tuple[Block, ...]:
    return next(section.blocks for section in page.sections if section.identity == identity)


def rows_by_name(page: Page, identity: str) -> dict[str, tuple[object, ...]]:
    table = next(block for block in section_blocks(page, identity) if isinstance(block, Table))
    return {str(row[0]): row[1:] for row in table.rows}


def test_the_definitions_differences_are_listed_to_the_last_digit(study: StudyRecord, other: StudyRecord) -> None:
    page = comparison_page(study, other)
    table = next(block for block in section_blocks(page, "differences") if isinstance(block, Table))
    assert table.columns == ("table", "key", "digits", "narrow")
    found = {row[:2]: row[2:] for row in table.rows}
    assert ("study", "trials") not in found, "it is the same"
    assert found["training", "learning_rate"] == ("0.001", "0.00123456")
    assert found["space.kl_weight", "low"] == ("1e-05", "0.02")
    assert found["space.encoder_dropout", "high"] == ("0.5", "–")
    assert found["space", "encoder_dropout"] == ("–", "0.4")
    assert all(first != second for first, second in found.values())
    assert ("study", "name") not in found


def test_a_study_differs_in_nothing_from_itself(study: StudyRecord) -> None:
    page = comparison_page(study, study)
    assert [type(block) for block in section_blocks(page, "differences")] == [Prose]
    assert page.study == "digits (A) and digits (B)"
    assert page.banner.word == "No clear difference in reconstruction"


def test_verdicts_and_medians_stand_side_by_side(study: StudyRecord, other: StudyRecord) -> None:
    found = rows_by_name(comparison_page(study, other), "verdicts")
    assert found["verdict"][0] == "stable"
    low, high = wilson_interval(8, 8)
    assert found["seeds that pass every gate"][0] == f"8 of 8 (95 % {low:.2f} to {high:.2f})"
    for index, one in enumerate((study, other)):
        frame = confirmation_frame(one)
        winner = frame[frame["name"] == "winner"]
        assert found["unexplained, test"][index] == number(winner["test_unexplained"].median())
        assert found["KL, test, nats per latent"][index] == number(winner["test_kl"].median())


def test_winners_are_paired_by_seed_on_the_test_split(study: StudyRecord, other: StudyRecord) -> None:
    page = comparison_page(study, other)
    first, second = (
        frame[frame["name"] == "winner"].set_index("seed")["test_unexplained"]
        for frame in map(confirmation_frame, (study, other))
    )
    mean, _, seeds, reading = rows_by_name(page, "paired")["unexplained"]
    assert (mean, seeds, reading) == (number((first - second).mean()), "8", "lower")
    assert page.banner.word == "digits reconstructs better"
    assert comparison_page(other, study).banner.word == "digits reconstructs better"
    assert rows_by_name(comparison_page(other, study), "paired")["unexplained"][3] == "higher"


def test_the_side_that_diverged_on_half_its_seeds_is_not_called_better(
    study: StudyRecord, other: StudyRecord, diverged: Callable[[StudyRecord, str, int], StudyRecord]
) -> None:
    page = comparison_page(diverged(study, "winner", 4), other)
    assert page.banner.word == "No clear difference in reconstruction"
    assert "4 pairs of seeds; left out, having diverged: digits on 4 seeds)" in page.banner.sentence
    assert rows_by_name(page, "paired")["unexplained"][2:] == ("4", "lower where none diverged")
    assert rows_by_name(page, "verdicts")["leading trial"][0] == f"winner (trial {study.winner}, 4 of 8 seeds diverged)"
    told = " ".join(block.text for block in section_blocks(page, "paired") if isinstance(block, Prose))
    assert "Seeds are left out, having diverged: digits on 4 seeds." in told
    better = comparison_page(study, diverged(other, "winner", 4))
    assert better.banner.word == "digits reconstructs better", "the other side diverged"


def test_where_divergence_leaves_one_pair_the_obstacle_says_so(
    study: StudyRecord, other: StudyRecord, diverged: Callable[[StudyRecord, str, int], StudyRecord]
) -> None:
    page = comparison_page(study, diverged(other, "winner", 7))
    assert page.banner.word == "Not comparable"
    assert page.banner.sentence == (
        "Fewer than two seeds remain to compare the winners on; left out, having diverged: narrow on 7 seeds."
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"latent_dim": 4}}, "latent sizes differ (8 and 4)"),
        ({"training": {"batch_size": 64}}, "batch sizes differ (128 and 64)"),
    ],
)
def test_seeds_do_not_pair_where_the_noise_has_another_shape(
    make: Make, study: StudyRecord, changes: dict[str, Any], why: str
) -> None:
    page = comparison_page(study, replace(make(30, space=NARROW, **changes), name="other"))
    first, second = (
        frame[frame["name"] == "winner"]["test_unexplained"]
        for frame in map(confirmation_frame, (study, make(30, space=NARROW, **changes)))
    )
    mean, interval, seeds, reading = rows_by_name(page, "paired")["unexplained"]
    assert (seeds, reading) == ("8 and 8", "lower")
    welch = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (mean, interval) == within(first.mean() - second.mean(), welch.low, welch.high)
    said = " ".join(block.text for block in section_blocks(page, "paired") if isinstance(block, Prose))
    assert why in said and "does not give the same noise" in said and "Paired by seed" not in said
    assert "seeds do not pair" in page.banner.sentence


def test_curves_of_both_winners_share_their_axes(study: StudyRecord, other: StudyRecord) -> None:
    (gallery,) = section_blocks(comparison_page(study, other), "curves")
    assert isinstance(gallery, Gallery)
    assert len(gallery.exhibits) == 4
    labels = [f"digits: winner (trial {study.winner})", f"narrow: winner (trial {other.winner})"]
    assert [entry.label for entry in gallery.legend] == labels
    assert all(label in exhibit.alternative for label in labels for exhibit in gallery.exhibits)


def test_studies_of_different_bands_in_different_units_share_the_one_of_a_latent(
    study: StudyRecord, study_of_kind: Callable[[str], StudyRecord]
) -> None:
    (gallery,) = section_blocks(comparison_page(study, study_of_kind("summed KL")), "curves")
    assert isinstance(gallery, Gallery)
    kl = gallery.exhibits[0]
    assert kl.alternative.startswith("KL, nats per latent per epoch")
    assert "band" not in kl.caption


def test_the_range_of_each_summed_kl_is_of_its_own_number_of_latents(
    study_of_kind: Callable[[str], StudyRecord],
) -> None:
    """With half as many latents in the definition, what a latent has adds up to half."""
    first = study_of_kind("summed KL")
    asked = first.definition
    fewer = asked.model.model_copy(update={"latent_dim": asked.model.latent_dim // 2})
    second = replace(first, name="fewer", definition=asked.model_copy(update={"model": fewer}))
    told = []
    for pair in ((first, first), (second, second), (first, second)):
        (gallery,) = section_blocks(comparison_page(*pair), "curves")
        assert isinstance(gallery, Gallery)
        told.append(gallery.exhibits[0].alternative)
    assert all(text.startswith("KL, nats over all latents per epoch") for text in told)
    ends = [[part.split(": ", 1)[-1].rsplit(" from ", 1)[-1] for part in text.rstrip(".").split(";")] for text in told]
    assert ends[0][0] != ends[1][0]
    assert (ends[2][0], ends[2][1]) == (ends[0][0], ends[1][1])


def other_data(study: StudyRecord) -> StudyRecord:
    return replace(study, data=DataFacts(rows={}, shape=(8, 8), scaling="", fingerprint="e" * 64))


def other_seeds(study: StudyRecord) -> StudyRecord:
    return replace(study, confirmation=tuple(replace(run, seed=run.seed + 100) for run in study.confirmation))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_data, "hold out other rows or scale them otherwise"),
        (other_seeds, "not confirmed on at least two seeds in common"),
        (lambda study: replace(study, confirmation=(), winner=None), "No winner of digits (B) is confirmed yet"),
    ],
)
def test_what_cannot_be_compared_is_said_not_to_be(
    study: StudyRecord, change: Callable[[StudyRecord], StudyRecord], why: str
) -> None:
    page = comparison_page(study, change(study))
    assert page.banner.word == "Not comparable"
    assert why in page.banner.sentence
    assert [type(block) for block in section_blocks(page, "paired")] == [Prose]


def test_every_kind_of_study_can_be_compared(any_study: StudyRecord, study: StudyRecord) -> None:
    html = render_comparison(any_study, study)
    assert html.count("<h2 ") == 5
    assert "<script>alert" not in html


def test_the_same_records_give_the_same_bytes(study: StudyRecord, other: StudyRecord, tmp_path: Path) -> None:
    path = write_comparison(study, other, tmp_path / "runs" / "comparison.html")
    assert path.read_text(encoding="utf-8") == render_comparison(study, other)
