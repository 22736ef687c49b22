"""The KL weight, its annealing, L2, and networks that are not trained."""

import keras
import pytest

from klsearch.vae.diagnostics.audit.effects import (
    active_weights,
    annealing_findings,
    kl_weight_findings,
    l2_findings,
    strength_at,
    training_findings,
)
from klsearch.vae.diagnostics.audit.kl import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import (
    ROWS,
    SOUND,
    KerasExample,
    compiled,
    dense_decoder,
    dense_encoder,
    planted,
    variable,
    variant,
)


def test_the_weight_of_kl_follows_the_steps_and_is_told_for_kl_weights_of_1() -> None:
    lab = Laboratory(planted("annealing sound"), ROWS)
    assert strength_at(lab, 100) == pytest.approx(0.5 * 100 / 1000)
    assert strength_at(lab, 10**6) == pytest.approx(0.5)
    lab.kl_weights = active_weights(lab)
    assert [name for _, name, _ in lab.kl_weights] == ["kl_weight"]
    assert kl_pull(lab) == pytest.approx(1.0)
    assert annealing_findings(lab, ()) == []


def test_a_kl_weight_acts_though_free_bits_hide_it_where_kl_is_small() -> None:
    assert [name for _, name, _ in active_weights(Laboratory(variant("free bits"), ROWS))] == ["kl_weight"]


def test_annealing_that_is_switched_off_is_not_asked_for() -> None:
    model = variant("")
    model.annealing_epochs = 0
    assert annealing_findings(Laboratory(model, ROWS), ()) == []
    model.annealing_epochs = 5
    assert "annealing_epochs: " in annealing_findings(Laboratory(model, ROWS), ())[0].evidence


def test_an_l2_that_acts_is_no_finding_and_one_that_does_not_names_its_kernels() -> None:
    assert l2_findings(Laboratory(SOUND["with dropout, L2 and a weight for a callback"](), ROWS)) == []
    assert "z_mean/kernel" in l2_findings(Laboratory(planted("l2_inactive"), ROWS))[0].evidence


def test_a_network_without_gradients_is_named_unless_it_is_frozen_or_trained_elsewhere() -> None:
    model = planted("network_untrained")
    assert "of the decoder's 4 trainable weights" in training_findings(Laboratory(model, ROWS))[0].evidence
    model.decoder.trainable = False
    assert training_findings(Laboratory(model, ROWS)) == []
    model.decoder.trainable = True
    model.train_step = with_hidden_optimizer(model)
    assert training_findings(Laboratory(model, ROWS)) == []


def with_hidden_optimizer(model: keras.Model) -> object:
    """A step that moves the decoder by hand, as an optimizer does that no attribute holds."""
    step = type(model).train_step

    def both(data: object) -> object:
        for weight in model.decoder.trainable_variables:
            weight.assign_add(keras.ops.ones_like(weight))
        return step(model, data)

    return both


def test_a_weight_that_is_a_number_is_frozen_though_no_seed_holds_the_noise() -> None:
    model = compiled(KerasExample(dense_encoder("unseeded noise"), dense_decoder(), "", 0.5))
    assert [finding.code for finding in kl_weight_findings(Laboratory(model, ROWS))] == ["kl_weight_frozen"]
    assert kl_weight_findings(Laboratory(variant("unseeded noise"), ROWS)) == []


def test_of_two_factors_of_the_kl_weight_the_frozen_one_is_named() -> None:
    model = compiled(KerasExample(dense_encoder(), dense_decoder(), "", 0.5))
    model.beta = variable(1.0)
    whole = type(model).kl
    model.kl = lambda *given: model.beta * whole(model, *given)
    (finding,) = kl_weight_findings(Laboratory(model, ROWS))
    assert finding.evidence.startswith("kl_weight was set ")
