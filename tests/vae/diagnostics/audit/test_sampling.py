"""Noise and log-variance."""

import pytest

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.kl import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from klsearch.vae.diagnostics.audit.sampling import (
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
