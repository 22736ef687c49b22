"""How the loss is put together, and which KL weight is one nat per nat under it."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.objective import Objective

Reduction = Literal["sum", "mean"]
REDUCTIONS: tuple[Reduction, ...] = ("sum", "mean")


def test_reductions_scale_the_parts() -> None:
    assert Objective().reconstruction_scale(64) == 1
    assert Objective(reconstruction_reduction="mean").reconstruction_scale(64) == 1 / 64
    assert Objective().kl_scale(8) == 1
    assert Objective(kl_reduction="sum").kl_scale(8) == 8


@pytest.mark.parametrize(
    ("reconstruction", "kl", "weight"),
    # 64 features and 8 latents: 1; d; 1 / D; d / D
    [("sum", "sum", 1.0), ("sum", "mean", 8.0), ("mean", "sum", 1 / 64), ("mean", "mean", 8 / 64)],
)
def test_one_nat_per_nat_undoes_the_means(reconstruction: Reduction, kl: Reduction, weight: float) -> None:
    objective = Objective(reconstruction_reduction=reconstruction, kl_reduction=kl)
    assert objective.unit_kl_weight(features=64, latent_dim=8) == weight


@given(
    st.sampled_from(REDUCTIONS),
    st.sampled_from(REDUCTIONS),
    st.integers(1, 5000),
    st.lists(st.floats(0, 100), min_size=1, max_size=64),
    st.floats(0, 1e4),
)
def test_with_that_weight_the_loss_is_the_negative_bound_up_to_one_factor(
    reconstruction: Reduction, kl: Reduction, features: int, kl_per_latent: list[float], error: float
) -> None:
    objective = Objective(reconstruction_reduction=reconstruction, kl_reduction=kl)
    latents, factor = len(kl_per_latent), objective.reconstruction_scale(features)
    weight = objective.unit_kl_weight(features, latents)
    loss = factor * error + weight * objective.kl_scale(latents) * np.mean(kl_per_latent)
    assert loss == pytest.approx(factor * (error + np.sum(kl_per_latent)))
