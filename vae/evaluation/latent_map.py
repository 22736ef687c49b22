"""Where rows lie in the latent spaces of a few models: along the two directions in which each spreads them most."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from klsearch.vae.evaluation.probe import probe_measure

_ROWS = 300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentMap:
    """The encoder's means μ of n rows by M models, on the first two principal axes of each.

    Attributes:
        split: the split that the rows are from.
        names: of the models, shape [M].
        places: shape [M, n, 2]; the second is 0 where there is one latent, NaN where a mean is not finite.
        shares: of the variance of μ that lies along the two axes, shape [M].
        labels: the class of each row, shape [n]; empty where rows have none.
        of: how many rows the split has; the axes are those of all.
    """

    split: str
    names: tuple[str, ...]
    places: np.ndarray
    shares: np.ndarray
    labels: tuple[str, ...]
    of: int


def map_latents(means: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None, split: str) -> LatentMap:
    """The map of these models' means.

    Args:
        means: μ of every row of the split, [n, d], by the models' names.
        labels: of the rows by split; None where they have none.
        split: the rows' split.
    """
    (rows, *_) = (len(one) for one in means.values())
    shown = np.linspace(0, rows - 1, min(rows, _ROWS)).round().astype(int)
    found = [_principal_axes(one) for one in means.values()]
    named: tuple[str, ...] = ()
    if labels is not None and probe_measure(labels["train"]) == "accuracy":
        named = tuple(str(label) for label in labels[split][shown])
    return LatentMap(
        split=split,
        names=tuple(means),
        places=np.stack([places[shown] for places, _ in found]),
        shares=np.array([share for _, share in found]),
        labels=named,
        of=rows,
    )


def _principal_axes(means: np.ndarray) -> tuple[np.ndarray, float]:
    """Places along the first two principal axes, [n, 2], and the share of the variance that they hold.

    The largest weight of each axis is positive, so that the same means always give the same map.
    """
    places = np.full((len(means), 2), np.nan)
    if not np.all(np.isfinite(means)):
        return places, float("nan")
    centred = means - np.mean(means, axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.argmax(np.abs(axes[:2]), axis=1)])[:, np.newaxis]
    places[:] = 0.0
    places[:, : len(axes)] = centred @ axes.T
    total = float(np.sum(spread**2))
    return places, float(np.sum(spread[:2] ** 2)) / total if total > 0 else float("nan")
