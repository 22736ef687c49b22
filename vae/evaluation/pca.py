"""What a linear model of the same size leaves unexplained: the yardstick beside every `unexplained`."""

from collections.abc import Mapping

import numpy as np

from klsearch.vae.data.gaps import Gaps
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR, Deviance


def pca_unexplained(splits: Mapping[str, np.ndarray], components: int, deviance: Deviance) -> dict[str, float]:
    """`unexplained` of a principal component analysis, by split that has rows.

    Fitted on the training rows; squared error over that of predicting the training mean, in the space in which models
    are trained, as `Measures.unexplained` is. Under another deviance the two cannot be compared, and nothing is given.

    Args:
        splits: scaled rows by split, "train" among them; it sees missing values, NaN, as the training mean.
        components: how many are kept; no more than rows or columns can give.
        deviance: what the models' `unexplained` is a share of.
    """
    if deviance is not SQUARED_ERROR:
        return {}
    from sklearn.decomposition import PCA  # half a second, for which a wheel's import must not wait

    flat = {name: rows.reshape(len(rows), -1) for name, rows in splits.items() if len(rows)}
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
