"""Telling how a training of one's own goes: a Keras callback for `fit`."""

import csv
import io
import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

from klsearch.reports.report import write_watched
from klsearch.search.terminal.printing import show
from klsearch.studies.errors import UsageError
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.diagnostics.histories import recognise
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.diagnostics.watched import FAULTS, Watched
from klsearch.vae.evaluation.watch import Watch

_MOST_COST = 0.03  # of an epoch
_WEIGHTS = ("kl_weight", "beta", "kl_beta", "kld_weight", "kl_coefficient", "kl_coeff")  # of a model, by attribute
_FREE = (-math.inf, math.inf)


class KLMonitor(keras.callbacks.Callback):
    """Watches the KL of a VAE while `fit` trains it, on rows that it is not trained on.

    After each epoch the log line says KL per latent and active latents; whenever the verdict on the KL changes to a
    fault (runaway, collapsed, diverged, at a clip bound), a line says so with its numbers. The model, its weights and
    its random numbers stay as they are.

    Args:
        rows: what the encoder takes, float [N, *shape], N at least 32; the first 256 are watched, or fewer where 256
            would take more than 3 % of an epoch.
        log: a file that gets a line an epoch: JSON lines if it ends in .jsonl, else CSV. What it has stays.
        report: an HTML page that is written when training ends, and stands alone.
        stop_on: verdicts that end the training: of "runaway", "collapsed", "diverged", "clip_bound".
        kl_weight: what the KL is weighted with now: a number, a variable, a function, or the name of an attribute of
            the model. Left out, it is what `fit` logs by a known name, else a known attribute (`kl_weight`, `beta`…).
        kl_band: lowest and highest acceptable KL, nats per latent.
        clip: the bounds between which you clip z_log_var, if you do.
        latent_heads: the encoder's outputs that are z_mean and z_log_var, or their layers, where names do not tell.
        logits: whether the decoder gives logits, on which a sigmoid is still to be put.
        model: what has the encoder and the decoder, where `fit` trains something else.
        verbose: whether to print anything.

    Attributes:
        watched: what was seen so far: curves, measures, gates, and what the verdict is (`watched.diagnose()`).

    Raises:
        UsageError: at the beginning of `fit`: no encoder and decoder were found, or they do not fit the rows.
    """

    def __init__(
        self,
        rows: np.ndarray,
        *,
        log: str | Path | None = None,
        report: str | Path | None = None,
        stop_on: Collection[str] = (),
        kl_weight: Any = None,
        kl_band: tuple[float, float] = GateThresholds().kl_band,
        clip: tuple[float, float] = _FREE,
        latent_heads: Sequence[str] = (),
        logits: bool = False,
        model: Any = None,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        stop_on = (stop_on,) if isinstance(stop_on, str) else tuple(stop_on)
        if unknown := sorted(set(stop_on) - set(FAULTS)):
            raise UsageError(f"stop_on takes {', '.join(FAULTS)}, but not {', '.join(map(repr, unknown))}.")
        self._rows, self._own, self._verbose = rows, model, verbose
        self._stop_on, self._kl_weight = stop_on, kl_weight
        self._thresholds = GateThresholds(kl_band=kl_band)
        self._heads: dict[str, Any] = dict(latent_heads=latent_heads, logits=logits, clip=clip)
        self._log = None if log is None else _Log(Path(log))
        self._report = None if report is None else Path(report)
        self._begin()

    def _begin(self) -> None:
        self._values: list[list[float]] = []  # a row an epoch, as `CURVE_NAMES`
        self._logged: dict[str, list[float]] = {}
        self._measures: Measures | None = None
        self._told = ""
        self._seconds = self._watching = 0.0

    @property
    def watched(self) -> Watched:
        """What was seen so far."""
        return Watched(
            curves=TrainingCurves.from_rows(np.array(self._values, np.float32)),
            measures=self._measures,
            logged={name: tuple(values) for name, values in self._logged.items()},
            thresholds=self._thresholds,
            rows=self._watch.count,
            seconds=self._seconds,
            watching=self._watching,
        )

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Find encoder and decoder."""
        self._begin()
        if isinstance(self._kl_weight, str) and not hasattr(self.model, self._kl_weight):
            raise UsageError(f"KLMonitor: the model has no attribute {self._kl_weight!r} for its KL weight.")
        try:
            self._watch = Watch(self._own or self.model, self._rows, count=256, **self._heads)
        except ValueError as error:
            raise UsageError(f"KLMonitor: {error}") from error

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note when."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the model, and say what is wrong."""
        logs = {} if logs is None else logs
        trained = time.perf_counter() - self._began
        began = time.perf_counter()
        found = self._watch.take()
        if len(self._values) == 1:  # the first look compiled
            self._watch.spare(_MOST_COST * trained)
        weight = self._read_kl_weight(logs)
        self._note(found, logs, weight)
        logs["val_kl_per_latent"], logs["active_latents"] = found.kl, found.active_units
        if self._log is not None:
            self._log.write(_line(epoch + 1, logs, found, weight))
        self._judge(epoch + 1)
        spent = time.perf_counter() - began
        self._seconds += trained + spent
        self._watching += spent if len(self._values) > 2 else 0.0

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write the page, and say how it ended."""
        if self._log is not None:
            self._log.close()
        if not self._values:
            return
        watched = self.watched
        told = watched.diagnose()
        lines = [f"KLMonitor: {_words(told.verdict)}. {told.reasons[0]}", f"Next: {told.next}"]
        if self._report is not None:
            write_watched(watched, self._report, name=self.model.name)
            lines.append(f"Report: {self._report}")
        self._say("\n".join(lines))

    def _read_kl_weight(self, logs: Mapping[str, Any]) -> float:
        given = self._kl_weight
        if given is None:
            logged = recognise(tuple(logs)).get("kl_weight")
            model = self._own or self.model
            given = logs[logged] if logged else next((getattr(model, name, None) for name in _WEIGHTS), None)
        elif isinstance(given, str):
            given = getattr(self.model, given)
        elif callable(given) and not hasattr(given, "shape"):
            given = given()
        try:
            return math.nan if given is None else float(given)
        except (TypeError, ValueError):
            return math.nan

    def _note(self, found: Measures, logs: Mapping[str, Any], weight: float) -> None:
        loss = float(logs.get("loss", math.nan))
        broken = not math.isfinite(found.kl) or ("loss" in logs and not math.isfinite(loss))
        error = recognise(tuple(logs)).get("reconstruction")
        self._values.append(
            [
                math.nan,  # KL in training, which models log in units of their own
                float(logs[error]) if error else math.nan,
                weight,
                loss,
                found.kl,
                found.reconstruction,
                found.unexplained,
                found.clip_share_low,
                found.clip_share_high,
                float(broken),
            ]
        )
        self._measures = None if broken else found
        for name in {*logs, *self._logged}:
            value = logs.get(name, math.nan)
            past = self._logged.setdefault(name, [math.nan] * (len(self._values) - 1))
            past.append(float(value) if np.ndim(value) == 0 else math.nan)

    def _judge(self, epoch: int) -> None:
        told = self.watched.diagnose()
        if told.verdict in FAULTS and told.verdict != self._told:
            self._say(f"\nKLMonitor, epoch {epoch}: {_words(told.verdict)}. {' '.join(told.reasons)} {told.next}")
        self._told = told.verdict
        if told.verdict in self._stop_on:
            self._say(f"KLMonitor: training ends here, as asked ({told.verdict}).")
            self.model.stop_training = True

    def _say(self, text: str) -> None:
        if self._verbose:
            show(text)


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


def _line(epoch: int, logs: Mapping[str, Any], found: Measures, weight: float) -> dict[str, Any]:
    """An epoch of the log: what `fit` logs, then what was seen."""
    numbers = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
    return {
        "epoch": epoch,
        **numbers,
        "kl_weight": weight,
        "val_unexplained": found.unexplained,
        "clip_share_low": found.clip_share_low,
        "clip_share_high": found.clip_share_high,
        "kl_by_latent": found.kl_per_latent.tolist(),
    }


class _Log:
    """A file with a line an epoch, which goes on where it ended.

    Args:
        path: of the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            UsageError: the file is another table, or cannot be written.
        """
        try:
            if self._path.suffix == ".jsonl":
                self._append(json.dumps(line))
                return
            cells = {name: value for name, value in line.items() if name != "kl_by_latent"}
            cells |= {f"latent_{place}_kl": value for place, value in enumerate(line["kl_by_latent"], 1)}
            self._check_columns(_row(cells))
            self._append(_row(cells.values()))
        except OSError as error:
            raise UsageError(f"KLMonitor: cannot write {self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _check_columns(self, header: str) -> None:
        """Begin an empty file with its header; else see that it has the same."""
        if self._file is not None:
            return
        if not self._path.exists() or not self._path.stat().st_size:
            self._append(header)
            return
        with self._path.open(encoding="utf-8") as file:
            if file.readline().rstrip("\r\n") != header:
                raise UsageError(f"KLMonitor: {self._path} has other columns; name another file for the log.")

    def _append(self, text: str) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(f"{text}\n")
        self._file.flush()


def _row(cells: Collection[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
