"""The time of a training step per member, by the number of members trained together."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from klsearch.vae.elbo import kl_elements, reconstruction_error, sample_posterior
from klsearch.vae.layers import traced_for_xla
from klsearch.vae.networks import stacking
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective
from klsearch.vae.training.devices.threads import threads
from klsearch.vae.training.optimizer import Step, adam

_ROUNDS = 6
_STEP_SIZE = 1e-6  # so small that the loss stays finite however often a step is repeated
# A step that takes longer gains nothing more from company, and would only cost time and memory to measure.
_LONG_STEP_SECONDS = 0.3


class _Members(NamedTuple):
    """The values that a step takes and changes; the leading axis is the member's."""

    weights: list[tf.Variable]
    means: list[tf.Variable]
    squares: list[tf.Variable]
    others: list[tf.Tensor]
    rows: tf.Tensor
    condition: tf.Tensor | None
    noise: tf.Tensor


def seconds_per_member(
    network: Network,
    rows: np.ndarray,
    objective: Objective,
    candidates: Sequence[int],
    *,
    shards: int,
    xla: bool = False,
) -> dict[int, float]:
    """Seconds of one training step per member, by the number of members trained together in each shard.

    One traced program serves every number above 1; one member alone has its own, as in training. XLA compiles one for
    each number. The least of a few rounds over all numbers is taken, so that a busy moment of the machine does not
    decide between them.

    Args:
        network: the architecture.
        rows: one batch of training rows, float32 [B, *shape].
        objective: likelihood and reductions.
        candidates: numbers of members to time, ascending; those beyond a long step, or beyond a card's memory, are left
            out.
        shards: how many of them work side by side.
        xla: whether XLA compiles the steps.

    Raises:
        ResourceExhaustedError: memory is too small for the first of them.
    """
    step = _TimedStep(network, objective, xla=xla)
    alone = tf.function(step, autograph=False, jit_compile=xla or None)
    together = alone if xla else tf.function(step, autograph=False, reduce_retracing=True)
    runs: dict[int, Callable[[], None]] = {}
    best: dict[int, float] = {}
    with threads(shards) as pool:
        for count in candidates:
            try:
                members = [_members(network, rows, count, known=xla or count == 1) for _ in range(shards)]
                run = _run(alone if count == 1 else together, members, pool)
                run()  # traces, and warms up
                best[count] = _seconds(run)
            except tf.errors.ResourceExhaustedError:
                if not best:
                    raise
                break
            runs[count] = run
            if best[count] > _LONG_STEP_SECONDS:
                break
        for _ in range(_ROUNDS):
            best = {count: min(best[count], _seconds(run)) for count, run in runs.items()}
    return {count: seconds / (count * shards) for count, seconds in best.items()}


def _run(
    program: Callable[[_Members], tf.Tensor], members: Sequence[_Members], pool: ThreadPoolExecutor
) -> Callable[[], None]:
    def one(of_shard: _Members) -> None:
        program(of_shard).numpy()

    def run() -> None:
        list(pool.map(one, members))

    return run


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class _TimedStep:
    """A training step of every member, as in training but for drawing noise, annealing, clipping and L2."""

    def __init__(self, network: Network, objective: Objective, *, xla: bool) -> None:
        self._calling = traced_for_xla if xla else nullcontext
        self._stacked = stacking.StackedNetwork(network)
        self._objective = objective.for_rows(network.input_shape, network.table)

    def __call__(self, members: _Members) -> tf.Tensor:
        """Their loss, after which they have moved."""
        weights, others = [variable.read_value() for variable in members.weights], members.others
        rows, noise = members.rows, members.noise
        with tf.GradientTape() as tape, self._calling():
            tape.watch(weights)
            mean, log_var, _ = self._stacked.encode(weights, others, rows, training=True, condition=members.condition)
            z = sample_posterior(mean, log_var, noise)
            output, _ = self._stacked.decode(weights, others, z, training=True, condition=members.condition)
            flat = tf.reshape(rows, [*tf.unstack(tf.shape(rows)[:2]), math.prod(self._stacked.network.input_shape)])
            errors = reconstruction_error(flat, output, self._objective.likelihood)
            loss = tf.reduce_sum(errors) + tf.reduce_sum(kl_elements(mean, log_var))
        found = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [tf.convert_to_tensor(gradient) for gradient in found]
        step_size = tf.fill([tf.shape(rows)[0]], _STEP_SIZE)
        adam(Step(members.weights, members.means, members.squares, gradients, step_size, step_size))
        return loss


def _members(network: Network, rows: np.ndarray, count: int, *, known: bool) -> _Members:
    """So many members, all alike; if `known`, a program is traced for this number alone."""

    def repeat(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[np.newaxis], count, axis=0)

    def hold(values: np.ndarray) -> tf.Variable:
        # Else of any number, so that one traced program serves them all.
        return tf.Variable(repeat(values), shape=[count if known else None, *values.shape])

    trainable = [variable.numpy() for variable in stacking.trainable_variables(network)]
    return _Members(
        weights=[hold(values) for values in trainable],
        means=[hold(np.zeros_like(values)) for values in trainable],
        squares=[hold(np.zeros_like(values)) for values in trainable],
        others=[tf.constant(repeat(variable.numpy())) for variable in stacking.other_variables(network)],
        rows=tf.constant(repeat(rows)),
        condition=tf.zeros([count, len(rows), network.condition_width]) if network.condition_width else None,
        noise=tf.constant(repeat(np.zeros((len(rows), network.latent_dim), np.float32))),
    )
