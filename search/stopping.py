"""Stopping early: on a signal, or at the end of the time given."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The user or a time limit asked to stop; what was trained so far is kept."""


class Stopper:
    """Says whether to stop; the first SIGINT or SIGTERM sets it, the second ends the process at once.

    Args:
        timeout: seconds from now; None for no limit.

    Attributes:
        signalled: whether a signal came.
        stopped: whether anyone asked and was told to stop.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._raises = False
        self.signalled = False
        self.stopped = False

    def __call__(self) -> bool:
        """Tell whether to stop now."""
        timed_out = self._deadline is not None and time.monotonic() >= self._deadline
        self.stopped = self.stopped or self.signalled or timed_out
        return self.stopped

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Answer signals until the block ends; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interrupt_at_once(self) -> Iterator[None]:
        """A block in which there is nothing to save: a signal ends it with KeyboardInterrupt, wherever it is.

        Raises:
            KeyboardInterrupt: a signal came, in the block or before.
        """
        self._raises = True
        try:
            if self.signalled:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.signalled = True
        for either in (signal.SIGINT, signal.SIGTERM):
            signal.signal(either, signal.SIG_DFL)
        if self._raises:
            raise KeyboardInterrupt
