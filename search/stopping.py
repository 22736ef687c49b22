"""When to stop early: a signal, or the end of the time given."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopper:
    """Says whether to stop; the first SIGINT or SIGTERM sets it, the second ends the process at once.

    Args:
        timeout: seconds from now; None for no limit.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.signalled = False

    def __call__(self) -> bool:
        """Whether to stop now."""
        return self.signalled or self.timed_out

    @property
    def timed_out(self) -> bool:
        """Whether the time given is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer signals until the block ends. Only the main thread may."""
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signalled = True
        signal.signal(number, signal.SIG_DFL)
