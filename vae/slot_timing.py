"""How long a training step takes per member, by the number of members trained together."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from vae import stacking
from vae.elbo import kl_elements, reconstruction_error, sample_posterior
from vae.networks import Network
from vae.objective import Objective
from vae.optimizer import adam_step

_ROUNDS = 6
# A step that takes longer gains nothing more from company, and would only cost time and memory to measure.
_LONG_STEP_SECONDS = 0.3


def seconds_per_member(
    network: Network, rows: np.ndarray, objective: Objective, candidates: Sequence[int], *, shards: int
) -> dict[int, float]:
    """Seconds of one training step per member, by the number of members trained together in each shard.

    One traced program serves every number above 1; one member alone has its own, as in training. The least of a few
    rounds over all numbers is taken, so that a busy moment of the machine does not decide between them.

    Args:
        network: the architecture.
        rows: one batch of training rows, float32 [B, *shape].
        objective: likelihood and reductions.
        candidates: numbers of members to time, ascending; those beyond a long step are left out.
        shards: how many of them work side by side.
    """
    step = _Step(network, objective)
    together, alone = tf.function(step, autograph=False, reduce_retracing=True), tf.function(step, autograph=False)
    runs: dict[int, Callable[[], None]] = {}
    best: dict[int, float] = {}
    with ThreadPoolExecutor(shards) as pool:
        for count in candidates:
            run = runs[count] = _run(alone if count == 1 else together, _members(network, rows, count), pool, shards)
            run()  # traces, and warms up
            best[count] = _seconds(run)
            if best[count] > _LONG_STEP_SECONDS:
                break
        for _ in range(_ROUNDS):
            best = {count: min(best[count], _seconds(run)) for count, run in runs.items()}
    return {count: seconds / (count * shards) for count, seconds in best.items()}


def _run(
    program: Callable[..., list[tf.Tensor]], members: tuple[object, ...], pool: ThreadPoolExecutor, shards: int
) -> Callable[[], None]:
    def one(_: int) -> None:
        program(*members)[0].numpy()

    def run() -> None:
        list(pool.map(one, range(shards)))

    return run


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class _Step:
    """A first training step of every member, as in training but for annealing, clipping and L2."""

    def __init__(self, network: Network, objective: Objective) -> None:
        self._stacked = stacking.StackedNetwork(network)
        self._objective = objective

    def __call__(
        self, weights: list[tf.Tensor], others: list[tf.Tensor], rows: tf.Tensor, noise: tf.Tensor
    ) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            mean, log_var, _ = self._stacked.encode(weights, others, rows, training=True)
            z = sample_posterior(mean, log_var, noise)
            output, _ = self._stacked.decode(weights, others, z, training=True)
            errors = reconstruction_error(tf.reshape(rows, tf.shape(output)), output, self._objective)
            loss = tf.reduce_sum(errors) + tf.reduce_sum(kl_elements(mean, log_var))
        step_size = tf.fill([tf.shape(rows)[0]], 1e-3)
        zeros = [tf.zeros_like(values) for values in weights]
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, weights))
        moved = [
            adam_step(values, zero, zero, gradient, step_size)
            for values, zero, gradient in zip(weights, zeros, gradients, strict=True)
        ]
        return [part for parts in moved for part in parts]


def _members(
    network: Network, rows: np.ndarray, slots: int
) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Weights, other variables, rows and noise of so many members, all alike; their leading axis varies in size."""

    def repeated(values: np.ndarray) -> tf.Tensor:
        return tf.constant(np.repeat(values[np.newaxis], slots, axis=0))

    noise = np.zeros((len(rows), network.latent_dim), np.float32)
    return (
        [repeated(variable.numpy()) for variable in stacking.trainable_variables(network)],
        [repeated(variable.numpy()) for variable in stacking.other_variables(network)],
        repeated(rows),
        repeated(noise),
    )
