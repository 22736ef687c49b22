"""The figures that programs get."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from klsearch.reports.figures.plots import plot_curves, plot_kl_weight, plot_proof
from klsearch.reports.readings.models import curve_bands, seed_strips
from klsearch.studies.errors import KlsearchError
from klsearch.studies.record import StudyRecord

PLOTS: dict[str, Callable[[StudyRecord], Figure]] = {
    "curves": plot_curves,
    "KL weight": plot_kl_weight,
    "proof": plot_proof,
}


def test_curves_are_those_of_the_report_one_line_for_each_candidate(study: StudyRecord) -> None:
    figure = plot_curves(study)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["KL, nats per latent", "reconstruction error", "KL weight", "training loss"]
    # A line of two ends marks where the axis turns logarithmic.
    drawn = {tuple(y) for line in figure.axes[0].lines if len(y := np.asarray(line.get_ydata())) > 2}
    assert drawn == {tuple(band.median) for band in curve_bands(study, "validation_kl")}
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(drawn)


def test_every_fresh_seed_is_a_point_of_the_proof(study: StudyRecord) -> None:
    figure = plot_proof(study)
    for axes, name in zip(figure.axes, ("kl", "unexplained"), strict=True):
        drawn = [one for one in axes.collections if isinstance(one, PathCollection)]
        points = sorted(float(value) for one in drawn for value in np.asarray(one.get_offsets())[:, 0])
        expected = sorted(value for strip in seed_strips(study) for value in getattr(strip, name))
        assert points == pytest.approx([value for value in expected if np.isfinite(value)])


def test_the_kl_weight_is_drawn_against_kl_reconstruction_and_active_latents(study: StudyRecord) -> None:
    figure = plot_kl_weight(study)
    assert [axes.get_xlabel() for axes in figure.axes] == ["KL weight"] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", PLOTS)
def test_a_figure_is_in_colours_on_white_can_be_saved_and_leaves_matplotlib_as_it_was(
    name: str, study: StudyRecord, tmp_path: Path
) -> None:
    before = dict(matplotlib.rcParams)
    figure = PLOTS[name](study)
    figure.savefig(tmp_path / "figure.svg")
    figure.savefig(tmp_path / "figure.png")
    assert dict(matplotlib.rcParams) == before
    text = (tmp_path / "figure.svg").read_text()
    assert "#0067a8" in text, "the winner's colour"
    assert not [stand_in for stand_in in ("#0505", "#010101", "#020202", "#030303", "#040404") if stand_in in text]


@pytest.mark.parametrize("name", PLOTS)
def test_a_notebook_shows_it(name: str, study: StudyRecord) -> None:
    assert PLOTS[name](study)._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PLOTS)
def test_where_there_is_nothing_to_draw_one_line_says_why(name: str, study: StudyRecord) -> None:
    empty = replace(study, trials=(), confirmation=(), race=(), closing=(), winner=None)
    with pytest.raises(KlsearchError, match=f"study '{study.name}' (has|is) no"):
        PLOTS[name](empty)
