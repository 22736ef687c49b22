"""The unit in which KL stands beside the band."""

from collections.abc import Callable

import pytest

from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.studies.record import StudyRecord

Make = Callable[..., StudyRecord]


@pytest.mark.parametrize(
    ("reduction", "latents", "unit", "factor"),
    [
        ("mean", 8, "nats per latent", 1.0),
        ("sum", 8, "nats over all latents", 8.0),
        ("sum", 1, "nats over all latents", 1.0),
        ("mean", 1, "nats per latent", 1.0),
    ],
)
def test_a_kl_that_is_a_mean_is_taken_to_the_unit_of_the_band(
    make: Make, reduction: str, latents: int, unit: str, factor: float
) -> None:
    study = make(0, study={"kl_reduction": reduction}, model={"latent_dim": latents})
    assert (kl_unit(study), kl_factor(study)) == (unit, factor)
