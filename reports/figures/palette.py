"""Colours, line styles and markers: the same for a candidate or an outcome in every figure and legend."""

from dataclasses import dataclass

from klsearch.reports.readings.trials import TrialOutcome

# Stand-ins that matplotlib writes into the SVG and that `reports.figures.svg` turns into CSS variables.
INK, MUTED, GRID, BAND, PAPER = "#010101", "#020202", "#030303", "#040404", "#060606"


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The style of a candidate's curves and seeds; each differs from every other in shape as well as in colour.

    Attributes:
        color: a stand-in for the CSS variable of the same number.
        dashes: on-off lengths in points; empty for a solid line.
        marker: matplotlib's marker.
        path: the same marker as an SVG path in a box of ±5, for legends.
    """

    color: str
    dashes: tuple[float, ...]
    marker: str
    path: str


_CIRCLE = "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"
_SQUARE = "M-3.6-3.6h7.2v7.2h-7.2z"
_TRIANGLE = "M0-4.4 4.4 3.6h-8.8z"
_DIAMOND = "M0-5 5 0 0 5-5 0z"
_DOWN = "M0 4.4 4.4-3.6h-8.8z"
_LEFT = "M-4.4 0 3.6-4.4v8.8z"
_RIGHT = "M4.4 0-3.6-4.4v8.8z"
_PLUS = "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"
_CROSS = "M-3.4-3.4 3.4 3.4M-3.4 3.4 3.4-3.4"

LINES = (
    LineStyle("#050501", (), "o", _CIRCLE),
    LineStyle("#050502", (5, 2), "s", _SQUARE),
    LineStyle("#050503", (6, 2, 1, 2), "^", _TRIANGLE),
    LineStyle("#050504", (1.2, 1.6), "D", _DIAMOND),
    LineStyle("#050505", (8, 2, 1, 2, 1, 2), "v", _DOWN),
    LineStyle("#050506", (3, 1.5), "P", _PLUS),
    LineStyle("#050507", (9, 3), "<", _LEFT),
    LineStyle("#050508", (4, 1.5, 4, 1.5, 1, 1.5), ">", _RIGHT),
)

CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    BAND: "--band",
    PAPER: "--page",
    **{style.color: f"--series-{index}" for index, style in enumerate(LINES)},
}


def line_style(index: int) -> LineStyle:
    """The style of the candidate at this place in `reports.readings.candidates.compared_candidates`."""
    return LINES[index % len(LINES)]


@dataclass(frozen=True, slots=True)
class OutcomeStyle:
    """The style of trials of one outcome.

    Attributes:
        color: readable on both themes' backgrounds, because a rasterised scatter cannot follow the theme.
        marker: matplotlib's marker.
        filled: whether the marker is filled.
        path: the same marker as an SVG path in a box of ±5, for legends.
    """

    color: str
    marker: str
    filled: bool
    path: str


OUTCOMES = {
    TrialOutcome.MISSED: OutcomeStyle("#868686", "s", False, _SQUARE),
    TrialOutcome.PRUNED: OutcomeStyle("#a06cb4", "v", False, _DOWN),
    TrialOutcome.FAILED: OutcomeStyle("#d55e00", "x", False, _CROSS),
    TrialOutcome.PASSED: OutcomeStyle("#009e73", "o", True, _CIRCLE),
}
"""By outcome, in the order of drawing: what passes lies on top. What was never trained is not drawn."""
