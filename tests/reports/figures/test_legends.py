"""Legends: the same line, marker and colour as in the figures, in the same order."""

from collections.abc import Callable

import pytest

from klsearch.reports.figures.legends import line_legend, mark_legend, named_lines, outcome_legend, seed_legend
from klsearch.reports.figures.palette import CSS_VARIABLES, LINES, OUTCOMES, line_style
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.readings.trials import TrialOutcome
from klsearch.studies.record import StudyRecord

Make = Callable[..., StudyRecord]


def test_every_compared_candidate_has_its_line_in_the_order_of_the_figures(study: StudyRecord) -> None:
    legend = line_legend(study)
    assert [entry.label for entry in legend] == [one.label for one in compared_candidates(study)]
    assert [entry.color for entry in legend] == ["var(--series-0)", "var(--series-1)", "var(--series-2)"]
    assert [entry.dashes for entry in legend] == ["", "8 3.2", "9.6 3.2 1.6 3.2"], "longer than in print, by 1.6"


def test_a_legend_has_the_colour_and_the_marker_that_figures_draw_with() -> None:
    for index, entry in enumerate(named_lines([str(index) for index in range(len(LINES))])):
        style = line_style(index)
        assert entry.color == f"var({CSS_VARIABLES[style.color]})"
        assert entry.path == style.path


def test_more_candidates_than_styles_begin_with_the_first_again() -> None:
    legend = named_lines([str(index) for index in range(len(LINES) + 1)])
    assert (legend[-1].label, legend[-1].color, legend[-1].path) == ("8", legend[0].color, legend[0].path)


def test_where_figures_draw_no_lines_the_legend_has_markers_alone(study: StudyRecord) -> None:
    for mark, line in zip(mark_legend(study), line_legend(study), strict=True):
        assert mark.dashes is None
        assert (mark.label, mark.color, mark.path) == (line.label, line.color, line.path)


def test_nobody_to_compare_has_no_legend(make: Make) -> None:
    assert line_legend(make(0)) == mark_legend(make(0)) == named_lines([]) == ()


def test_a_seed_is_filled_where_it_passes() -> None:
    assert [(entry.label, entry.filled) for entry in seed_legend()] == [
        ("passes every gate", True),
        ("misses a gate", False),
    ]
    assert {entry.dashes for entry in seed_legend()} == {None}


PASSED, MISSED, PRUNED, FAILED, _ = TrialOutcome


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ((), []),
        ((FAILED, FAILED), [FAILED]),
        ((FAILED, MISSED, PRUNED, PASSED, MISSED), [PASSED, MISSED, PRUNED, FAILED]),
    ],
)
def test_only_outcomes_that_occur_are_explained_each_once_what_passes_first(
    outcomes: tuple[TrialOutcome, ...], told: list[TrialOutcome]
) -> None:
    legend = outcome_legend(outcomes)
    assert [entry.label for entry in legend] == told
    assert [(entry.color, entry.path, entry.filled) for entry in legend] == [
        (OUTCOMES[one].color, OUTCOMES[one].path, OUTCOMES[one].filled) for one in told
    ]
