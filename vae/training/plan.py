"""The plan of an epoch for every member, in the member's own time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from klsearch.vae.hyperparameters import NAMES, Hyperparameters
from klsearch.vae.networks import streams
from klsearch.vae.training.optimizer import OPTIMIZERS
from klsearch.vae.training.schedules import ADAM, LINEAR, KlSchedule, Learning, kl_weight_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The clock of a member: all that its next epoch depends on besides its values.

    Attributes:
        hyperparameters: its settings.
        seed: its seed.
        epoch: epochs it has been trained for.
    """

    hyperparameters: Hyperparameters
    seed: int
    epoch: int


class Plan(NamedTuple):
    """The plan of one epoch of K members, as tensors."""

    order: tf.Tensor  # [K, n] int32: rows in the order of training
    kl_weight: tf.Tensor  # [steps, K]
    step_size: tf.Tensor  # [steps, K]
    learning_rate: tf.Tensor  # [K], as scheduled
    noise_key: tf.Tensor  # [K] int32
    first_step: tf.Tensor  # [K] int32
    settings: dict[str, tf.Tensor]  # each [K]: every hyperparameter by name


def plan_epoch(
    clocks: Sequence[Clock],
    *,
    rows: int,
    steps_per_epoch: int,
    schedule: KlSchedule = LINEAR,
    learning: Learning = ADAM,
) -> Plan:
    """The next epoch of every member, over `rows` training rows.

    The KL weight of a member without a shape of its own rises as `schedule` says.
    """
    first = np.array([clock.epoch * steps_per_epoch for clock in clocks])
    steps = first + np.arange(steps_per_epoch)[:, np.newaxis]  # [steps, K]

    def each(name: str) -> np.ndarray:
        return np.array([getattr(clock.hyperparameters, name) for clock in clocks])

    weights, annealing = each("kl_weight"), each("annealing_epochs")
    shapes = [clock.hyperparameters.kl_schedule for clock in clocks]
    weight = np.empty(steps.shape)  # [steps, K]
    for shape in set(shapes):
        of = [member for member, one in enumerate(shapes) if one == shape]
        weight[:, of] = kl_weight_at(
            steps[:, of],
            kl_weight=weights[of],
            annealing_epochs=annealing[of],
            steps_per_epoch=steps_per_epoch,
            schedule=schedule.shaped(shape),
        )
    rates = learning.rates([clock.epoch for clock in clocks], each("learning_rate"))
    order = np.stack([streams.batch_order(clock.seed, clock.epoch, rows) for clock in clocks])
    return Plan(
        order=tf.constant(order),
        kl_weight=tf.constant(weight, tf.float32),
        step_size=tf.constant(OPTIMIZERS[learning.optimizer].step_size(steps, rates), tf.float32),
        learning_rate=tf.constant(rates, tf.float32),
        noise_key=tf.constant([streams.noise_key(clock.seed) for clock in clocks]),
        first_step=tf.constant(first, tf.int32),
        settings={name: tf.constant(each(name), tf.float32) for name in NAMES},
    )
