"""When to stop early."""

import os
import signal
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.rows import Result, Run
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.trainer import Job, Trainer, UnsharedSource
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import AFTER
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population


def test_without_a_limit_nothing_stops() -> None:
    stopper = Stopper()
    assert not stopper()
    assert not stopper.stopped


def test_a_time_that_is_over_stops() -> None:
    stopper = Stopper(timeout=0.0)
    assert not stopper.stopped, "nobody has asked yet"
    assert stopper()
    assert stopper.stopped
    assert not stopper.signalled


def test_a_time_that_is_not_over_does_not_stop() -> None:
    assert not Stopper(timeout=3600.0)()


def test_the_first_signal_asks_to_stop_and_the_second_ends_the_process() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        before, stopper = signal.getsignal(number), Stopper()
        with stopper.listen():
            os.kill(os.getpid(), number)
            assert stopper.signalled
            assert stopper()
            assert signal.getsignal(number) is signal.SIG_DFL
        assert signal.getsignal(number) is before


STEPS, STEP_SECONDS = 60, 0.2


def wait() -> np.float32:
    time.sleep(STEP_SECONDS)
    return np.float32(0)


def slow(rows: tf.Tensor) -> tf.Tensor:
    """The rows, after a while that is the same on every machine."""
    return rows + tf.ensure_shape(tf.numpy_function(wait, [], tf.float32), [])


def slow_network(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
    rows, z = keras.Input(shape), keras.Input((latent_dim,))
    h = keras.layers.Lambda(slow)(rows)
    heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
    return keras.Model(rows, heads), keras.Model(z, keras.layers.Dense(shape[0])(z))


class OneTraining(UnsharedSource):
    """A source of one job."""

    def __init__(self) -> None:
        run = Run(hyperparameters=AFTER, seed=1, label="search")
        self._jobs = [Job(number=0, run=run)]

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        raise AssertionError("no checkpoint is kept")

    def take(self, free: int) -> list[Job]:
        jobs, self._jobs = self._jobs[:free], []
        return jobs

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        raise AssertionError("nothing finishes in time")


def test_a_time_limit_ends_a_training_in_the_middle_of_a_long_epoch() -> None:
    rows = np.random.default_rng(0).random((STEPS + 8, 4), np.float32)
    splits = {"train": rows[:STEPS], "validation": rows[STEPS:]}
    encoder, decoder = slow_network((4,), 2)
    network = Network(encoder=encoder, decoder=decoder)
    population = Population(network, splits, Objective(), slots=1, batch_size=1)
    population.compile()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        Trainer(population, epochs=1, watch=lambda running: None, stop=Stopper(1.0)).train(OneTraining())
    assert 1.0 <= time.monotonic() - began < STEPS * STEP_SECONDS / 2
    (member,) = population.snapshot().members.values()
    assert member.clock.epoch == 0
    assert 1 <= len(member.steps) < STEPS, "the epoch goes on from here"
