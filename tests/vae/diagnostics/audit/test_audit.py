"""Every planted fault is found, sound models have none, and a model is afterwards what it was."""

import keras
import numpy as np
import pytest

from klsearch.vae.diagnostics.audit.audit import audit_model
from klsearch.vae.diagnostics.audit.findings import REMEDIES
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, VARIANTS, planted, variant

FAULTS = [*(code for code in REMEDIES if code != "annealing_inactive"), "annealing_inactive max", "annealing_inactive"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(fault: str) -> None:
    found = audit_model(planted(fault), ROWS).findings
    assert [finding.code for finding in found] == [fault.split()[0]], found
    assert found[0].evidence
    assert found[0].remedy


def test_a_clip_in_the_sampling_alone_is_found() -> None:
    assert [finding.code for finding in audit_model(planted("clipped sample"), ROWS).findings] == ["log_var_differs"]


@pytest.mark.parametrize("style", SOUND)
def test_a_sound_model_gets_no_finding(style: str) -> None:
    assert audit_model(SOUND[style](), ROWS).findings == ()


@pytest.mark.slow("an audit of each")
@pytest.mark.parametrize("name", VARIANTS)
def test_another_kl_or_way_to_train_is_no_finding(name: str) -> None:
    assert audit_model(variant(name), ROWS).findings == ()


def test_reductions_and_beta_are_told() -> None:
    facts = audit_model(SOUND["Keras example"](), ROWS).facts
    assert (facts["kl_reduction"], facts["reconstruction_reduction"], facts["reconstruction"]) == (
        "sum", "sum", "squared error",
    )  # fmt: skip
    assert facts["beta_effective"] == pytest.approx(1, rel=1e-3)
    facts = audit_model(SOUND["compute_loss"](), ROWS).facts
    assert (facts["kl_reduction"], facts["reconstruction_reduction"], facts["reconstruction"]) == (
        "mean", "mean", "cross-entropy",
    )  # fmt: skip
    assert facts["beta_effective"] == pytest.approx(36 / 3, rel=1e-2)


def test_weights_optimizer_and_random_states_are_as_before() -> None:
    model = planted("kl_weight_frozen")
    model.fit(ROWS, epochs=1, verbose=0)
    np.random.seed(3)
    before = [np.copy(v.numpy()) for v in [*model.variables, *model.optimizer.variables]]
    drawn = np.random.RandomState(3).rand()
    audit_model(model, ROWS)
    after = [np.copy(v.numpy()) for v in [*model.variables, *model.optimizer.variables]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert np.random.rand() == drawn
    assert model.kl_weight == 0.5
    assert model.fit(ROWS, epochs=1, verbose=0).history["loss"][0] > 0
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_optimizers_beside_that_of_compile_are_as_before_too() -> None:
    model = variant("two optimizers")
    audit_model(model, ROWS)
    assert [int(optimizer.iterations.numpy()) for optimizer in model.others.values()] == [0, 0]
