"""Threads that run compiled programs side by side."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context

from klsearch.vae.host.machine import usable_cores
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.devices.threads import threads
from klsearch.vae.training.population import Population
from klsearch.vae.training.shard import Shard

TRIAL = Hyperparameters(kl_weight=0.1, clip_high=2, annealing_epochs=2, l2=1e-4, encoder_dropout=0.2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_many_threads_work_at_the_same_time(count: int) -> None:
    meeting = threading.Barrier(count)  # which lets nobody through before all are there
    with threads(count) as pool:
        names = list(pool.map(lambda _: (meeting.wait(60), threading.current_thread().name)[1], range(count)))
    assert len(set(names)) == count
    assert all(name.startswith("shard") for name in names)


def memory_optimization() -> int:
    """What this thread asks TensorFlow to do about the memory of its programs."""
    options = context.context().function_call_options.config_proto_serialized
    config = tf.compat.v1.ConfigProto.FromString(options)
    assert config.allow_soft_placement
    return int(config.graph_options.rewrite_options.memory_optimization)


def test_only_these_threads_keep_their_programs_as_they_are() -> None:
    with threads(2) as pool:
        found = list(pool.map(lambda _: memory_optimization(), range(4)))
    assert set(found) == {RewriterConfig.NO_MEM_OPT}
    assert memory_optimization() == RewriterConfig.DEFAULT_MEM_OPT


@pytest.mark.slow("compiles a large network")
def test_shards_of_a_large_model_train_side_by_side() -> None:
    """TensorFlow expects it to take much memory, and would rewrite its sums so that no two threads can run it."""
    rows = np.random.default_rng(0).random((12_000, 784), np.float32)
    large = dense_network((784,), 16, hidden=[512, 256])
    members = Population(
        large, {"train": rows, "validation": rows[:256]}, Objective(), slots=2, together=1, batch_size=128
    )
    members.compile()
    for slot in range(2):
        members.start(slot, TRIAL, 7)
    members.advance()

    def train_often(shard: Shard) -> list[bytes]:
        return [shard.train(0, 1).tobytes() for _ in range(100)]

    first, second = members._map(train_often, members._shards)
    assert first == second


COUNTS = """
import tensorflow as tf
from klsearch.vae.training.devices.threads import side_by_side
for threads in (3, 1, 0):
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    print(side_by_side())
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_processor_trains_as_many_shards_at_a_time_as_tensorflow_may_use_threads_or_else_its_cores() -> None:
    told = subprocess.run(
        [sys.executable, "-c", COUNTS],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [int(line) for line in told.stdout.split()] == [3, 1, usable_cores()]
