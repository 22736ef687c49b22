"""Curves, measures and samples as JSON values."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from klsearch.search.storage.encoding import (
    decode_curves,
    decode_measures,
    decode_samples,
    encode_curves,
    encode_measures,
    encode_samples,
)
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.latent_map import map_latents
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, Samples, SeriesSamples

rows = arrays(np.float32, st.tuples(st.integers(0, 5), st.just(10)), elements=st.floats(width=32))
numbers = st.floats() | st.just(math.nan)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(rows)
def test_curves_come_back_bit_for_bit(rows: np.ndarray) -> None:
    text = encode_curves(TrainingCurves.from_rows(rows))
    assert decode_curves(json.loads(json.dumps(text))).as_rows().tobytes() == rows.tobytes()


def measures_of(numbers: list[float], latents: list[float], active_units: int = 1) -> Measures:
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
    before = measures_of(numbers, latents)
    after = decode_measures(json.loads(json.dumps(encode_measures(before), allow_nan=False)))
    assert scalars(after) == scalars(before)
    for name in ("kl_mean_part", "kl_variance_part", "prior_mismatch"):
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()


def test_a_measure_that_the_stored_ones_lack_is_unknown() -> None:
    values = encode_measures(measures_of([1.0, 0.5, -3.0, 0.0, 0.25], [1.5, 2.5]))
    kept = {name: value for name, value in values.items() if name not in ("elbo", "prior_mismatch")}
    after = decode_measures({**kept, "of a later release": 1.0})
    assert math.isnan(after.elbo)
    assert after.unexplained == 0.5
    np.testing.assert_array_equal(after.prior_mismatch, [math.nan, math.nan])
    np.testing.assert_array_equal(after.kl_mean_part, [1.5, 2.5])


def test_what_is_not_finite_is_null_in_json_and_nan_again() -> None:
    before = measures_of([math.inf, math.nan, -math.inf, 0.25, 0.5], [math.nan, 1.5], active_units=0)
    text = json.dumps(encode_measures(before), allow_nan=False)
    after = decode_measures(json.loads(text))
    assert [math.isnan(value) for value in scalars(after)] == [True, True, True, False, False, False]
    np.testing.assert_array_equal(after.kl_mean_part, [math.nan, 1.5])


images = arrays(np.uint8, st.just((2, 4, 3, 1)))


@given(images, st.floats(0, 9))
def test_pictures_come_back_as_they_were(pixels: np.ndarray, error: float) -> None:
    samples = ImageSamples(
        split="test",
        names=("trial 3", "before"),
        originals=pixels,
        reconstructions=np.stack([pixels, 255 - pixels]),
        unexplained=np.full((2, 2), error),
        prior_samples=np.stack([pixels, pixels]),
        traversal=pixels[np.newaxis],
        latents=np.array([4]),
        latent_kl=np.array([error]),
        values=np.array([-1.0, 1.0]),
    )
    assert_same(decode_samples(json.loads(json.dumps(encode_samples(samples)))), samples)


def test_column_errors_come_back_as_they_were() -> None:
    samples = ColumnErrors(
        split="validation", names=("trial 3",), columns=("Größe", "b"), unexplained=np.array([[0.3, 0.1]]), of=7
    )
    assert_same(decode_samples(json.loads(json.dumps(encode_samples(samples)))), samples)


def test_series_come_back_as_they_were() -> None:
    series = np.random.default_rng(0).normal(size=(2, 5, 1))
    series[0, 2] = np.nan
    samples = SeriesSamples(
        split="test",
        names=("trial 3",),
        steps=np.arange(5),
        channels=np.arange(1),
        originals=series,
        reconstructions=series[np.newaxis],
        unexplained=np.full((1, 2), 0.5),
        prior_samples=series[np.newaxis],
        conditions=("a", "b"),
    )
    assert_same(decode_samples(json.loads(json.dumps(encode_samples(samples)))), samples)


def assert_same(one: Samples, other: Samples) -> None:
    assert type(one) is type(other)
    for name in type(other).__slots__:
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(second, np.ndarray):
            np.testing.assert_array_equal(first, second, strict=True)
        else:
            assert first == second


def test_a_map_of_latents_comes_back_as_it_was() -> None:
    means = {"trial 3": np.random.default_rng(0).normal(size=(30, 4)), "mine": np.full((30, 4), np.nan)}
    labels = np.arange(30) % 3
    kept = map_latents(means, {"train": labels, "test": labels}, "test")
    back = decode_samples(json.loads(json.dumps(encode_samples(kept), allow_nan=False)))
    assert (back.split, back.names, back.labels, back.of) == (kept.split, kept.names, kept.labels, kept.of)
    np.testing.assert_array_equal(back.places, kept.places)
    np.testing.assert_array_equal(back.shares, kept.shares)
