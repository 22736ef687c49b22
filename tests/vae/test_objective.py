"""How the loss is put together, and which KL weight is one nat per nat under it."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.objective import Objective, OwnLoss

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


KlReduction = Literal["sum", "mean", "batch sum"]
KL_REDUCTIONS: tuple[KlReduction, ...] = ("sum", "mean", "batch sum")


@pytest.mark.parametrize("kl", KL_REDUCTIONS)
@pytest.mark.parametrize("reconstruction", REDUCTIONS)
def test_a_loss_of_the_user_s_own_is_the_bound_at_its_beta_up_to_one_factor(
    reconstruction: Reduction, kl: KlReduction
) -> None:
    """6 features, 3 latents, batches of 4: worked out as the user's script does."""
    own, rng = OwnLoss(reconstruction=reconstruction, reconstruction_weight=3.0, kl=kl), np.random.default_rng(0)
    beta = own.beta(0.5, terms=6, latent_dim=3, batch_size=4)
    ratios = []
    for _ in range(5):
        errors, kls = rng.random((4, 6)), rng.random((4, 3))
        error = {"sum": errors.sum(axis=1), "mean": errors.mean(axis=1)}[reconstruction].mean()
        term = {"sum": kls.sum(axis=1).mean(), "mean": kls.mean(axis=1).mean(), "batch sum": kls.sum()}[kl]
        bound = errors.sum(axis=1).mean() + beta * kls.sum(axis=1).mean()
        ratios.append((3.0 * error + 0.5 * term) / bound)
    np.testing.assert_allclose(ratios, ratios[0])


@pytest.mark.parametrize(("kl", "shown"), [("sum", 8), ("mean", 1), ("batch sum", 1024)])
def test_what_a_script_shows_for_one_nat_per_latent(kl: KlReduction, shown: float) -> None:
    assert OwnLoss(kl=kl).script_kl(latent_dim=8, batch_size=128) == shown
