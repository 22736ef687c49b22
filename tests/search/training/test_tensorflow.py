"""Loading TensorFlow, in a process of ours that has not yet, and what a host's process is like after us."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow("starts processes that load TensorFlow")

_LOAD_TWICE = """
import gc
from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
take_this_process()
load_tensorflow()
first = gc.get_freeze_count()
load_tensorflow()
print(gc.isenabled(), first > 100_000, gc.get_freeze_count() == first)
"""


def test_the_garbage_collector_passes_over_tensorflow_and_nothing_that_comes_later(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_TWICE], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("True True True\n", "")


_LOAD_WITHOUT = """
import sys
from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
take_this_process()
load_tensorflow()
before = "sklearn" in sys.modules
import keras
import matplotlib.pyplot
print(before, keras.wrappers.SKLearnClassifier.__name__, callable(matplotlib.pyplot.figure), "sklearn" in sys.modules)
"""


@pytest.mark.slow("loads TensorFlow in a process of its own")
def test_what_training_does_not_use_is_loaded_when_it_is_used(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_WITHOUT], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("False SKLearnClassifier True True\n", "")


_HOST = """
import gc
import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

if "tensorflow" in sys.argv[2:]:
    import tensorflow as tf


def state():
    import keras
    import optuna
    import tensorflow as tf

    threading = tf.config.threading
    return {
        "logging": {name: logging.getLogger(name).level for name in (None, "optuna", "tensorflow", "absl")},
        "optuna": optuna.logging.get_verbosity(),
        "frozen": gc.get_freeze_count(),
        "collects": [gc.isenabled(), gc.get_threshold()],
        "policy": keras.config.dtype_policy().name,
        "floatx": keras.config.floatx(),
        "warnings": [str(kept) for kept in warnings.filters],
        "threads": [threading.get_inter_op_parallelism_threads(), threading.get_intra_op_parallelism_threads()],
        "placement": tf.config.get_soft_device_placement(),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "environment": dict(os.environ),
        "streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    }


def call():
    import klsearch

    study = klsearch.load_definition(sys.argv[1])
    record = klsearch.run_study(study, options=klsearch.RunOptions(slots=2))
    assert len(record.counted) == 2, record
    assert len(klsearch.load_study(klsearch.known_place("tiny")).counted) == 2
    klsearch.write_report(record, Path("again.html"))


if "tensorflow" in sys.argv[2:]:
    import klsearch
    import optuna

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    tf.get_logger().setLevel("INFO")
    before = state()
    for name in klsearch.__all__:
        getattr(klsearch, name)
    call()
    after = state()
    print(json.dumps([before, after]))
else:
    frozen = gc.get_freeze_count()
    call()
    import optuna
    print(json.dumps([frozen == gc.get_freeze_count(), gc.isenabled(), optuna.logging.get_verbosity()]))
"""


def host(definition: Path, environment: dict[str, str], *loaded: str) -> tuple[Any, str]:
    """What a program that calls us prints as JSON, and what it and we write to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", _HOST, str(definition), *loaded],
        capture_output=True,
        text=True,
        env=environment,
        cwd=definition.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture
def small(definition_file: Path) -> Path:
    """Two trials in 16 bits, confirmed."""
    text = definition_file.read_text().replace("trials = 24", "trials = 2").replace("seeds = 8", "seeds = 2")
    definition_file.write_text(text.replace("learning_rate", 'precision = "mixed_bfloat16"\nlearning_rate'))
    return definition_file


def test_a_program_that_has_loaded_tensorflow_is_left_as_it_was(small: Path, environment: dict[str, str]) -> None:
    (before, after), errors = host(small, environment, "tensorflow")
    assert after == before
    assert "A new study created" not in errors, "Optuna is still while we work"
    assert "while_loop" not in errors, "and TensorFlow"


def test_a_program_that_has_not_keeps_its_garbage_collector_and_optuna_s_log(
    small: Path, environment: dict[str, str]
) -> None:
    (frozen, enabled, verbosity), _ = host(small, environment)
    assert (frozen, enabled, verbosity) == (True, True, 20)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_process_of_ours_trains_with_tensorflow_whatever_keras_is_set_to(
    backend: str, environment: dict[str, str]
) -> None:
    code = (
        "from klsearch.search.training.tensorflow import load_tensorflow, take_this_process\n"
        "take_this_process(); load_tensorflow()\n"
        "import keras; print(keras.config.backend())"
    )
    asked = environment | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=asked, check=False)
    assert (done.stdout, done.stderr) == ("tensorflow\n", "")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import klsearch; klsearch.SearchedDropout", "ImportError"),
        ("from klsearch.search.training.tensorflow import load_tensorflow; load_tensorflow()", "UsageError"),
    ],
)
def test_a_host_whose_keras_is_set_to_another_backend_is_told_so_in_one_line(
    code: str, error: str, environment: dict[str, str]
) -> None:
    asked = environment | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=asked, check=False)
    told = "Keras is set to 'jax', and klsearch trains with TensorFlow alone; set KERAS_BACKEND=tensorflow."
    assert done.stderr.splitlines()[-1].partition(": ")[2] == told
    assert done.stderr.splitlines()[-1].partition(": ")[0].rpartition(".")[2] == error
