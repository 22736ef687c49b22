"""The record of a member's measures: what follows from its parts."""

import numpy as np
import pytest

from klsearch.vae.diagnostics.measures import Measures


def known_measures(**changes: object) -> Measures:
    values: dict[str, object] = {
        "reconstruction": 1.0,
        "unexplained": 0.5,
        "elbo": -10.0,
        "active_units": 2,
        "clip_share_low": 0.1,
        "clip_share_high": 0.3,
        "kl_mean_part": np.array([1.0, 2.0, 3.0]),
        "kl_variance_part": np.array([0.5, 0.0, 1.0]),
        "prior_mismatch": np.zeros(3),
    }
    return Measures(**{**values, **changes})  # type: ignore[arg-type]


def test_kl_is_the_mean_over_latents_of_both_its_parts() -> None:
    record = known_measures()
    assert record.latent_dim == 3
    assert record.kl_per_latent.tolist() == [1.5, 2.0, 4.0]
    assert record.kl == 2.5


@pytest.mark.parametrize(("low", "high", "share"), [(0.1, 0.3, 0.3), (0.4, 0.0, 0.4)])
def test_the_clip_share_is_the_larger_of_the_two_bounds(low: float, high: float, share: float) -> None:
    assert known_measures(clip_share_low=low, clip_share_high=high).clip_share == share


def test_parts_with_different_numbers_of_latents_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prior_mismatch must have shape \[d\] with d=3, but has \[2\]."):
        known_measures(prior_mismatch=np.zeros(2))
