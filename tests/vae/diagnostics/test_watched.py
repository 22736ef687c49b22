"""The verdict on a training that was watched."""

from typing import Any

import numpy as np
import pytest

from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.diagnostics.watched import CLIP_BOUND, Watched


def measures(*, active: int = 4) -> Measures:
    latents = np.full(4, 0.5)
    return Measures(
        reconstruction=1.0, unexplained=0.2, elbo=np.nan, active_units=active, clip_share_low=0.0,
        clip_share_high=0.0, kl_mean_part=latents, kl_variance_part=latents, prior_mismatch=latents,
    )  # fmt: skip


def watched(
    kl: Any = 1.0, *, epochs: int = 40, weight: Any = 0.1, broken: bool = False, clipped: float = 0.0, **changes: Any
) -> Watched:
    columns: dict[str, Any] = dict.fromkeys(CURVE_NAMES, np.zeros(epochs))
    columns |= {"validation_kl": np.broadcast_to(kl, epochs), "kl_weight": np.broadcast_to(weight, epochs)}
    columns["validation_reconstruction"] = np.linspace(9.0, 1.0, epochs)
    columns["clip_share_high"] = np.full(epochs, clipped)
    columns["nonfinite_steps"] = np.arange(epochs) >= epochs - broken
    given: dict[str, Any] = dict(logged={}, rows=64, seconds=10.0, watching=0.1, thresholds=GateThresholds())
    given["measures"] = None if broken else measures()
    curves = TrainingCurves.from_rows(np.stack(list(columns.values()), axis=1))
    return Watched(curves=curves, **(given | changes))


@pytest.mark.parametrize(
    ("seen", "verdict", "reason"),
    [
        (watched(), "healthy", "KL is settled"),
        (watched(broken=True), "diverged", "not finite"),
        (watched(np.linspace(1, 9, 40)), "runaway", "above the band of 0 to 5"),
        (watched(0.001), "collapsed", "near zero"),
        (watched(measures=measures(active=0)), "collapsed", "0 of 4 latents are active; 1 are needed."),
        (watched(clipped=0.25), CLIP_BOUND, "clip bound in 25.0% of rows and latents"),
        (watched(clipped=0.25, epochs=3), "unknown", "3 epochs are too few"),
        (watched(clipped=0.25, weight=np.linspace(0, 0.1, 40)), "annealing", "The KL weight still changes"),
        (watched(0.2, thresholds=GateThresholds(kl_band=(0.5, 5.0))), "collapsed", "below the band of 0.5 to 5"),
        (watched(weight=np.linspace(0, 0.1, 40)), "annealing", "The KL weight still changes"),
        (watched(epochs=3), "unknown", "3 epochs are too few"),
    ],
)
def test_curves_and_latents_are_judged_together(seen: Watched, verdict: str, reason: str) -> None:
    told = seen.diagnose()
    assert (told.verdict, bool(told.next)) == (verdict, True)
    assert reason in told.reasons[0]
    assert not any("cannot be seen" in sentence for sentence in told.reasons)


def test_an_annealing_that_fit_does_not_log_shows_in_the_loss() -> None:
    weight, kl, error = np.linspace(0.01, 0.1, 40), np.full(40, 4.0), np.linspace(9, 8, 40)
    logged = {"loss": tuple(error + weight * kl), "kl_loss": tuple(kl), "reconstruction_loss": tuple(error)}
    assert watched(weight=np.nan, logged=logged).diagnose().verdict == "annealing"
    assert watched(weight=np.nan).diagnose().verdict == "healthy"


def test_what_was_not_looked_at_is_no_part_of_the_verdict() -> None:
    """Lines between looks have no noise: what is judged are the looks, by their epochs."""
    looked = (0, 1, 2, *range(9, 40, 5))
    kl = 1 + 0.1 * np.random.default_rng(0).normal(size=40)
    lines = np.interp(np.arange(40), looked, kl[list(looked)])
    seen = watched(lines, looked=looked).diagnose().numbers
    assert seen["epochs"] == 40
    assert seen["kl_slope_error"] is not None
    assert seen["kl_slope_error"] < 0.006 < 2 * seen["kl_slope_error"]
    assert seen["kl_slope_window"] == 21
    assert watched(lines, looked=(0, 1, 2, 39)).diagnose().reasons[0] == (
        "4 values of the KL in 40 epochs are too few: KL is judged over 5 at least."
    )


def test_a_weight_on_the_model_of_which_the_loss_has_nothing_is_told_whatever_else_is_wrong() -> None:
    error, kl, ramp = tuple(np.linspace(9, 8, 40)), tuple(np.linspace(4, 5, 40)), np.minimum(1, np.arange(40) / 20)
    logged = {"loss": error, "kl_loss": kl, "reconstruction_loss": error}
    for changes in ({}, {"clipped": 0.25}, {"measures": measures(active=0)}):
        found = watched(weight=ramp, logged=logged, **changes).diagnose()
        assert any("the KL weight was 0 in every epoch" in reason for reason in found.reasons)
        assert found.next.startswith("Let the loss read the KL weight")
    assert watched(weight=ramp).diagnose().refutation == ""


def test_the_gates_are_those_of_a_study() -> None:
    assert all(gate.passed for gate in watched().gates)
    assert [gate.name for gate in watched(6.0).gates if not gate.passed] == ["band"]
    assert watched().cost == pytest.approx(0.01)
