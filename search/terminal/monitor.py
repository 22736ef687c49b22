"""Telling how a training of one's own goes: a Keras callback for `fit`."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from klsearch.reports.report import write_watched
from klsearch.search.terminal.epoch_log import EpochLog
from klsearch.search.terminal.printing import show
from klsearch.studies.errors import UsageError
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.diagnostics.histories import recognise
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.diagnostics.watched import FAULTS, Watched
from klsearch.vae.evaluation.watch import Watch

_MOST_ROWS = 256
_MOST_COST = 0.03  # of an epoch
_WEIGHTS = ("kl_weight", "beta", "kl_beta", "kld_weight", "kl_coefficient", "kl_coeff")  # of a model, by attribute
_FREE = (-math.inf, math.inf)


class KLMonitor(keras.callbacks.Callback):
    """Watches the KL of a VAE while `fit` trains it, on rows that it is not trained on.

    After each epoch the log line says KL per latent and active latents; whenever the verdict on the KL changes to a
    fault (runaway, collapsed, diverged, at a clip bound), a line says so with its numbers. The model, its weights and
    its random numbers stay as they are. Further `fit`s of the same model are judged together with the first.

    Callbacks that come after it in the list may go by what it logs, such as
    `EarlyStopping("val_kl_per_latent", mode="min")`.

    Args:
        rows: what the encoder takes, float [N, *shape], N at least 32. The first 256 are watched, or fewer where that
            saves time and a look takes more than 3 % of an epoch; `watched.cost` is what watching took.
        log: a file that gets a line an epoch: JSON lines if it ends in .jsonl, else CSV. What it has stays.
        report: an HTML page that is written when training ends, and stands alone; see `write_report`.
        stop_on: verdicts that end the training: of "runaway", "collapsed", "diverged", "clip_bound".
        kl_weight: what the KL is weighted with now: a number, a variable, a function without arguments, or the name of
            an attribute of the model. Left out, it is what `fit` logs by a known name, else a known attribute
            (`kl_weight`, `beta`…).
        kl_band: lowest and highest acceptable KL, nats per latent.
        clip: the bounds between which you clip z_log_var, if you do.
        latent_heads: the encoder's outputs that are z_mean and z_log_var, or their layers, where names do not tell.
        logits: whether the decoder gives logits, on which a sigmoid is still to be put.
        model: what has the encoder and the decoder, where `fit` trains something else.
        verbose: whether to print anything.

    Raises:
        UsageError: here, or at the beginning of `fit`: the arguments make no sense, no encoder and decoder were found,
            they do not fit the rows, or a file cannot be written.
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
        for name, (low, high) in (("kl_band", kl_band), ("clip", clip)):
            if not low < high:
                raise UsageError(f"{name} must be (lowest, highest), but is ({low}, {high}).")
        if not isinstance(rows, np.ndarray):
            raise UsageError(f"rows must be a NumPy array of what the encoder takes, but is a {type(rows).__name__}.")
        self._rows, self._own, self._verbose = rows, model, verbose
        self._stop_on, self._kl_weight = stop_on, kl_weight
        self._thresholds = GateThresholds(kl_band=kl_band)
        self._heads: dict[str, Any] = dict(latent_heads=latent_heads, logits=logits, clip=clip)
        self._log = None if log is None else EpochLog(Path(log))
        self._report = None if report is None else Path(report)
        self._watch: Watch | None = None
        self._followed: Any = None  # the model that is watched
        self._values: list[list[float]] = []  # a row an epoch, as `CURVE_NAMES`
        self._logged: dict[str, list[float]] = {}
        self._measures: Measures | None = None
        self._epoch, self._told = 0, ""
        self._seconds = self._watching = 0.0

    @property
    def watched(self) -> Watched:
        """What was seen so far: curves, measures, gates, and the verdict (`watched.diagnose()`)."""
        return Watched(
            curves=TrainingCurves.from_rows(np.array(self._values, np.float32)),
            measures=self._measures,
            logged={name: tuple(values) for name, values in self._logged.items()},
            thresholds=self._thresholds,
            notes=() if self._watch is None else self._watch.notes,
            rows=0 if self._watch is None else self._watch.count,
            seconds=self._seconds,
            watching=self._watching,
        )

    def write_report(self, path: str | Path) -> Path:
        """Write the page of what was seen so far, as after an interrupted training. Gives the path.

        Raises:
            UsageError: no epoch has ended yet, or the page cannot be written.
        """
        if not self._values:
            raise UsageError("KLMonitor: no epoch has ended yet, so there is nothing to report.")
        try:
            return write_watched(self.watched, Path(path), name=self._followed.name)
        except OSError as error:
            raise UsageError(f"KLMonitor: cannot write {path}: {error.strerror or error}.") from error

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Find encoder and decoder, and see that everything can be written."""
        if self._log is not None:
            self._log.check()
        if self._report is not None and self._report.is_dir():
            raise UsageError(f"KLMonitor: cannot write {self._report}: it is a folder; name a file.")
        self._read_kl_weight({})
        if self._followed is self.model:
            return
        self._followed = self.model
        self._values, self._logged, self._measures, self._epoch, self._told = [], {}, None, 0, ""
        self._seconds = self._watching = 0.0
        try:
            self._watch = Watch(self._own or self.model, self._rows, count=_MOST_ROWS, **self._heads)
        except ValueError as error:
            raise UsageError(f"KLMonitor: {str(error).replace('model.latent_heads', 'latent_heads')}") from error
        for note in self._watch.notes:
            self._say(f"KLMonitor: {note}")

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note when."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the model, and say what is wrong."""
        assert self._watch is not None
        logs = {} if logs is None else logs
        trained, began = time.perf_counter() - self._began, time.perf_counter()
        found = self._watch.take()
        if len(self._values) == 1:  # the first look compiled
            self._watch.spare(_MOST_COST * trained)
        self._epoch = max(epoch, self._epoch) + 1  # a further `fit` begins at 0 again
        weight = self._read_kl_weight(logs)
        self._note(found, logs, weight)
        logs["val_kl_per_latent"], logs["active_latents"] = found.kl, found.active_units
        if self._log is not None:
            self._log.write({"epoch": self._epoch, **_numbers(logs), **_seen(found, weight)})
        self._judge()
        spent = time.perf_counter() - began
        self._seconds += trained + spent
        self._watching += spent if len(self._values) > 2 else 0.0

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write the page, and say how it ended."""
        if not self._values:
            return
        told = self.watched.diagnose()
        lines = [f"KLMonitor: {_words(told.verdict)}. {told.reasons[0]}", f"Next: {told.next}"]
        if self._report is not None:
            try:
                lines.append(f"Report: {self.write_report(self._report)}")
            except UsageError as error:  # the training is done, and must not be lost for it
                lines.append(str(error))
        self._say("\n".join(lines))

    def _read_kl_weight(self, logs: Mapping[str, Any]) -> float:
        """The KL weight now; NaN where nobody says it.

        Raises:
            UsageError: what was given for it gives no number.
        """
        given, models = self._kl_weight, [one for one in (self._own, self.model) if one is not None]
        if given is None:
            logged = recognise(tuple(logs)).get("kl_weight")
            held = [getattr(model, name, None) for model in models for name in _WEIGHTS]
            known = [logs[logged]] if logged else [one for one in held if one is not None and not callable(one)]
            return _as_number(known[0]) if known else math.nan
        if isinstance(given, str):
            held = [getattr(model, given, None) for model in models]
            given = next((one for one in held if one is not None), None)
            if given is None:
                raise UsageError(f"KLMonitor: the model has no attribute {self._kl_weight!r} for its KL weight.")
        try:
            value = _as_number(given() if callable(given) and not hasattr(given, "shape") else given)
        except TypeError as error:
            raise UsageError(f"KLMonitor: kl_weight must be callable without arguments: {error}.") from error
        if math.isnan(value):
            raise UsageError(f"KLMonitor: kl_weight must give a number, but gives {given!r}.")
        return value

    def _note(self, found: Measures, logs: Mapping[str, Any], weight: float) -> None:
        names, numbers = recognise(tuple(logs)), _numbers(logs)
        loss, error = (numbers.get(names.get(part, ""), math.nan) for part in ("loss", "reconstruction"))
        broken = not math.isfinite(found.kl) or ("loss" in names and not math.isfinite(loss))
        self._values.append(
            [
                math.nan,  # KL in training, which models log in units of their own
                error,
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
        for name in {*numbers, *self._logged}:
            past = self._logged.setdefault(name, [math.nan] * (len(self._values) - 1))
            past.append(numbers.get(name, math.nan))

    def _judge(self) -> None:
        told = self.watched.diagnose()
        if told.verdict in FAULTS and told.verdict != self._told:
            self._say(f"\nKLMonitor, epoch {self._epoch}: {_words(told.verdict)}. {' '.join(told.reasons)} {told.next}")
        self._told = told.verdict
        if told.verdict in self._stop_on:
            self._say(f"KLMonitor: training ends here, as asked ({told.verdict}).")
            self.model.stop_training = True

    def _say(self, text: str) -> None:
        if self._verbose:
            show(text)


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: _as_number(value) for name, value in logs.items() if np.ndim(value) == 0}


def _seen(found: Measures, weight: float) -> dict[str, float | list[float]]:
    """What the log says of a look beside what `fit` logs."""
    return {
        "kl_weight": weight,
        "val_unexplained": found.unexplained,
        "clip_share_low": found.clip_share_low,
        "clip_share_high": found.clip_share_high,
        "latent_kl": found.kl_per_latent.tolist(),
    }
