"""Stopping early: on a signal, or at the end of the time given."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


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
    def listen(self, answer: Callable[[int], None] = lambda terminal: None) -> Iterator[None]:
        """Answer signals until the block ends; only the main thread can.

        The main thread may be deep in compiled code when a signal comes. So a thread of its own hears of each at once:
        it answers the first, and ends the process on the second, with 128 and the signal's number as exit code.

        Args:
            answer: is called by that thread after the first signal, with a descriptor of standard error as it is now:
                while libraries load, the process's own leads elsewhere.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle_signal) for number in SIGNALS}
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        terminal = os.dup(2)
        heard_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        thread = threading.Thread(target=_hear, args=(reading, terminal, answer), daemon=True)
        thread.start()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(heard_before)
            os.close(writing)
            thread.join()
            for descriptor in (reading, terminal):
                os.close(descriptor)

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
        except Exception:
            if self.signalled:  # a library took the interrupt for an error of its own
                raise KeyboardInterrupt from None
            raise
        finally:
            self._raises = False

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.signalled = True
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt


def _hear(reading: int, terminal: int, answer: Callable[[int], None]) -> None:
    """Answer the first signal whose number comes through a pipe; end the process on the second."""
    heard = 0
    while numbers := os.read(reading, 1):
        if numbers[0] not in SIGNALS:
            continue
        heard += 1
        if heard > 1:
            with suppress(OSError):
                if os.isatty(terminal):
                    os.write(terminal, _SHOW_CURSOR + b"\n")
            os._exit(128 + numbers[0])
        with suppress(OSError, ValueError):  # a terminal that has gone
            answer(terminal)


def end_quietly() -> None:
    """Have Ctrl-C no longer answered by a process that is about to end, which it could only disturb in tidying up."""
    if threading.current_thread() is threading.main_thread():
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more, or it was closed from the start
            sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
