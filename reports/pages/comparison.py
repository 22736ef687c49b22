"""Two studies side by side: what differs between them, where their winners ended, and whether that is a difference."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from klsearch.reports.figures.legends import named_lines
from klsearch.reports.page import Banner, Block, Gallery, Page, Prose, Section, Table, Tile, Tone
from klsearch.reports.paths import without_folders, without_paths
from klsearch.reports.readings.candidates import CandidateRuns, compared_candidates
from klsearch.reports.readings.differences import direction
from klsearch.reports.readings.models import WATCHED, curve_band
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.sections.banner import as_of, partial_notice
from klsearch.reports.sections.models.dynamics import curve_exhibits
from klsearch.reports.wording import NOTHING, count, duration, number, setting, within
from klsearch.studies.record import ConfirmationRun, StudyRecord, TrainingRun
from klsearch.studies.summary import Summary, summarize
from klsearch.studies.verdict.candidates import runs_of
from klsearch.studies.verdict.comparison import COMPARED, Comparison, compare_studies
from klsearch.studies.verdict.differences import Difference
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import shown_names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One of the two studies.

    Attributes:
        label: its name, with a letter where both have the same.
        study: its records.
        summary: what it says of itself.
        leader: its winner, or its best trial so far; None without a finished trial.
        runs: the winner's confirmation runs.
    """

    label: str
    study: StudyRecord
    summary: Summary
    leader: CandidateRuns | None
    runs: tuple[ConfirmationRun, ...]


_Sides = tuple[_Side, _Side]


def comparison_page(first: StudyRecord, second: StudyRecord) -> Page:
    """The content of a comparison of two studies, without a line of HTML."""
    comparison = compare_studies(first, second)  # before paths are cut, behind which they may differ
    sides = (
        _side(without_paths(first), comparison.studies[0]),
        _side(without_paths(second), comparison.studies[1]),
    )
    return Page(
        kind="comparison · studies",
        study=" and ".join(side.label for side in sides),
        banner=_banner(comparison, sides),
        sections=(
            Section(identity="differences", title="What differs?", blocks=_difference_blocks(comparison)),
            Section(identity="verdicts", title="Where did they end?", blocks=_verdict_blocks(sides)),
            Section(identity="paired", title="Is that a difference?", blocks=_paired_blocks(comparison, sides)),
            Section(identity="curves", title="What did the KL do?", blocks=_curve_blocks(sides)),
            Section(identity="settings", title="Which settings?", blocks=_settings_blocks(sides)),
        ),
        as_of=max(as_of(side.study) for side in sides),
    )


def _side(study: StudyRecord, label: str) -> _Side:
    return _Side(
        label=label,
        study=study,
        summary=summarize(study),
        leader=next(iter(compared_candidates(study)), None),
        runs=runs_of(study, "winner"),
    )


def _banner(comparison: Comparison, sides: _Sides) -> Banner:
    word, tone, sentence = _conclusion(comparison, sides)
    partial = " ".join(f"{side.label}: {notice}" for side in sides if (notice := partial_notice(side.study)))
    tiles = tuple(Tile(label=side.label, value=str(side.summary.verdict), detail=side.summary.why) for side in sides)
    return Banner(word=word, tone=tone, sentence=sentence, tiles=tiles, partial=partial)


def _conclusion(comparison: Comparison, sides: _Sides) -> tuple[str, Tone, str]:
    """The conclusion: the winner that reconstructs better, if that can be told, and what it rests on."""
    if comparison.obstacle:
        return "Not comparable", "caution", comparison.obstacle
    found, (first, second) = comparison.found["unexplained"], comparison.studies
    seeds = "seeds do not pair" if comparison.unlike else f"{count(found.pairs, 'pair')} of seeds"
    left_out = found.left_out_words(first, second)
    seeds += f"; {left_out}" if left_out else ""
    mean, interval = within(found.mean, found.low, found.high)
    sentence = (
        f"The winners' unexplained on the test split, {first} less {second}: {mean} (95 % {interval}, {seeds}). "
        f"Verdicts: {'; '.join(f'{side.label} {side.summary.verdict}' for side in sides)}."
    )
    if comparison.better is None:
        return "No clear difference in reconstruction", "plain", sentence
    return f"{comparison.better} reconstructs better", "plain", sentence


def _difference_blocks(comparison: Comparison) -> tuple[Block, ...]:
    if not comparison.differing:
        return (Prose(text="Nothing: both have the same definition, data, versions and machine."),)
    return (
        Table(
            caption="Where definitions, data and machines differ",
            columns=("table", "key", *comparison.studies),
            rows=tuple((*key, *_format_both(values)) for key, values in comparison.differing.items()),
            words=(0, 1, 2, 3),
        ),
    )


def _format_both(values: tuple[Any, Any]) -> tuple[str, str]:
    """Both values without the folders of absolute paths; where those are all that differs, it says so."""
    first, second = (without_folders(_format_value(value)) for value in values)
    return (first, second) if first != second else (first, f"{second} (of another folder)")


def _format_value(value: Any) -> str:
    """A value of a definition as it is, to the last digit."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_format_value, value)) if isinstance(value, tuple) else str(value)


def _verdict_blocks(sides: _Sides) -> tuple[Block, ...]:
    rows = [("verdict", *(str(side.summary.verdict) for side in sides))]
    rows += [(name, *(read(side) for side in sides)) for name, read in _VERDICT_ROWS]
    return (
        Table(
            caption=f"Verdicts and winners; medians over the {_SEEDS_WORDS[_some_diverged(sides)]} where there are any",
            columns=("measure", *(side.label for side in sides)),
            rows=tuple(rows),
            words=(0, 1, 2),
        ),
    )


_SEEDS_WORDS = {False: "confirmation seeds", True: "confirmation seeds that did not diverge"}


def _some_diverged(sides: _Sides) -> bool:
    return any(side.leader is not None and side.leader.diverged > 0 for side in sides)


def _passes(side: _Side) -> str:
    if not side.summary.seeds:
        return "not confirmed"
    low, high = side.summary.interval
    return f"{side.summary.passed} of {side.summary.seeds} (95 % {low:.2f} to {high:.2f})"


def _median(read: Callable[[TrainingRun], float]) -> Callable[[_Side], str]:
    return lambda side: number(None if side.leader is None else side.leader.median(read))


def _on_test(read: Callable[[Measures], float]) -> Callable[[_Side], str]:
    def median(side: _Side) -> str:
        values = [read(run.test) for run in side.runs if run.test is not None]
        finite = [value for value in values if math.isfinite(value)]
        return number(float(np.median(finite))) if finite else NOTHING

    return median


_VERDICT_ROWS: tuple[tuple[str, Callable[[_Side], str]], ...] = (
    ("leading trial", lambda side: NOTHING if side.leader is None else side.leader.label),
    ("seeds that pass every gate", _passes),
    ("final KL, validation, nats per latent", _median(lambda run: run.kl)),
    ("unexplained, validation", _median(lambda run: run.unexplained)),
    ("KL, test, nats per latent", _on_test(COMPARED["kl"])),
    ("unexplained, test", _on_test(COMPARED["unexplained"])),
    ("active latents, test", _on_test(COMPARED["active_units"])),
    ("prior mismatch, test, nats per latent", _on_test(COMPARED["prior_mismatch"])),
    ("trials finished", lambda side: f"{len(side.study.counted)} of {side.study.definition.study.trials}"),
    ("feasible trials", lambda side: str(sum(trial.feasible for trial in side.study.finished))),
    ("score of the leading trial", lambda side: number(None if side.summary.best is None else side.summary.best.score)),
    (
        "training time of the trials",
        lambda side: duration(float(np.nansum([trial.seconds for trial in side.study.trials]))),
    ),
)


def _paired_blocks(comparison: Comparison, sides: _Sides) -> tuple[Block, ...]:
    if comparison.obstacle:
        return (Prose(text=comparison.obstacle, tone="caution"),)
    first, second = comparison.studies
    rows = (
        (_PAIRED[name], *within(found.mean, found.low, found.high), _seeds(found, sides), direction(found))
        for name, found in comparison.found.items()
    )
    interval = "Student's t over the seeds"
    text = "Paired by seed: the same seed gives the same order of rows and the same noise."
    if comparison.unlike:
        interval = "Welch's for two means"
        text = (
            f"Not paired by seed: {comparison.unlike}, so the same seed does not give the same noise. The difference "
            f"is that of the means over each side's own seeds."
        )
    left_out = comparison.found["unexplained"].left_out_words(first, second)
    text += f" Seeds are {left_out}." if left_out else ""
    text += f" The intervals are {interval}; they speak of training noise, not of sampling the data."
    table = Table(
        caption=f"{first} less {second}, the winners on the test split",
        columns=("measure", "difference", "95 % interval", "seeds", f"{first} is"),
        rows=tuple(rows),
        words=(0, 4),
    )
    return table, Prose(text=text)


def _seeds(found: Difference, sides: _Sides) -> str:
    """The number of seeds that a difference rests on: pairs, or those of either side."""
    if found.pairs:
        return str(found.pairs)
    return " and ".join(str(sum(run.test is not None for run in side.runs)) for side in sides)


_PAIRED = {
    "kl": "KL, nats per latent",
    "unexplained": "unexplained",
    "active_units": "active latents",
    "prior_mismatch": "prior mismatch, nats per latent",
}


def _curve_blocks(sides: _Sides) -> tuple[Block, ...]:
    leaders = {
        side: replace(side.leader, label=f"{side.label}: {side.leader.label}")
        for side in sides
        if side.leader is not None
    }
    if not leaders:
        return (Prose(text="No trial has finished, so there are no curves to show yet."),)
    asked = [side.study.definition for side in sides]
    same_unit = len({one.study.kl_reduction for one in asked}) == 1
    bands = {}
    for curve in WATCHED:
        banded = same_unit and curve == "validation_kl"
        # Each by its own: the studies may differ in the number of latents that a sum adds up.
        found = (
            curve_band(leader, curve, kl_factor(side.study) if banded else 1.0) for side, leader in leaders.items()
        )
        bands[curve] = tuple(band for band in found if band is not None)
    same_band = len({one.thresholds().kl_band for one in asked}) == 1
    exhibits = curve_exhibits(
        bands,
        unit=kl_unit(sides[0].study) if same_unit else "nats per latent",
        shade=asked[0].thresholds().kl_band if same_unit and same_band else None,
        loss=" or ".join(dict.fromkeys(one.model.reconstruction_reduction for one in asked)),
    )
    return (Gallery(exhibits=exhibits, legend=named_lines([leader.label for leader in leaders.values()])),)


def _settings_blocks(sides: _Sides) -> tuple[Block, ...]:
    with_best = [(side, side.summary.best) for side in sides if side.summary.best is not None]
    if not with_best:
        return (Prose(text="No trial has finished, so there are no settings to show yet."),)
    rows = [
        (name, *(setting(name, getattr(best.hyperparameters, name)) for _, best in with_best))
        for name in shown_names(best.hyperparameters for _, best in with_best)
    ]
    columns = ("hyperparameter", *(f"{side.label}: trial {best.number}" for side, best in with_best))
    return (Table(caption="Settings of the leading trials", columns=columns, rows=tuple(rows)),)
