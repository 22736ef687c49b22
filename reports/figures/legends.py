"""Legends in the page's own text, so that they wrap on a phone and hold any name."""

from collections.abc import Sequence
from dataclasses import replace

from klsearch.reports.figures.palette import LINES, OUTCOMES, line_style
from klsearch.reports.page import LegendEntry
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.readings.trials import TrialOutcome
from klsearch.studies.record import StudyRecord


def line_legend(study: StudyRecord) -> tuple[LegendEntry, ...]:
    """The compared candidates, each with its line and marker."""
    return named_lines([one.label for one in compared_candidates(study)])


def named_lines(labels: Sequence[str]) -> tuple[LegendEntry, ...]:
    """A line and marker for each label, in the order in which figures draw them."""
    return tuple(_line_entry(index, label) for index, label in enumerate(labels))


def _line_entry(index: int, label: str) -> LegendEntry:
    style = line_style(index)
    dashes = " ".join(f"{length * 1.6:g}" for length in style.dashes)
    return LegendEntry(label=label, color=f"var(--series-{index % len(LINES)})", path=style.path, dashes=dashes)


def mark_legend(study: StudyRecord) -> tuple[LegendEntry, ...]:
    """The compared candidates, each with its marker alone."""
    return tuple(replace(entry, dashes=None) for entry in line_legend(study))


def seed_legend() -> tuple[LegendEntry, ...]:
    """The meaning of a filled and of a hollow marker of a seed."""
    style = LINES[0]
    return (
        LegendEntry(label="passes every gate", color="var(--ink)", path=style.path),
        LegendEntry(label="misses a gate", color="var(--ink)", path=style.path, filled=False),
    )


def outcome_legend(outcomes: Sequence[TrialOutcome]) -> tuple[LegendEntry, ...]:
    """The outcomes that occur, what passes first."""
    return tuple(
        LegendEntry(label=one, color=OUTCOMES[one].color, path=OUTCOMES[one].path, filled=OUTCOMES[one].filled)
        for one in TrialOutcome
        if one in outcomes
    )
