"""What a layer of the user's own raises from within a program: the faults come out of TensorFlow itself."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.training.own_faults import tell_own_faults
from klsearch.search.training.trainer import Trainer
from klsearch.studies.definitions.sections import ModelSection
from klsearch.studies.errors import KlsearchError

if TYPE_CHECKING:
    from tests.search.conftest import Called

OWN = ModelSection(kind="my_vae:build", latent_dim=2)
OURS = ModelSection(kind="dense", hidden=(4,), latent_dim=2)
WAY_OUT = "What was trained is kept: mend the layer and give the same command again, and the trial goes on."
CHECK = "A check in a layer ends the whole study, where a trial whose numbers run away otherwise counts as diverged"


def refuse(values: Any) -> Any:
    raise ValueError("my own check:\nvalues out of range")


def by_python(values: tf.Tensor) -> Any:
    return tf.py_function(refuse, [values], tf.float32)


def by_numpy(values: tf.Tensor) -> Any:
    return tf.numpy_function(refuse, [values], tf.float32)


def by_assertion(values: tf.Tensor) -> Any:
    with tf.control_dependencies([tf.debugging.assert_less(values, 1.0, message="too large")]):
        return tf.identity(values)


def by_numerics(values: tf.Tensor) -> Any:
    return tf.debugging.check_numerics(values / 0.0, "bad activations")


def by_place(values: tf.Tensor) -> Any:
    return tf.gather(values, [tf.cast(values[0], tf.int32) + 5])


def raised(layer: Callable[[tf.Tensor], Any], model: ModelSection) -> None:
    with tell_own_faults(model):
        tf.function(layer)(tf.constant([2.0, 3.0]))


@pytest.mark.parametrize(
    ("layer", "said", "is_check"),
    [
        (by_python, "values out of range", False),
        (by_numpy, "values out of range", False),
        (by_assertion, "assertion failed: [too large]", True),
        (by_numerics, "bad activations : Tensor had Inf values", True),
        (by_place, "indices[0] = 7 is not in [0, 2)", False),
    ],
)
def test_what_a_layer_of_one_s_own_raises_is_told_in_one_line_with_its_place_and_the_way_out(
    layer: Callable[[tf.Tensor], Any], said: str, is_check: bool
) -> None:
    with pytest.raises(KlsearchError) as caught:
        raised(layer, OWN)
    (line,) = caught.value.lines
    assert line.startswith("model.kind: my_vae:build: training it raised ")
    assert said in line
    assert re.search(rf" \({re.escape(__file__)}:\d+\)\. ", line)
    assert line.endswith(WAY_OUT)
    assert (CHECK in line) is is_check
    assert "\n" not in line and "[[{{" not in line and len(line) < 800


def test_errors_of_our_own_networks_and_of_the_machine_stay_what_they_are() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        raised(by_place, OURS)
    with pytest.raises(tf.errors.ResourceExhaustedError), tell_own_faults(OWN):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,512]")


FRAGILE = """\
import keras
import tensorflow as tf
from keras import layers


def look(values):
    if LIMIT:
        raise RuntimeError("a value that I do not like")
    return values


class Fragile(layers.Layer):
    def call(self, inputs):
        given = tf.py_function(look, [inputs], tf.float32)
        return tf.ensure_shape(tf.stop_gradient(given), inputs.shape) * 0 + inputs

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


def build(input_shape, latent_dim):
    rows, z = keras.Input(input_shape), keras.Input((latent_dim,))
    heads = [layers.Dense(latent_dim, name=name)(rows) for name in ("z_mean", "z_log_var")]
    return keras.Model(rows, heads), keras.Model(z, Fragile()(layers.Dense(64, name="last")(z)))
"""


@pytest.mark.slow("runs a study")
def test_a_study_whose_layer_is_mended_goes_on_with_the_same_command(
    klsearch: Callable[..., "Called"], work: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (work / "fragile.py").write_text(f"import os\nLIMIT = False\n{FRAGILE}")
    np.save(work / "rows.npy", np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32))
    write(
        work,
        ("trials = 24", "trials = 2"),
        ('source = "rows.csv"', 'source = "rows.npy"'),
        ('kind = "dense"\nhidden = [16]', 'kind = "fragile.py:build"'),
        ("encoder_dropout = { low = 0.0, high = 0.4 }\n", ""),
        ("seeds = 8\ntop = 2", "seeds = 0"),
    )
    asked = ("run", "tiny.toml", "--out", "run", "--slots", 1, "--no-progress")
    assert klsearch("check", "tiny.toml").code == 0
    fragile: Any = sys.modules["fragile"]
    monkeypatch.setattr("klsearch.search.training.trainer.Trainer._finish", _break_at_first(fragile))
    stopped = klsearch(*asked)
    assert stopped.code == 1
    assert "klsearch: model.kind: fragile.py:build: training it raised RuntimeError: a value that I do not like" in (
        stopped.err
    )
    assert "an error in klsearch" not in stopped.err
    monkeypatch.undo()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(work)
    fragile.LIMIT = False
    assert klsearch(*asked).code == 0
    assert [trial["state"] for trial in klsearch("trials", "run", "--json").document["trials"]] == ["complete"] * 2


def _break_at_first(fragile: Any) -> Callable[..., None]:
    """What lets the layer break once an epoch is over."""
    finish = Trainer._finish

    def broken(self: Trainer, source: Any) -> None:
        fragile.LIMIT = bool(self._jobs)
        finish(self, source)

    return broken
