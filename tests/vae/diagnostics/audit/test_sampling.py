"""Noise and log-variance."""

from klsearch.vae.diagnostics.audit.effects import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from klsearch.vae.diagnostics.audit.sampling import log_var_findings, noise_findings
from tests.vae.diagnostics.audit.styles import ROWS, planted


def test_the_clip_of_the_kl_alone_and_of_the_noise_alone_are_told_from_one_of_both() -> None:
    for fault, code in (
        ("log_var_differs", "log_var_differs"),
        ("clipped sample", "log_var_differs"),
        ("clip_gradient_dead", "clip_gradient_dead"),
    ):
        lab = Laboratory(planted(fault), ROWS)
        assert [finding.code for finding in log_var_findings(lab, kl_pull(lab))] == [code]


def test_a_validation_without_noise_is_found() -> None:
    found = noise_findings(Laboratory(planted("validation_uses_mean"), ROWS))
    assert [finding.code for finding in found] == ["validation_uses_mean"]
