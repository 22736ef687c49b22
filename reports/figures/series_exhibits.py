"""What the models make of series: beside their originals, and drawn from the prior."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from klsearch.reports.figures.legends import line_legend
from klsearch.reports.figures.palette import INK, line_style
from klsearch.reports.figures.svg import draw
from klsearch.reports.page import Block, Exhibit, Gallery, LegendEntry, Prose, Table
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.wording import count, number
from klsearch.studies.record import StudyRecord
from klsearch.vae.evaluation.samples import SeriesSamples

_GAP = 0.15  # between series, of their length


def paint_series(
    axes: Axes, steps: np.ndarray, series: Sequence[np.ndarray], places: Sequence[int | None], labels: Sequence[str]
) -> None:
    """Several series, each by several hands: one line for each hand.

    Args:
        axes: to draw into.
        steps: numbers of the steps, [length].
        series: by each hand, [n, length]; NaN leaves a gap.
        places: the candidate's place in every figure that each hand has; None for the data themselves.
        labels: of the n series.
    """
    span = float(steps[-1] - steps[0]) or 1.0
    offsets = np.arange(len(labels)) * (1 + _GAP) * span
    across = np.concatenate([np.append(steps - steps[0] + offset, np.nan) for offset in offsets])
    for values, place in reversed(list(zip(series, places, strict=True))):
        up = np.concatenate([np.append(one, np.nan) for one in values])
        if place is None:
            axes.plot(across, up, color=INK, linewidth=1.1)
        else:
            style = line_style(place)
            every = max(1, len(steps) // 4)
            axes.plot(
                across,
                up,
                color=style.color,
                dashes=style.dashes or (None, None),
                linewidth=1.3,
                marker=style.marker,
                markersize=4,
                # Staggered, so that the markers of lines that run on top of each other stay apart.
                markevery=(place * every // max(1, len(series)), every),
            )
    axes.set_xticks(offsets + span / 2, list(labels))
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("scaled value")


def series_blocks(study: StudyRecord, samples: SeriesSamples, names: tuple[str, ...]) -> tuple[Block, ...]:
    """A few series above what each model makes of them, channel by channel, and what the prior draws.

    Args:
        study: for the candidates' places in every figure.
        samples: of it.
        names: the models as the report calls them.
    """
    order = [one.name for one in compared_candidates(study)]
    places = [order.index(name) if name in order else place for place, name in enumerate(names)]
    rows = count(len(samples.originals), "row")
    notice = (
        f"This report holds data: {rows} of the {samples.split} split, and what one confirmed model of each candidate "
        "makes of them. `klsearch report --no-samples` leaves them out."
    )
    legend = (LegendEntry(label="original", color="var(--ink)", path="", dashes=""), *line_legend(study))
    exhibits = [_reconstructions(samples, names, places, channel) for channel in range(len(samples.channels))]
    drawn = [_prior(samples, names, places, channel) for channel in range(len(samples.channels))]
    return (
        Prose(text=notice),
        *(Gallery(exhibits=(one,), legend=legend) for one in exhibits),
        *(Gallery(exhibits=(one,), legend=line_legend(study)) for one in drawn),
    )


def _told(samples: SeriesSamples, names: tuple[str, ...]) -> str:
    means = [number(float(np.mean(errors))) for errors in samples.unexplained]
    return ", ".join(f"{name} {mean}" for name, mean in zip(names, means, strict=True))


def _of_channel(samples: SeriesSamples, channel: int) -> str:
    return f", channel {samples.channels[channel] + 1}" if len(samples.channels) > 1 else ""


def _reconstructions(samples: SeriesSamples, names: tuple[str, ...], places: list[int], channel: int) -> Exhibit:
    told, labels = _told(samples, names), [f"row {row + 1}" for row in range(len(samples.originals))]
    series = [samples.originals[..., channel], *samples.reconstructions[..., channel]]
    paint = partial(paint_series, steps=samples.steps, series=series, places=[None, *places], labels=labels)
    identity = f"series-{channel + 1}"
    alternative = (
        f"{len(labels)} series of the {samples.split} split{_of_channel(samples, channel)}, and "
        f"their reconstructions; mean unexplained over these rows: {told}."
    )
    rows = tuple(
        (str(row + 1), *(number(float(errors[row])) for errors in samples.unexplained)) for row in range(len(labels))
    )
    return Exhibit(
        identity=identity,
        title=f"Series and reconstructions{_of_channel(samples, channel)}",
        caption=f"Unexplained, mean over these rows: {told}. From one posterior sample each, on one fresh seed.",
        alternative=alternative,
        svg=draw(identity, alternative, paint),
        data=Table(caption="Unexplained, all channels", columns=("row", *names), rows=rows),
    )


def _prior(samples: SeriesSamples, names: tuple[str, ...], places: list[int], channel: int) -> Exhibit:
    draws = samples.prior_samples[..., channel]
    labels = [f"draw {row + 1}" for row in range(draws.shape[1])]
    paint = partial(paint_series, steps=samples.steps, series=list(draws), places=places, labels=labels)
    identity = f"series-prior-{channel + 1}"
    under = f" under the commonest conditions: {'; '.join(samples.conditions)}" if samples.conditions else ""
    alternative = f"{len(labels)} series decoded from the prior by each model{under}."
    spans = tuple(
        (name, number(float(np.min(one))), number(float(np.max(one)))) for name, one in zip(names, draws, strict=True)
    )
    return Exhibit(
        identity=identity,
        title=f"Drawn from the prior{_of_channel(samples, channel)}",
        caption=f"The same random latents decoded by each model{under}. They look like data only where the latents "
        "follow the prior.",
        alternative=alternative,
        svg=draw(identity, alternative, paint),
        data=Table(caption="What the draws span", columns=("candidate", "lowest", "highest"), rows=spans),
    )
