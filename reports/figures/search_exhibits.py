"""Figures of the search, each with its caption, its alternative text and the numbers behind it."""

import math
from functools import partial

import numpy as np

from klsearch.reports.figures.paint import (
    Band,
    paint_importance,
    paint_pass_bins,
    paint_progress,
    paint_rate_distortion,
    paint_slice,
)
from klsearch.reports.figures.svg import NAMES, draw
from klsearch.reports.page import Exhibit, Table
from klsearch.reports.readings.candidates import compared_candidates, seeds_words
from klsearch.reports.readings.trials import (
    EndedTrials,
    PassBins,
    Scatter,
    ScoreHistory,
    TrialOutcome,
    bin_edges,
    bin_of,
    bin_words,
    importance,
    pass_bins,
    rate_distortion,
    slice_of,
)
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.wording import count, number, share, spread
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import Summary
from klsearch.vae.diagnostics.gates import wilson_interval


def rate_distortion_exhibit(study: StudyRecord, ended: EndedTrials) -> Exhibit | None:
    """Every trial's KL against what it leaves unexplained; None where all diverged or failed."""
    factor = kl_factor(study)
    points = rate_distortion(ended, factor)
    if not np.any(points.drawable):
        return None
    medians = [
        (factor * one.median(lambda run: run.kl), one.median(lambda run: run.unexplained))
        for one in compared_candidates(study)
    ]
    marks = [mark for mark in medians if all(math.isfinite(value) for value in mark)]
    data = _outcome_table(points, f"KL, {kl_unit(study)}", "unexplained")
    told = "; ".join(
        f"{count(int(str(row[1])), 'trial')} of the outcome '{row[0]}', median KL {row[2]}, unexplained {row[4]}"
        for row in data.rows
    )
    alternative = f"Final KL against unexplained, one point per trial: {told}. The band is {spread(*_band(study))}."
    paint = partial(
        paint_rate_distortion,
        points=points,
        marks=marks,
        band=_band(study),
        label=f"final KL, {kl_unit(study)}",
    )
    seeds = seeds_words(compared_candidates(study))
    over = "" if seeds == "the seeds" else f", over {seeds}"
    return Exhibit(
        identity="rate-distortion",
        title="Rate and distortion",
        caption=f"Lower is better, and the band is shaded. Large markers: the compared candidates' medians{over}.",
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


def importance_exhibit(study: StudyRecord) -> Exhibit | None:
    """Shares of importance; None where they were not computed."""
    shares = importance(study)
    if not shares:
        return None
    alternative = f"Share of importance: {', '.join(f'{name} {value:.2f}' for name, value in shares)}."
    return Exhibit(
        identity="importance-shares",
        title="Importance",
        caption=(
            f"PED-ANOVA over {count(len(study.complete), 'complete trial')}: which hyperparameters tell the best "
            f"trials from the rest, within these ranges. Association, not cause."
        ),
        alternative=alternative,
        svg=draw("importance-shares", alternative, partial(paint_importance, shares=shares), left=NAMES),
        data=Table(
            caption="Share of importance",
            columns=("hyperparameter", "share"),
            rows=tuple((name, number(value)) for name, value in shares),
        ),
    )


def pass_exhibits(study: StudyRecord) -> tuple[Exhibit, ...]:
    """Pass rate over each searched range."""
    return tuple(_pass_exhibit(study, bins) for bins in pass_bins(study))


def _pass_exhibit(study: StudyRecord, bins: PassBins) -> Exhibit:
    space = study.definition.space.searched()[bins.name]
    rows = []
    for part, n, k in zip(bin_words(space, bins.edges), bins.trials, bins.passed, strict=True):
        rate = share(k / n) if n else number(math.nan)
        interval = spread(*wilson_interval(int(k), int(n))) if n else ""
        rows.append((part, str(n), str(k), rate, interval))
    told = "; ".join(f"{row[0]}: {row[2]} of {row[1]}" for row in rows)
    alternative = f"Trials that pass every gate by {bins.name}: {told}."
    identity = f"passes-{bins.name.replace('_', '-')}"
    paint = partial(paint_pass_bins, bins=bins, space=space)
    return Exhibit(
        identity=identity,
        title=bins.name,
        caption="",
        alternative=alternative,
        svg=draw(identity, alternative, paint, height=200),
        data=Table(
            caption=f"Trials that pass every gate, by {bins.name}",
            columns=(bins.name, "trials", "pass", "share", "95 % interval"),
            rows=tuple(rows),
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
