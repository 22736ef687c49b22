"""What likelihoods of counts have in common."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from klsearch.vae.data.rows import Rows, in_parts
from klsearch.vae.likelihoods.deviance import Deviance
from klsearch.vae.likelihoods.likelihood import LogLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

LEAST_MEAN = 1e-6
LEAST_DISPERSION = 1e-3  # below it lnΓ(x + 1/α) − lnΓ(1/α) loses its digits in float32


class CountLikelihood(LogLikelihood):
    """Of whole numbers from 0 on, which stay as they are and of which encoders take the logarithm."""

    error_name: ClassVar[str] = "negative log-likelihood of the counts in nats"
    scaling: ClassVar[str] = "counts"
    log_input: bool | tuple[bool, ...] = True


def misfit_of_counts(splits: Iterable[Rows], scaling: str) -> str | None:
    """Counts that are scaled are no longer whole; those that are not have been looked at when they were read."""
    if scaling in ("none", "counts"):
        return None
    for rows in chain.from_iterable(map(in_parts, splits)):
        if np.any(~np.isnan(rows) & ((rows < 0) | (rows != np.round(rows)))):
            return "needs counts as they are; set data.scaling = 'auto', which leaves them so"
    return None


def library_size(rows: "tf.Tensor") -> "tf.Tensor":
    """The sum over a row, [..., 1] from [..., D]."""
    import tensorflow as tf

    return tf.reduce_sum(rows, axis=-1, keepdims=True)


def _predicted_by_mean(mean: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
    """The row's library size, shared out as on average over training rows."""
    import tensorflow as tf

    return library_size(rows) * mean / tf.reduce_sum(mean)


def _spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The dispersion about what the training mean predicts.

    What is missing is a part of its row's library size, as the model is given it, and of no sum over rows.
    """
    sizes = np.where(np.isnan(train), mean, train).sum(axis=1, keepdims=True)
    return dispersion_about(sizes * mean / mean.sum(), train)


def dispersion_about(predicted: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """α of Var = m + αm² by moments, of the means m that are predicted: Σ((x − m)² − m) / Σm² by column.

    >>> dispersion_about(np.array([[2.0], [2.0]]), np.array([[0.0], [4.0]]))  # (4 − 2 + 4 − 2) / 8
    array([0.5])
    """
    known, predicted = ~np.isnan(counts), np.broadcast_to(predicted, counts.shape)
    excess = np.sum(np.square(counts - predicted) - predicted, axis=0, where=known)
    squares = np.maximum(np.sum(np.square(predicted), axis=0, where=known), LEAST_MEAN)
    return np.asarray(np.maximum(excess / squares, LEAST_DISPERSION))


def deviance_of_counts(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    """2 [x ln(x/m) − (x + r) ln((x + r)/(m + r))], r = 1/α (McCullagh & Nelder 1989, section 11.2)."""
    import tensorflow as tf

    mean, size = tf.maximum(mean, LEAST_MEAN), 1 / spread
    ratio = tf.math.log((rows + size) / (mean + size))
    return 2 * (tf.math.xlogy(rows, rows / mean) - (rows + size) * ratio)


class LibraryLikelihood(CountLikelihood):
    """Of counts whose sum over a row, the library size, is given: the decoder says how it is shared out.

    The deviance is a negative binomial's with the dispersion that the training mean leaves in each column, so that all
    trials of a study are measured alike.
    """

    column_parts: ClassVar[Mapping[str, float]] = {"log_dispersion": 0.0}
    deviance: Deviance = Deviance(
        words="negative binomial deviance",
        whole="deviance",
        between=deviance_of_counts,
        spread=_spread,
        predicted_by_mean=_predicted_by_mean,
    )

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """As for counts; and a row without any has no library size."""
        splits = list(splits)
        parts = chain.from_iterable(in_parts(rows) for rows in splits if len(rows))
        empty = sum(int(np.sum(~rows.reshape(len(rows), -1).any(axis=1))) for rows in parts)
        if (found := misfit_of_counts(splits, scaling)) or not empty:
            return found
        return (
            f"needs rows with a library size above 0, but {empty} hold{'s' if empty == 1 else ''} nothing but zeros; "
            "remove them, or use 'poisson'"
        )
