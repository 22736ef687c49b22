"""Telling how a training of one's own goes: a Keras callback for `fit`."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from klsearch.reports.report import write_watched
from klsearch.reports.visible import as_lines
from klsearch.search.terminal.epoch_log import EpochLog
from klsearch.search.terminal.printing import show
from klsearch.studies.errors import UsageError
from klsearch.vae.diagnostics.column_names import recognise
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import GateThresholds
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.diagnostics.watched import FAULTS, Watched
from klsearch.vae.evaluation.watch import Watch
from klsearch.vae.training.optimizer import OPTIMIZERS

_MOST_ROWS = 256
_FIRST_LOOKS = 3  # whatever they cost: the first compiles, the second is timed
_WEIGHTS = ("kl_weight", "beta", "kl_beta", "kld_weight", "kl_coefficient", "kl_coeff")  # of a model, by attribute
_MOST_SINGLE = float(np.finfo(np.float32).max)
_FREE = (-math.inf, math.inf)
_OF_A_LOOK = slice(4, 9)  # of a row of the curves


_meanings = cache(recognise)  # the same names come every epoch


class KLMonitor(keras.callbacks.Callback):
    """Watches the KL of a VAE while `fit` trains it, on rows that it is not trained on.

    After each epoch the log line says KL per latent and active latents; whenever the verdict on the KL changes to a
    fault (runaway, collapsed, diverged, at a clip bound), a line says so with its numbers. The model, its weights and
    its random numbers stay as they are. Further `fit`s of the same model are judged together with the first.

    Looks and verdicts take about 2 % of the training's time: where epochs are so short that one after each would take
    more, some epochs are passed over, for half a millisecond each, but never the first three and the last. The log line
    then has the latest look's numbers, the file none, and the curves are lines from the look before to the one after.

    Callbacks that come after it in the list may go by what it logs, such as
    `EarlyStopping("val_kl_per_latent", mode="min")`.

    Args:
        rows: what the encoder takes, float [N, *shape], N at least 32, without a condition. The first 256 are watched,
            or fewer where that saves time and a look takes more than `most_cost` of an epoch; `watched.cost` is what
            watching took.
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
        most_cost: the share of the training's time that looks and verdicts may take; infinite to look at every epoch.
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
        most_cost: float = 0.02,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        stop_on = (stop_on,) if isinstance(stop_on, str) else tuple(stop_on)
        if unknown := sorted(set(stop_on) - set(FAULTS)):
            raise UsageError(f"stop_on takes {', '.join(FAULTS)}, but not {', '.join(map(repr, unknown))}.")
        for name, (low, high) in (("kl_band", kl_band), ("clip", clip)):
            if not low < high:
                raise UsageError(f"{name} must be (lowest, highest), but is ({low}, {high}).")
        if not most_cost > 0:
            raise UsageError(f"most_cost must be above 0, but is {most_cost}.")
        if not isinstance(rows, np.ndarray):
            raise UsageError(
                f"rows must be a NumPy array of what the encoder takes, but is a {type(rows).__name__}. A model that "
                "takes a condition beside the rows cannot be watched."
            )
        self._rows, self._own, self._verbose = rows, model, verbose
        self._stop_on, self._kl_weight, self._most_cost = stop_on, kl_weight, most_cost
        self._thresholds = GateThresholds(kl_band=kl_band)
        self._heads: dict[str, Any] = dict(latent_heads=latent_heads, logits=logits, clip=clip)
        self._log = None if log is None else EpochLog(Path(log))
        self._report = None if report is None else Path(report)
        self._watch: Watch | None = None
        self._followed: Any = None  # the model that is watched
        self._values: list[list[float]] = []  # a row an epoch, as `CURVE_NAMES`
        self._looked: list[int] = []  # the rows' places at which the model was looked at
        self._logged: dict[str, list[float]] = {}
        self._measures: Measures | None = None
        self._latest: dict[str, float] = {}
        self._epoch, self._told = 0, ""
        self._seconds = self._watching = self._look_seconds = self._verdict_seconds = 0.0

    @property
    def watched(self) -> Watched:
        """What was seen so far: curves, measures, gates, and the verdict (`watched.diagnose()`)."""
        return Watched(
            curves=TrainingCurves.from_rows(self._filled()),
            measures=self._measures,
            looked=tuple(self._looked),
            logged={name: tuple(values) for name, values in self._logged.items()},
            thresholds=self._thresholds,
            notes=() if self._watch is None else self._watch.notes,
            rows=0 if self._watch is None else self._watch.count,
            seconds=self._seconds,
            watching=self._watching,
            known={} if self._followed is None else _known(self._own or self._followed, self._followed),
            clip=dict(zip(("clip_low", "clip_high"), self._heads["clip"], strict=True)),
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
        self._values, self._looked, self._logged, self._measures, self._epoch, self._told = [], [], {}, None, 0, ""
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
        began = time.perf_counter()
        trained = began - self._began
        self._seconds += trained
        self._epoch = max(epoch, self._epoch) + 1  # a further `fit` begins at 0 again
        weight = self._read_kl_weight(logs)
        is_due = self._is_due(epoch, logs)
        looks = is_due or self._affords(began, self._look_seconds)
        found = self._look() if looks else None
        if looks and len(self._looked) == 1:  # the first look compiled
            self._watch.spare(self._most_cost * trained)
        self._note(found, logs, weight)
        line = {"epoch": self._epoch, **_numbers(logs)}
        if found is not None:
            self._latest = {"val_kl_per_latent": _single(found.kl), "active_latents": found.active_units}
            line |= self._latest
        if self._log is not None:
            self._log.write({**line, "kl_weight": weight, **({} if found is None else _seen(found))})
        logs.update(self._latest)
        if is_due or (looks and self._affords(began, self._verdict_seconds)):
            judged = time.perf_counter()
            self._judge()
            self._verdict_seconds = time.perf_counter() - judged
        spent = time.perf_counter() - began
        self._seconds += spent
        self._watching += spent if len(self._looked) > 2 else 0.0

    def _is_due(self, epoch: int, logs: Mapping[str, Any]) -> bool:
        """Whether this epoch is looked at whatever that costs: among the first, the last, or after it broke."""
        loss = _numbers(logs).get(_meanings(tuple(logs)).get("loss", ""), 0.0)
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        breaks = not math.isfinite(loss) and self._measures is not None
        return len(self._looked) < _FIRST_LOOKS or is_last or breaks

    def _affords(self, began: float, seconds: float) -> bool:
        """Whether watching may take so many seconds more in the epoch whose end began then."""
        spent = time.perf_counter() - began
        return self._watching + spent + seconds <= self._most_cost * self._seconds

    def _look(self) -> Measures:
        assert self._watch is not None
        began = time.perf_counter()
        found = self._watch.take()
        self._look_seconds = time.perf_counter() - began
        return found

    def _filled(self) -> np.ndarray:
        """The curves' rows [T, …]: between the epochs that were looked at, lines."""
        rows, looked = np.array(self._values, np.float32), np.array(self._looked)
        passed_over = np.setdiff1d(np.arange(len(rows)), looked)
        for column in rows.T[_OF_A_LOOK] if passed_over.size else ():
            column[passed_over] = np.interp(passed_over, looked, column[looked])
        return rows

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Look once more where another callback ended the training, write the page, and say how it ended."""
        if not self._values:
            return
        if self._looked[-1] != len(self._values) - 1:
            self._see(self._look(), self._values[-1])
        told = self.watched.diagnose()
        lines = [f"KLMonitor: {_words(told.verdict)}. {told.reasons[0]}", f"Next: {told.next}"]
        if self._report is not None:
            try:
                lines.append(f"Report: {self.write_report(self._report)}")
            except UsageError as error:  # the training is done, and must not be lost for it
                lines.append(str(error))
        self._say(as_lines(lines))

    def _read_kl_weight(self, logs: Mapping[str, Any]) -> float:
        """The KL weight now; NaN where nobody says it.

        Raises:
            UsageError: what was given for it gives no number.
        """
        given, models = self._kl_weight, [one for one in (self._own, self.model) if one is not None]
        if given is None:
            logged = _meanings(tuple(logs)).get("kl_weight")
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

    def _note(self, found: Measures | None, logs: Mapping[str, Any], weight: float) -> None:
        names, numbers = _meanings(tuple(logs)), _numbers(logs)
        loss, error = (numbers.get(names.get(part, ""), math.nan) for part in ("loss", "reconstruction"))
        broken = "loss" in names and not math.isfinite(loss)
        # KL in training is not known: models log it in units of their own.
        self._values.append([math.nan, error, weight, loss, *[math.nan] * 5, float(broken)])
        if found is not None:
            self._see(found, self._values[-1])
        for name in {*numbers, *self._logged}:
            past = self._logged.setdefault(name, [math.nan] * (len(self._values) - 1))
            past.append(numbers.get(name, math.nan))

    def _see(self, found: Measures, row: list[float]) -> None:
        """Take up a look at the latest epoch into its row of the curves."""
        seen = (found.kl, found.reconstruction, found.unexplained, found.clip_share_low, found.clip_share_high)
        row[_OF_A_LOOK] = map(_single, seen)
        row[-1] = float(row[-1] or not math.isfinite(_single(found.kl)))
        self._measures = None if row[-1] else found
        self._looked.append(len(self._values) - 1)

    def _judge(self) -> None:
        told = self.watched.diagnose()
        if told.verdict in FAULTS and told.verdict != self._told:
            reasons = " ".join(told.reasons)
            line = f"KLMonitor, epoch {self._epoch}: {_words(told.verdict)}. {reasons} {told.next}"
            self._say(as_lines(["", line]))
        self._told = told.verdict
        if told.verdict in self._stop_on:
            self._say(f"KLMonitor: training ends here, as asked ({told.verdict}).")
            self.model.stop_training = True

    def _say(self, text: str) -> None:
        if self._verbose:
            show(text)


def _known(model: Any, trained: Any) -> dict[str, str | float]:
    """What a definition says of a model and its training, by key, as far as they tell."""
    known: dict[str, str | float] = {}
    kind = type(model)
    if kind.__module__.partition(".")[0] not in ("__main__", "keras", "builtins") and "<" not in kind.__qualname__:
        known["kind"] = f"{kind.__module__}:{kind.__qualname__}"
    optimizer = getattr(trained, "optimizer", None)
    if optimizer is not None and type(optimizer).__name__.lower() in OPTIMIZERS:
        known["optimizer"] = type(optimizer).__name__.lower()
        known["learning_rate"] = float(f"{float(optimizer.learning_rate):.6g}")
    return known


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _single(value: float) -> float:
    """A number as the curves hold it: infinite beyond single precision, in which models are trained."""
    return math.copysign(math.inf, value) if abs(value) > _MOST_SINGLE else value


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: _as_number(value) for name, value in logs.items() if np.ndim(value) == 0}


def _seen(found: Measures) -> dict[str, float | list[float]]:
    """What the log says of a look beside what `fit` logs."""
    return {
        "val_unexplained": found.unexplained,
        "clip_share_low": found.clip_share_low,
        "clip_share_high": found.clip_share_high,
        "latent_kl": found.kl_per_latent.tolist(),
    }
