"""What users are told of their own model and training."""

import html
import json
import subprocess
import sys
from pathlib import Path

import pytest

from klsearch.search.cli import main

RECORDED = Path(__file__).parents[2] / "vae" / "diagnostics" / "histories"


def test_a_history_is_diagnosed_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    history = str(RECORDED / "healthy_sum_8.csv")
    assert main(["diagnose", history, "--latent-dim", "8"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Healthy\n  KL is settled")
    assert "\nNext: " in text
    assert main(["diagnose", history, "--latent-dim", "8", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "healthy"
    assert document["numbers"]["kl_per_latent"] == pytest.approx(0.64, abs=0.01)
    assert {"schema_version", "reasons", "next"} <= document.keys()
    assert document["definition"].endswith("encoder_dropout = 0.0   # put in yours: it cannot be told from here\n")
    assert all(f"  {line}" in text.splitlines() for line in document["definition"].splitlines())


def test_a_diverged_history_is_still_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(RECORDED / "diverged_sum_8.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "diverged"


@pytest.mark.parametrize("arguments", [["missing.csv"], ["losses.csv"], ["losses.csv", "--kl-reduction", "sum"]])
def test_what_cannot_be_diagnosed_exits_with_2_and_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("losses.csv").write_text("epoch,loss\n0,1\n", encoding="utf-8")
    assert main(["diagnose", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["diagnose", *arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_diagnose_loads_no_tensorflow() -> None:
    code = (
        "import sys; from klsearch.search.cli import main; assert main(sys.argv[1:]) == 0; "
        "assert {'keras', 'tensorflow', 'optuna'}.isdisjoint(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "diagnose", str(RECORDED / "short_sum_8.csv")], check=True)


def test_an_audit_replaces_no_page_but_one_of_klsearch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.html"
    theirs.write_text("mine", encoding="utf-8")
    assert main(["audit", "my_vae:make", "--data", "digits", "-o", str(theirs)]) == 2
    assert "is not a page that klsearch wrote" in capsys.readouterr().err
    assert theirs.read_text(encoding="utf-8") == "mine"


def test_an_audit_refuses_what_is_no_function_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "my_vae.py", "--data", "digits"]) == 2
    assert "package.module:function" in capsys.readouterr().err


MY_VAE = """
import keras
from keras import layers, ops
import tensorflow as tf


class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        rows, z = keras.Input((8, 8)), keras.Input((4,))
        h = layers.Dense(32, activation="relu")(layers.Flatten()(rows))
        self.encoder = keras.Model(rows, [layers.Dense(4, name=name)(h) for name in ("z_mean", "z_log_var")])
        self.decoder = keras.Model(z, layers.Reshape((8, 8))(layers.Dense(64, activation="sigmoid")(z)))
        self.beta = 0.2

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var = self.encoder(data)
            decoded = self.decoder(mean)
            kl = ops.mean(0.5 * (ops.exp(log_var) + mean**2 - 1 - log_var))
            loss = ops.mean(ops.sum((data - decoded) ** 2, axis=(1, 2))) + self.beta * kl
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return {"loss": loss}


def make():
    model = VAE()
    model.compile(optimizer="adam")
    return model
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_model_of_one_s_own_is_audited(tmp_path: Path) -> None:
    (tmp_path / "my_vae.py").write_text(MY_VAE, encoding="utf-8")
    code = "import sys; from klsearch.search.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "audit", "my_vae:make", "--data", "digits", "--json", "-o", "audit.html"]
    called = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    document = json.loads(called.stdout)
    assert {each["code"] for each in document["findings"]} == {"noise_unused", "kl_weight_frozen"}
    assert document["facts"]["kl_reduction"] == "mean"
    assert document["facts"]["beta_effective"] == pytest.approx(0.2 / 4, rel=1e-3)
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "<h1>2 findings</h1>" in page
    assert "noise unused" in page
    assert document["definition"] in html.unescape(page)
    (tmp_path / "mine.toml").write_text(document["definition"], encoding="utf-8")
    checked = subprocess.run(
        [*command[:3], "check", "mine.toml"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "your β = 0.05" in checked.stdout, "its settings are searched as the study's, and its own stand beside them"


CALLBACK = """

class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = self.top * epoch


def made():
    return make(), Anneal()
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_one_callback_needs_no_list_and_its_error_is_told_as_its_own(tmp_path: Path) -> None:
    (tmp_path / "my_vae.py").write_text(MY_VAE + CALLBACK, encoding="utf-8")
    code = "import sys; from klsearch.search.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "audit", "my_vae:made", "--data", "digits"]
    called = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    line = (MY_VAE + CALLBACK)[: (MY_VAE + CALLBACK).index("self.top")].count("\n") + 1
    assert called.returncode == 2
    assert "the callback Anneal failed in on_epoch_begin(0): AttributeError: " in called.stderr
    assert f"my_vae.py:{line})" in called.stderr


@pytest.mark.slow("loads Keras")
def test_encoder_and_decoder_are_found_among_a_model_s_layers_as_check_finds_them() -> None:
    import keras

    from klsearch.search.commands.audit import networks_of

    x = keras.Input((4,))
    encoder = keras.Sequential([keras.layers.Dense(2)], name="encoder")
    decoder = keras.Sequential([keras.layers.Dense(4)], name="decoder")
    assert networks_of(keras.Model(x, decoder(encoder(x)))) == (encoder, decoder)
    assert networks_of(keras.Model(x, encoder(x))) is None
