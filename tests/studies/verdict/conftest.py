"""Studies made by hand, of trainings whose ill is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import ConfirmationRun, DataFacts, RunState, StudyRecord, TrialRecord
from klsearch.vae.data.cautions import UNSCALED, Caution
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, final_kl, judge, kl_slope
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import Hyperparameters

EPOCHS = 20
_WAVE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
SETTINGS = Hyperparameters(kl_weight=0.01)
DATA = DataFacts(
    rows={"train": 400, "validation": 80, "test": 80}, shape=(30,), scaling="none", fingerprint="d"
)  # fmt: skip


def definition(**tables: Any) -> StudyDefinition:
    made: dict[str, Any] = {
        "study": {"name": "made", "trials": 20, "kl_band": [0.5, 5.0]},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [32], "latent_dim": 4},
        "training": {"epochs": EPOCHS},
        "space": {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}},
        "baselines": {"mine": {"kl_weight": 1.0}},
        "gates": {},
    }
    return StudyDefinition.model_validate({name: {**made.get(name, {}), **tables.get(name, {})} for name in made})


def training(
    asked: StudyDefinition,
    *,
    kl: float = 2.0,
    growth: float = 0.0,
    sway: float = 0.0,
    active: int = 4,
    unexplained: float = 0.3,
    gap: float = 0.0,
    plateau: float = 0.0,
    test_kl: float | None = None,
    settings: Hyperparameters = SETTINGS,
) -> dict[str, Any]:
    """A training whose KL ends at `kl`, having grown as the epoch to the power of `growth`; NaN diverges.

    With `sway` it goes up for five epochs and down for five, by so much each. Errors fall as 1 ÷ epoch, but not below
    `plateau`.
    """
    epochs = np.arange(1, EPOCHS + 1)
    rows = np.zeros((EPOCHS, 10), np.float32)
    names = list(TrainingCurves.from_rows(rows).latest())
    columns = {
        "reconstruction": np.maximum(1 / epochs, plateau),
        "validation_reconstruction": (1 + gap) * np.maximum(1 / epochs, plateau),
        "validation_kl": kl * (epochs / EPOCHS) ** growth
        + sway * (-1.0) ** ((epochs - 1) // 5) * _WAVE[(epochs - 1) % 5],
        "nonfinite_steps": np.full(EPOCHS, float(math.isnan(kl))),
    }
    for name, values in columns.items():
        rows[:, names.index(name)] = values
    curves = TrainingCurves.from_rows(rows)
    latents = {name: np.zeros(4) for name in ("kl_variance_part", "prior_mismatch")}
    measures = Measures(
        **latents,
        kl_mean_part=np.full(4, kl if test_kl is None else test_kl),
        reconstruction=float(rows[-1, names.index("validation_reconstruction")]),
        unexplained=unexplained,
        elbo=-1.0,
        active_units=active,
        clip_share_low=0.0,
        clip_share_high=0.0,
    )
    found = None if math.isnan(kl) else measures
    thresholds = asked.thresholds()
    return {
        "state": RunState.COMPLETE,
        "hyperparameters": settings,
        "curves": curves,
        "measures": found,
        "kl": final_kl(curves, thresholds.window) if found else math.nan,
        "kl_slope": kl_slope(curves, thresholds.window) if found else math.nan,
        "score": unexplained,
        "gates": judge(curves, found, thresholds),
    }


def make_study(
    trials: Sequence[dict[str, Any]] = ({},) * 20,
    seeds: Sequence[dict[str, Any]] = (),
    baseline: Sequence[dict[str, Any]] = (),
    **tables: Any,
) -> StudyRecord:
    """A study of such trials, the winner's seeds and those of `mine`; `data` is of the record."""
    facts = tables.pop("facts", DATA)
    asked = definition(**tables)
    made = []
    for number, changes in enumerate(trials):
        values = training(asked, **changes)
        feasible = all(gate.passed for gate in values["gates"] if gate.name in CONSTRAINT_GATES)
        made.append(TrialRecord(number=number, seed=number, feasible=feasible, **values))
    runs = []
    candidates: list[tuple[str, int | None, Sequence[dict[str, Any]]]] = [
        ("trial 0", 0, seeds),
        ("mine", None, baseline),
    ]
    for name, of_trial, ill_seeds in candidates:
        for seed, changes in enumerate(ill_seeds):
            values = training(asked, **changes)
            test = values["measures"]
            values["measures"] = test and replace(test, kl_mean_part=np.full(4, changes.get("kl", 2.0)))
            runs.append(ConfirmationRun(candidate=name, trial=of_trial, seed=seed, test=test, **values))
    return StudyRecord(
        name="made",
        definition=asked,
        definition_toml="",
        fingerprint="",
        slots=2,
        trials=tuple(made),
        confirmation=tuple(runs),
        winner=0 if seeds else None,
        data=facts,
        resume_command="klsearch resume runs/made",
    )


@pytest.fixture(scope="session")
def ill() -> Callable[..., StudyRecord]:
    """`make_study` itself."""
    return make_study


@pytest.fixture
def unscaled() -> DataFacts:
    """Data of which the check warned that they are not scaled."""
    return replace(DATA, warnings=(Caution("values reach 4250 and are not scaled", UNSCALED),))
