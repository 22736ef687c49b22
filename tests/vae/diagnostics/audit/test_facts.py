"""Reductions and weights."""

import keras
import pytest
from keras import layers, ops

from klsearch.vae.diagnostics.audit.facts import reconstruction_pull, tell_facts
from klsearch.vae.diagnostics.audit.findings import Facts
from klsearch.vae.diagnostics.audit.kl import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from klsearch.vae.diagnostics.audit.sampling import probe_log_var
from tests.vae.diagnostics.audit.styles import ROWS, KerasExample, Sampling, compiled, dense_encoder, planted, variant


def facts(name: str) -> Facts:
    return of(variant(name))


def of(model: keras.Model) -> Facts:
    """The facts, without what an audit finds besides."""
    lab = Laboratory(model, ROWS)
    pull = kl_pull(lab)
    return tell_facts(lab, pull, probe_log_var(lab, pull) if pull else [], ())


def test_a_sum_over_the_batch_is_known_by_its_growth_with_the_rows_and_says_for_how_many_it_holds() -> None:
    told = facts("batch sum")
    assert (told["kl_reduction"], told["rows"], round(float(told["kl_pull"] or 0), 3)) == ("batch sum", 64, 64 * 0.5)
    assert told["reconstruction_reduction"] == "sum"


def test_a_kl_with_free_bits_or_capacity_is_called_so() -> None:
    forms = {name: facts(name)["kl_form"] for name in ("estimated KL", "free bits", "capacity", "capacity squared")}
    assert forms == {
        "estimated KL": "KL",
        "free bits": "free bits",
        "capacity": "capacity",
        "capacity squared": "in no proportion to KL",
    }


def test_a_clip_that_no_row_meets_is_a_fact() -> None:
    assert facts("clipped off the batch")["log_var_clip"] == "-20 to 2, 0% of the batch beyond"


def test_altered_gradients_are_told() -> None:
    assert facts("clipped gradients")["gradients"] == "altered before the optimizer"
    assert facts("free bits")["gradients"] == "of the loss"


def test_the_error_of_a_decoder_that_gets_no_gradient_is_unknown() -> None:
    assert reconstruction_pull(Laboratory(planted("network_untrained"), ROWS)) == (None, None)


def test_of_a_kl_that_is_maximised_there_is_no_beta() -> None:
    told = of(planted("kl_sign_wrong"))
    assert told["kl_pull"] is not None
    assert float(told["kl_pull"]) < 0
    assert told["beta_effective"] is None


def test_an_error_is_known_though_every_row_is_decoded_to_the_same() -> None:
    z = keras.Input((3,))
    h = layers.BatchNormalization()(layers.Dense(16, activation="relu")(z))  # of equal rows it gives 0
    decoder = keras.Model(z, layers.Dense(36, activation="sigmoid")(h))
    model = compiled(KerasExample(dense_encoder("noise_unused"), decoder))
    whole = model.terms

    def terms(data: object, *, training: bool) -> tuple[object, ...]:
        _, _, kl = whole(data, training=training)
        decoded = decoder(model.encoder(data)[2], training=training)
        reconstruction = 36 * ops.mean(keras.losses.binary_crossentropy(data, decoded))
        return reconstruction + kl, reconstruction, kl

    model.terms = terms
    weight, error = reconstruction_pull(Laboratory(model, ROWS))
    assert error == "cross-entropy"
    assert weight == pytest.approx(1, rel=1e-3)


def test_a_loss_that_is_scaled_for_a_low_precision_weighs_as_it_is_written() -> None:
    model = variant("scaled loss")
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    weight, _ = reconstruction_pull(Laboratory(model, ROWS))
    assert weight == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("clip", "told"), [((-10.0, 10.0), "-10 to 10"), ((-30.0, 20.0), "below -25 to 20")])
def test_a_bound_of_a_clip_is_told_or_that_none_was_seen(clip: tuple[float, float], told: str) -> None:
    model = variant("")
    mean, log_var, _ = model.encoder.outputs
    log_var = ops.clip(log_var, *clip)
    model.encoder = keras.Model(model.encoder.inputs[0], [mean, log_var, Sampling()([mean, log_var])])
    assert str(of(model)["log_var_clip"]).startswith(told)
