"""Real trainings that are healthy, collapsed, exploding and diverging get the gates and verdicts they deserve."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

from klsearch.vae.data.datasets import load_dataset
from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.readers.raw import Request
from klsearch.vae.diagnostics.gates import DIVERGED_VIOLATION, Gate, GateThresholds, Verdict, judge, verdict
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.slow("trains for 60 epochs")

Train = Callable[[Population, int], None]

HEALTHY = Hyperparameters(kl_weight=0.3, clip_low=-10, clip_high=4, annealing_epochs=2, l2=1e-4, learning_rate=5e-3)
COLLAPSED = replace(HEALTHY, kl_weight=100.0)
CLIPPED = replace(HEALTHY, clip_low=-1.0)
EXPLODING = Hyperparameters(kl_weight=1e-6)
SEEDS = 8
BATCH = 128
THRESHOLDS = GateThresholds(window=10)


def judge_slot(population: Population, slot: int) -> dict[str, Gate]:
    measures = population.measure([slot], "validation")[0]
    return {gate.name: gate for gate in judge(population.curves(slot), measures, THRESHOLDS)}


def missed_gates(judged: dict[str, Gate]) -> set[str]:
    return {name for name, gate in judged.items() if not gate.passed}


def verdict_on(judged: list[dict[str, Gate]]) -> Verdict:
    return verdict(sum(not missed_gates(one) for one in judged), len(judged), finished_trials=20)


@pytest.fixture(scope="module")
def trained(full_batches: dict[str, np.ndarray], train: Train) -> dict[str, list[dict[str, Gate]]]:
    """Gates of digits scaled to [0, 1], after 60 epochs, by kind of settings."""
    network = dense_network((64,), 4, hidden=[32], output_activation="sigmoid")
    kinds = {"healthy": [HEALTHY] * SEEDS, "collapsed": [COLLAPSED] * SEEDS, "clipped": [CLIPPED, CLIPPED]}
    slots = [(kind, settings) for kind, members in kinds.items() for settings in members]
    population = Population(network, full_batches, Objective(), slots=len(slots), batch_size=BATCH)
    for slot, (_, settings) in enumerate(slots):
        population.start(slot, settings, seed=slot)
    train(population, 60)
    judged = [(kind, judge_slot(population, slot)) for slot, (kind, _) in enumerate(slots)]
    return {kind: [of for name, of in judged if name == kind] for kind in kinds}


@pytest.fixture(scope="module")
def unscaled(full_batches: dict[str, np.ndarray], train: Train) -> list[dict[str, Gate]]:
    """Gates of digits as they come, 0 to 16, under a tiny KL weight and no clipping; the second learns too fast."""
    rows = {name: 16 * values for name, values in full_batches.items()}
    population = Population(dense_network((64,), 4, hidden=[32]), rows, Objective(), slots=2, batch_size=BATCH)
    population.start(0, EXPLODING, seed=0)
    population.start(1, replace(EXPLODING, learning_rate=30.0), seed=0)
    train(population, 20)
    return [judge_slot(population, slot) for slot in range(2)]


def test_healthy_trainings_pass_every_gate_and_are_stable(trained: dict[str, list[dict[str, Gate]]]) -> None:
    assert [missed_gates(judged) for judged in trained["healthy"]] == [set()] * SEEDS
    assert all(0.5 < judged["band"].value < 3 for judged in trained["healthy"])
    assert verdict_on(trained["healthy"]) is Verdict.STABLE


def test_collapsed_trainings_lie_in_the_band_but_are_not_alive(trained: dict[str, list[dict[str, Gate]]]) -> None:
    for judged in trained["collapsed"]:
        assert judged["band"].passed
        assert judged["band"].value < 0.01
        assert judged["alive"].value == 0
        assert {"alive", "reconstruction"} <= missed_gates(judged)
    assert verdict_on(trained["collapsed"]) is Verdict.NOT_STABLE


def test_a_bound_that_holds_the_model_back_is_told_by_the_clipping_gate(
    trained: dict[str, list[dict[str, Gate]]],
) -> None:
    for judged in trained["clipped"]:
        assert missed_gates(judged) == {"clipping"}
        assert judged["clipping"].violation > 1


def test_an_exploding_training_leaves_the_band_far_behind(unscaled: list[dict[str, Gate]]) -> None:
    exploded, _ = unscaled
    assert exploded["finite"].passed
    assert exploded["band"].value > 20
    assert exploded["band"].violation > 3
    assert {"band", "settled"} <= missed_gates(exploded)


def test_a_diverging_training_fails_every_gate_by_a_finite_number(unscaled: list[dict[str, Gate]]) -> None:
    _, diverged = unscaled
    assert missed_gates(diverged) == set(diverged)
    assert diverged["finite"].value > 0
    assert {gate.violation for name, gate in diverged.items() if name != "finite"} == {DIVERGED_VIOLATION}
    assert verdict_on([diverged] * SEEDS) is Verdict.NOT_STABLE


def test_held_out_cells_of_the_wine_table_come_back_better_than_their_columns_mean(
    tmp_path: Path, train: Train
) -> None:
    """Of 178 wines with 13 measures each a tenth is knocked out at random, and a third of the wines is held out."""
    rows, rng = load_wine().data, np.random.default_rng(0)
    gaps = rng.random(rows.shape) < 0.1
    part = rng.permutation(["train"] * 100 + ["validation"] * 18 + ["test"] * 60)
    np.savez(tmp_path / "wine.npz", rows=np.where(gaps, np.nan, rows), part=part)
    request = Request(source="wine.npz", folder=tmp_path, array="rows", split_column="part")
    data = load_dataset(request, missing="mask", scaling="standard")
    network = dense_network(data.shape, 3, hidden=[32, 16])
    population = Population(network, data.splits, Objective(), slots=1, batch_size=25)
    population.start(0, HEALTHY, 0)
    train(population, 60)
    assert not population.curves(0).diverged
    models = plain_models(network, population.member(0))
    truth = data.scaling.apply(rows[part == "test"])
    missing = gaps[part == "test"]
    filled = Gaps(data.splits).fill(data.splits["test"][:])
    means, _ = models.encoder.predict(filled, verbose=0)
    missed = np.square(truth - models.decoder.predict(means, verbose=0))[missing]
    assert missing.sum() > 60
    assert missed.sum() < 0.75 * np.square(truth - filled)[missing].sum()
