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


def test_the_gates_are_those_of_a_study() -> None:
    assert all(gate.passed for gate in watched().gates)
    assert [gate.name for gate in watched(6.0).gates if not gate.passed] == ["band"]
    assert watched().cost == pytest.approx(0.01)
