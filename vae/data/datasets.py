"""Data ready to train on: loaded, checked, split, scaled and fingerprinted."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from klsearch.vae.data.cautions import Caution, caution_of_labels, cautions_of
from klsearch.vae.data.checks import check_columns, check_counts, check_kinds, check_rows, check_varies
from klsearch.vae.data.conditions import LABELS, Condition, encode_condition
from klsearch.vae.data.gaps import have_gaps
from klsearch.vae.data.readers.raw import Column, DataProblem, RawData, Request
from klsearch.vae.data.rows import KeptRows, Rows, aligned, can_be_kept, slices, unscaled
from klsearch.vae.data.scaling import Scaling, column_scaling, fit_scaling, in_unit_interval, one_hot_scaling
from klsearch.vae.data.sources import read_source
from klsearch.vae.data.splits import SPLITS, split_rows
from klsearch.vae.data.tokens import find_alphabet

__all__ = ["DataProblem", "Dataset", "Request", "load_dataset"]

_LABEL = "label"  # the condition of labels that have no name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Scaled rows in three splits.

    Attributes:
        train: float32, shape [N, *row shape], NaN where a value is missing; or small whole numbers that become so.
        validation: the same.
        test: the same; may have no rows.
        labels: a label for each row by split; None where the data have none.
        condition: what is told of each row, by split, with how it became numbers; None where nothing is.
        scaling: how raw values became these, fitted on the training split.
        unit_interval: whether every value of training and validation lies in [0, 1], so that a decoder may end in a
            sigmoid; the test rows have no say in what is trained.
        fingerprint: sha256, in hex, over the scaled rows of all splits and the scaling.
        warnings: what is no error but may surprise, one line each.
        notes: what was recognised in the source and done about it, one line each.
        columns: names of a table's columns; None where they have none.
        table: those columns as the table has them, of which words became several; None where it is no table.

    Raises:
        ValueError: the splits differ in row shape, or are not float32.
    """

    train: Rows
    validation: Rows
    test: Rows
    labels: Mapping[str, np.ndarray] | None
    scaling: Scaling
    unit_interval: bool
    fingerprint: str
    warnings: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    condition: Condition | None = None
    table: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        for name, rows in self.splits.items():
            if rows.shape[1:] != self.shape or rows.dtype != np.float32:
                raise ValueError(
                    f"{name} must be float32 with rows of shape {list(self.shape)}, "
                    f"but is {rows.dtype} of shape {list(rows.shape)}."
                )

    @property
    def splits(self) -> dict[str, Rows]:
        """The rows by split: train, validation, test."""
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.train.shape[1:]

    @property
    def condition_width(self) -> int:
        """How many numbers are told of each row; 0 where nothing is."""
        return 0 if self.condition is None else self.condition.encoding.width

    @property
    def conditions(self) -> Mapping[str, np.ndarray] | None:
        """What is told of each row, by split, float32 [n, width]; None where nothing is."""
        return None if self.condition is None else self.condition.splits

    @property
    def kept_bytes(self) -> int | None:
        """Bytes of the rows of all splits, which stay as they came; None where they became float32."""
        return self.train.source.nbytes if isinstance(self.train, KeptRows) else None

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows by split."""
        return {name: len(rows) for name, rows in self.splits.items()}


def load_dataset(
    request: Request,
    *,
    raw: RawData | None = None,
    missing: str = "refuse",
    condition_on_labels: bool = False,
    scaling: str = "auto",
    of_counts: bool = False,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> Dataset:
    """Data from any source, ready to train on.

    Values of validation and test that lie beyond the training rows are scaled as they are, never clipped.

    Args:
        request: which rows of which source.
        raw: what `read_source` has given for it already; None to read it.
        missing: "refuse" data with missing values, or "mask" these.
        condition_on_labels: whether the labels are told of each row.
        scaling: "auto", "none", "counts", "minmax" or "standard", see `vae.data.scaling.fit_scaling`; "tokens", which
            become one-hot; or "columns", each of a table by its kind.
        of_counts: whether rows that are not scaled must be counts, as those of "counts" must.
        validation: share of the rows, above 0; without meaning where a column names the splits.
        test: share of the rows; 0 leaves the test split empty. The same holds of it.
        seed: from which the split is drawn.

    Raises:
        DataProblem: the data cannot be read or trained on.
    """
    if raw is None:
        # What [data.columns] says of labels that are told is for their condition, and not for the table.
        learned = {name: kind for name, kind in request.columns.items() if name != (request.labels or _LABEL)}
        raw = read_source(replace(request, columns=learned) if condition_on_labels else request)
    check_rows(raw, missing=missing)
    if scaling == "counts" or (of_counts and scaling == "none"):
        check_counts(raw)
    if scaling == "columns":
        check_kinds(raw)
    if condition_on_labels:
        raw = _with_labels_told(raw, request.labels)
    numbers = split_rows(raw, validation=validation, test=test, seed=seed)
    if are_kept := scaling != "tokens" and can_be_kept(raw.rows):
        raw = replace(raw, rows=aligned(raw.rows))
    train = unscaled(raw.rows, numbers["train"]) if are_kept else raw.rows[numbers["train"]]
    check_columns(raw, train)
    check_varies(raw.name, "the training split's", train)
    condition = encode_condition(raw, numbers, request.columns) if raw.conditions else None
    fitted = _fit_scaling(scaling, raw, train)
    scaled = {name: fitted.of_split(raw.rows, numbers[name]) for name in SPLITS}
    labels = None if raw.labels is None else {name: raw.labels[numbers[name]] for name in SPLITS}
    return Dataset(
        **scaled,
        labels=labels,
        scaling=fitted,
        unit_interval=in_unit_interval(scaled[name] for name in SPLITS if name != "test"),
        fingerprint=_fingerprint(scaled, fitted, condition),
        warnings=(
            *_warn_of_fewer_rows(raw, request.rows),
            *cautions_of(raw, train, fitted),
            *_warn_of_values_beyond(fitted, scaled),
            *caution_of_labels(labels),
        ),
        notes=(*raw.notes, *_note_gaps(raw, fitted), *_note_condition(raw, condition)),
        columns=raw.columns,
        condition=condition,
        table=raw.table,
    )


def _fit_scaling(kind: str, raw: RawData, train: Rows) -> Scaling:
    """The scaling of a kind: of tokens by all rows, of columns by what each is, else by the training rows alone."""
    if kind == "tokens":
        return one_hot_scaling(find_alphabet(raw))
    if kind == "columns":
        return column_scaling(raw.table or (), train)
    return fit_scaling(kind, train)


def _with_labels_told(raw: RawData, named: str | None) -> RawData:
    if raw.labels is None:
        raise DataProblem(f"{raw.name}: data.condition = '{LABELS}', but there are none; name them with data.labels")
    return replace(raw, conditions={**raw.conditions, named or _LABEL: raw.labels})


def _note_condition(raw: RawData, condition: Condition | None) -> tuple[str, ...]:
    columns = () if condition is None else condition.encoding.columns
    return tuple(f"{raw.name}: the condition {column.words}" for column in columns)


def _fingerprint(splits: Mapping[str, Rows], scaling: Scaling, condition: Condition | None) -> str:
    digest = hashlib.sha256()
    for name in SPLITS:
        digest.update(f"{name} {splits[name].shape} ".encode())
        for some in slices(splits[name].shape):
            rows = np.ascontiguousarray(splits[name][some], "<f4")
            if have_gaps(rows):
                rows = np.where(np.isnan(rows), np.float32(np.nan), rows)  # of the many NaN, one
            digest.update(rows.data)
    digest.update(np.ascontiguousarray([scaling.offset, scaling.scale], "<f8").tobytes())
    if condition is not None:
        digest.update(repr(condition.encoding).encode())
        for name in SPLITS:
            digest.update(np.ascontiguousarray(condition.splits[name], "<f4").tobytes())
    return digest.hexdigest()


def _note_gaps(raw: RawData, scaling: Scaling) -> tuple[str, ...]:
    if not have_gaps(raw.rows):
        return ()
    missing = np.isnan(raw.rows)
    rows = int(missing.reshape(len(missing), -1).any(axis=1).sum())
    found = f"{int(missing.sum()):,} of {missing.size:,} values are missing, in {rows:,} of {len(missing):,} rows"
    given = "the training mean" if scaling.alphabet is None else "no token"
    return (f"{raw.name}: {found}; the encoder is given {given} for them, and nothing is measured of them",)


def _warn_of_fewer_rows(raw: RawData, wanted: int | None) -> tuple[Caution, ...]:
    if wanted is None or len(raw.rows) >= wanted:
        return ()
    return (Caution(f"data.rows asks for {wanted:,} rows, but there are {len(raw.rows):,}", "fewer-rows-than-asked"),)


def _warn_of_values_beyond(scaling: Scaling, splits: Mapping[str, Rows]) -> tuple[Caution, ...]:
    """A warning that held-out values leave the range that minmax has fitted."""
    if in_unit_interval(splits.values()) or scaling.kind not in ("minmax", "image"):
        return ()
    text = "held-out values lie beyond the training rows' range; they are kept, so scaled values leave 0–1"
    return (Caution(text, "beyond-range"),)
