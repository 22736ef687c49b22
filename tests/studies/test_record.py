"""What follows from a study's records alone."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import (
    ConfirmationRun,
    DataFacts,
    Reference,
    RunState,
    StudyRecord,
    TrainingRun,
    TrialRecord,
)
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, GATE_NAMES, Gate
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import Hyperparameters

SETTINGS = Hyperparameters(kl_weight=0.1)
DEFINITION = StudyDefinition.model_validate(
    {
        "study": {"name": "made", "trials": 20},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [8], "latent_dim": 3},
        "training": {"epochs": 60},
        "space": {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}},
    }
)
MEASURES = Measures(
    reconstruction=1.0,
    unexplained=0.25,
    elbo=-1.0,
    active_units=2,
    clip_share_low=0.0,
    clip_share_high=0.0,
    kl_mean_part=np.zeros(3),
    kl_variance_part=np.zeros(3),
    prior_mismatch=np.zeros(3),
)
COMPLETE, PRUNED, FAILED, RUNNING = RunState


def gates(**violations: float) -> tuple[Gate, ...]:
    """Every gate; those named are missed by so much."""
    return tuple(
        Gate(name=name, passed=name not in violations, value=0.0, threshold="", violation=violations.get(name, -0.5))
        for name in GATE_NAMES
    )


def curves(*nonfinite_steps: float) -> TrainingCurves:
    """Of as many epochs."""
    rows = np.zeros((len(nonfinite_steps), len(CURVE_NAMES)), np.float32)
    rows[:, CURVE_NAMES.index("nonfinite_steps")] = nonfinite_steps
    return TrainingCurves.from_rows(rows)


def make_run(state: RunState = COMPLETE, **values: Any) -> TrainingRun:
    return TrainingRun(state=state, hyperparameters=SETTINGS, seed=1, **values)


def make_trial(number: int = 0, state: RunState = COMPLETE, **values: Any) -> TrialRecord:
    return TrialRecord(number=number, state=state, hyperparameters=SETTINGS, seed=1, **values)


def test_a_training_that_left_nothing_yet_has_no_numbers_and_has_not_diverged() -> None:
    begun = make_run(RUNNING)
    assert (begun.epochs, begun.diverged, begun.passed) == (0, False, False)
    assert math.isnan(begun.kl_sum) and math.isnan(begun.unexplained)


@pytest.mark.parametrize(("steps", "diverged"), [((0, 0, 0), False), ((0, 2), True), ((1, 0), True), ((), False)])
def test_a_training_diverged_if_any_step_was_not_finite(steps: tuple[float, ...], diverged: bool) -> None:
    trained = make_run(curves=curves(*steps))
    assert (trained.epochs, trained.diverged) == (len(steps), diverged)


@pytest.mark.parametrize(
    ("state", "judged", "passed"),
    [
        (COMPLETE, gates(), True),
        (COMPLETE, gates(clipping=0.1), False),
        (COMPLETE, (), False),  # not judged
        (PRUNED, gates(), False),  # nobody knows how it would have ended
        (FAILED, gates(), False),
        (RUNNING, gates(), False),
    ],
)
def test_only_a_whole_training_whose_every_gate_passed_has_passed(
    state: RunState, judged: tuple[Gate, ...], passed: bool
) -> None:
    assert make_run(state, gates=judged).passed is passed


def test_the_summed_kl_is_the_mean_times_the_number_of_latents() -> None:
    measured = make_run(kl=1.5, measures=MEASURES)
    assert (measured.kl_sum, measured.unexplained) == (4.5, 0.25)
    assert math.isnan(replace(measured, measures=None).kl_sum), "of how many latents nobody knows"


def test_the_rank_is_made_of_the_constraints_alone() -> None:
    others = set(GATE_NAMES) - set(CONSTRAINT_GATES)
    assert others == {"finite", "reconstruction"}
    reconstructs_badly = make_trial(score=0.1, gates=gates(reconstruction=1e6, finite=3.0))
    assert reconstructs_badly.rank.feasible
    assert reconstructs_badly.rank < make_trial(score=0.2, gates=gates()).rank
    assert not make_trial(gates=gates(alive=0.01)).rank.feasible
    assert not make_trial(state=PRUNED, gates=gates()).rank.feasible


def test_of_equal_trials_the_earlier_one_ranks_first() -> None:
    first, second = (make_trial(number, score=0.3, gates=gates()) for number in (4, 11))
    assert min([second, first], key=lambda one: one.rank) is first


@pytest.mark.parametrize(("shape", "features"), [((64,), 64), ((8, 8), 64), ((28, 28, 3), 2352), ((1,), 1)])
def test_the_features_of_a_row_are_all_of_its_numbers(shape: tuple[int, ...], features: int) -> None:
    assert DataFacts(rows={}, shape=shape, scaling="", fingerprint="").features == features


@pytest.mark.parametrize(("method", "model"), [("sigma", "a σ-VAE"), ("beta1", "a plain VAE (β = 1)")])
def test_a_band_that_was_found_says_from_which_trainings(method: Any, model: str) -> None:
    words = Reference(method=method, seeds=3, kl=2.34567, kl_band=(1.17, 3.52)).words
    assert words == (
        f"half to one and a half times the KL at which {model} of this architecture ends, 2.35 nats per latent "
        "(mean of 3 seeds)"
    )


def study_with_trials(trials: tuple[TrialRecord, ...], confirmation: tuple[ConfirmationRun, ...] = ()) -> StudyRecord:
    return StudyRecord(
        name="made",
        definition=DEFINITION,
        definition_toml="",
        fingerprint="",
        slots=2,
        trials=trials,
        confirmation=confirmation,
    )


def test_trials_are_finished_whole_or_counted_by_their_state_and_origin() -> None:
    earlier = (make_trial(0, COMPLETE, warm_start=True), make_trial(1, PRUNED, warm_start=True))
    own = tuple(make_trial(2 + place, state) for place, state in enumerate(RunState))
    made = study_with_trials((*earlier, *own))
    numbers = {name: [one.number for one in getattr(made, name)] for name in ("finished", "complete", "counted")}
    assert numbers == {"finished": [0, 1, 2, 3], "complete": [0, 2], "counted": [2, 3]}


def test_a_confirmation_run_counts_when_it_has_ended_without_an_error() -> None:
    runs = tuple(
        ConfirmationRun(candidate="before", state=state, hyperparameters=SETTINGS, seed=seed)
        for seed, state in enumerate(RunState)
    )
    assert [one.seed for one in study_with_trials((), runs).confirmed] == [0]
    assert study_with_trials(()).confirmed == ()
