"""Progress in the output of a notebook's cell."""

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from klsearch.reports.visible import as_line
from klsearch.search.terminal.live import PhaseState, Terminal
from klsearch.search.terminal.progress import EndedTraining, Progress

_WIDTH = 100
_MOST_LINES = 30
_EVERY_SECONDS = 0.5
_PRE = "<pre style=\"white-space:pre;line-height:normal;font-family:Menlo,'DejaVu Sans Mono',monospace\">{code}</pre>"

Bundle = Mapping[str, str]


class Notebook(AbstractContextManager["Notebook"]):
    """Progress that is drawn anew in one place: the latest lines, and a bar below them.

    Args:
        show: takes what is to be seen, by MIME type, in place of what it took before.
    """

    def __init__(self, show: Callable[[Bundle], None]) -> None:
        self._show = show
        self._lines: list[str] = []
        self._state: PhaseState | None = None
        self._last = -_EVERY_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = None
        self._draw()

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        self._lines = [*self._lines, line][-_MOST_LINES:]
        self._draw()

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Start the bar of a phase."""
        self._state = PhaseState(phase, done=done, total=total, best=best, kl_unit=kl_unit)
        self._draw()

    def count(self, ended: EndedTraining | None) -> None:
        """Count a training, and show the best so far."""
        if self._state is None:
            return
        self._state.count(ended)
        if self._state.done == self._state.total:
            line, self._state = self._state.line(), None
            self.say(line)

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Show the leading training, now and then."""
        if self._state is None:
            return
        self._state.watch(running, left)
        if time.monotonic() - self._last >= _EVERY_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._last = time.monotonic()
        console = Console(record=True, file=io.StringIO(), width=_WIDTH, force_jupyter=False, highlight=False)
        for line in self._lines:
            console.print(as_line(line), markup=False)
        if self._state is not None:
            console.print(self._state)
        text = console.export_text(clear=False)
        self._show({"text/plain": text, "text/html": console.export_html(inline_styles=True, code_format=_PRE)})


@contextmanager
def fitting_progress() -> Iterator[Progress]:
    """A block with progress where this process's user looks: in the cell of a notebook, else on standard error."""
    display = _display_of_notebook()
    with Terminal(live=True) if display is None else Notebook(display) as progress:
        yield progress


def _display_of_notebook() -> Callable[[Bundle], None] | None:
    """What shows something in the cell that runs, in place of what it showed before; None outside a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    handle: Any = None

    def show(bundle: Bundle) -> None:
        nonlocal handle
        if handle is None:
            handle = ipython.display.display(dict(bundle), raw=True, display_id=True)
        else:
            handle.update(dict(bundle), raw=True)

    return show
