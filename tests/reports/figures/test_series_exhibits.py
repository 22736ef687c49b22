"""Series beside what the models make of them."""

from dataclasses import replace

import numpy as np
import pytest

from klsearch.reports.page import Exhibit, Gallery, Prose
from klsearch.reports.report import render_report
from klsearch.reports.sections.models.pictures import pictures_section
from klsearch.studies.record import StudyRecord
from klsearch.vae.evaluation.samples import SeriesSamples


@pytest.fixture
def of_series(study: StudyRecord) -> StudyRecord:
    names = (f"trial {study.winner}", *study.definition.baseline_hyperparameters())
    along = np.linspace(0, 6, 50)
    originals = np.stack([np.stack([np.sin(along + row), np.cos(along + row)], axis=-1) for row in range(4)])
    originals[0, 10:15] = np.nan
    samples = SeriesSamples(
        split="test",
        names=names,
        steps=np.arange(50),
        channels=np.arange(2),
        originals=originals,
        reconstructions=np.stack([originals * 0.9] * len(names)),
        unexplained=np.full((len(names), 4), 0.25),
        prior_samples=np.stack([originals[::-1]] * len(names)),
        conditions=("ward a", "ward b", "ward a", "ward b"),
    )
    return replace(study, samples=samples)


def exhibits(study: StudyRecord) -> dict[str, Exhibit]:
    galleries = (block for block in pictures_section(study).blocks if isinstance(block, Gallery))
    return {one.identity: one for gallery in galleries for one in gallery.exhibits}


def test_each_channel_is_drawn_beside_its_reconstructions_and_from_the_prior(of_series: StudyRecord) -> None:
    shown = exhibits(of_series)
    assert list(shown) == ["series-1", "series-2", "series-prior-1", "series-prior-2"]
    assert shown["series-2"].title == "Series and reconstructions, channel 2"
    assert "Unexplained, mean over these rows: winner 0.25, before 0.25" in shown["series-1"].caption
    assert ">row 4</text>" in shown["series-1"].svg and ">draw 1</text>" in shown["series-prior-1"].svg
    assert "under the commonest conditions: ward a; ward b; ward a; ward b." in shown["series-prior-1"].caption
    assert render_report(of_series).count("Series and reconstructions") >= 2


def test_a_report_with_series_says_that_it_holds_data(of_series: StudyRecord) -> None:
    prose = " ".join(block.text for block in pictures_section(of_series).blocks if isinstance(block, Prose))
    assert prose.startswith("This report holds data: 4 rows of the test split")
