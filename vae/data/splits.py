"""The split of rows into those that train, validate and test."""

from collections.abc import Mapping

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, RawData, count_rows

SPLITS = ("train", "validation", "test")

_SPELLINGS = {"train": "train", "training": "train", "validation": "validation", "val": "validation", "test": "test"}
_LEAST_TRAINING_ROWS = 2


def split_rows(raw: RawData, *, validation: float, test: float, seed: int) -> dict[str, np.ndarray]:
    """The row numbers of each split, ascending; every row is in exactly one.

    A column of splits decides if there is one; else rows, or whole groups of rows, are drawn by the seed. Groups come
    as close to the shares as whole groups can.

    Args:
        raw: the rows with their groups or splits.
        validation: share of the rows, above 0.
        test: share of the rows; 0 leaves the test split empty.
        seed: of the draw.

    Raises:
        DataProblem: a split that should have rows has none, or a row names no split.
    """
    if raw.split is not None:
        rows = _read_named(raw, raw.split)
    elif raw.group is not None:
        rows = _draw_groups(raw.group, validation=validation, test=test, seed=seed)
    else:
        rows = _draw(len(raw.rows), validation=validation, test=test, seed=seed)
    wanted = {"train": _LEAST_TRAINING_ROWS, "validation": 1, "test": 1 if test > 0 and raw.split is None else 0}
    _refuse_empty(raw, rows, wanted)
    return rows


def _refuse_empty(raw: RawData, rows: Mapping[str, np.ndarray], wanted: Mapping[str, int]) -> None:
    short = [name for name in SPLITS if len(rows[name]) < wanted[name]]
    if not short:
        return
    sizes = ", ".join(f"{name} {len(rows[name])}" for name in SPLITS)
    if raw.split is not None:
        remedy = "the split column must name train and validation"
    else:
        kept = f" in {len(np.unique(raw.group))} groups" if raw.group is not None else ""
        remedy = f"{len(raw.rows)} rows{kept} are too few for these shares"
    raise DataProblem(
        f"{raw.name}: the {short[0]} split needs at least {count_rows(wanted[short[0]])} ({sizes}); {remedy}"
    )


def _draw(count: int, *, validation: float, test: float, seed: int) -> dict[str, np.ndarray]:
    order = np.random.default_rng(seed).permutation(count)
    tests, validations = round(test * count), round(validation * count)
    parts = np.split(order, [tests, tests + validations])
    return dict(zip(("test", "validation", "train"), (np.sort(part) for part in parts), strict=True))


def _draw_groups(group: np.ndarray, *, validation: float, test: float, seed: int) -> dict[str, np.ndarray]:
    names, member_of, sizes = np.unique(group, return_inverse=True, return_counts=True)
    waiting = [int(number) for number in np.random.default_rng(seed).permutation(len(names))]
    tests = _take_groups(waiting, sizes, rows=test * len(group), leave=2)
    validations = _take_groups(waiting, sizes, rows=validation * len(group), leave=1)
    chosen = {"test": tests, "validation": validations, "train": waiting}
    return {name: np.flatnonzero(np.isin(member_of, groups)) for name, groups in chosen.items()}


def _take_groups(waiting: list[int], sizes: np.ndarray, *, rows: float, leave: int) -> list[int]:
    """Take out of `waiting`, in its order, groups that make up about so many rows, and leave some for other splits."""
    taken: list[int] = []
    for group in list(waiting):
        # Taking a group that is up to twice what is missing misses the number by less than leaving it.
        if sizes[group] <= 2 * rows and len(waiting) > leave:
            rows -= sizes[group]
            taken.append(group)
            waiting.remove(group)
    if not taken and rows > 0 and waiting:
        taken.append(min(waiting, key=lambda group: int(sizes[group])))
        waiting.remove(taken[0])
    return taken


def _read_named(raw: RawData, column: np.ndarray) -> dict[str, np.ndarray]:
    words = np.char.lower(np.char.strip(column.astype(np.str_)))
    unknown = ~np.isin(words, list(_SPELLINGS))
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataProblem(
            f"{raw.name}: the split column holds '{column[row]}' at {raw.place(row)}; "
            f"it must be train, validation or test"
        )
    splits = np.array([_SPELLINGS[str(word)] for word in words])
    return {name: np.flatnonzero(splits == name) for name in SPLITS}
