"""What `unexplained` is measured against: predicting the training mean for every row."""

import numpy as np
import tensorflow as tf

from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.rows import KeptRows, Rows, column_means
from klsearch.vae.likelihoods.likelihood import Likelihood

# For what is fitted to training rows. Were a Gaussian's variance 1 % off, which so many rows do not allow, distortion
# would be off by D / 40,000 nats: it is flat where the variance is the best.
_FITTED_ROWS = 4096


def evenly_spaced(rows: Rows) -> Rows:
    """At most 4,096 of the rows, from all over them."""
    numbers = np.unique(np.linspace(0, len(rows) - 1, _FITTED_ROWS, dtype=np.int64))
    return rows.choose(numbers) if isinstance(rows, KeptRows) else rows[numbers]


class TrainingMean:
    """The training mean as a model of rows.

    Args:
        likelihood: says what it predicts and what the deviance is.
        train: training rows, [n, *shape].
        gaps: of these and of the rows to be predicted, which count nothing.

    Attributes:
        values: the mean, float64 [D].
        spread: what else of the training rows the deviance is measured by, float64 [D].
    """

    def __init__(self, likelihood: Likelihood, train: Rows, gaps: Gaps) -> None:
        self._deviance, self._gaps = likelihood.deviance, gaps
        filled = _flat(gaps.fill(train)) if isinstance(train, np.ndarray) else train
        self.values = column_means(filled).reshape(-1)
        # Where nothing is fitted one row is enough: of large ones a few take much memory.
        some = evenly_spaced(train)[:] if self._deviance.is_fitted else train[:1]
        self.spread = self._deviance.spread(_flat(some).astype(np.float64), self.values)

    def deviance(self, rows: np.ndarray) -> np.ndarray:
        """Of every value of rows [n, *shape] from the prediction, float64 [n, D]; 0 for their gaps."""
        wide = tf.constant(_flat(self._gaps.fill(rows)), tf.float64)
        predicted = self._deviance.predicted_by_mean(tf.constant(self.values), wide)
        found = self._deviance.between(predicted, wide, tf.constant(self.spread))
        return self._gaps.leave_out(found.numpy(), _flat(rows))


def _flat(rows: np.ndarray) -> np.ndarray:
    flat: np.ndarray = rows.reshape(len(rows), -1)
    return flat
