"""How a KL moves that was measured in every epoch, or in some."""

import numpy as np
import pytest

from klsearch.vae.diagnostics.trends import count_last, motion_at_end, slows_down, span

EPOCHS = np.arange(100.0)
EVERY = {"each": EPOCHS, "fifth": EPOCHS[4::5], "tenth": EPOCHS[9::10], "some": np.r_[EPOCHS[:3], EPOCHS[3::7]]}


@pytest.mark.parametrize("at", EVERY.values(), ids=EVERY)
def test_the_slope_is_per_epoch_however_rarely_the_kl_was_measured(at: np.ndarray) -> None:
    motion = motion_at_end(10 * 1.004**at, at, window=5, most=0.01)
    assert motion.slope == pytest.approx(0.004, rel=0.02)
    assert not motion.is_moving(0.01)
    assert motion_at_end(10 * 1.03**at, at, window=5, most=0.01).is_moving(0.01)


def test_the_noise_of_values_in_some_epochs_is_that_of_values_in_each() -> None:
    random = np.random.default_rng(0)
    at = np.sort(random.choice(EPOCHS, 60, replace=False))
    for epochs in (EPOCHS, at):
        errors = [
            motion_at_end(10 + random.normal(size=epochs.size), epochs, window=40, most=1.0).error for _ in range(200)
        ]
        last = epochs[-40:]
        expected = 0.1 / np.sqrt(np.sum((last - last.mean()) ** 2))
        assert np.mean(errors) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("at", EVERY.values(), ids=EVERY)
def test_whether_a_rise_slows_down_does_not_hang_on_where_it_was_measured(at: np.ndarray) -> None:
    assert slows_down(1 - np.exp(-at / 20), at)
    assert not slows_down(1 + at**2, at)


def test_the_last_values_are_those_of_the_last_epochs_and_a_few_at_least() -> None:
    assert [count_last(at, 5, 3) for at in (EPOCHS, EPOCHS[4::5], EPOCHS[:2], EPOCHS[:0])] == [5, 3, 2, 0]
    assert [span(EPOCHS[-5:]), span(EPOCHS[4::5][-3:]), span(EPOCHS[:1])] == [5, 11, 1]
