"""Members trained together: what their hyperparameters do, and that they leave each other alone."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.hyperparameters import NAMES, Hyperparameters
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.stacking import trainable_variables
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

BASE = Hyperparameters(kl_weight=0.1, clip_low=-20, clip_high=2, annealing_epochs=2, learning_rate=3e-3)
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "kl_weight": {"kl_weight": 0.5},
    "clip_low": {"clip_low": -0.2},
    "clip_high": {"clip_high": -0.5},
    "annealing_epochs": {"annealing_epochs": 5},
    "l2": {"l2": 0.1},
    "encoder_dropout": {"encoder_dropout": 0.3},
    "free_bits": {"free_bits": 0.5},
    "learning_rate": {"learning_rate": 1e-2},
    "clipnorm": {"clipnorm": 0.5},
    "nothing, in another slot": {},
}
CHANGED = {name: replace(BASE, **change) for name, change in CHANGES.items()}
STILL = 1e-20  # a learning rate under which no weight moves
SEED = 7
EPOCHS = 4
BATCH = 128
STEPS = 9


@pytest.fixture(scope="module")
def network() -> Network:
    return dense_network((64,), 4, hidden=[64, 32], output_activation="sigmoid")


@pytest.fixture(scope="module")
def population(network: Network, digits: dict[str, np.ndarray]) -> Population:
    """Ten slots for the tests to start members in; each test leaves it between epochs."""
    splits = {**digits, "train": digits["train"][: STEPS * BATCH]}
    return Population(network, splits, Objective(), slots=len(CHANGED), batch_size=BATCH, clips_gradients=True)


Trained = dict[str, tuple[TrainingCurves, dict[str, np.ndarray], dict[str, bytes]]]


@pytest.fixture(scope="module")
def trained(population: Population, network: Network, train: Train, bits: Bits) -> Trained:
    """Curves, weights by path and all bits of members that differ in one hyperparameter each."""
    for slot, settings in enumerate(CHANGED.values()):
        population.start(slot, settings, SEED)
    train(population, EPOCHS)
    paths = [variable.path for variable in trainable_variables(network)]
    return {
        name: (
            population.curves(slot),
            dict(zip(paths, population.weights(slot), strict=True)),
            bits(population, slot),
        )
        for slot, name in enumerate(CHANGED)
    }


def start_all(population: Population, *settings: Hyperparameters) -> None:
    """The first slots get these settings and one seed, the others settings that bother nobody."""
    padded = [*settings, *[BASE] * (population.slots - len(settings))]
    for slot, setting in enumerate(padded):
        population.start(slot, setting, SEED)


def head_norm(weights: dict[str, np.ndarray]) -> float:
    """Squared norms of the latent heads' kernels."""
    return sum(float(np.sum(np.square(weights[f"{head}/kernel"]))) for head in ("z_mean", "z_log_var"))


@pytest.mark.parametrize("name", NAMES)
def test_each_hyperparameter_changes_the_training_of_its_member(trained: Trained, name: str) -> None:
    (base, *_), (changed, *_) = trained["nothing"], trained[name]
    difference = np.abs(changed.validation_reconstruction / base.validation_reconstruction - 1)
    assert difference.max() > 1e-3


def test_equal_members_in_different_slots_have_equal_bits(trained: Trained) -> None:
    assert trained["nothing"][2] == trained["nothing, in another slot"][2]


def test_a_member_of_another_seed_trains_otherwise(population: Population, train: Train) -> None:
    for slot in range(population.slots):
        population.start(slot, BASE, SEED + slot % 2)
    train(population, 1)
    curves = [population.curves(slot).as_rows().tobytes() for slot in range(population.slots)]
    assert curves[0] == curves[2] != curves[1] == curves[3]


def test_reconstruction_and_validation_improve_while_training(trained: Trained) -> None:
    for curves, _, _ in trained.values():
        assert curves.epochs == EPOCHS
        assert curves.reconstruction[-1] < curves.reconstruction[0]
        assert curves.validation_unexplained[-1] < curves.validation_unexplained[0]
        assert not curves.diverged


def test_a_larger_kl_weight_gives_a_smaller_kl(trained: Trained) -> None:
    assert trained["kl_weight"][0].validation_kl[-1] < trained["nothing"][0].validation_kl[-1]


def test_slower_annealing_gives_a_larger_kl_meanwhile(trained: Trained) -> None:
    assert (trained["annealing_epochs"][0].validation_kl > trained["nothing"][0].validation_kl).all()


def test_l2_shrinks_the_kernels_of_both_latent_heads(trained: Trained) -> None:
    for head in ("z_mean", "z_log_var"):
        free, shrunk = (np.linalg.norm(trained[name][1][f"{head}/kernel"]) for name in ("nothing", "l2"))
        assert shrunk < 0.8 * free


def test_a_tight_bound_is_met_and_a_wide_one_is_not(trained: Trained) -> None:
    assert trained["clip_low"][0].clip_share_low[-1] > 0.1
    assert trained["clip_high"][0].clip_share_high[0] > 0.1
    assert trained["nothing"][0].clip_share_low[-1] < 0.01
    assert trained["nothing"][0].clip_share_high[-1] < 0.01


def test_the_total_is_reconstruction_weighted_kl_and_l2(population: Population, network: Network, train: Train) -> None:
    still = replace(BASE, annealing_epochs=0, learning_rate=STILL)
    start_all(population, still, replace(still, l2=0.25))
    train(population, 1)
    paths = [variable.path for variable in trainable_variables(network)]
    norm = head_norm(dict(zip(paths, population.weights(0), strict=True)))
    for slot, penalty in enumerate((0.0, 0.25 * norm)):
        curves = population.curves(slot)
        expected = curves.reconstruction + 0.1 * curves.kl + penalty
        assert curves.total == pytest.approx(expected, rel=1e-5)


def test_dropout_acts_in_training_and_not_in_validation(population: Population, train: Train) -> None:
    still = replace(BASE, learning_rate=STILL)
    start_all(population, still, replace(still, encoder_dropout=0.5))
    train(population, 1)
    kept, dropped = population.curves(0), population.curves(1)
    assert abs(dropped.kl[0] / kept.kl[0] - 1) > 0.05
    assert dropped.validation_kl == pytest.approx(kept.validation_kl, rel=1e-6)
    assert dropped.validation_reconstruction == pytest.approx(kept.validation_reconstruction, rel=1e-6)


def test_the_kl_weight_curve_is_the_mean_of_a_weight_annealed_in_the_member_s_own_time(
    population: Population, train: Train
) -> None:
    train(population, 1)  # so that the members do not start with the population
    lengths = (0, 1, 2, 5)
    start_all(population, *(replace(BASE, annealing_epochs=length) for length in lengths))
    train(population, 3)
    for slot, length in enumerate(lengths):
        ramp = np.minimum(1, np.arange(3 * STEPS) / (length * STEPS)) if length else np.ones(3 * STEPS)
        expected = 0.1 * ramp.reshape(3, STEPS).mean(axis=1)
        np.testing.assert_allclose(population.curves(slot).kl_weight, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "broken",
    [{"learning_rate": 1e12}, {"kl_weight": 3e38}, {"learning_rate": 1e38, "clip_low": -math.inf}],
    ids=["learning rate", "KL weight", "both"],
)
def test_a_member_that_diverges_leaves_its_neighbours_alone(
    population: Population, trained: Trained, train: Train, bits: Bits, broken: dict[str, Any]
) -> None:
    bad = replace(BASE, clip_high=math.inf, annealing_epochs=0, **broken)
    start_all(population, bad, BASE, bad, bad, BASE)
    train(population, EPOCHS)
    diverged = [population.curves(slot).diverged for slot in range(5)]
    assert diverged == [True, False, True, True, False]
    assert population.curves(0).nonfinite_steps.max() <= population.steps_per_epoch
    assert bits(population, 1) == bits(population, 4) == trained["nothing"][2]
    start_all(population, BASE)
    train(population, EPOCHS)
    assert bits(population, 0) == trained["nothing"][2], "a slot must not remember who diverged in it"


def test_an_epoch_in_many_calls_gives_the_bits_of_one_in_few(
    population: Population, trained: Trained, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)
    start_all(population, BASE)
    for _ in range(EPOCHS):
        assert [population.advance() for _ in range(population.steps_per_epoch)] == [False] * (STEPS - 1) + [True]
    assert bits(population, 0) == trained["nothing"][2]


def test_a_member_cannot_start_within_an_epoch(population: Population, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)
    assert not population.advance()
    with pytest.raises(RuntimeError, match="between epochs"):
        population.start(0, BASE, SEED)
    while not population.advance():
        pass
    population.start(0, BASE, SEED)


def test_clipping_that_would_not_happen_is_refused(network: Network, digits: dict[str, np.ndarray]) -> None:
    without = Population(network, digits, Objective(), slots=2, batch_size=BATCH)
    with pytest.raises(ValueError, match=r"clipnorm is 0\.5, but the population was made without clipping"):
        without.start(0, CHANGED["clipnorm"], SEED)


def test_measuring_between_epochs_changes_nothing(
    population: Population, trained: Trained, train: Train, bits: Bits
) -> None:
    start_all(population, BASE)
    for _ in range(EPOCHS):
        train(population, 1)
        population.measure([0, 3, 1], "test")
    assert bits(population, 0) == trained["nothing"][2]


def test_a_member_is_measured_alike_alone_together_and_copied(population: Population, train: Train) -> None:
    start_all(population, *(CHANGED[name] for name in ("kl_weight", "l2", "encoder_dropout")))
    train(population, 1)
    alone = [population.measure([slot], "test")[0].elbo for slot in (2, 0, 1)]
    together = [measures.elbo for measures in population.measure([2, 0, 1], "test")]
    copies = [population.member(slot) for slot in (2, 0, 1)]
    train(population, 1)
    copied = [measures.elbo for measures in population.measure_members(copies, "test")]
    assert alone == together == copied


def test_the_measures_of_a_frozen_model_do_not_depend_on_how_it_is_trained(population: Population, bits: Bits) -> None:
    other = replace(BASE, kl_weight=10.0, annealing_epochs=7, l2=1.0, encoder_dropout=0.5, learning_rate=0.1)
    start_all(population, BASE, other, replace(other, kl_weight=0.0, clipnorm=1.0))
    assert bits(population, 0)["measures"] == bits(population, 1)["measures"] == bits(population, 2)["measures"]


def test_a_stopped_member_is_no_longer_counted(population: Population, train: Train) -> None:
    start_all(population)
    train(population, 1)
    population.stop(4)
    spent = population.seconds(4)
    train(population, 1)
    assert (population.epoch(4), population.curves(4).epochs, population.seconds(4)) == (1, 1, spent)
    assert (population.epoch(5), population.curves(5).epochs) == (2, 2)


def test_the_latest_values_are_the_ends_of_the_curves(population: Population, train: Train) -> None:
    start_all(population)
    assert population.latest(0) == {}
    train(population, 2)
    assert population.latest(0) == population.curves(0).latest()


def test_the_members_share_the_time_between_them(population: Population, train: Train) -> None:
    start_all(population)
    began = time.perf_counter()
    train(population, 2)
    elapsed = time.perf_counter() - began
    seconds = [population.seconds(slot) for slot in range(population.slots)]
    assert seconds == pytest.approx([seconds[0]] * population.slots)
    assert 0.5 * elapsed < sum(seconds) <= elapsed


def test_nothing_is_traced_again_for_the_trials_to_come(population: Population, train: Train) -> None:
    start_all(population)
    train(population, 1)
    population.measure([0], "validation")

    def traces() -> list[int]:
        return [population.traces(), population._evaluator._rows_outcome.experimental_get_tracing_count()]

    before, rng = traces(), np.random.default_rng(0)
    for trial in range(50):
        settings = Hyperparameters(
            kl_weight=rng.uniform(),
            clip_low=-rng.uniform(3, 20),
            clip_high=rng.uniform(0, 4),
            annealing_epochs=int(rng.integers(5)),
            l2=rng.uniform(),
            encoder_dropout=rng.uniform(0, 0.5),
            learning_rate=rng.uniform(1e-4, 1e-2),
            clipnorm=rng.uniform(0.5, 5),
        )
        population.start(trial % population.slots, settings, seed=100 + trial)
        if trial % 5 == 4:
            train(population, 1)
            population.measure(range(trial % 10 + 1), "validation")
    assert traces() == before


@pytest.mark.parametrize(("batch_size", "validation"), [(1258, 270), (128, 0)])
def test_a_population_needs_a_batch_and_something_to_validate_on(
    network: Network, digits: dict[str, np.ndarray], batch_size: int, validation: int
) -> None:
    splits = {**digits, "validation": digits["validation"][:validation]}
    with pytest.raises(ValueError, match=rf"\(1257 rows\) must hold a batch of {batch_size}, and the validation"):
        Population(network, splits, Objective(), slots=2, batch_size=batch_size)


def test_latents_below_their_free_bits_are_trained_as_if_the_kl_weighed_nothing(
    population: Population, train: Train
) -> None:
    """The loss has the floor in it, w · 1000 nats; the KL beside it is the raw one, which no weight holds down."""
    floored = replace(BASE, annealing_epochs=0, free_bits=1000.0)
    start_all(population, floored, replace(BASE, annealing_epochs=0, kl_weight=1e-9))
    train(population, 2)
    below, free, pushed = (population.curves(slot) for slot in range(3))
    np.testing.assert_allclose(below.kl, free.kl, rtol=1e-3)
    np.testing.assert_allclose(below.reconstruction, free.reconstruction, rtol=1e-3)
    np.testing.assert_allclose(below.total - below.reconstruction, BASE.kl_weight * 1000, rtol=1e-3)
    assert pushed.kl[-1] < 0.9 * below.kl[-1]


def test_free_bits_keep_latents_from_collapse_at_about_as_many_nats(population: Population, train: Train) -> None:
    """Below the floor reconstruction alone pulls, upwards; above it the weight pushes down: there they stay."""
    heavy = replace(BASE, kl_weight=20.0, annealing_epochs=0)
    start_all(population, heavy, replace(heavy, free_bits=0.5))
    train(population, 40)
    collapsed, kept = (measures.kl_per_latent for measures in population.measure(range(2), "validation"))
    assert collapsed.max() < 0.01
    assert kept == pytest.approx(np.full(4, 0.5), rel=0.25)
