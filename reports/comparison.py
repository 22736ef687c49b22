"""Two studies side by side: what differs between them, where their winners ended, and whether that is a difference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.banner import as_of, partial_notice
from reports.candidates import Candidate, compared
from reports.dynamics import curve_exhibits, mean_mismatch
from reports.evidence import direction, kl_unit
from reports.figure_data import WATCHED, curve_band, kl_factor
from reports.legends import named_lines
from reports.parts import Banner, Block, Gallery, Page, Prose, Section, Table, Tile, Tone
from reports.settings import setting
from reports.wording import NOTHING, count, duration, number, spread
from studies.record import ConfirmationRun, StudyRecord, TrainingRun
from studies.summary import Difference, Summary, paired_difference, runs_of, summarize
from vae.hyperparameters import NAMES
from vae.measures import Measures


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
    leader: Candidate | None
    runs: tuple[ConfirmationRun, ...]


_Sides = tuple[_Side, _Side]


def comparison_page(first: StudyRecord, second: StudyRecord) -> Page:
    """What the comparison of two studies says, without a line of HTML."""
    suffixes = (" (A)", " (B)") if first.name == second.name else ("", "")
    sides = (_side(first, suffixes[0]), _side(second, suffixes[1]))
    return Page(
        kind="comparison · studies",
        study=" and ".join(side.label for side in sides),
        banner=_banner(sides),
        sections=(
            Section(identity="differences", title="What differs?", blocks=_difference_blocks(sides)),
            Section(identity="verdicts", title="Where did they end?", blocks=_verdict_blocks(sides)),
            Section(identity="paired", title="Is that a difference?", blocks=_paired_blocks(sides)),
            Section(identity="curves", title="What did the KL do?", blocks=_curve_blocks(sides)),
            Section(identity="settings", title="Which settings?", blocks=_settings_blocks(sides)),
        ),
        as_of=max(as_of(side.study) for side in sides),
    )


def _side(study: StudyRecord, suffix: str) -> _Side:
    return _Side(
        label=f"{study.name}{suffix}",
        study=study,
        summary=summarize(study),
        leader=next(iter(compared(study)), None),
        runs=runs_of(study, "winner"),
    )


def _banner(sides: _Sides) -> Banner:
    word, tone, sentence = _conclusion(sides)
    partial = " ".join(f"{side.label}: {notice}" for side in sides if (notice := partial_notice(side.study)))
    tiles = tuple(
        Tile(label=side.label, value=str(side.summary.verdict), detail=side.summary.sentence) for side in sides
    )
    return Banner(word=word, tone=tone, sentence=sentence, tiles=tiles, partial=partial)


def _conclusion(sides: _Sides) -> tuple[str, Tone, str]:
    """Which winner reconstructs better, if that can be told; what it rests on."""
    if why := _not_comparable(sides):
        return "Not comparable", "caution", why
    found = _difference(sides, lambda measures: measures.unexplained)
    names = [side.label for side in sides]
    told = (
        f"unexplained on the test split, {names[0]} less {names[1]}: {number(found.mean)} (95 % "
        f"{spread(found.low, found.high)}, {count(found.pairs, 'pair')} of seeds). Verdicts: "
        f"{'; '.join(f'{side.label} {side.summary.verdict}' for side in sides)}."
    )
    if found.low <= 0 <= found.high:
        return "No difference in reconstruction can be told", "plain", f"The winners' {told}"
    better = sides[0] if found.high < 0 else sides[1]
    return f"{better.label} reconstructs better", "plain", f"The winners' {told}"


def _not_comparable(sides: _Sides) -> str:
    """Why the winners' measures are not to be compared; empty where they are."""
    data = [side.study.data for side in sides]
    if None in data or len({facts.fingerprint for facts in data if facts is not None}) > 1:
        return "The studies hold out other rows or scale them otherwise, so their measures are not comparable."
    if not all(side.runs for side in sides):
        waiting = " and ".join(side.label for side in sides if not side.runs)
        return f"No winner of {waiting} is confirmed yet, so there are no fresh seeds to compare."
    if _difference(sides, lambda measures: measures.kl).pairs < 2:
        return "The winners were not confirmed on at least two seeds in common."
    return ""


def _difference(sides: _Sides, read: Callable[[Measures], float]) -> Difference:
    """First less second in one number of the winners on the test split, paired by seed."""
    first, second = ({run.seed: read(run.test) for run in side.runs if run.test is not None} for side in sides)
    return paired_difference(first, second)


def _difference_blocks(sides: _Sides) -> tuple[Block, ...]:
    first, second = (_facts(side.study) for side in sides)
    rows = tuple(
        (*key, first.get(key, NOTHING), second.get(key, NOTHING))
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    )
    if not rows:
        return (Prose(text="Nothing: both have the same definition, data, versions and machine."),)
    columns = ("table", "key", *(side.label for side in sides))
    caption = "Where definitions, data and machines differ"
    return (Table(caption=caption, columns=columns, rows=rows, words=(0, 1, 2, 3)),)


def _facts(study: StudyRecord) -> dict[tuple[str, str], str]:
    """All that was asked and where it ran, as texts by table and key; the name is left out."""
    asked = study.definition.model_dump()
    asked["study"].pop("name")
    ran = {"trained together": str(study.slots), **study.provenance}
    if study.data is not None:
        ran |= {"data fingerprint": study.data.fingerprint, "scaling": study.data.scaling}
    return {**_flat(asked), **{("as run", name): value for name, value in ran.items()}}


def _flat(values: Mapping[str, Any], table: str = "") -> dict[tuple[str, str], str]:
    """Nested tables as texts by table and key; what is None is left out.

    >>> _flat({"space": {"l2": {"low": 1e-6, "log": True}, "clip_low": None}})
    {('space.l2', 'low'): '1e-06', ('space.l2', 'log'): 'true'}
    """
    found: dict[tuple[str, str], str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{table}.{name}".lstrip("."))
        elif value is not None:
            found[table, name] = _shown(value)
    return found


def _shown(value: Any) -> str:
    """A value of a definition as it is, to the last digit."""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def _verdict_blocks(sides: _Sides) -> tuple[Block, ...]:
    rows = [("verdict", *(str(side.summary.verdict) for side in sides))]
    rows += [(name, *(read(side) for side in sides)) for name, read in _VERDICT_ROWS]
    return (
        Table(
            caption="Verdicts and winners; medians over the confirmation seeds where there are any",
            columns=("measure", *(side.label for side in sides)),
            rows=tuple(rows),
            words=(0, 1, 2),
        ),
    )


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
        return number(float(np.median(values))) if values else NOTHING

    return median


_VERDICT_ROWS: tuple[tuple[str, Callable[[_Side], str]], ...] = (
    ("leading trial", lambda side: NOTHING if side.leader is None else side.leader.label),
    ("seeds that pass every gate", _passes),
    ("final KL, validation, nats per latent", _median(lambda run: run.kl)),
    ("unexplained, validation", _median(lambda run: run.unexplained)),
    ("KL, test, nats per latent", _on_test(lambda measures: measures.kl)),
    ("unexplained, test", _on_test(lambda measures: measures.unexplained)),
    ("active latents, test", _on_test(lambda measures: measures.active_units)),
    ("prior mismatch, test, nats per latent", _on_test(mean_mismatch)),
    ("trials finished", lambda side: f"{len(side.study.counted)} of {side.study.definition.study.trials}"),
    ("feasible trials", lambda side: str(sum(trial.feasible for trial in side.study.finished))),
    ("score of the leading trial", lambda side: number(None if side.summary.best is None else side.summary.best.score)),
    (
        "training time of the trials",
        lambda side: duration(float(np.nansum([trial.seconds for trial in side.study.trials]))),
    ),
)


def _paired_blocks(sides: _Sides) -> tuple[Block, ...]:
    if why := _not_comparable(sides):
        return (Prose(text=why, tone="caution"),)
    rows = []
    for name, read in _PAIRED_ROWS:
        found = _difference(sides, read)
        rows.append((name, number(found.mean), spread(found.low, found.high), str(found.pairs), direction(found)))
    first, second = (side.label for side in sides)
    text = (
        "Paired by seed: the same seed gives the same order of rows and the same noise. The intervals are Student's t "
        "over the seeds; they speak of training noise, not of sampling the data."
    )
    table = Table(
        caption=f"{first} less {second}, the winners on the test split",
        columns=("measure", "difference", "95 % interval", "seeds", f"{first} is"),
        rows=tuple(rows),
        words=(0, 4),
    )
    return table, Prose(text=text)


_PAIRED_ROWS: tuple[tuple[str, Callable[[Measures], float]], ...] = (
    ("KL, nats per latent", lambda measures: measures.kl),
    ("unexplained", lambda measures: measures.unexplained),
    ("active latents", lambda measures: measures.active_units),
    ("prior mismatch, nats per latent", mean_mismatch),
)


def _curve_blocks(sides: _Sides) -> tuple[Block, ...]:
    leaders = [
        replace(side.leader, label=f"{side.label}: {side.leader.label}") for side in sides if side.leader is not None
    ]
    if not leaders:
        return (Prose(text="No trial has finished, so there are no curves to show yet."),)
    asked = [side.study.definition for side in sides]
    same_unit = len({one.study.kl_reduction for one in asked}) == 1
    bands = {}
    for curve in WATCHED:
        factor = kl_factor(sides[0].study) if same_unit and curve == "validation_kl" else 1.0
        found = (curve_band(leader, curve, factor) for leader in leaders)
        bands[curve] = tuple(band for band in found if band is not None)
    same_band = len({one.thresholds().kl_band for one in asked}) == 1
    exhibits = curve_exhibits(
        bands,
        unit=kl_unit(sides[0].study) if same_unit else "nats per latent",
        shade=asked[0].thresholds().kl_band if same_unit and same_band else None,
        loss=" or ".join(dict.fromkeys(one.model.reconstruction_reduction for one in asked)),
    )
    return (Gallery(exhibits=exhibits, legend=named_lines([leader.label for leader in leaders])),)


def _settings_blocks(sides: _Sides) -> tuple[Block, ...]:
    with_best = [(side, side.summary.best) for side in sides if side.summary.best is not None]
    if not with_best:
        return (Prose(text="No trial has finished, so there are no settings to show yet."),)
    rows = [
        (name, *(setting(name, getattr(best.hyperparameters, name)) for _, best in with_best))
        for name in NAMES
        if name != "clipnorm" or any(np.isfinite(best.hyperparameters.clipnorm) for _, best in with_best)
    ]
    columns = ("hyperparameter", *(f"{side.label}: trial {best.number}" for side, best in with_best))
    return (Table(caption="Settings of the leading trials", columns=columns, rows=tuple(rows)),)
