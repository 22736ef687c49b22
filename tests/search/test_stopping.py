"""When to stop early."""

import os
import signal

from search.stopping import Stopper


def test_without_a_limit_nothing_stops() -> None:
    stopper = Stopper()
    assert not stopper()
    assert not stopper.stopped


def test_a_time_that_is_over_stops() -> None:
    stopper = Stopper(timeout=0.0)
    assert not stopper.stopped, "nobody has asked yet"
    assert stopper()
    assert stopper.stopped
    assert not stopper.signalled


def test_a_time_that_is_not_over_does_not_stop() -> None:
    assert not Stopper(timeout=3600.0)()


def test_the_first_signal_asks_to_stop_and_the_second_ends_the_process() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        before, stopper = signal.getsignal(number), Stopper()
        with stopper.listening():
            os.kill(os.getpid(), number)
            assert stopper.signalled
            assert stopper()
            assert signal.getsignal(number) is signal.SIG_DFL
        assert signal.getsignal(number) is before
