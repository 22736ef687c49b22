"""Cards as TensorFlow sees them. Here there is a processor alone; tests/card holds what needs a card."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import tensorflow as tf
from tensorflow.python.framework import config

from klsearch.vae.training.devices import cards

IN_TWO = """
import hashlib
import numpy as np
import tensorflow as tf

(processor,) = tf.config.list_physical_devices("CPU")
halves = [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(processor, halves)

from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

rows = np.random.default_rng(0).random((64, 8), np.float32)
for device in ("CPU:0", "CPU:1"):
    with tf.device(device):
        members = Population(
            dense_network((8,), 2, hidden=[8]), {"train": rows, "validation": rows[:16]}, Objective(),
            slots=4, together=4, batch_size=32,
        )
        members.start(1, Hyperparameters(kl_weight=0.1, encoder_dropout=0.2), seed=7)
        while members.epoch(1) < 3:
            members.advance()
        places = {variable.device.rpartition("device:")[2] for variable in members._shards[0]._state.variables()}
    print(*places, hashlib.sha256(members.curves(1).as_rows().tobytes()).hexdigest())
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_population_trains_on_the_device_that_it_was_made_for_to_the_same_bits() -> None:
    told = subprocess.run(
        [sys.executable, "-c", IN_TWO],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    (first, bits), (second, same) = (line.split() for line in told.stdout.splitlines())
    assert (first, second) == ("CPU:0", "CPU:1")
    assert bits == same


@pytest.fixture
def set_cards(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """A function that has TensorFlow tell of cards of these types."""

    def set_names(names: list[str]) -> None:
        devices = [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n, _ in enumerate(names)]
        details = {device: {"device_name": name} for device, name in zip(devices, names, strict=True)}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices if kind == "GPU" else [])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)

    return set_names


def test_a_process_without_a_card_trains_on_its_processor(set_cards: Callable[[list[str]], None]) -> None:
    set_cards([])
    assert (cards.count_cards(), cards.card_names(), cards.card_memory()) == (0, [], None)
    with cards.repeatable(True):
        assert cards.device_words() == "the processor"
        assert not config.is_op_determinism_enabled(), "which would make random operations without a seed fail"


def test_on_a_card_operations_repeat_their_bits_in_the_block_and_a_host_s_are_as_before(
    set_cards: Callable[[list[str]], None],
) -> None:
    set_cards(["NVIDIA H200", "NVIDIA H200"])
    assert cards.count_cards() == 2
    assert cards.device_words() == "NVIDIA H200, not deterministic"
    with cards.repeatable(True), cards.repeatable(True):
        assert cards.device_words() == "NVIDIA H200, deterministic"
    assert not config.is_op_determinism_enabled()
    with cards.repeatable(False):
        assert cards.device_words() == "NVIDIA H200, not deterministic"
    try:
        tf.config.experimental.enable_op_determinism()  # as a host does
        with cards.repeatable(True):
            pass
        assert config.is_op_determinism_enabled()
    finally:
        config.disable_op_determinism()
