"""What is drawn: each line, bar and marker where its numbers say, in its candidate's style."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from numpy.testing import assert_allclose, assert_array_equal

from klsearch.reports.figures.paint import (
    MapGroup,
    MapStyle,
    PointMark,
    paint_columns,
    paint_curves,
    paint_effects,
    paint_images,
    paint_latents,
    paint_map,
    paint_progress,
    paint_rate_distortion,
    paint_seeds,
    paint_slice,
    range_scale,
    shade_band,
    strip_color,
)
from klsearch.reports.figures.palette import BAND, LINES, MUTED, OUTCOMES
from klsearch.reports.figures.scales import Scale, kl_scale
from klsearch.reports.figures.svg import draw
from klsearch.reports.readings.candidates import CandidateRuns
from klsearch.reports.readings.models import CurveBand, LatentProfile, SeedStrip
from klsearch.reports.readings.trials import Scatter, ScoreHistory, TrialOutcome
from klsearch.studies.definitions.space import IntegerRange, Range
from klsearch.studies.response import Change

PASSED, MISSED, PRUNED, FAILED, _ = TrialOutcome
ZERO_TO_TEN = Scale(kind="linear", low=0.0, high=10.0)
NAN = np.nan


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def candidate(name: str) -> CandidateRuns:
    return CandidateRuns(name=name, label=name, runs=())


def line_points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def bars(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Left, bottom, width and height of every bar."""
    rectangles = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(*one.get_xy(), one.get_width(), one.get_height()) for one in rectangles]


def ticks(labels: Sequence[Any]) -> list[str]:
    return [label.get_text() for label in labels]


def curve(median: list[float], *, runs: int = 1, margin: float = 0.0) -> CurveBand:
    values = np.array(median)
    return CurveBand(
        candidate=candidate("a"),
        epochs=np.arange(1, len(median) + 1),
        median=values,
        low=values - margin,
        high=values + margin,
        runs=runs,
        diverged=0,
    )


def test_each_curve_has_its_style_and_the_first_candidate_s_lies_on_top(axes: Axes) -> None:
    paint_curves(axes, [curve([3, 2, 1]), curve([6, 5, 4])], "KL")
    second, first = axes.lines
    assert line_points(first) == [(1, 3), (2, 2), (3, 1)]
    assert line_points(second) == [(1, 6), (2, 5), (3, 4)]
    assert [line.get_color() for line in (first, second)] == [LINES[0].color, LINES[1].color]
    assert [line.get_marker() for line in (first, second)] == [LINES[0].marker, LINES[1].marker]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "KL")


def test_quartiles_are_shaded_only_where_several_runs_have_them(axes: Axes) -> None:
    paint_curves(axes, [curve([3, 2]), curve([6, 5], runs=8, margin=0.5)], "KL")
    (area,) = axes.collections
    corners = np.asarray(area.get_paths()[0].vertices)
    assert_array_equal(corners.min(axis=0), [1, 4.5])
    assert_array_equal(corners.max(axis=0), [2, 6.5])
    assert_array_equal(area.get_facecolor(), [to_rgba(LINES[1].color, 0.18)])


def test_the_band_is_shaded_and_in_sight_where_one_is_given(axes: Axes) -> None:
    paint_curves(axes, [curve([0.1, 0.2])], "KL", band=(1.0, 5.0))
    (band,) = axes.patches
    assert_array_equal(band.get_extents().transformed(axes.transData.inverted()).intervaly, [1, 5])
    assert to_hex(band.get_facecolor()) == BAND
    assert axes.get_ylim()[1] > 5


@pytest.mark.parametrize(
    ("median", "scale"),
    [
        ([0.0, 0.001, 1.0], "log"),  # an annealed weight begins at 0
        ([0.0, 0.0, 0.0], "linear"),
        ([0.5, 0.6, 1.0], "linear"),
        ([NAN, NAN, NAN], "linear"),
    ],
)
def test_a_curve_that_begins_at_zero_may_have_a_logarithmic_axis(axes: Axes, median: list[float], scale: str) -> None:
    paint_curves(axes, [curve(median)], "KL weight")
    assert axes.get_yscale() == scale


def strip(name: str, passed: list[bool]) -> SeedStrip:
    nothing = np.zeros(len(passed))
    seeds = tuple(range(len(passed)))
    return SeedStrip(
        candidate=candidate(name),
        kl=nothing,
        unexplained=nothing,
        passed=np.array(passed),
        seeds=seeds,
        targets=tuple(f"run-{name}-{seed}" for seed in seeds),
    )


def test_seeds_are_filled_where_they_pass_and_left_out_where_they_diverged(axes: Axes) -> None:
    strips = [strip("winner", [True, False, True]), strip("before", [False])]
    paint_seeds(axes, strips, [np.array([1.0, 2.0, NAN]), np.array([4.0])], "KL", ZERO_TO_TEN)
    hollow, filled, other, none = axes.collections
    assert places(hollow) == [(2, 0)]
    assert places(filled) == [(1, -0.22)]
    assert places(other) == [(4, 1)], "one seed stands in the middle of its row"
    assert places(none) == []
    assert np.asarray(hollow.get_facecolor()).size == 0 and to_hex(np.asarray(filled.get_facecolor())[0]) == to_hex(
        LINES[0].color
    )
    assert to_hex(np.asarray(other.get_edgecolor())[0]) == to_hex(LINES[1].color)
    assert filled.get_urls()[0] == "run-winner-0 winner, seed 0: KL 1"


def test_the_first_candidate_s_row_is_the_uppermost_and_long_names_are_cut(axes: Axes) -> None:
    names = ["winner", "sixteen letters.", "seventeen letters"]
    strips = [strip(name, [True]) for name in names]
    paint_seeds(axes, strips, [np.ones(1)] * 3, "KL", ZERO_TO_TEN)
    assert axes.get_ylim() == (2.5, -0.5)
    assert ticks(axes.get_yticklabels()) == ["winner", "sixteen letters.", "seventeen lette…"]


def test_a_leading_trial_that_did_not_win_is_muted_and_takes_no_candidate_s_colour() -> None:
    strips = [strip(name, [True]) for name in ("winner", "trial 3", "trial 12", "before", "after")]
    found = [strip_color(strips, row) for row in range(5)]
    assert found == [LINES[0].color, MUTED, MUTED, LINES[1].color, LINES[2].color]


def test_a_shaded_band_reaches_over_the_whole_height(axes: Axes) -> None:
    axes.set_ylim(3, 7)
    shade_band(axes, (1.0, 2.0))
    (band,) = axes.patches
    extents = band.get_extents().transformed(axes.transData.inverted())
    assert_allclose([*extents.intervalx, *extents.intervaly], [1, 2, 3, 7])


def profile(mean_part: list[float], variance_part: list[float]) -> LatentProfile:
    parts = {"mean_part": np.array(mean_part), "variance_part": np.array(variance_part)}
    return LatentProfile(candidate=candidate("a"), runs=1, **parts)


def test_latents_are_bars_of_two_parts_that_reach_to_their_kl_and_others_are_lines(axes: Axes) -> None:
    paint_latents(axes, [profile([1.0, 0.25, 0.004], [2.0, 0.5, 0.005]), profile([0.5] * 3, [1.0] * 3)])
    found = bars(axes)
    assert_allclose(found[:3], [(0.65, 0, 0.7, 1), (1.65, 0, 0.7, 0.25), (2.65, 0, 0.7, 0.004)])
    assert_allclose(found[3:], [(0.65, 1, 0.7, 2), (1.65, 0.25, 0.7, 0.5), (2.65, 0.004, 0.7, 0.005)])
    (line,) = axes.lines
    assert line_points(line) == [(1, 1.5), (2, 1.5), (3, 1.5)]
    assert line.get_color() == LINES[1].color


def test_a_latent_below_a_hundredth_of_a_nat_is_crossed_out(axes: Axes) -> None:
    paint_latents(axes, [profile([1.0, 0.01, 0.004], [2.0, 0.0, 0.005])])
    (cross,) = axes.texts
    assert isinstance(cross, Annotation)
    assert (cross.get_text(), cross.xy) == ("×", (3, 0))


def test_latents_that_all_collapsed_still_have_an_axis(axes: Axes) -> None:
    paint_latents(axes, [profile([0.0, 0.0], [0.0, 0.0])])
    low, high = axes.get_ylim()
    assert low == 0 < 0.01 < high
    assert len(axes.texts) == 2


def make_scatter(x: list[float], y: list[float], *outcomes: TrialOutcome) -> Scatter:
    return Scatter(
        x=np.array(x, dtype=float),
        y=np.array(y, dtype=float),
        outcomes=outcomes,
        trials=tuple(range(len(x))),
        targets=tuple(f"trial-{number}" for number in range(len(x))),
    )


def places(drawn: Collection) -> list[tuple[float, float]]:
    """Where the markers of a collection stand."""
    return [(float(x), float(y)) for x, y in np.asarray(drawn.get_offsets())]


def marks(drawn: Sequence[Collection]) -> dict[TrialOutcome, list[tuple[float, float]]]:
    """Where the markers of each outcome stand, in the order of drawing."""
    return {outcome: places(one) for outcome, one in zip(OUTCOMES, drawn, strict=True)}


def addresses(axes: Axes) -> set[str | None]:
    """Where all markers lead, and what they say."""
    return {url for one in axes.collections for url in one.get_urls() or ()}


def test_trials_stand_at_their_kl_and_unexplained_but_for_those_without(axes: Axes) -> None:
    trials = make_scatter([1, 2, NAN, 4], [0.5, 0.4, 0.3, np.inf], PASSED, MISSED, FAILED, MISSED)
    compared = [
        PointMark(place=0, label="winner", target="evidence", x=3.0, y=0.2),
        PointMark(place=1, label="before", target="evidence", x=6.0, y=0.1),
    ]
    paint_rate_distortion(axes, trials, compared, (0.0, 5.0), "final KL, nats")
    *outcomes, winner, before = axes.collections
    assert marks(outcomes) == {MISSED: [(2, 0.4)], PRUNED: [], FAILED: [], PASSED: [(1, 0.5)]}
    assert places(winner) + places(before) == [(3, 0.2), (6, 0.1)]
    assert winner.get_urls()[0] == "evidence winner: final KL 3 nats, unexplained 0.2"
    assert outcomes[-1].get_urls()[0] == "trial-0 trial 0, passes every gate: final KL 1 nats, unexplained 0.5"
    assert axes.get_xlim()[1] > 6, "medians are in sight too"


def test_outcomes_are_told_apart_by_marker_and_filling(axes: Axes) -> None:
    paint_rate_distortion(axes, make_scatter([1, 2], [1, 2], PASSED, MISSED), [], (0.0, 5.0), "KL")
    faces = {outcome: one.get_facecolor() for outcome, one in zip(OUTCOMES, axes.collections, strict=True)}
    assert_array_equal(faces[PASSED], [to_rgba(OUTCOMES[PASSED].color, 0.85)])
    assert len(faces[MISSED]) == 0, "hollow"


def test_the_axis_of_an_exploding_kl_has_plain_round_ticks() -> None:
    strips = [strip("winner", [True, True])]
    scale = kl_scale(np.array([1.0, 4000.0]), (0.0, 5.0))
    paint = partial(paint_seeds, strips=strips, values=[np.array([1.0, 4000.0])], label="KL", scale=scale)
    texts = re.findall(r">([^<>]+)</text>", draw("one", "", paint))
    assert texts[:5] == ["0", "5", "10", "100", "1000"]
    assert "logarithmic →" in texts, "where the axis turns, it says so"


def test_the_axes_of_rate_and_distortion_are_as_long_as_the_numbers(axes: Axes) -> None:
    paint_rate_distortion(axes, make_scatter([1, 4], [0.3, 0.5], PASSED, PASSED), [], (0.0, 5.0), "KL")
    assert axes.get_xlim() == pytest.approx((0.82, 4.18)) and axes.get_ylim() == pytest.approx((0.288, 0.512))


def test_a_kl_of_nothing_stands_on_the_left_edge_of_a_logarithmic_axis(axes: Axes) -> None:
    paint_rate_distortion(axes, make_scatter([1e-9, 100.0], [1.0, 0.2], MISSED, MISSED), [], (0.0, 5.0), "KL")
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert 0.005 < left <= 0.01 and right > 100
    assert [x for x, _ in marks(axes.collections[:4])[MISSED]] == [left, 100]


def test_a_collapsed_candidate_stands_on_the_left_edge_and_tells_its_kl(axes: Axes) -> None:
    trials = make_scatter([1e-9, 100.0], [1.0, 0.2], MISSED, MISSED)
    mine = PointMark(place=1, label="mine", target="evidence", x=1e-6, y=0.9)
    paint_rate_distortion(axes, trials, [mine], (0.0, 5.0), "final KL, nats", line=[(1e-7, 0.95), (50.0, 0.3)])
    left = axes.get_xlim()[0]
    *_, drawn = axes.collections
    assert places(drawn) == [(left, 0.9)] and not drawn.get_clip_on()
    assert drawn.get_urls()[0] == "evidence mine: final KL 1e-06 nats, unexplained 0.9"
    assert "trial-0 trial 0, misses a gate: final KL 1e-09 nats, unexplained 1" in addresses(axes)
    assert line_points(axes.lines[-1])[0] == (left, 0.95)


def test_a_band_beyond_the_axis_is_not_shaded(axes: Axes) -> None:
    paint_rate_distortion(axes, make_scatter([20, 30], [0.3, 0.5], MISSED, MISSED), [], (0.0, 5.0), "KL")
    assert not axes.patches


def test_a_trial_without_a_score_stands_on_the_upper_edge_of_its_slice(axes: Axes) -> None:
    trials = make_scatter([0.1, 0.2, 0.3], [1.0, 2.0, NAN], PASSED, MISSED, FAILED)
    paint_slice(axes, "l2", trials, Range(low=0.0, high=0.4), 0.25)
    top = axes.get_ylim()[1]
    assert top > 2
    assert marks(axes.collections) == {
        MISSED: [(0.2, 2)],
        PRUNED: [],
        FAILED: [(0.3, top)],
        PASSED: [(0.1, 1)],
    }
    assert "trial-2 trial 2, diverged or failed: l2 0.3, score –" in addresses(axes)
    (winner,) = axes.lines
    assert winner.get_xdata() == [0.25, 0.25]


def test_a_slice_without_a_winner_has_no_line(axes: Axes) -> None:
    paint_slice(axes, "l2", make_scatter([0.1], [1.0], MISSED), Range(low=0.0, high=0.4), None)
    assert not axes.lines


def test_the_best_score_so_far_is_a_staircase_that_falls_at_the_trial_that_improved_it(axes: Axes) -> None:
    search = ScoreHistory(
        points=make_scatter([0, 1, 2], [3.0, 2.0, 2.5], MISSED, PASSED, PASSED),
        best=np.array([NAN, 2.0, 2.0]),
        last_improvement=1,
        since=1,
    )
    paint_progress(axes, search)
    (best,) = axes.lines
    assert best.get_drawstyle() == "steps-post"
    assert_array_equal(best.get_ydata(), [NAN, 2, 2])
    assert marks(axes.collections)[PASSED] == [(1, 2), (2, 2.5)]


def test_effects_are_bars_in_percent_with_their_intervals_and_grey_where_none_is_seen(axes: Axes) -> None:
    paint_effects(axes, [("kl_weight", Change(0.5, 0.25, 0.75)), ("l2", Change(0.0625, -0.125, 0.25))])
    assert_allclose([(bottom, width) for _, bottom, width, _ in bars(axes)], [(-0.3, 50), (0.7, 6.25)])
    assert ticks(axes.get_yticklabels()) == ["kl_weight", "l2"]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert [line_points(line) for line in axes.lines] == [[(25, 0), (75, 0)], [(0, 1), (25, 1)]]
    assert [to_hex(patch.get_facecolor()) for patch in axes.patches] == [to_hex(LINES[0].color), to_hex(MUTED)]
    assert axes.get_xlim() == pytest.approx((0, 82.5))


def test_effects_of_many_times_are_factors_on_a_logarithmic_axis_that_begins_at_1(axes: Axes) -> None:
    paint_effects(axes, [("kl_weight", Change(20.0, 15.0, 30.0)), ("l2", Change(0.0, 0.0, 0.0))])
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] == 1
    assert_allclose([(left, width) for left, _, width, _ in bars(axes)], [(1, 20), (1, 0)])
    assert line_points(axes.lines[0]) == [(16, 0), (31, 0)]


def test_a_class_is_named_at_its_mean_place_unless_that_would_hide_another_name(axes: Axes) -> None:
    around = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])  # whose mean is (0, 1)
    groups = [
        MapGroup("a", around, MapStyle.of(0)),
        MapGroup("b", around + 0.1, MapStyle.of(1)),
        MapGroup("seventeen letters", around + 10.0, MapStyle.of(8)),
    ]
    paint_map(axes, groups)
    assert [places(one) for one in axes.collections] == [[tuple(at) for at in one.places] for one in groups]
    assert [(one.get_text(), one.xy) for one in axes.texts if isinstance(one, Annotation)] == [
        ("a", (0.0, 1.0)),
        ("seventeen lette…", (10.0, 11.0)),
    ]
    first, ninth = axes.collections[0], axes.collections[2]
    assert_array_equal(first.get_facecolor(), ninth.get_facecolor())
    assert MapStyle.of(0).shape.marker != MapStyle.of(8).shape.marker, "of one colour, and of two shapes"


def test_rows_without_classes_have_no_names(axes: Axes) -> None:
    paint_map(axes, [MapGroup("", np.array([[0.0, 1.0], [2.0, 3.0]]), MapStyle.of(0))])
    assert not axes.texts


def picture(axes: Axes) -> np.ndarray:
    (image,) = axes.images
    return np.asarray(image.get_array())


def test_images_stand_in_rows_and_columns_with_clear_gaps_between(axes: Axes) -> None:
    """Two rows of two images of one pixel: with its gap each takes two by two."""
    images = np.array([[10, 20], [30, 40]], np.uint8).reshape(2, 2, 1, 1, 1)
    paint_images(axes, images, ["original", "winner"], ["a", "b"], "latent")
    clear = [0, 0, 0, 0]
    assert picture(axes).tolist() == [
        [[10, 10, 10, 255], clear, [20, 20, 20, 255], clear],
        [clear] * 4,
        [[30, 30, 30, 255], clear, [40, 40, 40, 255], clear],
        [clear] * 4,
    ]
    assert (ticks(axes.get_yticklabels()), ticks(axes.get_xticklabels())) == (["original", "winner"], ["a", "b"])
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 2), (2, 0))
    assert axes.get_xlabel() == "latent"


def test_colours_and_the_proportions_of_images_are_kept(axes: Axes) -> None:
    """Sixty pixels of width leave a gap of 0.06 · 60 = 4 pixels."""
    images = np.random.default_rng(0).integers(0, 256, (1, 2, 30, 60, 3), np.uint8)
    paint_images(axes, images, ["one"])
    drawn = picture(axes)
    assert drawn.shape == (34, 128, 4)
    assert_array_equal(drawn[:30, :60, :3], images[0, 0])
    assert_array_equal(drawn[:30, 64:124, :3], images[0, 1])
    assert not drawn[30:].any() and not drawn[:, 60:64].any()


def test_each_column_of_a_table_has_a_row_with_a_marker_in_its_candidate_s_place(axes: Axes) -> None:
    paint_columns(axes, ["worst", "best"], np.array([[0.9, 0.1], [0.8, 0.2]]), [0, 2])
    other, first = axes.lines
    assert line_points(first) == [(0.9, 0), (0.1, 1)]
    assert line_points(other) == [(0.8, 0), (0.2, 1)]
    assert [line.get_color() for line in (first, other)] == [LINES[0].color, LINES[2].color]
    assert axes.get_ylim() == pytest.approx((1.6, -0.6)), "the first row on top"


@pytest.mark.parametrize(
    ("space", "kind", "ends"),
    [
        (Range(low=0.0, high=10.0), "linear", (-0.3, 10.3)),
        (Range(low=1e-5, high=1e5, log=True), "log", (1e-5 / 10**0.3, 1e5 * 10**0.3)),
        (IntegerRange(low=0, high=20), "linear", (-0.6, 20.6)),
    ],
)
def test_the_axis_of_a_range_leaves_three_hundredths_of_it_free_on_either_side(
    space: Range, kind: str, ends: tuple[float, float]
) -> None:
    scale = range_scale(space)
    assert scale.kind == kind
    assert (scale.low, scale.high) == pytest.approx(ends)


def test_a_tick_that_rounding_put_beside_zero_reads_as_zero(axes: Axes) -> None:
    paint_slice(axes, "l2", make_scatter([0.1], [1.0], MISSED), Range(low=-0.3, high=0.3), None)
    read = axes.xaxis.get_major_formatter()
    assert [read(tick) for tick in (5.6e-17, -5.6e-17, 0.30000000000000004, -20.0)] == ["0", "0", "0.3", "-20"]
