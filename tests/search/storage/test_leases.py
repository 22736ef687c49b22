"""Leases of workers."""

import itertools
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.study import StudyDirection

from klsearch.search.storage.leases import LEASE_SECONDS, Activity, Leases, progress_of_workers
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.study import StudyStorage

if TYPE_CHECKING:
    pass


DEAD = replace(this_process(), started="1")


ELSEWHERE = replace(this_process(), host="elsewhere")


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1e9

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the storage's leases run on."""
    clock = Clock()
    monkeypatch.setattr("klsearch.search.storage.leases.time.time", clock)
    monkeypatch.setattr("klsearch.search.storage.leases.time.monotonic", clock)
    monkeypatch.setattr("klsearch.search.storage.leases.time.monotonic_ns", itertools.count().__next__)
    return clock


def test_an_owner_of_another_machine_is_dead_when_it_was_silent_for_its_whole_lease(
    study: StudyStorage, clock: Clock
) -> None:
    study.leases.say_alive(ELSEWHERE, {})
    assert not study.leases.is_dead(ELSEWHERE)
    clock.seconds += 0.9 * LEASE_SECONDS
    assert not study.leases.is_dead(ELSEWHERE)
    study.leases.say_alive(ELSEWHERE, {})
    assert not study.leases.is_dead(ELSEWHERE)
    clock.seconds += 0.9 * LEASE_SECONDS
    assert not study.leases.is_dead(ELSEWHERE), "it spoke meanwhile"
    clock.seconds += 0.2 * LEASE_SECONDS
    assert study.leases.is_dead(ELSEWHERE)


@pytest.mark.parametrize("seconds", [-9e8, -3600, -600, 600, 3600, 3 * 24 * 3600.0, 1e9])
def test_whatever_the_clock_of_another_machine_shows_it_lives_while_it_speaks(
    study: StudyStorage, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr("klsearch.search.storage.leases.time.time", lambda: 1e9 + seconds)  # it even stands still
    for _ in range(5):
        study.leases.say_alive(ELSEWHERE, {})
        assert not study.leases.is_dead(ELSEWHERE)
        clock.seconds += 0.9 * LEASE_SECONDS
        assert not study.leases.is_dead(ELSEWHERE)
    clock.seconds += 0.2 * LEASE_SECONDS
    assert study.leases.is_dead(ELSEWHERE)


def test_an_owner_that_never_spoke_is_dead_after_a_lease(study: StudyStorage, clock: Clock) -> None:
    assert not study.leases.is_dead(ELSEWHERE)
    clock.seconds += 1.1 * LEASE_SECONDS
    assert study.leases.is_dead(ELSEWHERE)


def test_a_machine_of_the_same_name_is_another_machine(study: StudyStorage, clock: Clock) -> None:
    namesake = replace(this_process(), boot="another", started="1")
    study.leases.say_alive(namesake, {})
    assert not study.leases.is_dead(namesake)
    clock.seconds += LEASE_SECONDS + 1
    assert study.leases.is_dead(namesake)


def test_an_owner_that_said_it_is_gone_is_dead_at_once(study: StudyStorage) -> None:
    for owner in (ELSEWHERE, this_process()):
        study.leases.say_alive(owner, {})
        assert not study.leases.is_dead(owner)
        study.leases.say_gone(owner)
        assert study.leases.is_dead(owner)


def test_an_owner_whose_process_is_gone_is_dead_at_once(study: StudyStorage) -> None:
    study.leases.say_alive(DEAD, {})
    assert study.leases.is_dead(DEAD)


def test_a_process_that_lives_here_is_alive_however_long_it_was_silent(study: StudyStorage, clock: Clock) -> None:
    study.leases.say_alive(this_process(), {})
    clock.seconds += 100 * LEASE_SECONDS
    assert not study.leases.is_dead(this_process())


def test_a_study_is_worked_on_as_long_as_any_of_its_workers_lives(
    study: StudyStorage, other: tuple[Owner, "subprocess.Popen[str]"]
) -> None:
    study.leases.say_gone(this_process())
    assert not study.leases.is_worked_on()
    owner, process = other
    study.leases.say_alive(DEAD, {})
    assert not study.leases.is_worked_on()
    study.leases.say_alive(owner, {})
    assert study.leases.is_worked_on()
    process.kill()
    process.wait()
    assert not study.leases.is_worked_on()


def test_of_a_silent_worker_elsewhere_nobody_knows_for_a_lease_whether_it_works(
    study: StudyStorage, clock: Clock
) -> None:
    study.leases.say_gone(this_process())
    study.leases.say_alive(ELSEWHERE, {})
    assert study.leases.is_worked_on()
    clock.seconds += 1.1 * LEASE_SECONDS
    assert not study.leases.is_worked_on()


ON_A_MAC = Owner(host="mac.local", boot="93A3-1F", process=77, started="Tue Nov 25 10:07:09 2026")


def test_the_progress_that_each_worker_told_last_is_found_among_a_study_s_attributes(tmp_path: Path) -> None:
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=True) as storage:
        number = storage.create_new_study([StudyDirection.MINIMIZE], "any")
        leases = Leases(storage, number)
        leases.say_alive(ON_A_MAC, {3: {"epoch": 1.0}})
        leases.say_alive(ON_A_MAC, {3: {"epoch": 2.0, "kl": 0.5}, 4: {"epoch": 1.0}})
        leases.say_alive(ELSEWHERE, {5: {"epoch": 9.0}})
        leases.say_gone(ELSEWHERE)
        storage.set_study_user_attr(number, "klsearch:definition", "[study]")
        assert progress_of_workers(storage.get_study_user_attrs(number)) == {
            ON_A_MAC: {"3": {"epoch": 2.0, "kl": 0.5}, "4": {"epoch": 1.0}},
            ELSEWHERE: {},
        }


def test_who_searches_is_who_says_so_and_lives(study: StudyStorage, clock: Clock) -> None:
    leases = study.leases
    leases.say_alive(this_process(), {}, searches=True)
    leases.say_alive(ELSEWHERE, {}, searches=True)
    leases.say_alive(replace(this_process(), host="proving"), {3: {"epoch": 1.0}})
    leases.say_alive(DEAD, {}, searches=True)
    assert leases.count_searching() == 2
    leases.say_gone(this_process())
    assert leases.count_searching() == 1
    clock.seconds += LEASE_SECONDS + 1
    assert leases.count_searching() == 1, "it may be compiling"
    clock.seconds += 5 * LEASE_SECONDS
    assert leases.count_searching() == 0


def test_the_time_left_is_what_the_living_worker_that_spoke_last_forecasts_less_what_has_passed(
    study: StudyStorage, clock: Clock
) -> None:
    leases = study.leases
    leases.say_alive(this_process(), {})
    assert leases.activity() == Activity(is_worked_on=True)
    leases.say_alive(this_process(), {}, left=100.0)
    clock.seconds += 5.0
    leases.say_alive(ELSEWHERE, {}, left=60.0)
    leases.say_alive(DEAD, {}, left=1000.0)
    clock.seconds += 10.0
    assert leases.activity() == Activity(is_worked_on=True, left=50.0)
    leases.say_alive(ELSEWHERE, {3: {"epoch": 1.0}}, left=50.0)
    leases.say_gone(ELSEWHERE)
    assert leases.activity() == Activity(is_worked_on=True, left=85.0)
    leases.say_gone(this_process())
    assert leases.activity() == Activity(is_worked_on=False)


def test_who_asks_once_takes_a_worker_elsewhere_for_gone_that_said_nothing_for_a_quarter_of_an_hour(
    study: StudyStorage, clock: Clock
) -> None:
    study.leases.say_gone(this_process())
    study.leases.say_alive(ELSEWHERE, {}, left=60.0)
    clock.seconds += 901.0
    leases = study.leases
    assert not leases.is_dead(ELSEWHERE), "a worker watches for itself"
    assert leases.activity() == Activity(is_worked_on=False)
