"""A file with a line for each epoch of a training: JSON lines, or a CSV."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from klsearch.studies.errors import UsageError

Line = Mapping[str, float | list[float]]


class EpochLog:
    """A file that gets a line an epoch, and goes on where it ended.

    In a CSV, lists have a column for each value, named after them, and later lines the columns of the first.

    Args:
        path: of the file, JSON lines if it ends in .jsonl; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []

    def check(self) -> None:
        """See that lines can be written.

        Raises:
            UsageError: they cannot.
        """
        with _told(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.open("a", encoding="utf-8").close()

    def write(self, line: Line) -> None:
        """Add a line.

        Raises:
            UsageError: the file is another table, or cannot be written.
        """
        with _told(self._path):
            if self._path.suffix == ".jsonl":
                self._append(json.dumps({name: _or_null(value) for name, value in line.items()}, allow_nan=False))
                return
            cells = dict(_cells(line))
            if not self._columns:
                self._columns = self._begin(list(cells))
            self._append(_row(cells.get(name, "") for name in self._columns))

    def _begin(self, wanted: list[str]) -> list[str]:
        """The columns of the file: what is wanted in an empty one, else those that it has."""
        with self._path.open(encoding="utf-8", newline="") as file:
            found = next(csv.reader(file), [])
        if not found:
            self._append(_row(wanted))
            return wanted
        if not set(wanted) <= set(found):
            raise UsageError(f"KLMonitor: {self._path} has other columns; name another file for the log.")
        return found

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """A block whose errors of files are told in one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"KLMonitor: cannot write {path}: {error.strerror or error}.") from error


def _cells(line: Line) -> Iterable[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, list):
            yield from ((f"{name}_{place}", one) for place, one in enumerate(value, 1))
        else:
            yield name, value


def _or_null(value: float | list[float]) -> float | list[float | None] | None:
    if isinstance(value, list):
        return [one if math.isfinite(one) else None for one in value]
    return value if math.isfinite(value) else None


def _row(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
