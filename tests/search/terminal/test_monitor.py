"""KLMonitor in `fit`, on models in the style of the Keras example."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from klsearch.search.terminal.monitor import KLMonitor
from klsearch.studies.errors import UsageError
from klsearch.vae.diagnostics.diagnosis import diagnose
from klsearch.vae.diagnostics.histories import read_history
from tests.vae.diagnostics.audit.styles import ROWS, KerasExample, dense_decoder, dense_encoder


def fit(*callbacks: keras.callbacks.Callback, epochs: int = 3, rate: float = 1e-3, **changes: Any) -> Any:
    keras.utils.set_random_seed(0)
    vae = KerasExample(dense_encoder(), dense_decoder(), **{"kl_weight": 0.1, **changes})
    vae.compile(optimizer=keras.optimizers.Adam(rate))
    history = vae.fit(ROWS, epochs=epochs, batch_size=16, callbacks=list(callbacks), verbose=0)
    return vae, history.history


@pytest.mark.slow("trains twice")
def test_training_goes_as_it_does_without_it() -> None:
    (plain, _), (watched, history) = fit(), fit(KLMonitor(ROWS, verbose=False))
    for ours, theirs in zip(watched.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(history["val_kl_per_latent"]) == 3, "Keras logs it beside what the model does"


def test_what_it_saw_last_is_what_the_model_is_now() -> None:
    monitor = KLMonitor(ROWS, verbose=False)
    vae, history = fit(monitor)
    mean, log_var, _ = (output.numpy() for output in vae.encoder(ROWS))
    kl = float(np.mean(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)))
    seen = monitor.watched
    assert seen.measures is not None
    assert seen.measures.kl == pytest.approx(kl, rel=1e-5)
    assert seen.curves.validation_kl[-1] == pytest.approx(kl, rel=1e-5)
    assert list(seen.curves.kl_weight) == pytest.approx([0.1] * 3)
    assert list(seen.curves.total) == pytest.approx(history["loss"])


@pytest.mark.slow("trains twice")
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_its_log_is_a_history_that_diagnose_reads_and_a_second_training_goes_on_in_it(
    suffix: str, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / f"training.{suffix}"
    for epochs in (2, 12):
        fit(KLMonitor(ROWS, log=log, verbose=False), epochs=epochs)
    lines = log.read_text().splitlines()
    assert len(lines) == 14 + (suffix == "csv")
    history = read_history(log)
    assert history.kl.size == 12, "of the last training"
    assert history.columns["kl"] == "val_kl_per_latent"
    assert diagnose(history).numbers["kl_per_latent"] == pytest.approx(history.kl[-5:].mean())
    if suffix == "jsonl":
        assert np.mean(json.loads(lines[-1])["kl_by_latent"]) == pytest.approx(history.kl[-1])
    else:
        latents = pd.read_csv(log)[["latent_1_kl", "latent_2_kl", "latent_3_kl"]]
        assert latents.iloc[-1].mean() == pytest.approx(history.kl[-1])


def test_a_log_of_other_columns_is_left_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "theirs.csv"
    log.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"theirs\.csv has other columns; name another file"):
        fit(KLMonitor(ROWS, log=log, verbose=False))
    assert log.read_text() == "a,b\n1,2\n"


@pytest.mark.slow("trains until it has collapsed")
def test_a_collapse_is_said_once_with_its_numbers_and_ends_the_training_where_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    monitor = KLMonitor(ROWS, stop_on="collapsed", report=report)
    _, history = fit(monitor, epochs=200, rate=0.02, kl_weight=50.0)
    said = capsys.readouterr().out
    assert monitor.watched.diagnose().verdict == "collapsed"
    assert 10 <= len(history["loss"]) < 200
    assert said.count("KLMonitor, epoch") == 1
    assert f"epoch {len(history['loss'])}: collapsed. KL is near zero" in said
    assert "training ends here, as asked (collapsed)" in said
    assert f"Report: {report}" in said
    assert "<h1>Collapsed</h1>" in report.read_text()


def test_a_training_that_diverges_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = KLMonitor(ROWS, stop_on=["diverged"])
    fit(monitor, epochs=9, kl_weight=float("nan"))
    assert monitor.watched.curves.epochs == 1
    assert "epoch 1: diverged." in capsys.readouterr().out
    assert monitor.watched.measures is None


@pytest.mark.parametrize(
    ("given", "weight"),
    [(0.25, 0.25), (keras.Variable(0.5), 0.5), (lambda: 0.75, 0.75), ("kl_weight", 0.1), (None, 0.1)],
)
def test_the_kl_weight_is_a_number_a_variable_a_function_or_found_on_the_model(given: Any, weight: float) -> None:
    monitor = KLMonitor(ROWS, kl_weight=given, verbose=False)
    fit(monitor, epochs=1)
    assert float(monitor.watched.curves.kl_weight[0]) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"stop_on": "slow"}, "stop_on takes runaway, collapsed, diverged, clip_bound, but not 'slow'"),
     ({"model": keras.Sequential()}, "KLMonitor: the model must be or give"),
     ({"kl_weight": "gamma"}, "KLMonitor: the model has no attribute 'gamma'")],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_trained(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit(KLMonitor(ROWS, **changes))
