"""The report's main figures as Matplotlib figures, to be looked at, changed and saved by programs and in notebooks."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from klsearch.reports.figures.kl_weight_exhibits import marks_on_axis, weight_plot
from klsearch.reports.figures.paint import paint_curves, paint_weights
from klsearch.reports.figures.palette import CSS_VARIABLES, line_style
from klsearch.reports.figures.seed_exhibits import paint_seed_plot, seed_plots
from klsearch.reports.figures.svg import STYLE
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.readings.kl_weights import weighed_measures, weighed_runs
from klsearch.reports.readings.models import WATCHED, curve_bands, curve_labels
from klsearch.reports.readings.units import kl_unit
from klsearch.studies.errors import KlsearchError
from klsearch.studies.record import StudyRecord

_PANEL = (4.6, 3.0)  # inches
_GETTERS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")

Paint = Callable[[Axes], None]


class StudyFigure(Figure):
    """A Matplotlib figure that notebooks show, whether or not pyplot is loaded."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def plot_curves(study: StudyRecord) -> Figure:
    """The four watched curves of the winner and the baselines, or of the best trial so far: medians and quartiles.

    KL and reconstruction are those of the validation split; the band is shaded.

    Raises:
        KlsearchError: no trial has finished yet.
    """
    labels = curve_labels(kl_unit(study))
    band = study.definition.thresholds().kl_band
    bands = {curve: found for curve in WATCHED if (found := curve_bands(study, curve))}
    paints: list[Paint] = [
        partial(paint_curves, bands=found, label=labels[curve], band=band if curve == "validation_kl" else None)
        for curve, found in bands.items()
    ]
    if not paints:
        raise KlsearchError(f"study {study.name!r} has no finished training yet, so there are no curves to draw.")
    return _draw(paints, lines=dict(enumerate(one.label for one in compared_candidates(study))))


def plot_kl_weight(study: StudyRecord) -> Figure:
    """KL, `unexplained` and active latents over the KL weight, in the trials or on the ladder, beside the baselines.

    Raises:
        KlsearchError: the study does not search the KL weight, or no trial has finished yet.
    """
    if "kl_weight" not in study.definition.space.searched():
        raise KlsearchError(f"study {study.name!r} does not search the KL weight, so there is nothing to draw over it.")
    if not study.complete:
        raise KlsearchError(f"study {study.name!r} has no finished trial yet, so there is nothing to draw.")
    runs = weighed_runs(study)
    plots = [weight_plot(study, runs, one) for one in weighed_measures(study)]
    marks = {place: one.label for place, one in marks_on_axis(study, runs)}
    return _draw([partial(paint_weights, plot=plot) for plot in plots], marks=marks)


def plot_proof(study: StudyRecord) -> Figure:
    """Final KL and `unexplained` on every fresh seed (validation split): filled where all gates pass; the band shaded.

    Raises:
        KlsearchError: nothing is confirmed yet.
    """
    plots = seed_plots(study)
    if not plots:
        raise KlsearchError(f"study {study.name!r} is not confirmed yet, so there are no fresh seeds to draw.")
    return _draw([partial(paint_seed_plot, plot=plot) for plot in plots])


_NOBODY: Mapping[int, str] = MappingProxyType({})


def _draw(paints: Sequence[Paint], *, lines: Mapping[int, str] = _NOBODY, marks: Mapping[int, str] = _NOBODY) -> Figure:
    """A figure with a panel for each, and a legend of candidates: their labels by the place that gives their style."""
    columns = min(len(paints), 2 if len(paints) == 4 else 3)
    rows = -(-len(paints) // columns)
    with matplotlib.rc_context(STYLE):
        figure = StudyFigure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
        grid = np.atleast_1d(np.array(figure.subplots(rows, columns))).ravel()
        for axes, paint in zip(grid, paints, strict=False):
            paint(axes)
        for axes in grid[len(paints) :]:
            axes.remove()
        handles = [_handle(place, label, is_line=True) for place, label in lines.items()]
        handles += [_handle(place, label, is_line=False) for place, label in marks.items()]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.draw_without_rendering()  # makes the ticks, while the style holds
        for artist in figure.findobj():
            _print_colors(artist)
    return figure


def _handle(place: int, label: str, *, is_line: bool) -> Line2D:
    style = line_style(place)
    handle = Line2D([], [], color=style.color, marker=style.marker, label=label)
    if not is_line:
        handle.set_linestyle("none")
    elif style.dashes:
        handle.set_dashes(style.dashes)
    return handle


def _print_colors(artist: Artist) -> None:
    """Replace the colours that the page's own take the place of by colours on white."""
    for name in _GETTERS:
        get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
        if get is None or put is None:
            continue
        colors = get()
        if isinstance(colors, str) and colors in ("none", "auto"):
            continue
        known = [_printed(color) for color in to_rgba_array(colors)]
        if any(color is not None for color in known):
            given = [old if new is None else new for old, new in zip(to_rgba_array(colors), known, strict=True)]
            put(given if len(given) > 1 else given[0])


@cache
def _light_theme() -> dict[str, str]:
    """The colours of the page on white, which its style sheet declares first, by what takes their place."""
    style = (Path(__file__).parents[1] / "template" / "report.css").read_text(encoding="utf-8")
    return {
        stand_in: found[1]
        for stand_in, variable in CSS_VARIABLES.items()
        if (found := re.search(rf"{variable}: (#[0-9a-f]{{6}});", style))
    }


def _printed(color: Any) -> tuple[float, float, float, float] | None:
    printed = _light_theme().get(to_hex(color))
    return None if printed is None else to_rgba(printed, alpha=float(color[3]))
