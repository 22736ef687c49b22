"""KLMonitor in `fit`, on models in the style of the Keras example."""

import json
import math
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
from tests.vae.diagnostics.audit.styles import ROWS, KerasExample, Sampling, dense_decoder, dense_encoder
from tests.vae.evaluation.test_watch import MODELS


def monitor_of(rows: np.ndarray = ROWS, **given: Any) -> KLMonitor:
    """One that looks at every epoch, however short."""
    return KLMonitor(rows, **({"most_cost": math.inf, "verbose": False} | given))


def compiled(vae: KerasExample, rate: float = 1e-3) -> KerasExample:
    vae.compile(optimizer=keras.optimizers.Adam(rate))
    return vae


def fit(*callbacks: keras.callbacks.Callback, epochs: int = 3, rate: float = 1e-3, **changes: Any) -> Any:
    keras.utils.set_random_seed(0)
    vae = compiled(KerasExample(dense_encoder(), dense_decoder(), **{"kl_weight": 0.1, **changes}), rate)
    history = vae.fit(ROWS, epochs=epochs, batch_size=16, callbacks=list(callbacks), verbose=0)
    return vae, history.history


@pytest.mark.slow("trains twice")
@pytest.mark.parametrize("style", MODELS)
def test_training_goes_as_it_does_without_it(style: str) -> None:
    trained = []
    for callbacks in ([], [monitor_of()]):
        keras.utils.set_random_seed(0)
        vae = compiled(MODELS[style]())
        trained.append((vae, vae.fit(ROWS, epochs=3, batch_size=16, callbacks=callbacks, verbose=0).history))
    (plain, _), (watched, history) = trained
    for ours, theirs in zip(watched.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(history["val_kl_per_latent"]) == 3, "Keras logs it beside what the model does"


def test_what_it_saw_last_is_what_the_model_is_now() -> None:
    monitor = monitor_of()
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
        fit(monitor_of(log=log), epochs=epochs)
    lines = log.read_text().splitlines()
    assert len(lines) == 14 + (suffix == "csv")
    history = read_history(log)
    assert history.kl.size == 12, "of the last training"
    assert history.columns["kl"] == "val_kl_per_latent"
    assert diagnose(history).numbers["kl_per_latent"] == pytest.approx(history.kl[-5:].mean())
    if suffix == "jsonl":
        assert np.mean(json.loads(lines[-1])["latent_kl"]) == pytest.approx(history.kl[-1])
    else:
        latents = pd.read_csv(log)[["latent_kl_1", "latent_kl_2", "latent_kl_3"]]
        assert latents.iloc[-1].mean() == pytest.approx(history.kl[-1])


def test_a_log_of_other_columns_is_left_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "theirs.csv"
    log.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"theirs\.csv has other columns; name another file"):
        fit(monitor_of(log=log))
    assert log.read_text() == "a,b\n1,2\n"


@pytest.mark.slow("trains until it has collapsed")
def test_a_collapse_is_said_once_with_its_numbers_and_ends_the_training_where_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    monitor = monitor_of(stop_on="collapsed", report=report, verbose=True)
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
    monitor = monitor_of(stop_on=["diverged"], verbose=True)
    fit(monitor, epochs=9, kl_weight=float("nan"))
    assert monitor.watched.curves.epochs == 1
    assert "epoch 1: diverged." in capsys.readouterr().out
    assert monitor.watched.measures is None


@pytest.mark.parametrize(
    ("given", "weight"),
    [(0.25, 0.25), (keras.Variable(0.5), 0.5), (lambda: 0.75, 0.75), ("kl_weight", 0.1), (None, 0.1)],
)
def test_the_kl_weight_is_a_number_a_variable_a_function_or_found_on_the_model(given: Any, weight: float) -> None:
    monitor = monitor_of(kl_weight=given)
    fit(monitor, epochs=1)
    assert float(monitor.watched.curves.kl_weight[0]) == pytest.approx(weight)


class WithBeta(KerasExample):
    beta = 0.3


def test_a_kl_weight_of_another_known_name_is_found_too() -> None:
    monitor = monitor_of()
    compiled(WithBeta(dense_encoder(), dense_decoder())).fit(ROWS, callbacks=[monitor], verbose=0)
    assert float(monitor.watched.curves.kl_weight[0]) == pytest.approx(0.3)


@pytest.mark.slow("trains four times")
def test_further_fits_of_the_same_model_go_on_and_those_of_another_begin_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    monitor = monitor_of(log=log)
    vae = compiled(KerasExample(dense_encoder(), dense_decoder(), kl_weight=0.1))
    for _ in range(3):
        vae.fit(ROWS, callbacks=[monitor], verbose=0)
    assert monitor.watched.curves.epochs == 3
    assert list(pd.read_csv(log)["epoch"]) == [1, 2, 3]
    compiled(KerasExample(dense_encoder(), dense_decoder(), kl_weight=0.1)).fit(ROWS, callbacks=[monitor], verbose=0)
    assert monitor.watched.curves.epochs == 1


@pytest.mark.slow("trains with validation")
def test_epochs_that_log_more_than_the_first_leave_the_columns_of_the_log_as_they_are(tmp_path: Path) -> None:
    vae = compiled(KerasExample(dense_encoder(), dense_decoder(), kl_weight=0.1))
    logs = [tmp_path / name for name in ("log.csv", "log.jsonl")]
    monitors = [monitor_of(log=log) for log in logs]
    vae.fit(ROWS, epochs=4, validation_data=(ROWS,), validation_freq=2, callbacks=monitors, verbose=0)
    for log, monitor in zip(logs, monitors, strict=True):
        assert read_history(log).kl == pytest.approx(monitor.watched.curves.validation_kl, rel=1e-5)
    assert "val_loss" in logs[1].read_text()


class Interrupting(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_after_an_interrupt_what_was_seen_can_still_be_written(tmp_path: Path) -> None:
    monitor = monitor_of(log=tmp_path / "log.csv")
    assert monitor.watched.curves.epochs == 0
    with pytest.raises(UsageError, match="no epoch has ended yet"):
        monitor.write_report(tmp_path / "page.html")
    with pytest.raises(KeyboardInterrupt):
        fit(monitor, Interrupting(), epochs=9)
    assert "<h1>Unknown</h1>" in monitor.write_report(tmp_path / "page.html").read_text()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_unknown_numbers_are_null_in_json_lines(tmp_path: Path) -> None:
    vae = compiled(KerasExample(dense_encoder(), dense_decoder()))
    vae.fit(ROWS, callbacks=[monitor_of(log=tmp_path / "log.jsonl")], verbose=0)
    assert json.loads((tmp_path / "log.jsonl").read_text())["kl_weight"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_on": "slow"}, "stop_on takes runaway, collapsed, diverged, clip_bound, but not 'slow'"),
        ({"most_cost": 0}, "most_cost must be above 0, but is 0"),
        ({"kl_band": (5, 0)}, r"kl_band must be \(lowest, highest\), but is \(5, 0\)"),
        ({"rows": [[1.0]]}, "rows must be a NumPy array of .*, but is a list. A model that takes a condition beside"),
        ({"model": keras.Sequential()}, "KLMonitor: the model must be or give"),
        ({"model": dense_encoder}, "KLMonitor: the model must be or give"),
        ({"kl_weight": "gamma"}, "KLMonitor: the model has no attribute 'gamma'"),
        ({"kl_weight": lambda epoch: 0.1}, "KLMonitor: kl_weight must be callable without arguments"),
        ({"kl_weight": [0.1, 0.2]}, "KLMonitor: kl_weight must give a number"),
        ({"latent_heads": ["a", "b"]}, "latent_heads"),
        ({"log": Path()}, r"KLMonitor: cannot write \.: Is a directory"),
        ({"report": Path()}, r"KLMonitor: cannot write \.: it is a folder; name a file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(changes: dict[str, Any], message: str) -> None:
    trained: list[int] = []
    counting = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: trained.append(epoch))
    with pytest.raises(UsageError, match=message):
        fit(KLMonitor(**({"rows": ROWS} | changes)), counting)
    assert trained == []


@pytest.mark.slow("trains for some seconds")
def test_watching_takes_no_more_of_the_training_than_it_may() -> None:
    monitor = KLMonitor(ROWS, verbose=False)
    fit(monitor, epochs=120)
    assert monitor.watched.cost < 0.03, "beyond 0.02 by no more than the last look, which is never passed over"


def test_where_looks_cost_too_much_the_first_three_and_the_last_are_left(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    monitor = KLMonitor(ROWS, log=log, most_cost=1e-9, verbose=False)
    vae, history = fit(monitor, epochs=6)
    first, second, third, last = read_history(log).kl.tolist()
    kl = monitor.watched.curves.validation_kl
    assert kl[:3].tolist() == pytest.approx([first, second, third])
    assert kl[2:].tolist() == pytest.approx(np.linspace(third, last, 4).tolist(), rel=1e-5)
    mean, log_var, _ = (output.numpy() for output in vae.encoder(ROWS[: monitor.watched.rows]))
    assert last == pytest.approx(float(np.mean(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var))), rel=1e-5)
    assert history["val_kl_per_latent"] == pytest.approx([first, second, *[third] * 3, last])
    assert len(log.read_text().splitlines()) == 7, "each epoch has its line"


def test_the_last_epoch_is_seen_where_another_callback_ends_the_training() -> None:
    monitor = KLMonitor(ROWS, most_cost=1e-9, verbose=False)

    class Ending(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 6

    vae, history = fit(monitor, Ending(), epochs=20)
    assert len(history["loss"]) == 7
    mean, log_var, _ = (output.numpy() for output in vae.encoder(ROWS[: monitor.watched.rows]))
    kl = float(np.mean(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)))
    assert float(monitor.watched.curves.validation_kl[-1]) == pytest.approx(kl, rel=1e-5)


def test_a_kl_beyond_single_precision_is_infinite_and_no_number_of_ninety_digits(tmp_path: Path) -> None:
    monitor = monitor_of(1e4 * ROWS, log=tmp_path / "log.csv")
    _, history = fit(monitor)
    assert history["val_kl_per_latent"] == [math.inf] * 3
    assert monitor.watched.diagnose().verdict == diagnose(read_history(tmp_path / "log.csv")).verdict == "diverged"


class Annealing(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.kl_weight = min(1.0, epoch / 6)


def test_a_weight_that_is_read_but_once_is_told_by_the_monitor_its_page_and_its_log(tmp_path: Path) -> None:
    log, page = tmp_path / "log.csv", tmp_path / "page.html"
    monitor = monitor_of(log=log, report=page)
    fit(Annealing(), monitor, epochs=12, rate=0.01, kl_weight=0.0)
    assert monitor.watched.curves.kl_weight.tolist()[::6] == [0, 1]
    watched, logged = monitor.watched.diagnose(), diagnose(read_history(log))
    assert watched.refutation == logged.refutation != ""
    assert watched.numbers["kl_weight"] == logged.numbers["kl_weight"] == 0
    assert watched.numbers["kl_slope_over_window"] == pytest.approx(logged.numbers["kl_slope_over_window"], rel=1e-3)
    assert "by your loss: the 1 that was logged has no effect" in page.read_text()


def test_between_looks_the_curves_are_lines() -> None:
    monitor = monitor_of()
    monitor._values = [[0.0] * 4 + [kl] * 5 + [0.0] for kl in (1.0, math.nan, math.nan, 4.0, math.nan)]
    monitor._looked = [0, 3]
    assert monitor.watched.curves.validation_kl.tolist() == [1, 2, 3, 4, 4]


class Scaled(keras.layers.Layer):
    """Gives what it takes, times weights that are no kernel."""

    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain


def test_heads_of_layers_without_a_kernel_are_watched_too() -> None:
    rows = keras.Input((36,))
    parts = [keras.layers.Add()([keras.layers.Dense(3)(rows), keras.layers.Dense(3)(rows)]) for _ in range(2)]
    heads = [Scaled(name=name)(part) for name, part in zip(("z_mean", "z_log_var"), parts, strict=True)]
    vae = compiled(KerasExample(keras.Model(rows, [*heads, Sampling()(heads)]), dense_decoder()))
    monitor = monitor_of()
    vae.fit(ROWS, epochs=1, callbacks=[monitor], verbose=0)
    mean, log_var, _ = (output.numpy() for output in vae.encoder(ROWS))
    kl = float(np.mean(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)))
    assert float(monitor.watched.curves.validation_kl[0]) == pytest.approx(kl, rel=1e-5)
