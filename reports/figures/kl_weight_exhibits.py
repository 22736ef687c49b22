"""Figures over the KL weight: what each value of it does to KL, `unexplained` and active latents."""

import math
from functools import partial

import numpy as np

from klsearch.reports.figures.paint import Band, PointMark, WeightPlot, paint_weights, range_scale
from klsearch.reports.figures.scales import Scale, kl_scale, positive_scale
from klsearch.reports.figures.svg import draw
from klsearch.reports.page import Exhibit, Table
from klsearch.reports.readings.candidates import CandidateRuns
from klsearch.reports.readings.kl_weights import WeighedMeasure, WeighedRuns, kl_weight_of, weighed_measures
from klsearch.reports.readings.trials import Scatter, bin_edges, bin_of, bin_words
from klsearch.reports.wording import number, spread
from klsearch.studies.definitions.space import Range
from klsearch.studies.record import StudyRecord


def kl_weight_exhibits(study: StudyRecord, runs: WeighedRuns) -> tuple[Exhibit, ...]:
    """One figure per measure; for a study that searches the KL weight."""
    return tuple(_exhibit(study, runs, one) for one in weighed_measures(study))


def marks_on_axis(study: StudyRecord, runs: WeighedRuns) -> tuple[tuple[int, CandidateRuns], ...]:
    """The compared candidates whose KL weight the figures' axis holds, each with its place.

    A logarithmic axis is made as long as it takes; on a linear one, a weight far beyond would leave no room.
    """
    space = study.definition.space.searched()["kl_weight"]
    return tuple(
        (place, one)
        for place, one in runs.marks
        if (kl_weight_of(one) > 0 if space.log else space.low <= kl_weight_of(one) <= space.high)
    )


def weight_plot(study: StudyRecord, runs: WeighedRuns, measure: WeighedMeasure) -> WeightPlot:
    """The drawing of one measure."""
    space, band = study.definition.space.searched()["kl_weight"], study.definition.thresholds().kl_band
    points = runs.points(measure.read)
    marks = [
        PointMark(place=place, label=one.label, target="evidence", x=kl_weight_of(one), y=one.median(measure.read))
        for place, one in marks_on_axis(study, runs)
    ]
    weights = [space.low, space.high, *(mark.x for mark in marks)]
    return WeightPlot(
        points=points,
        joined=runs.ladder is not None,
        marks=marks,
        across=range_scale(Range(low=min(weights), high=max(weights), log=space.log)),
        up=_scale(study, measure, np.array([*points.y, *(mark.y for mark in marks)]), band),
        band=band if measure.name == "KL" else None,
        in_band=() if runs.ladder is None else runs.ladder.in_band,
        label=measure.label,
    )


def _exhibit(study: StudyRecord, runs: WeighedRuns, measure: WeighedMeasure) -> Exhibit:
    space, band = study.definition.space.searched()["kl_weight"], study.definition.thresholds().kl_band
    plot, is_kl = weight_plot(study, runs, measure), measure.name == "KL"
    data = _ladder_table(runs, measure) if runs.ladder is not None else _bins_table(space, plot.points, measure)
    parts = data.rows[: len(runs.trials)] if runs.ladder is not None else data.rows
    told = "; ".join(f"{row[0]}: {row[-1]}" for row in parts)
    how = "one training each" if runs.ladder is not None else "median of the trials in each part of its range"
    alternative = f"{measure.label[0].upper()}{measure.label[1:]} by KL weight, {how}: {told}."
    beside = "; ".join(
        f"{one.label} at {number(kl_weight_of(one))}: {number(one.median(measure.read))}" for _, one in runs.marks
    )
    alternative += f" Beside them {beside}." if beside else ""
    alternative += f" The band is {spread(*band)}." if is_kl else ""
    identity = f"kl-weight-{measure.name.lower().replace(' ', '-')}"
    return Exhibit(
        identity=identity,
        title=measure.name,
        caption=_caption(is_kl=is_kl, has_spans=bool(plot.in_band)),
        alternative=alternative,
        svg=draw(identity, alternative, partial(paint_weights, plot=plot)),
        data=data,
    )


def _caption(*, is_kl: bool, has_spans: bool) -> str:
    if is_kl:
        return "The band is shaded."
    return "Shaded: KL weights that put the KL into the band." if has_spans else ""


def _scale(study: StudyRecord, measure: WeighedMeasure, values: np.ndarray, band: Band) -> Scale:
    if measure.name == "KL":
        return kl_scale(values, band)
    if measure.name == "Active latents":
        return Scale(kind="linear", low=0.0, high=1.06 * study.definition.model.latent_dim)
    return positive_scale(values)


def _ladder_table(runs: WeighedRuns, measure: WeighedMeasure) -> Table:
    """A row for each rung by its KL weight, then one for each candidate."""
    rungs = [
        (number(trial.hyperparameters.kl_weight), f"trial {trial.number}", number(measure.read(trial)))
        for trial in runs.trials
    ]
    others = [(number(kl_weight_of(one)), one.label, number(one.median(measure.read))) for _, one in runs.marks]
    return Table(
        caption=f"{measure.name} by KL weight",
        columns=("KL weight", "training", measure.label),
        rows=(*rungs, *others),
        words=(0, 1),
    )


def _bins_table(space: Range, points: Scatter, measure: WeighedMeasure) -> Table:
    edges = bin_edges(space)
    where = bin_of(edges, points.x.tolist())
    rows = []
    for b, part in enumerate(bin_words(space, edges)):
        values = points.y[where == b]
        finite = values[np.isfinite(values)]
        ends = spread(float(finite.min()), float(finite.max())) if finite.size else ""
        rows.append((part, str(len(values)), ends, number(float(np.median(finite)) if finite.size else math.nan)))
    return Table(
        caption=f"{measure.name} by KL weight",
        columns=("KL weight", "trials", "range", f"{measure.label}: median"),
        rows=tuple(rows),
    )
