"""Training histories that others wrote: a Keras `History.history` or `CSVLogger` file, JSON lines, event files."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from klsearch.vae.diagnostics.event_files import EventProblem, is_event_source, read_events

# What columns are called, the likeliest first, once split names such as "val_" are taken off.
_NAMES = {
    "epoch": ("epoch", "epochs"),
    "loss": ("loss", "total_loss", "total", "elbo_loss"),
    "kl": (
        "kl_per_latent", "kl_mean", "kl", "kl_loss", "kl_divergence", "kl_divergence_loss", "kld", "kld_loss", "kl_div",
        "kl_term", "kl_sum", "loss_kl", "latent_loss", "regularization_loss",
    ),
    "reconstruction": (
        "reconstruction", "reconstruction_loss", "recon", "recon_loss", "rec_loss", "rec", "reconstruction_error",
        "recon_error", "rec_error", "reconstruction_term", "loss_recon", "mse", "bce", "nll", "mean_squared_error",
        "binary_crossentropy", "distortion",
    ),
    "kl_weight": (
        "kl_weight", "beta", "weight", "kl_beta", "kld_weight", "kl_coefficient", "kl_coeff", "kl_anneal",
        "kl_annealing", "annealing", "anneal", "beta_kl",
    ),
}  # fmt: skip
_SPLITS = re.compile(r"^(val|validation|valid|train|training)_")
_LOGARITHM = re.compile(r"^(log|ln)(2|10)?_|_log$")
_SAME_LOSS = 0.02  # relative
_MISSING = {"", "na", "n/a", "null", "none", "<na>"}


class HistoryProblem(ValueError):
    """A history that cannot be read or understood; the message says what is there and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """One training, one value an epoch: float arrays of one shape [T]; NaN where nothing finite was written.

    Attributes:
        kl: the KL term, of validation rows where those were measured in most epochs.
        reconstruction: of the same rows if there; None without such a column.
        kl_weight: as logged; None without such a column.
        implied_weight: (loss − reconstruction) ÷ KL of the training rows, which is the KL weight where the loss has no
            further term; None where a column lacks.
        nonfinite_epochs: in how many epochs a loss, KL or reconstruction was not a finite number.
        columns: which column was taken for what.
        notes: what was left out or assumed, a sentence each.
    """

    kl: np.ndarray
    reconstruction: np.ndarray | None
    kl_weight: np.ndarray | None
    implied_weight: np.ndarray | None
    nonfinite_epochs: int
    columns: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())


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
    values = [name for name in map(str, frame) if _bare(name) not in _NAMES["epoch"]]
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
        found = {name: values if isinstance(values, list) else [values] for name, values in found.items()}
        shortest = min(map(len, found.values()), default=0)
        longest = max(map(len, found.values()), default=0)
        found = {name: values for name, values in found.items() if len(values) > shortest or shortest == longest}
        return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in found.items()})
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return pd.DataFrame(found, dtype=object)
    raise HistoryProblem(f"{path} is JSON but no history: give columns by name, or a list of epochs.")


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
    name = next((column for column in map(str, table.frame) if _bare(column) in _NAMES["epoch"]), None)
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


def _bare(column: str) -> str:
    """A column's name without its split and its unit in brackets, in one spelling."""
    named = re.sub(r"[(\[].*?[)\]]", "", column)
    spelt = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", named.rsplit("/", 1)[-1])
    return _SPLITS.sub("", re.sub(r"[^a-z0-9]+", "_", spelt.lower()).strip("_"))


def _is_validation(column: str) -> bool:
    return re.match(r"(val|valid|validation)[_/ ]", column.lower()) is not None


def recognise(found: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The columns by what they hold, as far as their names tell; those of validation rows as "validation kl" and so on.

    `given` names the columns of some of them.
    """
    columns = dict(given or {})
    for meaning, names in _NAMES.items():
        if meaning in columns:
            continue
        for split in ("", "validation "):
            of_split = [column for column in found if _is_validation(column) == bool(split)]
            matches = [column for name in names for column in of_split if _bare(column) == name]
            columns |= {split + meaning: matches[0]} if matches else {}
    return columns


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
        if meaning == "kl" and _LOGARITHM.search(_bare(name)):
            raise HistoryProblem(
                f"{path}: '{name}' is called a logarithm; give the KL itself, or rename it if it is that."
            )
    columns = recognise(found, given)
    if not {"kl", "validation kl"} & columns.keys():
        raise HistoryProblem(f"{path}: no column is known to be the KL term; name it with --kl; there are: {listed}.")
    return columns


def imply_kl_weight(loss: np.ndarray, reconstruction: np.ndarray, kl: np.ndarray) -> np.ndarray:
    """The KL weight of a loss that has no further term, [T]."""
    with np.errstate(all="ignore"):
        implied: np.ndarray = (loss - reconstruction) / kl
    return implied


def _is_weighted(implied: np.ndarray, weight: np.ndarray) -> bool:
    """Whether the loss takes the KL as it is written, though its weight is another: it was written with its weight."""
    other = np.isfinite(implied) & (np.abs(weight - 1) > _SAME_LOSS)
    return bool(other.sum() > 1 and np.all(np.abs(implied[other] - 1) < _SAME_LOSS))


def _history(table: _Table, columns: Mapping[str, str]) -> History:
    frame, written = table.frame, table.written
    kl = columns.get("kl")
    if (of_validation := columns.get("validation kl")) and (kl is None or written[of_validation].mean() > 0.5):
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
    parts = [columns.get(meaning) for meaning in ("loss", "reconstruction", "kl")]
    implied = None
    if all(part is not None for part in parts) and len(set(parts)) == 3:
        implied = imply_kl_weight(*(frame[part].to_numpy() for part in parts))[kept.to_numpy()]
    taken = {"kl": kl, "reconstruction": reconstruction, "kl_weight": weight, "loss": columns.get("loss")}
    unweighted = frame[kl]
    if weight is not None and implied is not None and _is_weighted(implied, frame[weight][kept].to_numpy()):
        notes.append(f"{kl} holds the KL times its weight, for it adds up to the loss: it was divided by {weight}.")
        unweighted, implied = (frame[kl] / frame[weight]).where(frame[weight] != 0).bfill().ffill(), None
    return History(
        kl=unweighted[kept].to_numpy(),
        reconstruction=None if reconstruction is None else frame[reconstruction][kept].to_numpy(),
        kl_weight=None if weight is None else frame[weight][kept].to_numpy(),
        implied_weight=implied,
        nonfinite_epochs=int(broken.any(axis=1).sum()),
        columns={meaning: name for meaning, name in taken.items() if name is not None},
        notes=tuple(notes),
    )
