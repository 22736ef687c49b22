"""What a linear model of the same size leaves unexplained: the yardstick beside every `unexplained`."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.rows import Rows, column_means, slices
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR, Deviance

MOST_VALUES = 2**26
"""Training values to which it is fitted at most; of as many scikit-learn makes some copies, 268 MB each."""
# As Halko et al. 2011 advise: further directions, and rounds after which those that are wanted stand still.
_MORE_DIRECTIONS = 10
_ROUNDS = 7


def pca_unexplained(splits: Mapping[str, Rows], components: int, deviance: Deviance) -> dict[str, float]:
    """`unexplained` of a principal component analysis, by split that has rows.

    Fitted on the training rows, of many to some from all over them; squared error over that of predicting the training
    mean, in the space in which models are trained, as `Measures.unexplained` is. Under another deviance the two cannot
    be compared, and nothing is given.

    Args:
        splits: scaled rows by split, "train" among them; it sees missing values, NaN, as the training mean.
        components: how many are kept; no more than rows or columns can give.
        deviance: what the models' `unexplained` is a share of.
    """
    if deviance is not SQUARED_ERROR:
        return {}
    held = {name: rows for name, rows in splits.items() if len(rows)}
    if math.prod(splits["train"].shape) > MOST_VALUES:
        return _by_parts(held, components)
    return _at_once({name: rows[:].reshape(len(rows), -1) for name, rows in held.items()}, components)


def _at_once(flat: Mapping[str, np.ndarray], components: int) -> dict[str, float]:
    """By scikit-learn, of rows [n, D]."""
    from sklearn.decomposition import PCA  # half a second, for which a wheel's import must not wait

    gaps = Gaps(flat)
    train = gaps.fill(flat["train"])
    fitted = PCA(min(components, *train.shape), random_state=0).fit(train)
    found = {}
    for name, rows in flat.items():
        filled = gaps.fill(rows)
        left = gaps.leave_out(filled - fitted.inverse_transform(fitted.transform(filled)), rows)
        spread = float(np.mean(np.square(gaps.leave_out(rows - train.mean(axis=0), rows)), dtype=np.float64))
        found[name] = float(np.mean(np.square(left), dtype=np.float64)) / spread if spread > 0 else 0.0
    return found


def _by_parts(splits: Mapping[str, Rows], components: int) -> dict[str, float]:
    """The same of rows that need not fit into memory as float32."""
    gaps, train = Gaps(splits), splits["train"]
    # What is missing is given as the mean.
    mean = (column_means(train) if gaps.filling is None else gaps.filling).reshape(-1).astype(np.float32)

    def centre(rows: np.ndarray) -> np.ndarray:
        return gaps.fill(rows).reshape(len(rows), -1) - mean

    fitted = np.linspace(0, len(train) - 1, max(1, MOST_VALUES // mean.size), dtype=np.int64)
    axes = _leading_axes(
        lambda: (centre(train[fitted[some]]) for some in slices((len(fitted), mean.size))),
        width=mean.size,
        count=min(components, len(fitted), mean.size),
    )
    found = {}
    for name, rows in splits.items():
        left, spread = 0.0, 0.0
        for some in slices(rows.shape):
            read = rows[some]
            centred, flat = centre(read), read.reshape(len(read), -1)
            left += _sum_squares(gaps.leave_out(centred - centred @ axes @ axes.T, flat))
            spread += _sum_squares(gaps.leave_out(centred, flat))
        found[name] = left / spread if spread > 0 else 0.0
    return found


def _sum_squares(values: np.ndarray) -> float:
    return float(np.sum(np.square(values), dtype=np.float64))


def _leading_axes(parts: Callable[[], Iterator[np.ndarray]], *, width: int, count: int) -> np.ndarray:
    """The first principal axes of centred rows [width, count], by subspace iteration (Halko et al. 2011, section 4.5).

    Args:
        parts: gives the rows, some [n, width] after the other.
        width: their number of columns.
        count: how many axes.
    """
    directions = min(count + _MORE_DIRECTIONS, width)
    products = np.random.default_rng(0).standard_normal((width, directions), np.float32)
    for _ in range(_ROUNDS):
        axes, _ = np.linalg.qr(products)
        products = np.zeros_like(axes)
        for part in parts():
            products += part.T @ (part @ axes)
    _, turned = np.linalg.eigh(axes.T @ products)  # the least variance first
    return np.asarray(axes @ turned[:, -count:])
