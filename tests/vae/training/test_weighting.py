"""What each rule makes of a step's terms, by hand, and where it leads in real trainings."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population
from klsearch.vae.training.snapshot import Snapshot
from klsearch.vae.training.weighting import AnnealedWeight, ControlledWeight, OptimalVariance, Terms, Weighting

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

BATCH = 128
PLAIN = Hyperparameters(kl_weight=8.0)
# A target between what a KL weight of 0 and one of 1 nat per nat lead to: 2.5 nats for each of 8 latents.
TARGET = 20.0


def terms(error: float = 8.0, kl: float = 0.5, annealed: float = 0.25, **objective: str) -> Terms:
    """Of one member with 4 features and 2 latents, by default in sums of pixels and means of latents."""
    asked = Objective(**objective)  # type: ignore[arg-type]
    return Terms(
        error=tf.constant([error]),
        reconstruction=tf.constant([error * asked.reconstruction_scale(4)]),
        kl=tf.constant([kl]),
        floored_kl=tf.constant([kl]),
        annealed=tf.constant([annealed]),
        features=4,
        latent_dim=2,
        objective=asked,
    )


def test_an_annealed_weight_is_the_settings_own() -> None:
    weighed = AnnealedWeight().weigh(terms(), [])
    assert weighed.loss.numpy() == pytest.approx([8 + 0.25 * 0.5])
    assert weighed.kl_weight.numpy() == pytest.approx([0.25])


@pytest.mark.parametrize(
    ("reductions", "weight"),
    # σ² = 8 / 4, so β = 2σ² = 4; times what stands for β = 1 where features and latents are summed or averaged.
    [(("sum", "sum"), 4.0), (("sum", "mean"), 8.0), (("mean", "sum"), 1.0), (("mean", "mean"), 2.0)],
)
def test_the_best_variance_makes_the_loss_a_likelihood_in_nats(reductions: tuple[str, str], weight: float) -> None:
    reconstruction, kl = reductions
    given = terms(reconstruction_reduction=reconstruction, kl_reduction=kl)
    weighed = OptimalVariance().weigh(given, [])
    variance = 2.0
    nats = 4 / 2 * np.log(2 * np.pi * variance) + 8 / (2 * variance) + 2 * 0.5
    assert weighed.loss.numpy() == pytest.approx([nats])
    assert weighed.kl_weight.numpy() == pytest.approx([weight])


def test_the_best_variance_weighs_the_kl_in_the_gradient_as_it_says() -> None:
    error, kl = tf.constant([8.0]), tf.constant([0.5])
    with tf.GradientTape() as tape:
        tape.watch([error, kl])
        weighed = OptimalVariance().weigh(terms()._replace(error=error, floored_kl=kl), [])
    by_error, by_kl = tape.gradient(weighed.loss, [error, kl])
    assert (by_kl / by_error).numpy() == pytest.approx(weighed.kl_weight.numpy())


def test_a_perfect_reconstruction_leaves_a_finite_loss() -> None:
    assert np.isfinite(OptimalVariance().weigh(terms(error=0.0), []).loss.numpy()).all()


def test_a_controller_moves_the_weight_by_the_error_and_its_sum() -> None:
    rule, given = ControlledWeight(target=3.0), terms(kl=2.0, kl_reduction="sum")
    first = rule.weigh(given, [tf.constant([0.2])])
    # e = 3 − 2 · 2 = −1 nat; the integral grows by 0.0001, and 0.01 / (1 + exp(−1)) is added.
    assert first.memory[0].numpy() == pytest.approx([0.2001])
    assert first.kl_weight.numpy() == pytest.approx([0.2001 + 0.01 / (1 + np.exp(-1))])
    second = rule.weigh(given, first.memory)
    assert second.memory[0].numpy() == pytest.approx([0.2002])
    assert first.loss.numpy() == pytest.approx(8 + first.kl_weight.numpy() * 4)


@pytest.mark.parametrize(("integral", "target", "beta"), [(0.0, 1e6, 0.0), (1.0, -1e6, 1.0)])
def test_a_controller_stays_within_its_bounds_and_does_not_wind_up(integral: float, target: float, beta: float) -> None:
    weighed = ControlledWeight(target=target).weigh(terms(kl_reduction="sum"), [tf.constant([integral])])
    assert weighed.kl_weight.numpy() == pytest.approx([beta], abs=1e-6)
    assert weighed.memory[0].numpy() == pytest.approx([integral])


@pytest.fixture(scope="module")
def network() -> Network:
    return dense_network((64,), 8, hidden=[32], output_activation="sigmoid")


def weighted_population(network: Network, splits: dict[str, np.ndarray], weighting: Weighting) -> Population:
    return Population(network, splits, Objective(), slots=4, together=2, batch_size=BATCH, weighting=weighting)


@pytest.fixture(scope="module")
def controlled(network: Network, full_batches: dict[str, np.ndarray]) -> Population:
    return weighted_population(network, full_batches, ControlledWeight(target=TARGET))


@pytest.fixture(scope="module")
def fitted(network: Network, full_batches: dict[str, np.ndarray]) -> Population:
    return weighted_population(network, full_batches, OptimalVariance())


@pytest.mark.slow("trains for 60 epochs")
def test_a_controlled_training_settles_at_its_target(controlled: Population, train: Train) -> None:
    for slot in range(4):
        controlled.start(slot, PLAIN, seed=slot)
    train(controlled, 60)
    for slot in range(4):
        curves = controlled.curves(slot)
        assert 8 * curves.kl[-5:].mean() == pytest.approx(TARGET, rel=0.05)
        assert 0 < curves.kl_weight[-1] < 8
        assert curves.kl_weight[0] < curves.kl_weight[-1], "its weight begins at 0"


def test_a_controlled_training_goes_on_bit_for_bit(controlled: Population, train: Train, bits: Bits) -> None:
    controlled.start(1, PLAIN, seed=2)
    train(controlled, 6)
    halfway = controlled.snapshot().members[1]
    train(controlled, 6)
    expected = bits(controlled, 1)
    for slot in range(4):
        controlled.start(slot, PLAIN, seed=20 + slot)
    train(controlled, 2)
    controlled.restore(Snapshot(batch=0, members={2: halfway}))
    train(controlled, 6)
    assert bits(controlled, 2) == expected, "in another slot and other company"


def test_the_fitted_variance_is_the_residual_s_mean_square(fitted: Population, train: Train) -> None:
    fitted.start(0, PLAIN, seed=1)
    train(fitted, 15)
    curves = fitted.curves(0)
    # The weight is 2σ² · d; reconstruction is the squared error summed over 64 features.
    assert curves.kl_weight / (2 * 8) == pytest.approx(curves.reconstruction / 64, rel=1e-5)
    assert curves.kl_weight[-1] < 0.7 * curves.kl_weight[0]
    # The total is a mean over batches of a logarithm, which differ little at the end.
    nats = 32 * np.log(2 * np.pi * curves.reconstruction[-1] / 64) + 32 + 8 * curves.kl[-1]
    assert curves.total[-1] == pytest.approx(nats, rel=1e-2)


def test_a_fitted_variance_leaves_a_member_s_bits_to_its_seed(fitted: Population, train: Train, bits: Bits) -> None:
    fitted.start(0, PLAIN, seed=1)
    train(fitted, 5)
    expected = bits(fitted, 0)
    for slot in range(4):
        fitted.start(slot, PLAIN, seed=1 if slot == 3 else 10 + slot)
    train(fitted, 5)
    assert bits(fitted, 3) == expected


def test_the_best_variance_is_that_of_what_is_known() -> None:
    """A mean of 2 known values, missed by squares of 8 in all: as of rows with two features."""
    of_two = terms()._replace(features=2, known=None)
    loss, weight, _ = OptimalVariance().weigh(of_two, [])
    found, reported, _ = OptimalVariance().weigh(terms()._replace(known=tf.constant([2.0])), [])
    assert found.numpy() == pytest.approx(loss.numpy(), rel=1e-6)
    assert reported.numpy() == pytest.approx(weight.numpy(), rel=1e-6)
