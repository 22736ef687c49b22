"""The kinds of models that a definition can name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from klsearch.vae.networks.workload import (
    Workload,
    conv1d_workload,
    conv_workload,
    dense_workload,
    recurrent_workload,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a kind of model asks for. `search.training.models` builds it, which takes TensorFlow.

    Attributes:
        sizes: the keys of `[model]` that say how large it is; the first must be given.
        workload: what it costs, by the shape of a row, the latents, those sizes and the width of a condition.
        axes: of a row: the least and the most; None for any.
        needs: what rows it takes, in words.
        is_of_series: whether rows are drawn as series, whatever their shape.
        shares_programs: whether its members train together, two at least: a step of one alone is as long as one of
            several, and it has the same bits in any company, but others alone.
        has_activation: whether `activation` is its to choose.
    """

    sizes: tuple[str, ...]
    workload: Callable[..., Workload]
    axes: tuple[int, int] = (1, 3)
    needs: str = ""
    is_of_series: bool = False
    shares_programs: bool = False
    has_activation: bool = True

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Why rows of a shape cannot be taken, and the way out; None where they can."""
        least, most = self.axes
        if least <= len(shape) <= most:
            return None
        what = {1: "are a table", 2: "are images or series"}.get(len(shape), "are images with channels")
        return f"needs {self.needs}, but the data {what}; use 'dense'"


_SERIES: Any = {
    "axes": (1, 2),
    "needs": "series, [rows, length] or [rows, length, channels]",
    "is_of_series": True,
}
KINDS: Mapping[str, Kind] = {
    "dense": Kind(sizes=("hidden",), workload=dense_workload, shares_programs=True),
    "conv": Kind(sizes=("filters", "hidden"), workload=conv_workload, axes=(2, 3), needs="images"),
    "conv1d": Kind(sizes=("filters", "hidden"), workload=conv1d_workload, **_SERIES),
    "recurrent": Kind(sizes=("hidden", "cell"), workload=recurrent_workload, has_activation=False, **_SERIES),
}
"""By name; whatever else `model.kind` says is the user's own."""


def shares_programs(kind: str) -> bool:
    """Whether members of a kind train together unmeasured; those of the user's own do only where it is faster."""
    return kind in KINDS and KINDS[kind].shares_programs
