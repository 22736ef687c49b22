"""Drawing: each function paints one small record into axes. What there is to see is decided in the data, not here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from klsearch.reports.figures.palette import (
    BAND,
    INK,
    LINES,
    MUTED,
    OUTCOMES,
    PAPER,
    LineStyle,
    OutcomeStyle,
    line_style,
)
from klsearch.reports.figures.scales import Scale, fitted_scale, kl_scale, log_ticks, positive_scale, round_up
from klsearch.reports.figures.svg import point
from klsearch.reports.readings.models import COLLAPSED_NATS, CurveBand, LatentProfile, SeedStrip
from klsearch.reports.readings.trials import Scatter, ScoreHistory
from klsearch.reports.wording import number
from klsearch.studies.definitions.space import Range
from klsearch.studies.response import Change, Surface

Band = tuple[float, float]

# Above this many points an SVG marker each costs more than a picture of them all.
_RASTERIZE_ABOVE = 500
_LONGEST_NAME = 16
_MOST_PERCENT = 3.0  # a change beyond it is drawn as a factor
_NAMES_APART = 0.07  # of the longer side of a map
_GAP = 0.06  # between images, of their width
# A tick at 0.30000000000000004 is one at 0.3.
_PLAIN = FuncFormatter(lambda value, _: number(round(value, 12)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PointMark:
    """A compared candidate as one large marker.

    Attributes:
        place: its place among all who are compared, which gives its style.
        label: its name for readers.
        target: where on the page the marker leads.
        x: where it stands.
        y: the same, upwards.
    """

    place: int
    label: str
    target: str
    x: float
    y: float


def paint_curves(axes: Axes, bands: Sequence[CurveBand], label: str, band: Band | None = None) -> None:
    """Median and quartiles per epoch, one line per candidate; the KL band shaded where one is given."""
    values = np.concatenate([np.concatenate([one.median, one.low, one.high]) for one in bands])
    _set_scale(axes.yaxis, axes, kl_scale(values, band) if band else positive_scale(_without_zero_start(values)))
    if band:
        axes.axhspan(*band, color=BAND, linewidth=0)
    for index, one in reversed(list(enumerate(bands))):
        style = line_style(index)
        if one.runs > 1:
            axes.fill_between(one.epochs, one.low, one.high, color=style.color, alpha=0.18, linewidth=0)
        every = max(1, len(one.epochs) // 7)
        axes.plot(
            one.epochs,
            one.median,
            color=style.color,
            dashes=style.dashes or (None, None),
            marker=style.marker,
            markersize=4.5,
            # Staggered, so that the markers of curves that run on top of each other stay apart.
            markevery=(index * every // max(1, len(bands)), every),
        )
    _label(axes, "epoch", label)
    _count_along_x(axes)


def _without_zero_start(values: np.ndarray) -> np.ndarray:
    """The values without zeros: an annealed weight starts at 0, which must not keep its axis from being logarithmic."""
    return values[values != 0] if np.any(values > 0) else values


def paint_seeds(
    axes: Axes, strips: Sequence[SeedStrip], values: Sequence[np.ndarray], label: str, scale: Scale
) -> None:
    """One row per candidate, one marker per seed: filled where every gate passes, hollow where not."""
    _set_scale(axes.xaxis, axes, scale)
    for row, (strip, numbers) in enumerate(zip(strips, values, strict=True)):
        color = strip_color(strips, row)
        # Spread by seed, the same in every figure, so that equal values do not hide each other.
        height = row + np.linspace(-0.22, 0.22, len(numbers)) if len(numbers) > 1 else np.array([float(row)])
        marker = _strip_marker(strips, row)
        for passed in (False, True):
            where = (strip.passed == passed) & np.isfinite(numbers)
            axes.scatter(
                numbers[where],
                height[where],
                marker=marker,
                s=36,
                linewidths=1.3,
                edgecolors=color,
                facecolors=color if passed else "none",
                clip_on=False,
                urls=_addresses(_seed_points(strip, numbers, where, label)),
            )
    axes.set_yticks(range(len(strips)), [_shorten(strip.candidate.name) for strip in strips])
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    _label(axes, label, "")


def _seed_points(strip: SeedStrip, numbers: np.ndarray, where: np.ndarray, label: str) -> list[str]:
    """The addresses of seeds: each leads to its row in the table of all runs."""
    return [
        point(strip.targets[at], f"{strip.candidate.name}, seed {strip.seeds[at]}: {_named(label, numbers[at])}")
        for at in np.flatnonzero(where)
    ]


def strip_color(strips: Sequence[SeedStrip], row: int) -> str:
    """A candidate's colour; leading trials that did not win are not compared elsewhere and stay muted."""
    place = _place(strips, row)
    return MUTED if place is None else line_style(place).color


def _strip_marker(strips: Sequence[SeedStrip], row: int) -> str:
    place = _place(strips, row)
    return "o" if place is None else line_style(place).marker


def _place(strips: Sequence[SeedStrip], row: int) -> int | None:
    """The candidate's place among those that are compared in every figure; None for another leading trial."""
    compared = [strip.candidate.name for strip in strips if not strip.candidate.name.startswith("trial ")]
    name = strips[row].candidate.name
    return compared.index(name) if name in compared else None


def shade_band(axes: Axes, band: Band) -> None:
    """The KL band, over the whole height."""
    axes.axvspan(*band, color=BAND, linewidth=0)


def paint_latents(axes: Axes, profiles: Sequence[LatentProfile]) -> None:
    """The first candidate's KL per latent as bars of its two parts; the others' KL as lines with markers."""
    first = profiles[0]
    rank = np.arange(1, len(first.kl) + 1)
    color = line_style(0).color
    highest = round_up(max(float(np.max(first.kl)), COLLAPSED_NATS))
    every = np.concatenate([profile.kl for profile in profiles])
    _set_scale(axes.yaxis, axes, kl_scale(every, (0.0, highest)))
    axes.bar(rank, first.mean_part, color=color, alpha=0.95, width=0.7)
    axes.bar(rank, first.variance_part, bottom=first.mean_part, color=color, alpha=0.45, width=0.7)
    for index, profile in enumerate(profiles[1:], start=1):
        style = line_style(index)
        axes.plot(
            rank,
            profile.kl,
            color=style.color,
            dashes=style.dashes or (None, None),
            marker=style.marker,
            markersize=4.5,
            linewidth=1.3,
        )
    for at in rank[first.kl < COLLAPSED_NATS]:
        axes.annotate("×", (at, 0), ha="center", va="bottom", color=INK)
    _label(axes, "latent, most informative first", "KL, nats")
    _count_along_x(axes)
    axes.grid(axis="x", visible=False)


def paint_rate_distortion(
    axes: Axes,
    points: Scatter,
    marks: Sequence[PointMark],
    band: Band,
    label: str,
    line: Sequence[tuple[float, float]] = (),
) -> None:
    """Every trial's KL against `unexplained`, the band shaded where it is in view, on axes as long as the numbers.

    `marks` are the compared candidates' medians; `line` joins the winner's other settings over the KL weight.
    """
    drawn = points.drawable
    across = rate_scale(points, marks, line)
    _set_scale(axes.xaxis, axes, across)
    heights = [*(mark.y for mark in marks), *(y for _, y in line), *points.y[drawn]]
    _set_scale(axes.yaxis, axes, fitted_scale(np.array(heights)))
    if (seen := part_in_view(band, across)) is not None:
        shade_band(axes, seen)
    # A model that says nothing has no KL that a logarithmic axis could hold: it stands on the left edge.
    on_axis = replace(points, x=np.maximum(points.x, across.low))
    _paint_outcomes(axes, on_axis, (label, "unexplained"), told=points)
    if line:
        ends = [(max(x, across.low), y) for x, y in line]
        axes.plot(*np.transpose(ends), color=line_style(0).color, linewidth=1.3, marker=".", markersize=6)
    for mark in marks:
        _paint_mark(axes, mark, (label, "unexplained"), at=(max(mark.x, across.low), mark.y))
    _label(axes, label, "unexplained")


def rate_scale(points: Scatter, marks: Sequence[PointMark], line: Sequence[tuple[float, float]]) -> Scale:
    """The axis of the KL in `paint_rate_distortion`."""
    every = [*(mark.x for mark in marks), *(x for x, _ in line), *points.x[points.drawable]]
    return fitted_scale(np.array(every), least=COLLAPSED_NATS)


def part_in_view(band: Band, scale: Scale) -> Band | None:
    """The part of a band that an axis shows; None where it shows nothing of it.

    >>> [part_in_view((0, 5), Scale(kind="linear", low=low, high=9)) for low in (3, 6)]
    [(3, 5), None]
    """
    low, high = max(band[0], scale.low), min(band[1], scale.high)
    return (low, high) if low < high else None


def _paint_mark(axes: Axes, mark: PointMark, names: tuple[str, str], *, at: tuple[float, float] | None = None) -> None:
    """A candidate's marker: it tells its numbers, and stands on the edge, `at`, where the axes do not hold them."""
    style = line_style(mark.place)
    words = f"{mark.label}: {_told(names, mark.x, mark.y)}"
    axes.scatter(
        *(at or (mark.x, mark.y)),
        marker=style.marker,
        color=style.color,
        s=100,
        linewidths=1.4,
        edgecolors=INK,
        zorder=5,
        clip_on=at is None,  # one on an edge is whole
        urls=_addresses([point(mark.target, words)]),
    )


def _told(names: tuple[str, str], x: float, y: float) -> str:
    return ", ".join(_named(label, value) for label, value in zip(names, (x, y), strict=True))


def _named(label: str, value: float) -> str:
    """A number after its name and before its unit.

    >>> _named("final KL, nats per latent", 3.4), _named("active latents of 8", 7)
    ('final KL 3.4 nats per latent', 'active latents 7 of 8')
    """
    if " of " in label:
        name, _, whole = label.rpartition(" of ")
        return f"{name} {number(value)} of {whole}"
    name, comma, unit = label.partition(", ")
    return f"{name} {number(value)}{f' {unit}' if comma else ''}"


def _addresses(urls: list[str]) -> list[str]:
    """The addresses of a collection's markers; matplotlib would draw a single one without."""
    return urls * 2 if len(urls) == 1 else urls


def paint_slice(axes: Axes, name: str, points: Scatter, space: Range, winner: float | None) -> None:
    """One hyperparameter against the score; trials that left no score stand on the upper edge."""
    _set_scale(axes.xaxis, axes, range_scale(space))
    scale = positive_scale(points.y)
    _set_scale(axes.yaxis, axes, scale)
    if winner is not None:
        axes.axvline(winner, color=line_style(0).color, linewidth=1.3)
    _paint_outcomes(axes, _with_lost_on_edge(points, scale), (name, "score"), told=points)
    _label(axes, name, "score, lower is better")


def _with_lost_on_edge(points: Scatter, scale: Scale) -> Scatter:
    return replace(points, y=np.where(np.isfinite(points.y), points.y, scale.high))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightPlot:
    """What is drawn of one measure against the KL weight.

    Attributes:
        points: one per training, in ascending KL weight.
        joined: whether a line joins them.
        marks: the compared candidates at their KL weights.
        across: the horizontal axis.
        up: the vertical one; what has no value stands on its upper end.
        band: of values to shade; None for a measure without one.
        in_band: KL weights to shade where there is no band.
        label: of the vertical axis.
    """

    points: Scatter
    joined: bool
    marks: Sequence[PointMark]
    across: Scale
    up: Scale
    band: Band | None
    in_band: Sequence[Band]
    label: str


def paint_weights(axes: Axes, plot: WeightPlot) -> None:
    """One measure against the KL weight: trainings as markers, the compared candidates as large ones."""
    _set_scale(axes.xaxis, axes, plot.across)
    _set_scale(axes.yaxis, axes, plot.up)
    if plot.band is not None:
        axes.axhspan(*plot.band, color=BAND, linewidth=0)
    else:
        for weights in plot.in_band:
            shade_band(axes, weights)
    if plot.joined:
        axes.plot(plot.points.x, plot.points.y, color=MUTED, linewidth=1)
    names = ("KL weight", plot.label)
    _paint_outcomes(axes, _with_lost_on_edge(plot.points, plot.up), names, told=plot.points)
    for mark in plot.marks:
        _paint_mark(axes, mark, names, at=(mark.x, mark.y if np.isfinite(mark.y) else plot.up.high))
    _label(axes, "KL weight", plot.label)


def paint_progress(axes: Axes, search: ScoreHistory) -> None:
    """Score by trial, with the best feasible score so far as steps."""
    _set_scale(axes.yaxis, axes, positive_scale(search.points.y))
    _paint_outcomes(axes, search.points, ("trial", "score"))
    axes.step(search.points.x, search.best, where="post", color=line_style(0).color, linewidth=2)
    _label(axes, "trial", "score, lower is better")
    _count_along_x(axes)


def _paint_outcomes(axes: Axes, points: Scatter, names: tuple[str, str], *, told: Scatter | None = None) -> None:
    """Trials by outcome, each with its numbers: those of `told`, where the axes do not hold them all."""
    is_cloud = int(np.sum(points.drawable)) > _RASTERIZE_ABOVE
    for outcome, style in OUTCOMES.items():
        where = points.where(outcome) & points.drawable
        if is_cloud:
            _paint_cloud(axes, points.x[where], points.y[where], style)
            continue
        axes.scatter(
            points.x[where],
            points.y[where],
            s=22,
            marker=style.marker,
            linewidths=1.2,
            facecolors=style.color if style.filled or style.marker == "x" else "none",
            edgecolors=None if style.marker == "x" else style.color,
            alpha=0.85,
            clip_on=False,  # points on the upper edge are whole
            urls=_addresses(_trial_points(told or points, where, outcome, names)),
        )


def _paint_cloud(axes: Axes, x: np.ndarray, y: np.ndarray, style: OutcomeStyle) -> None:
    """Many points as a picture: the markers of a line, which take a tenth of a scatter's time."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=style.marker,
        markersize=math.sqrt(8),
        markeredgewidth=0.8,
        markerfacecolor=style.color if style.filled else "none",
        markeredgecolor=style.color,
        zorder=1,  # where scatters lie, below lines
        rasterized=True,
    )


def _trial_points(points: Scatter, where: np.ndarray, outcome: str, names: tuple[str, str]) -> list[str]:
    """The addresses of trials: each leads to its row in the table of all trials, or to that table."""
    return [
        point(points.targets[at], f"trial {points.trials[at]}, {outcome}: {_told(names, *place)}")
        for at, place in zip(np.flatnonzero(where), zip(points.x[where], points.y[where], strict=True), strict=True)
    ]


def paint_effects(axes: Axes, effects: Sequence[tuple[str, Change]]) -> None:
    """Changes over each range as bars with their 95 % intervals, the first on top; what is not seen in grey.

    In %; as factors on a logarithmic axis, on which bars begin at 1, where one is of many times.
    """
    rows = np.arange(len(effects))
    highest = max(0.01, *(change.high for _, change in effects))
    as_factors = highest > _MOST_PERCENT
    start, unit = (1.0, 1.0) if as_factors else (0.0, 100.0)
    for row, (_, change) in zip(rows, effects, strict=True):
        color = line_style(0).color if change.is_seen else MUTED
        axes.barh(row, unit * change.share, left=start, color=color, height=0.6, alpha=0.55, linewidth=0)
        ends = [start + unit * max(change.low, 0.0), start + unit * change.high]
        axes.plot(ends, [row, row], color=INK, linewidth=1)
    axes.set_yticks(rows, [name for name, _ in effects])
    axes.set_ylim(len(effects) - 0.4, -0.6)
    if as_factors:
        high = 1.2 * (1 + highest)
        _set_scale(axes.xaxis, axes, Scale(kind="log", low=1.0, high=high, ticks=log_ticks(1.0, high)))
    else:
        _set_scale(axes.xaxis, axes, Scale(kind="linear", low=0, high=110 * highest))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    _label(axes, "most over least, factor (logarithmic)" if as_factors else "change over the range, %", "")


@dataclass(frozen=True, slots=True)
class MapStyle:
    """The style of one class of rows: of more than there are colours, the shapes differ too."""

    line: LineStyle
    shape: LineStyle

    @classmethod
    def of(cls, place: int) -> "MapStyle":
        """The style of the class at this place."""
        return cls(line_style(place), line_style(place + place // len(LINES)))


@dataclass(frozen=True, slots=True, eq=False)
class MapGroup:
    """Rows of one class in a plane, [n, 2]; without a name where there are no classes."""

    name: str
    places: np.ndarray
    style: MapStyle

    @property
    def middle(self) -> np.ndarray:
        """The mean place, [2]."""
        middle: np.ndarray = np.mean(self.places, axis=0)
        return middle


def paint_map(axes: Axes, groups: Sequence[MapGroup]) -> None:
    """Rows in a plane on equal scales; the name of a class at its mean place, but for one that would hide another."""
    for places, style in ((one.places, one.style) for one in groups):
        axes.scatter(
            places[:, 0],
            places[:, 1],
            s=16,
            marker=style.shape.marker,
            color=style.line.color,
            alpha=0.7,
            linewidths=0,
        )
    _name_middles(axes, groups)
    axes.set_aspect("equal", adjustable="datalim")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(_PLAIN)
    _label(axes, "first principal axis of μ", "second principal axis")


def _name_middles(axes: Axes, groups: Sequence[MapGroup]) -> None:
    every = np.concatenate([one.places for one in groups])
    apart = _NAMES_APART * float(np.max(np.ptp(every, axis=0)))
    named: list[np.ndarray] = []
    for one in groups:
        if not one.name or any(np.linalg.norm(one.middle - other) < apart for other in named):
            continue
        named.append(one.middle)
        axes.annotate(
            _shorten(one.name),
            (one.middle[0], one.middle[1]),
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            color=INK,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": one.style.line.color, "alpha": 0.85},
            zorder=4,
        )


def paint_surface(
    axes: Axes, surface: Surface, points: Scatter, ranges: tuple[Range, Range], band: Band, winner: PointMark
) -> None:
    """Expected `unexplained` as labelled lines, the more the stronger the shade; the edge of the band; trials."""
    _set_scale(axes.xaxis, axes, range_scale(ranges[0]))
    _set_scale(axes.yaxis, axes, range_scale(ranges[1]))
    levels = MaxNLocator(7).tick_values(float(surface.unexplained.min()), float(surface.unexplained.max()))
    shades = [to_rgba(line_style(0).color, 0.04 + 0.3 * at / len(levels)) for at in range(len(levels) - 1)]
    grid = (surface.across, surface.up, surface.unexplained)
    axes.contourf(*grid, levels=levels, colors=shades)
    lines = axes.contour(*grid, levels=levels, colors=[line_style(0).color], linewidths=0.8)
    axes.clabel(lines, fmt=number, fontsize=9, colors=[INK])
    if edges := edges_in_view(surface, band):
        ends = axes.contour(surface.across, surface.up, surface.kl, levels=edges, colors=[INK], linewidths=1.8)
        ends.set_linestyle((0, (5, 2)))
        axes.clabel(ends, fmt=lambda value: f"KL {number(value)}", fontsize=9, colors=[INK])
    _paint_outcomes(axes, points, surface.names)
    _paint_mark(axes, winner, surface.names)
    _label(axes, *surface.names)


def edges_in_view(surface: Surface, band: Band) -> list[float]:
    """The edges of the band that the expected KL crosses."""
    return [edge for edge in band if surface.kl.min() < edge < surface.kl.max()]


def paint_images(
    axes: Axes, images: np.ndarray, labels: Sequence[str], columns: Sequence[str] = (), label: str = ""
) -> None:
    """A grid of grey or colour images, uint8 [rows, columns, height, width, channels], with a name to each row."""
    rows, across = images.shape[:2]
    axes.imshow(_mosaic(images), interpolation="none", extent=(0, across, rows, 0), aspect="auto")
    axes.set_yticks(np.arange(rows) + 0.5, [_shorten(name) for name in labels])
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(columns))
    axes.set_frame_on(False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    _label(axes, label, "")


def _mosaic(images: np.ndarray) -> np.ndarray:
    """The grid as one picture, RGBA uint8, with transparent gaps."""
    rows, across, height, width, channels = images.shape
    gap = max(1, round(width * _GAP))
    mosaic = np.zeros((rows, height + gap, across, width + gap, 4), np.uint8)
    drawn = mosaic[:, :height, :, :width]
    drawn[..., :3] = np.moveaxis(np.broadcast_to(images, (*images.shape[:4], 3)) if channels == 1 else images, 1, 2)
    drawn[..., 3] = 255
    return mosaic.reshape(rows * (height + gap), across * (width + gap), 4)


def paint_columns(axes: Axes, columns: Sequence[str], errors: np.ndarray, places: Sequence[int]) -> None:
    """One row per column of a table, one marker per candidate; `places` say which style each row of `errors` has."""
    _set_scale(axes.xaxis, axes, positive_scale(errors))
    rows = np.arange(len(columns))
    for values, place in reversed(list(zip(errors, places, strict=True))):
        style = line_style(place)
        axes.plot(values, rows, linestyle="none", marker=style.marker, markersize=6, color=style.color, alpha=0.9)
    axes.set_yticks(rows, [_shorten(name) for name in columns])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    _label(axes, "unexplained", "")


def range_scale(space: Range) -> Scale:
    """The axis of a searched range, on its own scale."""
    if space.log:
        margin = (space.high / space.low) ** 0.03
        return Scale(
            kind="log", low=space.low / margin, high=space.high * margin, ticks=log_ticks(space.low, space.high)
        )
    margin = 0.03 * (space.high - space.low)
    return Scale(kind="linear", low=space.low - margin, high=space.high + margin)


def _set_scale(axis: Axis, axes: Axes, scale: Scale) -> None:
    """The axis as the scale says; where it turns logarithmic, a line and a word say so."""
    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if axis is axes.xaxis else (axes.set_yscale, axes.set_ylim)
    if scale.kind == "symlog":
        set_scale("symlog", linthresh=scale.linear_to, linscale=1.2)
        across = axis is axes.xaxis
        (axes.axvline if across else axes.axhline)(scale.linear_to, color=MUTED, linewidth=0.8, dashes=(2, 2), zorder=0)
        axes.annotate(
            "logarithmic →" if across else "logarithmic ↑",
            (scale.linear_to, 1) if across else (1, scale.linear_to),
            xycoords=("data", "axes fraction") if across else ("axes fraction", "data"),
            xytext=(3, -2) if across else (-2, 3),
            textcoords="offset points",
            ha="left" if across else "right",
            va="top" if across else "bottom",
            fontsize=9,
            color=MUTED,
        )
    else:
        set_scale(scale.kind)
    set_limits(scale.low, scale.high)
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator(scale.ticks) if scale.ticks else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(_PLAIN)


def _count_along_x(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(_PLAIN)


def _label(axes: Axes, horizontal: str, vertical: str) -> None:
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
