"""The annealed KL weight, learning rates and Adam's step size, as tables."""

import math

import numpy as np
import pytest

from klsearch.vae.hyperparameters import CHOICES
from klsearch.vae.training.schedules import FALLS, SHAPES, KlSchedule, Learning, adam_step_size, kl_weight_at


def test_every_shape_can_be_chosen_and_no_other() -> None:
    assert tuple(SHAPES) == CHOICES["kl_schedule"].options


@pytest.mark.parametrize(
    ("step", "annealing_epochs", "expected"),
    [
        (0, 2, 0.0),
        (1, 2, 0.05),
        (4, 2, 0.2),
        (7, 2, 0.35),
        (8, 2, 0.4),
        (9, 2, 0.4),
        (10_000, 2, 0.4),
        (0, 0, 0.4),
        (1, 0, 0.4),
        (3, 1, 0.3),
    ],
)
def test_the_kl_weight_rises_linearly_over_the_annealing_epochs(
    step: int, annealing_epochs: int, expected: float
) -> None:
    weight = kl_weight_at(step, kl_weight=0.4, annealing_epochs=annealing_epochs, steps_per_epoch=4)
    assert weight == pytest.approx(expected, abs=1e-15)


def test_every_member_follows_its_own_schedule() -> None:
    steps = np.array([[0, 6], [1, 7]])  # the second member started three epochs earlier
    weights = kl_weight_at(steps, kl_weight=[1.0, 10.0], annealing_epochs=[1, 4], steps_per_epoch=2)
    assert weights.tolist() == [[0.0, 7.5], [0.5, 8.75]]


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate() -> None:
    # √(1 − β₂) / (1 − β₁) = √0.001 / 0.1, by which m / √v = 0.1 g / √(0.001 g²) is brought to ±1.
    assert adam_step_size(0, 0.5) == pytest.approx(0.5 * np.sqrt(0.001) / 0.1)
    assert adam_step_size([10**6, 10**6], [0.5, 0.1]) == pytest.approx([0.5, 0.1])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (KlSchedule(shape="linear"), [0, 0.25, 0.5, 0.75, 1, 1]),
        (KlSchedule(shape="cosine"), [0, (1 - np.sqrt(0.5)) / 2, 0.5, (1 + np.sqrt(0.5)) / 2, 1, 1]),
        # σ(12p − 6), stretched from [σ(−6), σ(6)] to [0, 1].
        (KlSchedule(shape="sigmoid"), [0, 0.0451767, 0.5, 0.9548233, 1, 1]),
        (KlSchedule(shape="cyclical", cycles=2, ramp_share=0.5), [0, 1, 0, 1, 1, 1]),
        (KlSchedule(shape="cyclical", cycles=1, ramp_share=1.0), [0, 0.25, 0.5, 0.75, 1, 1]),
    ],
)
def test_each_shape_rises_from_0_and_is_full_from_the_last_annealing_epoch_on(
    schedule: KlSchedule, expected: list[float]
) -> None:
    weight = kl_weight_at([0, 2, 4, 6, 8, 99], kl_weight=1, annealing_epochs=2, steps_per_epoch=4, schedule=schedule)
    assert weight == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_matters_without_annealing(shape: str) -> None:
    weight = kl_weight_at([0, 1], kl_weight=3, annealing_epochs=0, steps_per_epoch=4, schedule=KlSchedule(shape=shape))
    assert weight.tolist() == [3, 3]


def test_the_words_of_a_cyclical_schedule_name_its_cycles() -> None:
    words = KlSchedule(shape="cyclical", cycles=3, ramp_share=0.25).words
    assert words == "rises linearly from 0 in each of 3 cycles, over 25% of it, and is then full,"


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("constant", [1, 1, 1, 1]), ("cosine", [1, 0.505, 0.01, 0.01]), ("exponential", [1, 0.1, 0.01, 0.01])],
)
def test_a_learning_rate_falls_over_its_member_s_own_epochs(schedule: str, shares: list[float]) -> None:
    rates = Learning(schedule=schedule, epochs=10).rates([0, 5, 10, 99], [2.0, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(rates, np.array(shares) * [2, 2, 2, 3])
    for progress, share in zip((0.0, 0.5, 1.0), shares, strict=False):
        assert eval(FALLS[schedule].keras, {"math": math, "progress": progress}) == pytest.approx(share)
