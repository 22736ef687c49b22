"""The weight that the loss gives KL, which annealing and facts rest on."""

import pytest

from klsearch.vae.diagnostics.audit.effects import active_weights, annealing_findings, kl_pull, l2_findings
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, planted


def test_the_pull_of_kl_is_its_weight_in_the_loss() -> None:
    lab = Laboratory(planted("annealing sound"), ROWS)
    assert kl_pull(lab, 100) == pytest.approx(0.5 * 100 / 1000)
    assert kl_pull(lab, 10**6) == pytest.approx(0.5)
    lab.kl_weights = active_weights(lab)
    assert [name for _, name, _ in lab.kl_weights] == ["kl_weight"]
    assert kl_pull(lab) == pytest.approx(1.0)
    assert annealing_findings(lab) == []


def test_an_l2_that_acts_is_no_finding_and_one_that_does_not_names_its_kernels() -> None:
    assert l2_findings(Laboratory(SOUND["with dropout, L2 and a weight for a callback"](), ROWS)) == []
    assert "z_mean/kernel" in l2_findings(Laboratory(planted("l2_inactive"), ROWS))[0].evidence
