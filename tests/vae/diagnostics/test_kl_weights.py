"""The KL weight as it was logged and as the loss tells it."""

import numpy as np
import pytest

from klsearch.vae.diagnostics.kl_weights import KlWeights, LossParts, weigh

EPOCHS = np.arange(30.0)
RAMP = np.minimum(1, EPOCHS / 10)
LATER = np.clip((EPOCHS - 5) / 10, 0, 1)  # after a few epochs without the KL
KL, ERROR = 20 + EPOCHS, 50 * np.exp(-EPOCHS / 9) + 5


def parts(weight: np.ndarray | float, more: np.ndarray | float = 0.0, kl: np.ndarray = KL) -> LossParts:
    return LossParts(loss=ERROR + weight * kl + more, reconstruction=ERROR, kl=kl)


def test_a_logged_weight_of_which_the_loss_has_nothing_is_refuted() -> None:
    found = weigh(RAMP, parts(0.0), EPOCHS, 5)
    assert found is not None
    assert found.refutation == (
        "By your loss, which is the reconstruction alone, the KL weight was 0 in every epoch: the one that was logged, "
        "0 to 1, has no effect."
    )
    assert not np.any(found.values)
    assert parts(1e-9).refute(np.ones(30)) == 0, "as single precision rounds it"


def test_a_loss_that_keeps_the_weight_of_the_first_step_refutes_those_that_follow() -> None:
    assert parts(0.5).refute(LATER) == pytest.approx(0.5)
    assert parts(1.0).refute(LATER) == pytest.approx(1.0)
    assert not parts(1.0).holds_weighted_kl(LATER), "for it was written where the weight was zero"


@pytest.mark.parametrize(
    ("logged", "seen"),
    [
        (RAMP, parts(RAMP)),
        (RAMP, parts(RAMP, more=3.0)),
        (RAMP, parts(RAMP, more=0.2 * ERROR)),
        (RAMP, parts(RAMP / 784)),
        (LATER, parts(LATER / 784, more=3.0)),
        (LATER, parts(0.001 * LATER, more=3.0, kl=np.full(30, 20.0))),
        (np.ones(30), parts(1 / 128)),
        (np.full(30, 1e-7), parts(1e-7)),
        (0.01 * np.ones(30), parts(1.0)),
        (RAMP, parts(1.0, kl=RAMP * KL)),
        (RAMP, parts(0.3, kl=RAMP * KL)),
        (LATER, parts(1.0, kl=LATER * KL)),
        (np.r_[np.zeros(28), 1, 1], parts(0.0)),
    ],
    ids=[
        "as logged", "a further term", "a further term that falls", "another reduction", "both", "a constant KL",
        "a constant", "too small to see", "a weighted KL", "an annealed KL", "twice weighted", "a delayed KL",
        "just set",
    ],
)  # fmt: skip
def test_what_may_be_as_it_was_logged_is_believed(logged: np.ndarray, seen: LossParts) -> None:
    assert seen.refute(logged) is None
    found = weigh(logged, seen, EPOCHS, 5)
    assert found is not None
    assert found.values.tolist() == logged.tolist()


def test_epochs_without_a_number_refute_nothing() -> None:
    nothing = np.full(30, np.nan)
    assert LossParts(loss=nothing, reconstruction=ERROR, kl=KL).refute(RAMP) is None
    found = weigh(np.where(EPOCHS % 5 == 4, RAMP, np.nan), None, EPOCHS, 5)
    assert found is not None
    assert found.epochs.tolist() == [4, 9, 14, 19, 24, 29]


def test_since_when_a_weight_is_full_is_told_in_epochs() -> None:
    assert KlWeights(values=RAMP, epochs=EPOCHS).full_since == 10
    assert KlWeights(values=RAMP[::5], epochs=EPOCHS[::5]).full_since == 10
    assert KlWeights(values=np.ones(3), epochs=EPOCHS[:3]).full_since == -np.inf
    cycles = KlWeights(values=EPOCHS % 10, epochs=EPOCHS)
    assert (cycles.is_cyclical, cycles.rose) == (True, False)
