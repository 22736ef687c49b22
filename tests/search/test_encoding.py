"""Curves and measures as JSON values."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.encoding import decode_curves, decode_measures, encode_curves, encode_measures
from vae.curves import TrainingCurves
from vae.measures import Measures

rows = arrays(np.float32, st.tuples(st.integers(0, 5), st.just(10)), elements=st.floats(width=32))
numbers = st.floats() | st.just(math.nan)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(rows)
def test_curves_come_back_bit_for_bit(rows: np.ndarray) -> None:
    text = encode_curves(TrainingCurves.from_rows(rows))
    assert decode_curves(json.loads(json.dumps(text))).as_rows().tobytes() == rows.tobytes()


def measures(numbers: list[float], latents: list[float], active_units: int = 1) -> Measures:
    latent = np.array(latents)
    reconstruction, unexplained, elbo, low, high = numbers
    return Measures(
        reconstruction=reconstruction,
        unexplained=unexplained,
        elbo=elbo,
        active_units=active_units,
        clip_share_low=low,
        clip_share_high=high,
        kl_mean_part=latent,
        kl_variance_part=2 * latent,
        prior_mismatch=-latent,
    )


def scalars(measured: Measures) -> list[float]:
    return [
        *(measured.reconstruction, measured.unexplained, measured.elbo),
        *(measured.clip_share_low, measured.clip_share_high, measured.active_units),
    ]


@given(
    st.lists(finite, min_size=5, max_size=5), st.lists(finite.filter(lambda x: abs(x) < 1e300), min_size=1, max_size=4)
)
def test_measures_come_back_bit_for_bit(numbers: list[float], latents: list[float]) -> None:
    before = measures(numbers, latents)
    after = decode_measures(json.loads(json.dumps(encode_measures(before), allow_nan=False)))
    assert scalars(after) == scalars(before)
    for name in ("kl_mean_part", "kl_variance_part", "prior_mismatch"):
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()


def test_what_is_not_finite_is_null_in_json_and_nan_again() -> None:
    before = measures([math.inf, math.nan, -math.inf, 0.25, 0.5], [math.nan, 1.5], active_units=0)
    text = json.dumps(encode_measures(before), allow_nan=False)
    after = decode_measures(json.loads(text))
    assert [math.isnan(value) for value in scalars(after)] == [True, True, True, False, False, False]
    np.testing.assert_array_equal(after.kl_mean_part, [math.nan, 1.5])
