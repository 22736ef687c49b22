"""What the loss weighs KL with."""

import pytest

from klsearch.vae.diagnostics.audit.kl import find_late, kl_findings, kl_pull, kl_strength
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, planted, variant


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("", 0.5),
        ("free bits", 0.5),
        ("capacity", 10 * 0.5),
        ("estimated KL", 0.5),
        ("batch sum", 64 * 0.5),
        ("clipped gradients", 0.5),
        ("capacity squared", None),  # (KL − C)² weighs KL the more the larger it is
    ],
)
def test_the_pull_of_kl_is_its_weight_in_the_loss(name: str, weight: float | None) -> None:
    assert kl_pull(Laboratory(variant(name), ROWS)) == (None if weight is None else pytest.approx(weight, rel=1e-3))


@pytest.mark.parametrize("code", ["kl_without_pull", "kl_sign_wrong"])
def test_a_kl_without_gradient_and_one_that_is_maximised_are_told_apart(code: str) -> None:
    assert [finding.code for finding in kl_findings(kl_pull(Laboratory(planted(code), ROWS)))] == [code]


def test_a_cycle_that_begins_where_annealing_should_be_over_is_looked_at_elsewhere() -> None:
    model = variant("")
    whole = type(model).kl
    model.kl = lambda *given: whole(model, *given) * (int(model.optimizer.iterations) % 1000) / 1000
    lab = Laboratory(model, ROWS)
    find_late(lab)
    assert lab.late == 7
    assert kl_pull(lab) == pytest.approx(0.5 * 7 / 1000)


def test_measuring_changes_nothing_that_a_second_measure_sees() -> None:
    lab = Laboratory(variant(""), ROWS)
    assert kl_strength(lab) == kl_strength(lab) == pytest.approx(0.5)
