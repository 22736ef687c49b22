"""Noise and log-variance."""

from typing import Any

import keras
import pytest

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.kl import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from klsearch.vae.diagnostics.audit.sampling import (
    gives_scale,
    head_findings,
    kl_form,
    log_var_clip,
    log_var_findings,
    noise_findings,
    probe_log_var,
)
from tests.vae.diagnostics.audit.styles import ROWS, planted, variant


def found(fault: str) -> list[Finding]:
    lab = Laboratory(planted(fault), ROWS)
    return log_var_findings(lab, probe_log_var(lab, kl_pull(lab) or 0.0))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("log_var_differs", "log_var_differs"),
        ("clipped sample", "log_var_differs"),
        ("clip_gradient_dead", "clip_gradient_dead"),
        ("kl_formula", "kl_formula"),
    ],
)
def test_clips_of_kl_or_noise_alone_of_both_and_a_wrong_kl_are_told_apart(fault: str, code: str) -> None:
    assert [finding.code for finding in found(fault)] == [code]


def test_a_wrong_formula_is_told_by_its_gradient_where_kl_is_least() -> None:
    # With v² for exp(v), ∂KL/∂v is ½(2v − 1): −½ at 0.
    assert (
        "its gradient was -0.5 at 0, where KL is least; the noise had the right size" in found("kl_formula")[0].evidence
    )


def test_how_much_of_the_batch_lies_at_a_clip_is_told_of_what_the_head_gives() -> None:
    assert "100% of the batch lies there" in found("clip_gradient_dead")[0].evidence


def test_where_the_kl_alone_is_clipped_there_are_no_bounds_to_tell() -> None:
    lab = Laboratory(planted("log_var_differs"), ROWS)
    assert log_var_clip(lab, probe_log_var(lab, kl_pull(lab) or 0.0)) is None


@pytest.mark.parametrize(("name", "form"), [("", "KL"), ("estimated KL", "KL"), ("free bits", "free bits")])
def test_a_kl_bent_where_it_is_small_has_its_name(name: str, form: str) -> None:
    lab = Laboratory(variant(name), ROWS)
    assert kl_form(probe_log_var(lab, 0.5)) == form


def test_a_validation_without_noise_is_found() -> None:
    findings = noise_findings(Laboratory(planted("validation_uses_mean"), ROWS))
    assert [finding.code for finding in findings] == ["validation_uses_mean"]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("noise_unused", "was given 0 in every row: no noise of its own"),
        ("noise of a batch", "the same in every row: no noise of its own"),
        ("noise of a row", "the same in every row: no noise of its own"),
        ("noise of NumPy", "noise that is drawn once"),
        ("noise of a fixed seed", "noise that is drawn once"),
    ],
)
def test_noise_that_is_no_row_s_own_or_is_drawn_once_is_found(fault: str, seen: str) -> None:
    (finding,) = noise_findings(Laboratory(variant(fault), ROWS))
    assert finding.code == "noise_unused"
    assert seen in finding.evidence


@pytest.mark.parametrize(("fault", "size"), [("noise_scaled", "0.1"), ("uniform noise", "0.29")])
def test_noise_of_another_size_than_1_is_found(fault: str, size: str) -> None:
    lab = Laboratory(variant(fault), ROWS)
    (finding,) = log_var_findings(lab, probe_log_var(lab, 0.5))
    assert finding.code == "noise_scaled"
    told = float(finding.evidence.partition("deviation of ")[2].partition(",")[0])
    assert told == pytest.approx(float(size), rel=0.2)


def test_a_head_of_standard_deviations_is_none_of_log_variances_bent_by_an_activation() -> None:
    lab = Laboratory(variant("standard deviation"), ROWS)
    assert gives_scale(lab)
    assert head_findings(lab) == []
    bent = Laboratory(planted("heads_activated"), ROWS)
    assert not gives_scale(bent)
    assert [finding.code for finding in head_findings(bent)] == ["heads_activated"]


def test_a_clip_within_the_encoder_is_no_activation_of_the_head_however_narrow() -> None:
    lab = Laboratory(variant("narrow clip"), ROWS)
    assert head_findings(lab) == []
    assert [finding.code for finding in log_var_findings(lab, probe_log_var(lab, 0.5))] == ["clip_gradient_dead"]


def test_a_validation_that_decodes_the_mean_or_the_prior_beside_samples_is_sound() -> None:
    for name in ("decodes the mean too", "decodes the prior too"):
        assert noise_findings(Laboratory(variant(name), ROWS)) == []


def test_what_a_low_precision_cannot_hold_is_not_probed() -> None:
    model = variant("")
    whole = type(model).kl

    def in_half_precision(*given: Any) -> Any:
        """KL where 65,504 is the largest number."""
        return keras.ops.cast(whole(model, *(keras.ops.cast(each, "float16") for each in given)), "float32")

    model.kl = in_half_precision
    assert [probe.raw for probe in probe_log_var(Laboratory(model, ROWS), 0.5)][-1] == 8
