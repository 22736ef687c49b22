"""When to stop early."""

import os
import signal
import subprocess
import sys
import threading
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


def test_the_first_signal_asks_to_stop_and_is_answered_once() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        before, stopper, answered = signal.getsignal(number), Stopper(), threading.Event()
        with stopper.listen(lambda terminal, answered=answered: answered.set()):  # type: ignore[misc]
            os.kill(os.getpid(), number)
            assert stopper.signalled
            assert stopper()
            assert answered.wait(10)
        assert signal.getsignal(number) is before
        assert signal.set_wakeup_fd(-1) == -1, "nothing listens any more"


_BUSY = """
import time
from klsearch.search.stopping import Stopper
with Stopper().listen():
    print("listening", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_process_at_once(number: signal.Signals, environment: dict[str, str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.3)
    assert process.wait(10) == 128 + number
    process.stdout.close()


def test_a_block_with_nothing_to_save_is_left_at_once_and_no_error_takes_the_interrupt_s_place() -> None:
    stopper = Stopper()
    with stopper.listen():
        with pytest.raises(KeyboardInterrupt), stopper.interrupt_at_once():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        with pytest.raises(KeyboardInterrupt), stopper.interrupt_at_once():
            pytest.fail("nothing more is begun")
    swallowed = Stopper()
    with swallowed.listen(), pytest.raises(KeyboardInterrupt), swallowed.interrupt_at_once():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("a library that takes it for an error of its own") from error
    with pytest.raises(ImportError), Stopper().interrupt_at_once():
        raise ImportError("one of its own")


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
