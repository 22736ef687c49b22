"""Student's t with a scale learned for every column: a Gaussian that outliers do not pull."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from klsearch.vae.likelihoods.deviance import Deviance
from klsearch.vae.likelihoods.likelihood import LocationLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

_FREEDOM = 4.0
_LEAST_SCALE = 1e-3
# −ln of the density's factor without the scale: Γ((ν + 1)/2) / (Γ(ν/2) √(νπ)).
_CONSTANT = math.lgamma(_FREEDOM / 2) - math.lgamma((_FREEDOM + 1) / 2) + math.log(_FREEDOM * math.pi) / 2
_MAD = 1.4826  # of a Gaussian: its standard deviation over its median absolute deviation


def _spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """1.4826 times the median distance from the mean, by column; where that is 0 the standard deviation, or 1."""
    if np.isnan(train).any():
        known = np.ma.masked_invalid(train)
        middle = _MAD * np.ma.median(abs(known - mean), axis=0).filled(0.0)  # type: ignore[no-untyped-call]
        deviation = known.std(axis=0).filled(0.0)
    else:
        middle, deviation = _MAD * np.median(np.abs(train - mean), axis=0), np.std(train, axis=0)
    scale = np.where(middle > _LEAST_SCALE, middle, deviation)
    return np.asarray(np.where(scale > 0, scale, 1.0))


def _deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    """(ν + 1) ln(1 + ((x − mean) / scale)² / ν)."""
    import tensorflow as tf

    return (_FREEDOM + 1) * tf.math.log1p(tf.square((rows - mean) / spread) / _FREEDOM)


class StudentT(LocationLikelihood):
    """t₄(x; mean, scale e^log_scale + 0.001): 4 degrees of freedom, fixed; the error is −ln p(x).

    The deviance is that of the scale which the training mean leaves in each column, by its median absolute deviation.
    """

    name: ClassVar[str] = "student_t"
    error_name: ClassVar[str] = "negative log-likelihood in nats"
    parts: ClassVar[tuple[str, ...]] = ("mean",)
    column_parts: ClassVar[Mapping[str, float]] = {"log_scale": 0.0}
    keras_error: str = f"""\
scale = ops.exp(log_scale) + {_LEAST_SCALE}
distance = ops.log1p(ops.square((rows - mean) / scale) / {_FREEDOM})
{_CONSTANT!r} + ops.log(scale) + {(_FREEDOM + 1) / 2} * distance"""
    deviance: Deviance = Deviance(words="Student's t deviance", whole="deviance", between=_deviance, spread=_spread)
    output_name: ClassVar[str] = "two numbers for each value on a last axis: mean, ln of its column's scale"
    keras_mean: str | None = "output[..., 0]"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """ln scale + (ν + 1)/2 · ln(1 + ((x − mean) / scale)² / ν), and a constant."""
        import tensorflow as tf

        mean, log_scale = self.split(output)
        scale = tf.exp(log_scale) + _LEAST_SCALE
        return _CONSTANT + tf.math.log(scale) + _deviance(mean, rows, scale) / 2


STUDENT_T = StudentT()
