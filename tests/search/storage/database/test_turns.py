"""One process at a time, kept by a queue in the storage."""

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from klsearch.search.storage.database.patience import engine_of
from klsearch.search.storage.database.turns import LockTurns, Turns
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process

DEAD = replace(this_process(), started="1")
ELSEWHERE = replace(this_process(), host="elsewhere")


class Left(Exception):
    """A process does not wait any longer."""


def leave(seconds: float) -> None:
    raise Left


@pytest.fixture(
    params=["journal", "sqlite", pytest.param("postgres", marks=pytest.mark.slow("starts a PostgreSQL server"))]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"{request.param}:///{tmp_path / 'storage'}"


@pytest.fixture
def storage(url: str) -> Iterator[BaseStorage]:
    with open_storage(url, create=True) as storage:
        yield storage


@pytest.fixture
def turns(storage: BaseStorage) -> Turns:
    return Turns(storage, str(uuid.uuid4()), is_dead=Owner.is_known_dead)


def test_whoever_comes_second_waits_until_the_first_is_done(turns: Turns) -> None:
    first = turns.turn(ELSEWHERE, wait=leave)
    first.__enter__()
    with pytest.raises(Left), turns.turn(this_process(), wait=leave):
        pytest.fail("it was not its turn")
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            first.__exit__(None, None, None)

    with turns.turn(this_process(), wait=wait):
        pass
    assert len(waited) == 3


def test_whoever_leaves_the_queue_or_fails_in_its_turn_holds_up_nobody(turns: Turns) -> None:
    with turns.turn(ELSEWHERE, wait=leave):
        with pytest.raises(Left), turns.turn(this_process(), wait=leave):
            pass
    with pytest.raises(ZeroDivisionError), turns.turn(this_process(), wait=leave):
        raise ZeroDivisionError
    with turns.turn(ELSEWHERE, wait=leave):
        pass


def test_the_turn_of_a_dead_process_is_over(turns: Turns) -> None:
    turns.turn(DEAD, wait=leave).__enter__()
    with turns.turn(this_process(), wait=leave):
        pass


def test_what_a_process_left_in_the_queue_when_its_storage_went_away_does_not_stop_it(turns: Turns) -> None:
    turns.turn(this_process(), wait=leave).__enter__()
    with turns.turn(this_process(), wait=leave):
        pass


def test_a_process_that_was_taken_for_dead_while_it_waited_queues_up_again(turns: Turns, storage: BaseStorage) -> None:
    first = turns.turn(ELSEWHERE, wait=leave)
    first.__enter__()
    states: list[list[TrialState]] = []

    def wait(seconds: float) -> None:
        running = storage.get_all_trials(turns._study_id, deepcopy=False, states=(TrialState.RUNNING,))
        if not states:
            storage.set_trial_state_values(running[-1]._trial_id, TrialState.FAIL)
        else:
            first.__exit__(None, None, None)
        states.append([trial.state for trial in running])

    with turns.turn(this_process(), wait=wait):
        running = storage.get_all_trials(turns._study_id, deepcopy=False, states=(TrialState.RUNNING,))
        assert len(running) == 1, "this process alone"
    assert [len(seen) for seen in states] == [2, 2]


COUNT = """
import sys, time
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.database.turns import Turns
with open_storage(sys.argv[1], create=True) as storage:
    turns = Turns(storage, "count", is_dead=Owner.is_known_dead)
    for _ in range(8):
        with turns.turn(this_process(), wait=time.sleep):
            with open(sys.argv[2]) as file:
                count = int(file.read())
            time.sleep(0.005)
            with open(sys.argv[2], "w") as file:
                file.write(str(count + 1))
"""


@pytest.mark.slow("starts three processes")
def test_three_processes_count_together_without_losing_one(
    url: str, storage: BaseStorage, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "count").write_text("0")
    arguments = [sys.executable, "-c", COUNT, url, str(tmp_path / "count")]
    processes = [subprocess.Popen(arguments, env=environment) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "24"


HOLD = """
import sys, time
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.database.turns import Turns
with open_storage(sys.argv[1], create=True) as storage:
    with Turns(storage, "held", is_dead=Owner.is_known_dead).turn(this_process(), wait=time.sleep):
        print("held", flush=True)
        time.sleep(600)
"""


def test_a_process_that_is_killed_in_its_turn_holds_up_nobody(
    url: str, storage: BaseStorage, environment: dict[str, str]
) -> None:
    turns = Turns(storage, "held", is_dead=Owner.is_known_dead)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Left), turns.turn(this_process(), wait=leave):
            pytest.fail("the other has the turn")
        process.kill()
        process.wait()
        began = time.monotonic()
        with turns.turn(this_process(), wait=time.sleep):
            assert time.monotonic() - began < 5


@pytest.fixture
def lock_turns(postgres: str) -> Iterator[LockTurns]:
    with open_storage(postgres, create=True) as storage:
        yield make_lock_turns(storage)


def make_lock_turns(storage: BaseStorage, lease: float = 60.0) -> LockTurns:
    engine = engine_of(storage)
    assert engine is not None
    return LockTurns(storage, engine, 7, lease=lease)


def test_a_lock_is_held_by_one_at_a_time_and_free_after_the_block_and_after_an_error(lock_turns: LockTurns) -> None:
    with lock_turns.turn(this_process(), wait=leave):
        with pytest.raises(Left), lock_turns.turn(ELSEWHERE, wait=leave):
            pytest.fail("it was not its turn")
    with pytest.raises(ZeroDivisionError), lock_turns.turn(this_process(), wait=leave):
        raise ZeroDivisionError
    with lock_turns.turn(ELSEWHERE, wait=leave):
        pass


LOCK = """
import sys, time
from klsearch.search.storage.database.patience import engine_of
from klsearch.search.storage.database.turns import LockTurns
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
with open_storage(sys.argv[1], create=True) as storage:
    for _ in range(int(sys.argv[3])):
        with LockTurns(storage, engine_of(storage), 7, lease=float(sys.argv[4])).turn(this_process(), wait=time.sleep):
            with open(sys.argv[2]) as file:
                count = int(file.read())
            time.sleep(0.005)
            with open(sys.argv[2], "w") as file:
                file.write(str(count + 1))
            if sys.argv[3] == "1":
                print("held", flush=True)
                time.sleep(600)
"""


@pytest.mark.slow("starts three processes")
def test_three_processes_count_together_under_a_lock_without_losing_one(
    postgres: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "count").write_text("0")
    arguments = [sys.executable, "-c", LOCK, postgres, str(tmp_path / "count"), "8", "60"]
    processes = [subprocess.Popen(arguments, env=environment) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "24"


@pytest.mark.slow("starts a process")
@pytest.mark.parametrize(("struck_by", "lease"), [(signal.SIGKILL, 60.0), (signal.SIGSTOP, 2.0)])
def test_a_process_that_is_killed_or_suspended_in_its_turn_holds_up_nobody(
    lock_turns: LockTurns,
    postgres: str,
    tmp_path: Path,
    environment: dict[str, str],
    struck_by: signal.Signals,
    lease: float,
) -> None:
    (tmp_path / "count").write_text("0")
    arguments = [sys.executable, "-c", LOCK, postgres, str(tmp_path / "count"), "1", str(lease)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            process.send_signal(struck_by)
            began = time.monotonic()
            with lock_turns.turn(this_process(), wait=time.sleep):
                assert time.monotonic() - began < 10
        finally:
            process.kill()


def test_a_turn_that_outlasts_its_lease_is_lost_without_an_error(postgres: str) -> None:
    with open_storage(postgres, create=True) as storage:
        with make_lock_turns(storage, lease=0.3).turn(this_process(), wait=leave):
            time.sleep(1.0)
            with make_lock_turns(storage).turn(ELSEWHERE, wait=leave):
                pass
        assert storage.get_all_studies() is not None, "the connection that was lost hurts nobody"
