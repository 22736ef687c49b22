"""Every fresh seed as a marker, by candidate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from klsearch.reports.figures.paint import Band, paint_seeds, shade_band
from klsearch.reports.figures.scales import Scale, kl_scale, positive_scale
from klsearch.reports.figures.svg import NAMES, draw
from klsearch.reports.page import Exhibit, Table
from klsearch.reports.readings.candidates import seeds_words
from klsearch.reports.readings.models import SeedStrip, seed_strips
from klsearch.reports.readings.units import kl_unit
from klsearch.reports.wording import capitalized, number
from klsearch.studies.record import StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeedPlot:
    """What is drawn of one measure on every seed.

    Attributes:
        identity: of the figure.
        label: the measure with its unit.
        strips: the candidates.
        values: of the seeds of each.
        scale: the axis.
        band: of values to shade; None for a measure without one.
    """

    identity: str
    label: str
    strips: tuple[SeedStrip, ...]
    values: Sequence[np.ndarray]
    scale: Scale
    band: Band | None = None


def seed_plots(study: StudyRecord) -> tuple[SeedPlot, ...]:
    """Final KL and `unexplained` on the validation split; nothing before anything is confirmed."""
    strips, band = seed_strips(study), study.definition.thresholds().kl_band
    if not strips:
        return ()
    kl, unexplained = [strip.kl for strip in strips], [strip.unexplained for strip in strips]
    return (
        SeedPlot(
            identity="seeds-kl",
            label=f"final KL, {kl_unit(study)}",
            strips=strips,
            values=kl,
            scale=kl_scale(np.concatenate(kl), band),
            band=band,
        ),
        SeedPlot(
            identity="seeds-unexplained",
            label="unexplained",
            strips=strips,
            values=unexplained,
            scale=positive_scale(np.concatenate(unexplained)),
        ),
    )


def paint_seed_plot(axes: Axes, plot: SeedPlot) -> None:
    """One row per candidate, one marker per seed; the band shaded where there is one."""
    if plot.band is not None:
        shade_band(axes, plot.band)
    paint_seeds(axes, plot.strips, plot.values, plot.label, plot.scale)


def seed_exhibits(study: StudyRecord) -> tuple[Exhibit, ...]:
    """One figure per measure."""
    return tuple(_exhibit(plot) for plot in seed_plots(study))


def _exhibit(plot: SeedPlot) -> Exhibit:
    data = _table(plot)
    told = "; ".join(f"{row[0]} {row[2]} ({row[3]} to {row[4]}), {row[5]} pass" for row in data.rows)
    over = seeds_words([strip.candidate for strip in plot.strips]).removeprefix("the ")
    alternative = f"{plot.label} by candidate, median (lowest to highest) over {over}: {told}."
    return Exhibit(
        identity=plot.identity,
        title=f"{capitalized(plot.label)}: every seed",
        caption=f"One marker per seed, on the validation split{', the band shaded' if plot.band else ''}.",
        alternative=alternative,
        svg=draw(
            plot.identity,
            alternative,
            partial(paint_seed_plot, plot=plot),
            height=52 + 34 * len(plot.strips),
            left=NAMES,
        ),
        data=data,
    )


def _table(plot: SeedPlot) -> Table:
    rows = []
    for strip, numbers in zip(plot.strips, plot.values, strict=True):
        finite = numbers[np.isfinite(numbers)]
        told = (np.median(finite), np.min(finite), np.max(finite)) if finite.size else (math.nan,) * 3
        passed = f"{int(np.sum(strip.passed))} of {len(strip.passed)}"
        rows.append((strip.candidate.label, str(len(numbers)), *(number(float(one)) for one in told), passed))
    columns = ("candidate", "seeds", "median", "lowest", "highest", "pass every gate")
    over = seeds_words([strip.candidate for strip in plot.strips])
    return Table(
        caption=f"{plot.label}, by candidate{'' if over == 'the seeds' else f', over {over}'}",
        columns=columns,
        rows=tuple(rows),
    )
