"""A whole study on a card: search, stop, resume, proof, report, reproduction and export, and a worker for each card."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import klsearch as kl

pytestmark = pytest.mark.slow("runs whole studies in processes of their own")

Environment = Mapping[str, str]
ROOT = Path(__file__).parents[2]
STUDY = """\
[study]
name = "small"
trials = 10

[data]
source = "digits"
rows = 600

[model]
kind = "dense"
hidden = [32]
latent_dim = 3

[training]
epochs = 12
learning_rate = 3e-3

[space]
kl_weight = { low = 1e-3, high = 0.1, log = true }
encoder_dropout = { low = 0.0, high = 0.2 }

[confirmation]
seeds = 2
top = 1

[gates]
window = 2
"""


class Commands:
    """The command line in processes of their own, in a folder with the small study."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        (folder / "small.toml").write_text(STUDY)
        self.folder = folder
        self._environment = {**environment, "PYTHONPATH": str(ROOT / "src"), "KLSEARCH_CACHE": str(folder / "cache")}

    def __call__(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from klsearch.search.cli import main; sys.exit(main())"]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == code, done.stderr
        return done

    def trials(self) -> list[dict[str, Any]]:
        """What is stored of the trials, but for what depends on the clock."""
        told: list[dict[str, Any]] = json.loads(self("trials", "runs/small", "--json").stdout)["trials"]
        return [{name: value for name, value in trial.items() if name != "seconds"} for trial in told]


@pytest.fixture
def commands(tmp_path: Path) -> Callable[[Environment], Commands]:
    """The command line on a device, in a folder of the test's own."""
    return lambda environment: Commands(tmp_path, environment)


def test_a_study_is_searched_resumed_proven_reported_reproduced_and_exported(
    device: Environment, commands: Callable[[Environment], Commands]
) -> None:
    klsearch = commands(device)
    klsearch("run", "small.toml", "--trials", 4, "--no-confirm")
    klsearch("resume", "runs/small", "--trials", 10)
    assert [trial["state"] for trial in klsearch.trials()] == ["complete"] * 10
    folder = klsearch.folder / "runs" / "small"
    trained_on = kl.load_study(kl.known_place(str(folder), storage=None, study=None)).provenance["trained on"]
    assert (trained_on == "the processor") is (device.get("CUDA_VISIBLE_DEVICES") == "-1")
    assert trained_on in (folder / "report.html").read_text()
    klsearch("reproduce", "runs/small", 9)
    klsearch("export", "runs/small", "best")
    code = (
        "import keras, numpy as np\n"
        "encode, decode = (keras.saving.load_model(f'best/{name}.keras') for name in ('encoder', 'decoder'))\n"
        "mean, log_var = encode(np.zeros((5, 64), 'float32') if len(encode.input_shape) == 2 else "
        "np.zeros((5, 8, 8), 'float32'))\n"
        "print(np.isfinite(np.asarray(decode(mean))).all())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=klsearch.folder, env=dict(device), capture_output=True, text=True
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.gpu
def test_a_study_that_moves_to_the_processor_says_so_and_reproduce_names_what_has_changed(
    card: Environment, processor: Environment, commands: Callable[[Environment], Commands]
) -> None:
    klsearch = commands(card)
    klsearch("run", "small.toml", "--trials", 4, "--no-confirm", "--slots", 2)
    elsewhere = commands(processor)
    moved = elsewhere("resume", "runs/small", "--trials", 6, "--no-confirm")
    assert "and goes on on the processor, where" in moved.stderr
    told = json.loads(elsewhere("reproduce", "runs/small", 0, "--json", code=1).stdout)
    assert "trained on" in told["changed"]


@pytest.mark.gpu
def test_workers_have_a_card_each_and_share_a_study(
    card: Environment, commands: Callable[[Environment], Commands]
) -> None:
    klsearch = commands(card)
    klsearch("run", "small.toml", "--workers", 2, "--slots", 2, "--no-confirm")
    assert [trial["state"] for trial in klsearch.trials()] == ["complete"] * 10


@pytest.mark.gpu
def test_on_a_card_the_number_of_trials_at_a_time_is_measured_with_and_without_xla(
    card: Environment, commands: Callable[[Environment], Commands]
) -> None:
    klsearch = commands(card)
    careless = STUDY.replace("[training]", "[training]\ndeterministic = false")
    (klsearch.folder / "small.toml").write_text(careless)
    said = klsearch("run", "small.toml", "--no-confirm", "--timeout", "0s").stderr
    assert re.search(r"Training \d+ trials at a time, \d+ in each of 1 thread\. .* (compiled by|without) ", said)
    again = klsearch("run", "small.toml", "--no-confirm", "--timeout", "0s", "--out", "again").stderr
    assert ", remembered from an earlier study" in again


@pytest.mark.gpu
def test_doctor_and_check_name_the_card(card: Environment, commands: Callable[[Environment], Commands]) -> None:
    klsearch = commands(card)
    devices = json.loads(klsearch("doctor", "--json").stdout)["devices"]["words"]
    assert re.search(r"GPU:0; trains on .+, \d+\.\d GB of it, taken as they are needed", devices)
    expected = json.loads(klsearch("check", "small.toml", "--json").stdout)["estimate"]
    assert expected["device"] in devices
    assert expected["seconds"] is None
    assert 0 < expected["card_memory"] < 1e9


MEMORY = """
import json, sys
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("GPU")[0], [tf.config.LogicalDeviceConfiguration(memory_limit=int(sys.argv[1]))]
)
from klsearch.search.training.device_faults import MEMORY_ENDED, make_room
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.devices.cards import repeatable
from klsearch.vae.training.population import Population

rows = np.random.default_rng(0).random((2048, 64), np.float32)
said = []
with repeatable(True):
    members = Population(
        dense_network((64,), 4, hidden=[1024]), {"train": rows, "validation": rows[:256]}, Objective(), slots=32,
        batch_size=1024,
    )
    while True:
        try:
            for slot in range(32):
                members.start(slot, Hyperparameters(kl_weight=0.1), seed=slot)
            while members.epoch(0) < 2:
                members.advance()
            break
        except MEMORY_ENDED:
            pass
        make_room(members, say=said.append)
print(json.dumps([said, members.together, [members.curves(slot).as_rows().tobytes().hex() for slot in range(32)]]))
"""


@pytest.mark.gpu
def test_a_card_that_is_too_small_trains_fewer_together_to_the_same_bits(card: Environment) -> None:
    """Activations of 32 models of 1,024 units, for batches of 1,024 rows: gigabytes."""

    def train(megabytes: int) -> tuple[list[str], int, list[str]]:
        paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(megabytes)],
            env={**card, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        said, together, curves = json.loads(done.stdout.splitlines()[-1])
        return said, together, curves

    ample, tight = train(12_000), train(700)
    assert (ample[:2], len(tight[0]) >= 1, tight[1] < 32) == (([], 32), True, True)
    assert tight[2] == ample[2]
