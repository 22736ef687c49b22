"""Figures of the search, each with its caption, its alternative text and the numbers behind it."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from klsearch.reports.figures.paint import (
    Band,
    PointMark,
    edges_in_view,
    paint_effects,
    paint_progress,
    paint_rate_distortion,
    paint_slice,
    paint_surface,
    part_in_view,
    rate_scale,
)
from klsearch.reports.figures.svg import NAMES, draw
from klsearch.reports.page import Exhibit, Table
from klsearch.reports.readings.candidates import compared_candidates, seeds_words
from klsearch.reports.readings.effects import change_words, percent
from klsearch.reports.readings.trials import (
    EndedTrials,
    Scatter,
    ScoreHistory,
    TrialOutcome,
    bin_edges,
    bin_of,
    bin_words,
    rate_distortion,
    settings_of,
    slice_of,
    trial_targets,
)
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.wording import count, number, spread
from klsearch.studies.record import StudyRecord, TrialRecord
from klsearch.studies.response import Change, Effect, Surface
from klsearch.studies.summary import Summary


def rate_distortion_exhibit(study: StudyRecord, ended: EndedTrials) -> Exhibit | None:
    """Every trial's KL against what it leaves unexplained; None where all diverged or failed."""
    factor = kl_factor(study)
    points = rate_distortion(ended, factor)
    if not np.any(points.drawable):
        return None
    medians = [
        PointMark(
            place=place,
            label=one.label,
            target="evidence",
            x=factor * one.median(lambda run: run.kl),
            y=one.median(lambda run: run.unexplained),
        )
        for place, one in enumerate(compared_candidates(study))
    ]
    marks = [mark for mark in medians if math.isfinite(mark.x) and math.isfinite(mark.y)]
    data = _outcome_table(points, f"KL, {kl_unit(study)}", "unexplained")
    told = "; ".join(
        f"{count(int(str(row[1])), 'trial')} of the outcome '{row[0]}', median KL {row[2]}, unexplained {row[4]}"
        for row in data.rows
    )
    alternative = f"Final KL against unexplained, one point per trial: {told}. The band is {spread(*_band(study))}."
    drawn = [run for run in study.closing if math.isfinite(run.kl)]
    line = [(factor * run.kl, run.unexplained) for run in drawn]
    if line:
        ends = zip(drawn, line, strict=True)
        at = "; ".join(f"{number(run.hyperparameters.kl_weight)}: KL {number(x)}, {number(y)}" for run, (x, y) in ends)
        alternative += f" The line, by KL weight: {at}."
    band = _band(study)
    paint = partial(
        paint_rate_distortion,
        points=points,
        marks=marks,
        line=line,
        band=band,
        label=f"final KL, {kl_unit(study)}",
    )
    is_seen = part_in_view(band, rate_scale(points, marks, line)) is not None
    shaded = "the band is shaded" if is_seen else f"the band, {spread(*band)}, is out of view"
    seeds = seeds_words(compared_candidates(study))
    over = "" if seeds == "the seeds" else f", over {seeds}"
    return Exhibit(
        identity="rate-distortion",
        title="Rate and distortion",
        caption=f"Lower is better, and {shaded}. Large markers: the compared candidates' medians{over}."
        + (
            " The line: the winner's other settings over the range of the KL weight, one training each." if line else ""
        ),
        alternative=alternative,
        svg=draw("rate-distortion", alternative, paint),
        data=data,
    )


def _band(study: StudyRecord) -> Band:
    return study.definition.thresholds().kl_band


def _outcome_table(points: Scatter, x: str, y: str) -> Table:
    rows = []
    for outcome in TrialOutcome:
        where = points.where(outcome)
        if np.any(where):
            cells = (cell for values in (points.x[where], points.y[where]) for cell in _median_and_range(values))
            rows.append((str(outcome), str(int(np.sum(where))), *cells))
    columns = ("outcome", "trials", f"{x}: median", "range", f"{y}: median", "range")
    return Table(caption="Trials by outcome; each one is in the table of all trials", columns=columns, rows=tuple(rows))


def _median_and_range(values: np.ndarray) -> tuple[str, str]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return number(math.nan), ""
    return number(float(np.median(finite))), spread(float(finite.min()), float(finite.max()))


def effect_exhibits(effects: Sequence[Effect]) -> tuple[Exhibit, Exhibit]:
    """What each hyperparameter does to `unexplained` and to the KL over its range, in one order."""
    return (
        _effect_exhibit("unexplained", [(one.name, one.unexplained) for one in effects]),
        _effect_exhibit("KL", [(one.name, one.kl) for one in effects]),
    )


def _effect_exhibit(measure: str, changes: Sequence[tuple[str, Change]]) -> Exhibit:
    told = "; ".join(f"{name}: {change_words(change)}" for name, change in changes)
    alternative = f"Change of {measure} over each range: {told}."
    identity = f"effects-{measure.lower()}"
    return Exhibit(
        identity=identity,
        title=f"What changes {measure}" if measure != "KL" else "What changes the KL",
        caption="Bars: expected change. Lines: 95 % intervals. Grey: no effect seen.",
        alternative=alternative,
        svg=draw(identity, alternative, partial(paint_effects, effects=changes), left=NAMES),
        data=Table(
            caption=f"Change of {measure} over each range, the others as the leading setting has them",
            columns=("hyperparameter", "change", "95 % interval", "reading"),
            rows=tuple(
                (name, percent(change.share), f"{percent(change.low)} to {percent(change.high)}", change_words(change))
                for name, change in changes
            ),
            words=(0, 3),
        ),
    )


_SHOWN = 5  # rows and columns of the table behind a surface


def surface_exhibit(study: StudyRecord, best: TrialRecord, surface: Surface, ended: EndedTrials) -> Exhibit:
    """What is expected of `unexplained` and the KL over the two hyperparameters that matter most."""
    (first, second), space = surface.names, study.definition.space.searched()
    at, settings = np.unravel_index(np.argmin(surface.unexplained), surface.unexplained.shape), best.hyperparameters
    least = f"{number(float(surface.unexplained[at]))} at {first} {number(float(surface.across[at[1]]))}"
    least += f" and {second} {number(float(surface.up[at[0]]))}"
    alternative = f"Expected unexplained over {first} and {second}: least {least}, most "
    alternative += f"{number(float(surface.unexplained.max()))}. Expected KL, {kl_unit(study)}: "
    alternative += f"{spread(float(surface.kl.min()), float(surface.kl.max()))}; the band is {spread(*_band(study))}."
    winner = PointMark(
        place=0,
        label=f"trial {best.number}",
        target=trial_targets(study, (best,))[0],
        x=float(getattr(settings, first)),
        y=float(getattr(settings, second)),
    )
    paint = partial(
        paint_surface,
        surface=surface,
        points=settings_of(ended, surface.names),
        ranges=(space[first], space[second]),
        band=_band(study),
        winner=winner,
    )
    shown = np.linspace(0, len(surface.across) - 1, _SHOWN).round().astype(int)
    return Exhibit(
        identity="surface",
        title=f"{first} and {second} together",
        caption=(
            f"Lines: expected unexplained, the more the stronger the shade, all else as trial {best.number} (large "
            "marker) has it." + (" Dashed: the edge of the band." if edges_in_view(surface, _band(study)) else "")
        ),
        alternative=alternative,
        svg=draw("surface", alternative, paint, height=300),
        data=Table(
            caption=f"Expected unexplained; across: {first}",
            columns=(second, *(number(float(surface.across[column])) for column in shown)),
            rows=tuple(
                (
                    number(float(surface.up[row])),
                    *(number(float(surface.unexplained[row, column])) for column in shown),
                )
                for row in shown
            ),
        ),
    )


def slice_exhibits(study: StudyRecord, summary: Summary, ended: EndedTrials) -> tuple[Exhibit, ...]:
    """Score over each searched range."""
    return tuple(_slice_exhibit(study, summary, ended, name) for name in study.definition.space.searched())


def _slice_exhibit(study: StudyRecord, summary: Summary, ended: EndedTrials, name: str) -> Exhibit:
    points, space = slice_of(ended, name), study.definition.space.searched()[name]
    chosen = None if summary.best is None else float(getattr(summary.best.hyperparameters, name))
    edges = bin_edges(space)
    where = bin_of(edges, points.x.tolist())
    comparable = np.isfinite(points.y) & ~points.where(TrialOutcome.PRUNED)
    rows = []
    for b, part in enumerate(bin_words(space, edges)):
        scores = points.y[(where == b) & comparable]
        told = (number(float(np.min(scores))), number(float(np.median(scores)))) if scores.size else (number(None),) * 2
        rows.append((part, str(int(np.sum(where == b))), *told))
    alternative = (
        f"Score by {name}, best in each part of the range: {'; '.join(f'{row[0]}: {row[2]}' for row in rows)}."
    )
    if chosen is not None:
        alternative += f" The line marks {number(chosen)}."
    identity = f"slice-{name.replace('_', '-')}"
    return Exhibit(
        identity=identity,
        title=name,
        caption="",
        alternative=alternative,
        svg=draw(
            identity,
            alternative,
            partial(paint_slice, name=name, points=points, space=space, winner=chosen),
            height=220,
        ),
        data=Table(
            caption=f"Score by {name}",
            columns=(name, "trials", "best score", "median score"),
            rows=tuple(rows),
        ),
    )


def progress_exhibit(search: ScoreHistory) -> Exhibit:
    """The search as it went."""
    finite = np.isfinite(search.best)
    if np.any(finite):
        first, last = search.best[finite][0], search.best[finite][-1]
        told = f"the best feasible score falls from {number(float(first))} to {number(float(last))}"
    else:
        told = "no trial is feasible"
    alternative = f"Score of {count(len(search.points.x), 'finished trial')} in the order of the search: {told}."
    return Exhibit(
        identity="progress",
        title="Score as the search went",
        caption="One point per trial. The line is the best score so far among feasible trials.",
        alternative=alternative,
        svg=draw("progress", alternative, partial(paint_progress, search=search)),
        data=_progress_table(search),
    )


def _progress_table(search: ScoreHistory) -> Table:
    """The trials at which the best score fell."""
    previous = np.concatenate([[math.inf], search.best[:-1]])
    improved = np.isfinite(search.best) & ~(search.best >= previous)
    rows = tuple(
        (f"{trial:.0f}", number(float(best)))
        for trial, best in zip(search.points.x[improved], search.best[improved], strict=True)
    )
    return Table(caption="Trials that improved the best feasible score", columns=("trial", "best score"), rows=rows)
