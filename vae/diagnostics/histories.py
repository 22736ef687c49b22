"""Training histories that others wrote: a Keras `History.history` or `CSVLogger` file, JSON lines, event files."""

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from klsearch.vae.diagnostics.column_names import LOGARITHM, NAMES, bare, is_other_weight, is_validation, recognise
from klsearch.vae.diagnostics.event_files import EventProblem, is_event_source, read_events
from klsearch.vae.diagnostics.kl_weights import LossParts

_MISSING = {"", "na", "n/a", "null", "none", "<na>"}


class HistoryProblem(ValueError):
    """A history that cannot be read or understood; the message says what is there and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """One training: float arrays of [T] values in the epochs that have a KL, or of [R], those of all rows.

    NaN where nothing finite was written.

    Attributes:
        kl: the KL term, of validation rows where those were measured in most epochs, or by `KLMonitor`, [T].
        epochs: of each, as they are counted there, ascending, [T].
        rows: the epochs of all rows, ascending, [R].
        reconstruction: of the same rows of data as `kl` if there, [T]; None without such a column.
        kl_weight: as logged, [R]; None without such a column.
        parts: the loss of the training rows and what it is made of, [R]; None where a column lacks.
        nonfinite_epochs: in how many epochs a loss, KL or reconstruction was not a finite number.
        columns: which column was taken for what.
        notes: what was left out or assumed, a sentence each.
    """

    kl: np.ndarray
    epochs: np.ndarray
    rows: np.ndarray
    reconstruction: np.ndarray | None
    kl_weight: np.ndarray | None
    parts: LossParts | None
    nonfinite_epochs: int
    columns: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    @property
    def trained(self) -> int:
        """How many epochs there were: a row stands for those since the row before, and the first for as many."""
        if not self.rows.size:
            return 0
        first, last = float(self.rows[0]), float(self.rows[-1])
        step = float(np.min(np.diff(self.rows))) if self.rows.size > 1 else 1.0
        # They are counted from 0, or from 1: then the row before the first would be that of epoch -1, or 0.
        begin = max(first - step, -1.0 if first < 1 or first - step == -1 else 0.0)
        return math.ceil(last - begin)


def read_history(path: Path, given: Mapping[str, str | None] | None = None) -> History:
    """The history in a file, which may still be written to.

    Args:
        path: CSV, JSON (columns by name, perhaps below "history", or a list of epochs), JSON lines, or TensorBoard's
            event files: one, or a training's folder of them.
        given: columns named by the user: "kl", "reconstruction", "kl_weight".

    Raises:
        HistoryProblem: it holds no table of numbers, or no column that is known to be KL.
        OSError: it cannot be read.
    """
    table = _one_row_per_epoch(_table(_cells(path), path))
    columns = _recognise(table, {key: name for key, name in (given or {}).items() if name}, path)
    return _history(table, columns)


@dataclass(frozen=True, slots=True)
class _Table:
    """Numbers by column: `written` tells an empty cell from a value that is not finite; `texts` are columns of none."""

    frame: pd.DataFrame
    written: pd.DataFrame
    texts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _cells(path: Path) -> pd.DataFrame:
    if is_event_source(path):
        try:
            return read_events(path)
        except EventProblem as error:
            raise HistoryProblem(str(error)) from error
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HistoryProblem(
            f"{path} is not text; give a history as CSV, JSON or JSON lines, or as event files of TensorBoard."
        ) from error
    return _json_cells(text, path) if text.lstrip()[:1] in ("{", "[") else _csv_cells(text, path)


def _table(cells: pd.DataFrame, path: Path) -> _Table:
    cells = cells.rename(columns=str)
    cells = cells[[name for name in map(str, cells) if not re.fullmatch(r"(Unnamed: \d+|\s*)", name)]]  # pandas's index
    if cells.empty:
        raise HistoryProblem(f"{path} holds no epochs yet; a history is a table with one row per epoch.")
    missing = cells.map(lambda cell: cell is None or str(cell).strip().lower() in _MISSING)
    numbers: pd.DataFrame = cells.apply(_numbers).astype(float)
    texts = [
        name
        for name in map(str, cells)
        if not missing[name].all() and _is_text(cells[name][~missing[name]], numbers[name])
    ]
    frame = numbers.drop(columns=texts)
    written = ~missing.drop(columns=texts)
    values = [name for name in map(str, frame) if bare(name) not in NAMES["epoch"]]
    written.loc[~written[values].any(axis=1), values] = True  # pandas writes NaN as nothing: no value is no number
    return _Table(frame, written, tuple(texts))


def _numbers(cells: pd.Series) -> pd.Series:
    """The numbers of a column; NaN where there is none. 5% is 0.05."""
    percent = cells.map(lambda cell: str(cell).strip().endswith("%"))
    bare = cells.map(lambda cell: str(cell).strip().removesuffix("%")).where(percent, cells)
    return pd.to_numeric(bare, errors="coerce").where(~percent, lambda numbers: numbers / 100)


def _is_text(cells: pd.Series, numbers: pd.Series) -> bool:
    unreadable = cells[numbers[cells.index].isna()].map(str).str.strip().str.lower()  # astype(str) would keep NaN
    return bool((~unreadable.isin({"nan", "-nan"})).any())


def _json_cells(text: str, path: Path) -> pd.DataFrame:
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError:
        found = _json_lines(text, path)
    while isinstance(found, dict) and isinstance(found.get("history"), dict | list):
        found = found["history"]
    if isinstance(found, dict):
        found = _flat(found)
        found = {name: values if isinstance(values, list) else [values] for name, values in found.items()}
        shortest = min(map(len, found.values()), default=0)
        longest = max(map(len, found.values()), default=0)
        found = {name: _spread(values, longest) if is_validation(name) else values for name, values in found.items()}
        found = {name: values for name, values in found.items() if len(values) > shortest or shortest == longest}
        return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in found.items()})
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return pd.DataFrame([_flat(row) for row in found], dtype=object)
    raise HistoryProblem(f"{path} is JSON but no history: give columns by name, or a list of epochs.")


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """What lies in objects within, under the names that lead there, with points between them."""
    flat = dict(found)
    while any(isinstance(value, dict) for value in flat.values()):
        inner = {name: value if isinstance(value, dict) else {"": value} for name, value in flat.items()}
        flat = {f"{name}.{key}" if key else name: one for name, of in inner.items() for key, one in of.items()}
    return flat


def _spread(values: list[Any], epochs: int) -> list[Any]:
    """The values that Keras's `validation_freq` leaves, at even distances: where it is no divisor, that is a guess."""
    if not 1 < len(values) <= epochs // 2:
        return values
    step = epochs // len(values)
    spread: list[Any] = [None] * epochs
    spread[step - 1 : step * len(values) : step] = values
    return spread


def _json_lines(text: str, path: Path) -> list[Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines) or len(lines) == 1:  # the last one may be half written
                raise HistoryProblem(f"{path}: line {number} is not JSON ({error.msg}).") from error
    return rows


def _csv_cells(text: str, path: Path) -> pd.DataFrame:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise HistoryProblem(f"{path} is empty; a history is a table with one row per epoch.")
    separator = max(",;\t", key=lines[0].count)
    if not text.endswith("\n") and lines[-1].count(separator) < lines[0].count(separator):
        lines.pop()  # half written
    try:
        cells = pd.read_csv(
            io.StringIO("\n".join(lines)), sep=separator, dtype=str, keep_default_na=False, index_col=False,
            skipinitialspace=True,
        )  # fmt: skip
    except (pd.errors.ParserError, ValueError) as error:
        raise HistoryProblem(f"{path} cannot be read as a table: {error}") from error
    return cells if separator == "," else cells.replace(r"^([^,.]*\d),(\d[^,.]*)$", r"\1.\2", regex=True)


def _one_row_per_epoch(table: _Table) -> _Table:
    """The last training of the table, its rows averaged where an epoch has several."""
    name = _epoch_column(table.frame)
    if name is None:
        return replace(table, notes=("No column says the epoch: a row was taken for one.",))
    frame, written, notes = table.frame, table.written, []
    starts = np.flatnonzero(np.diff(frame[name].to_numpy()) < 0)
    if starts.size:
        first = int(starts[-1]) + 1
        frame, written = frame.iloc[first:], written.iloc[first:]
        notes.append(f"The epochs begin anew at row {first + 1}: only the last training was judged.")
    if frame[name].duplicated().any():
        notes.append("Rows of the same epoch were averaged.")
        frame, written = frame.groupby(name, as_index=False).mean(), written.groupby(frame[name].to_numpy()).any()
    frame, written = frame.reset_index(drop=True), written.reset_index(drop=True)
    return replace(table, frame=frame, written=written, notes=tuple(notes))


def _epoch_column(frame: pd.DataFrame) -> str | None:
    return next((column for column in map(str, frame) if bare(column) in NAMES["epoch"]), None)


def _recognise(table: _Table, given: Mapping[str, str], path: Path) -> dict[str, str]:
    """The columns of a file.

    Raises:
        HistoryProblem: one that is given is not there or a logarithm, or none is known to be KL.
    """
    found = list(map(str, table.frame))
    listed = ", ".join(found) + (f"; not of numbers: {', '.join(table.texts)}" if table.texts else "")
    for meaning, name in given.items():
        if name not in found:
            raise HistoryProblem(f"{path} has no column of numbers '{name}'; it has: {listed}.")
        if meaning == "kl" and LOGARITHM.search(bare(name)):
            raise HistoryProblem(
                f"{path}: '{name}' is called a logarithm; give the KL itself, or rename it if it is that."
            )
    others = {name for name in found if is_other_weight(name, table.frame[name].to_numpy())} - set(given.values())
    columns = recognise([name for name in found if name not in others], given)
    if not {"kl", "validation kl"} & columns.keys():
        raise HistoryProblem(f"{path}: no column is known to be the KL term; name it with --kl; there are: {listed}.")
    return columns


def _history(table: _Table, columns: Mapping[str, str]) -> History:
    frame, written = table.frame, table.written
    kl, of_validation = columns.get("kl"), columns.get("validation kl")
    if of_validation and (kl is None or written[of_validation].mean() > 0.5 or bare(of_validation) == "kl_per_latent"):
        kl = of_validation
    assert kl is not None
    split = "validation " if kl == of_validation else ""
    reconstruction = columns.get(f"{split}reconstruction", columns.get("reconstruction"))
    weight = columns.get("kl_weight", columns.get("validation kl_weight"))
    measured = [name for meaning, name in columns.items() if not meaning.endswith(("epoch", "kl_weight"))]
    broken = written[measured] & ~np.isfinite(frame[measured])
    kept = written[kl]  # validation may be rarer than epochs
    notes = list(table.notes)
    if not kept.all():
        notes.append(f"{kl} is empty in {int((~kept).sum())} epochs, which were left out.")
    taken = {"kl": kl, "reconstruction": reconstruction, "kl_weight": weight, "loss": columns.get("loss")}
    parts, unweighted = _parts(frame, columns), frame[kl]
    if parts is not None and weight is not None:
        logged = frame[weight].to_numpy()
        if parts.holds_weighted_kl(logged):
            notes.append(f"{kl} holds the KL times its weight, for it adds up to the loss: it was divided by {weight}.")
            unweighted = (frame[kl] / frame[weight]).where(frame[weight] != 0).bfill().ffill()
            parts = replace(parts, kl=parts.kl / np.where(logged == 0, np.nan, logged))
    rows = _epochs_of(frame)
    return History(
        kl=unweighted[kept].to_numpy(),
        epochs=rows[kept.to_numpy()],
        rows=rows,
        reconstruction=None if reconstruction is None else frame[reconstruction][kept].to_numpy(),
        kl_weight=None if weight is None else frame[weight].to_numpy(),
        parts=parts,
        nonfinite_epochs=int(broken.any(axis=1).sum()),
        columns={meaning: name for meaning, name in taken.items() if name is not None},
        notes=tuple(notes),
    )


def _parts(frame: pd.DataFrame, columns: Mapping[str, str]) -> LossParts | None:
    names = [columns.get(meaning) for meaning in ("loss", "reconstruction", "kl")]
    if None in names or len(set(names)) < len(names):
        return None
    loss, reconstruction, kl = (frame[name].to_numpy() for name in names)
    return LossParts(loss=loss, reconstruction=reconstruction, kl=kl)


def _epochs_of(frame: pd.DataFrame) -> np.ndarray:
    """The epoch of each row: as its column says, else the rows' own numbers from 0."""
    name = _epoch_column(frame)
    epochs = np.arange(len(frame)) if name is None else frame[name].to_numpy()
    return epochs.astype(float) if np.all(np.diff(epochs) > 0) else np.arange(len(frame), dtype=float)
