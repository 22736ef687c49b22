"""Series as lines, side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from klsearch.reports.figures.palette import INK, line_style

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
