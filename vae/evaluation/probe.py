"""What a linear model reads off the latents: whether a latent space is of use downstream."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

ProbeMeasure = Literal["accuracy", "r2"]

PROBE_WORDS: dict[ProbeMeasure, str] = {"accuracy": "probe accuracy", "r2": "probe R²"}
"""What a reader calls each measure."""

# Labels of more kinds name rows, not classes; whole numbers of more kinds are quantities.
_MOST_CLASSES = 100
# Of L-BFGS on the few standardised latents: bounds the time, and is past the point where the score still changes.
_MOST_ITERATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear model of the labels, fitted to a member's μ of the training split.

    Attributes:
        measure: "accuracy", the share of rows whose class is found, or "r2", the share of the labels' variance that is
            explained (below 0 where the training mean would explain more).
        validation: on the validation split.
        test: on the test split.
        chance: on the test split, without looking at the latents: the commonest class, or the mean.
    """

    measure: ProbeMeasure
    validation: float
    test: float
    chance: float


def probe_measure(labels: np.ndarray) -> ProbeMeasure | None:
    """How labels can be probed: as classes or as quantities; None where they can be neither.

    Text, truth values and whole numbers are classes, as long as there are at most 100 of them; numbers of more kinds,
    or with fractions, are quantities. One label for all rows, text of more kinds, and NaN say nothing.

    Args:
        labels: of the training split, shape [n].
    """
    kinds = len(np.unique(labels))
    is_number = labels.dtype.kind in "iuf"
    if kinds < 2 or (is_number and not np.all(np.isfinite(labels))):
        return None
    if kinds <= _MOST_CLASSES and not (is_number and np.any(labels != np.round(labels))):
        return "accuracy"
    return "r2" if is_number else None


def fit_probe(
    latents: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], measure: ProbeMeasure
) -> Probe | None:
    """The probe of one member; None where a latent is not finite.

    Logistic regression for classes, ridge regression for quantities, both of scikit-learn with its default penalty, on
    latents standardised over the training split.

    Args:
        latents: μ by split, each [n, d].
        labels: by split, each [n].
        measure: as `probe_measure` gives it.
    """
    # A second to import, which those who only read a study need not pay.
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not all(np.all(np.isfinite(values)) for values in latents.values()):
        return None
    classes = measure == "accuracy"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_ITERATIONS) if classes else Ridge())
    blind = DummyClassifier() if classes else DummyRegressor()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(latents["train"], labels["train"])
    blind.fit(latents["train"], labels["train"])
    return Probe(
        measure=measure,
        validation=float(model.score(latents["validation"], labels["validation"])),
        test=float(model.score(latents["test"], labels["test"])),
        chance=float(blind.score(latents["test"], labels["test"])),
    )
