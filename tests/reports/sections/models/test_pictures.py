"""What the models make of the data."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from klsearch.reports.page import Exhibit, Gallery, Prose
from klsearch.reports.report import render_report
from klsearch.reports.sections.models.pictures import pictures_section
from klsearch.reports.wording import number
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples


def picture_exhibits(study: StudyRecord) -> dict[str, Exhibit]:
    galleries = (block for block in pictures_section(study).blocks if isinstance(block, Gallery))
    return {one.identity: one for gallery in galleries for one in gallery.exhibits}


def pictures_prose(study: StudyRecord) -> str:
    return " ".join(block.text for block in pictures_section(study).blocks if isinstance(block, Prose))


def embedded(svg: str) -> np.ndarray:
    """The one picture in a drawing, grey, without its gaps' transparency."""
    (data,) = re.findall(r"data:image/png;base64,([^\"]*)", svg)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.mode == "LA"
    return np.asarray(image)


def test_images_are_shown_pixel_by_pixel_under_their_originals(study: StudyRecord) -> None:
    samples = study.samples
    assert isinstance(samples, ImageSamples)
    picture = embedded(picture_exhibits(study)["reconstructions"].svg)
    cell = 8 + 1  # and a gap of a pixel
    assert picture.shape[:2] == (4 * cell, 10 * cell)
    np.testing.assert_array_equal(picture[:8, 18:26, 0], samples.originals[2, ..., 0])
    np.testing.assert_array_equal(picture[18:26, 81:89, 0], samples.reconstructions[1, 9, ..., 0])
    assert picture[8, :, 1].max() == picture[:, 8, 1].max() == 0, "gaps show the page"


def test_rows_bear_the_names_of_the_candidates(study: StudyRecord) -> None:
    svg = picture_exhibits(study)["reconstructions"].svg
    for name in ("original", "winner", "before", "after"):
        assert f">{name}</text>" in svg
    assert ">latent 5</text>" in picture_exhibits(study)["traversal"].svg


def test_captions_name_the_conditions_under_which_conditional_models_draw(study: StudyRecord) -> None:
    assert isinstance(study.samples, ImageSamples)
    words = tuple(f"digit {place}" for place in range(10))
    told = replace(study, samples=replace(study.samples, conditions=words, traversed_condition="digit 3"))
    shown = picture_exhibits(told)
    assert f"under the commonest conditions, from the left: {'; '.join(words)}." in shown["prior-samples"].caption
    assert shown["traversal"].caption.endswith("The condition is that row's: digit 3.")
    assert not any("condition" in one.caption for one in picture_exhibits(study).values())


def test_captions_and_tables_hold_the_numbers(study: StudyRecord) -> None:
    samples = study.samples
    assert isinstance(samples, ImageSamples)
    shown = picture_exhibits(study)
    means = [number(float(errors.mean())) for errors in samples.unexplained]
    assert f"winner {means[0]}, before {means[1]}, after {means[2]}" in shown["reconstructions"].caption
    assert shown["reconstructions"].data.rows[3][2] == number(float(samples.unexplained[1, 3]))
    assert [row[0] for row in shown["prior-samples"].data.rows] == ["winner", "before", "after"]
    winner = np.median([run.measures.prior_mismatch.mean() for run in runs_of(study, "winner") if run.measures])
    assert f"prior mismatch, nats per latent: winner {number(float(winner))}, before " in shown["prior-samples"].caption
    assert shown["traversal"].data.rows[0][:2] == ("5", "3.1")
    assert "latent 5: 3.1, latent 1: 2.5" in shown["traversal"].alternative


def test_a_report_says_that_it_holds_data_and_how_to_leave_them_out(study: StudyRecord) -> None:
    assert pictures_prose(study).startswith("This report holds data: 10 rows of the test split")
    assert "`klsearch report --no-samples`" in pictures_prose(study)
    without = replace(study, samples=None)
    assert pictures_prose(without).endswith("No data is in this report.")
    assert "data:image/png" not in render_report(without).partition('id="pictures"')[2].partition("</section>")[0]


def test_before_the_confirmation_there_is_nothing_to_show(unconfirmed: StudyRecord) -> None:
    assert pictures_prose(unconfirmed) == "Nothing is shown yet: pictures are made when the winner is confirmed."


@pytest.mark.parametrize(("columns", "shown"), [(3, 3), (16, 16), (40, 16)])
def test_the_worst_and_the_best_columns_of_a_table_are_shown(study: StudyRecord, columns: int, shown: int) -> None:
    errors = np.linspace(0.9, 0.1, columns)[np.newaxis] * np.array([[1.0], [0.5]])
    names = tuple(f"c{index}" for index in range(columns))
    samples = ColumnErrors(
        split="test", names=(f"trial {study.winner}", "after"), columns=names, unexplained=errors, of=columns
    )
    one = picture_exhibits(replace(study, samples=samples))["columns"]
    assert len(one.data.rows) == shown
    assert one.data.rows[0] == ("c0", "0.9", "0.45")
    assert one.data.rows[-1] == (f"c{columns - 1}", "0.1", "0.05")
    assert f"the worst is c0 (0.9), the best c{columns - 1} (0.1)" in one.alternative
    assert ("The 8 worst and the 8 best columns" if columns == 40 else "All columns") in one.caption


def test_colours_stay_with_their_candidates_where_one_is_left_out(study: StudyRecord) -> None:
    samples = ColumnErrors(
        split="test", names=(f"trial {study.winner}", "after"), columns=("c",), unexplained=np.ones((2, 1)), of=1
    )
    svg = picture_exhibits(replace(study, samples=samples))["columns"].svg
    assert "var(--series-0)" in svg
    assert "var(--series-2)" in svg
    assert "var(--series-1)" not in svg
