"""The plan of an epoch: every member's order, weights and sizes of step, in its own time."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from klsearch.vae.hyperparameters import NAMES, Hyperparameters
from klsearch.vae.networks import streams
from klsearch.vae.training.plan import Clock, Plan, plan_epoch
from klsearch.vae.training.schedules import KlSchedule

FIRST = Hyperparameters(kl_weight=0.5, annealing_epochs=2, learning_rate=0.01)
SECOND = Hyperparameters(kl_weight=4.0, clip_low=-3.0, l2=0.25, clipnorm=2.0, learning_rate=0.1)


def clock(settings: Hyperparameters = FIRST, *, seed: int = 7, epoch: int = 0) -> Clock:
    return Clock(hyperparameters=settings, seed=seed, epoch=epoch)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of 10 rows in 4 steps: the first member begins, the second has trained for three epochs."""
    return plan_epoch([clock(), clock(SECOND, seed=8, epoch=3)], rows=10, steps_per_epoch=4)


def test_every_row_is_trained_on_once_in_the_member_s_own_order(plan: Plan) -> None:
    assert plan.order.dtype == tf.int32
    assert np.sort(plan.order, axis=1).tolist() == [list(range(10))] * 2
    assert_array_equal(plan.order, [streams.batch_order(7, 0, 10), streams.batch_order(8, 3, 10)])


def test_the_kl_weight_rises_by_the_member_s_own_steps(plan: Plan) -> None:
    """Over 2 epochs of 4 steps by 0.5 / 8 each; the second member does not anneal."""
    assert_allclose(plan.kl_weight, [[0.0, 4], [0.0625, 4], [0.125, 4], [0.1875, 4]], rtol=1e-6)
    later = plan_epoch([clock(epoch=1), clock(epoch=2)], rows=10, steps_per_epoch=4)
    assert_allclose(later.kl_weight, [[0.25, 0.5], [0.3125, 0.5], [0.375, 0.5], [0.4375, 0.5]], rtol=1e-6)


def test_the_size_of_a_step_is_adam_s_at_the_member_s_own_step(plan: Plan) -> None:
    """α √(1 − 0.999ᵗ) / (1 − 0.9ᵗ): t = 1 … 4 of the first member, 13 … 16 of the second."""
    t = np.array([[1, 13], [2, 14], [3, 15], [4, 16]])
    assert_allclose(plan.step_size, [0.01, 0.1] * np.sqrt(1 - 0.999**t) / (1 - 0.9**t), rtol=1e-6)


def test_noise_follows_from_the_seed_and_the_member_s_own_step(plan: Plan) -> None:
    assert plan.noise_key.numpy().tolist() == [streams.noise_key(7), streams.noise_key(8)]
    assert plan.first_step.numpy().tolist() == [0, 12]
    assert plan.noise_key.dtype == plan.first_step.dtype == tf.int32


def test_every_hyperparameter_is_there_by_name_for_each_member(plan: Plan) -> None:
    assert tuple(plan.settings) == NAMES
    for name, values in plan.settings.items():
        expected = [getattr(FIRST, name), getattr(SECOND, name)]
        assert_array_equal(values, np.array(expected, np.float32), err_msg=name)


def test_a_member_s_plan_does_not_depend_on_its_company(plan: Plan) -> None:
    (alone,) = (plan_epoch([clock(SECOND, seed=8, epoch=3)], rows=10, steps_per_epoch=4),)
    for name in ("order", "noise_key", "first_step"):
        assert_array_equal(getattr(alone, name)[0], getattr(plan, name)[1])
    for name in ("kl_weight", "step_size"):
        assert_array_equal(getattr(alone, name)[:, 0], getattr(plan, name)[:, 1])


@pytest.mark.parametrize("default", ["linear", "sigmoid"])
def test_members_of_one_plan_may_each_rise_in_a_shape_of_their_own(default: str) -> None:
    """As each of them would in a plan of its own under that schedule; one without a shape has the plan's."""
    shapes = [None, "cosine", "cyclical", "cosine", None]
    settings = [Hyperparameters(kl_weight=0.5, annealing_epochs=3, kl_schedule=shape) for shape in shapes]
    told = KlSchedule(shape=default, cycles=2, ramp_share=0.25)
    together = plan_epoch([clock(one, epoch=1) for one in settings], rows=50, steps_per_epoch=7, schedule=told)
    for place, shape in enumerate(shapes):
        plain = clock(Hyperparameters(kl_weight=0.5, annealing_epochs=3), epoch=1)
        alone = plan_epoch([plain], rows=50, steps_per_epoch=7, schedule=replace(told, shape=shape or default))
        assert_array_equal(together.kl_weight[:, place], alone.kl_weight[:, 0])
    assert len({tuple(together.kl_weight[:, place].numpy().tolist()) for place in range(3)}) == 3
