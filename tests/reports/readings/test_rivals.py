"""Baselines that a method makes, in the report's words."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from klsearch.reports.readings.candidates import CandidateRuns
from klsearch.reports.readings.rivals import curves_note, rivals_note, weight_word, why_failed
from klsearch.reports.sections.settings import settings_table
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.studies.summary import summarize

Make = Callable[..., StudyRecord]

METHODS = {"plain": {"method": "beta1"}, "fitted": {"method": "sigma"}, "aimed": {"method": "control"}}


def with_known_weights(study: StudyRecord) -> StudyRecord:
    """The study with every baseline's KL weight known."""
    return replace(study, definition=study.definition.settle(shape=(64,), kl_band=None))


def test_without_methods_nothing_is_said(make: Make) -> None:
    study = make(5, seeds=0)
    assert rivals_note(study) == curves_note(study) == ""
    assert weight_word(study, "before") is None


def test_each_method_is_explained_under_its_baseline_s_name(make: Make) -> None:
    study = with_known_weights(make(5, seeds=0, baselines=METHODS))
    note = rivals_note(study)
    assert "Baseline plain is the plain evidence lower bound: β = 1 from the start" in note
    assert "Baseline fitted is a σ-VAE" in note
    assert "Baseline aimed is a controller" in note
    assert "towards a KL of 2.5, the middle of the band" in note
    assert [name for name in METHODS if name in curves_note(study)] == ["fitted", "aimed"]


def test_a_weight_that_nobody_chose_is_no_number_in_the_settings(make: Make) -> None:
    study = with_known_weights(make(30, seeds=0, baselines=METHODS))
    table = settings_table(study, summarize(study))
    rows = {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    latents = study.definition.model.latent_dim
    assert [rows["kl_weight"][name] for name in METHODS] == [str(latents), "fitted", "controlled"]
    assert [rows["β, nats per nat"][name] for name in METHODS] == ["1", "fitted", "controlled"]
    assert {rows["annealing_epochs"][name] for name in METHODS} == {"0"}


def test_how_fast_a_controller_still_moves_its_weight_is_told_of_the_last_window(make: Make) -> None:
    """0.001 more by a tenth each epoch: at epochs 36 to 40 the mean is 0.0047, of which 0.0001 is 2.1 %."""
    study = with_known_weights(make(5, seeds=0, baselines=METHODS))
    one = study.trials[0]
    assert one.curves is not None
    rising = replace(one.curves, kl_weight=(0.001 * (1 + 0.1 * np.arange(40))).astype(np.float32))
    gates = tuple(replace(gate, passed=gate.name != "settled") for gate in one.gates)
    told = {}
    still = replace(rising, kl_weight=np.full(40, 0.001, np.float32))
    for name, curves in (("aimed", rising), ("plain", rising), ("aimed at rest", still)):
        run = ConfirmationRun(
            candidate=name, hyperparameters=one.hyperparameters, seed=1, state=one.state, curves=curves, gates=gates
        )
        who = CandidateRuns(name=name.split()[0], label=name, runs=(run,))
        told[name] = "; ".join(why_failed(study, who).split("; ")[1:])
    assert told["aimed"] == "its controller still moves the weight, by up to 2.1 % per epoch"
    assert told["plain"] == told["aimed at rest"] == ""
