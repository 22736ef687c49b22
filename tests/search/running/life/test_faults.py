"""What people do to studies that run overnight: processes are killed, servers go away. Long, so `make faults`."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.layout import Layout
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.models import build_network, build_population
from klsearch.studies.definitions.data import load_data
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.training.population import Population

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

pytestmark = pytest.mark.faults

Klsearch = Callable[..., "Called"]
Start = Callable[..., "Process"]
Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]
RowsIn = Callable[..., list[Row]]

# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900

# Some seconds for each wave of four trials on a machine with two cores.
LONGER = ("epochs = 12", "epochs = 300")


def rows_of(url: str, name: str) -> list[Row]:
    with open_storage(url, create=False) as storage:
        return StudyStorage.load(storage, name).rows()


def wait_for_line(file: Path, beginning: str, process: "Process") -> None:
    """Until a process has written such a line."""
    process.wait_until(lambda: re.search(rf"^{beginning}", file.read_text(), re.MULTILINE))


def checkpointed(folder: Path) -> float:
    """When a checkpoint was last written into a run folder; 0 before."""
    return max((path.stat().st_mtime for path in folder.glob("checkpoint/*.npz")), default=0.0)


def wait_for_checkpoint(folder: Path, process: "Process", *, since: float) -> None:
    """Until there is a newer checkpoint: a process writes one when it has compiled and begins to train."""
    process.wait_until(lambda: checkpointed(folder) > since)


def wait_for_training(url: str, name: str, workers: list["Process"]) -> None:
    """Until so many workers have trials in training."""

    def owners() -> set[Owner]:
        return {row.owner for row in rows_of(url, name) if row.state is TrialState.RUNNING}

    workers[0].wait_until(lambda: len(owners()) == len(workers))


@pytest.mark.parametrize(("asked", "kills"), [(("--trials", 100), 20), ((), 6)], ids=["exactly 100", "until decided"])
def test_kills_of_one_study_leave_no_trace(
    start: Start,
    command: list[str],
    klsearch: Klsearch,
    rows_in: RowsIn,
    outcomes: Outcomes,
    tmp_path: Path,
    asked: tuple[object, ...],
    kills: int,
) -> None:
    options = ("--slots", 20, "--no-confirm", "--no-progress", *asked)
    whole = klsearch("run", "digits", "--out", tmp_path / "whole", *options)
    assert whole.code == 0, whole.err
    seconds, rng, folder = [], random.Random(0), tmp_path / "killed"
    for kill in range(kills):
        err = tmp_path / f"err{kill}"
        began, before = time.monotonic(), checkpointed(folder)
        process = start(*command, "run", "digits", "--out", folder, *options, cwd=tmp_path, err=err)
        # Three kills while it starts, three while it compiles, the others while it trains, however fast that is here.
        if kill % 7 == 3:
            time.sleep(rng.uniform(0.5, 5.0))
        elif kill % 7 == 5:
            wait_for_line(err, "Compiling", process)
            time.sleep(rng.uniform(0.0, 1.0))
        else:
            wait_for_checkpoint(folder, process, since=before)
            seconds.append(time.monotonic() - began)
            time.sleep(rng.uniform(0.0, 2.0))
        assert process.poll() is None, "it was faster than the kills"
        process.kill()
        process.wait()
        assert not re.search("Traceback|warning: .*(checkpoint|differently)", err.read_text())
    assert any(row.state is TrialState.RUNNING for row in rows_in(folder))
    ended = klsearch("resume", folder, "--no-confirm", "--no-progress")
    assert ended.code == 0, ended.err
    killed, uninterrupted = (outcomes(rows_in(tmp_path / name)) for name in ("killed", "whole"))
    assert len(killed) == 100 if asked else 20 <= len(killed) < 100
    assert killed == uninterrupted
    assert not (folder / "checkpoint").exists()
    print(f"{kills} kills, {len(killed)} trials compared; {np.median(seconds):.1f} s from start to training again")


def test_a_confirmation_that_is_killed_again_and_again_trains_nothing_twice(
    start: Start, command: list[str], klsearch: Klsearch, rows_in: RowsIn, tmp_path: Path
) -> None:
    options = ("--slots", 8, "--trials", 8, "--no-progress")
    whole = klsearch("run", "digits", "--out", tmp_path / "whole", *options)
    assert whole.code == 0, whole.err
    folder = tmp_path / "killed"

    def has_confirmed(trainings: int) -> bool:
        rows = rows_in(folder, confirmation=True)
        return sum(row.state is TrialState.COMPLETE for row in rows) >= trainings

    for trainings in (8, 15):  # 15 of the race and of the baselines, 8 at a time, then 8 of the proof
        err = tmp_path / f"err{trainings}"
        process = start(*command, "run", "digits", "--out", folder, *options, cwd=tmp_path, err=err)
        process.wait_until(partial(has_confirmed, trainings))
        process.kill()
        process.wait()
    ended = klsearch("resume", folder, "--trials", 8, "--no-progress")
    assert ended.code == 0, ended.err
    assert "again" not in ended.err
    killed, uninterrupted = (klsearch("best", tmp_path / name, "--json").document for name in ("killed", "whole"))
    assert (killed["race"], killed["confirmation"]) == (uninterrupted["race"], uninterrupted["confirmation"])
    assert (len(killed["race"]), len({(e["name"], e["seed"]) for e in killed["confirmation"]})) == (9, 8 + 2 * 3)
    assert not (folder / "checkpoint").exists()


def trained_again(definition_file: Path, rows: list[Row]) -> list[dict[str, Any]]:
    """What the trials of these rows leave when they are trained from nothing but their settings and seeds."""
    definition = parse_definition(definition_file.read_text(), str(definition_file))
    dataset = load_data(definition, definition_file.parent)
    network = build_network(definition, dataset, definition_file.parent)
    population: Population = build_population(definition, network, dataset, Layout(6, 6))
    for slot, row in enumerate(rows):
        population.start(slot, row.run.hyperparameters, row.run.seed)
    for _ in range(definition.training.epochs):
        while not population.advance():
            pass
    measured = population.measure(range(len(rows)), "validation")
    return [
        {
            "curves": population.curves(slot).as_rows().tobytes(),
            "measures": [np.asarray(getattr(measures, name)).tobytes() for name in measures.__slots__],
        }
        for slot, measures in enumerate(measured)
    ]


def assert_budget_met(rows: list[Row], trials: int) -> None:
    """Exactly so many finished trials, none running, none double."""
    finished = [row for row in rows if row.state is TrialState.COMPLETE]
    assert len(finished) == trials
    assert not [row for row in rows if row.state is TrialState.RUNNING]
    assert len({row.run.hyperparameters for row in finished}) == trials


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_four_workers_on_one_storage_are_killed_every_few_seconds(
    start: Start,
    command: list[str],
    outcomes: Outcomes,
    write: Callable[..., Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    url = f"sqlite:///{tmp_path / 'four.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")
    definition = write(tmp_path, LONGER, ("trials = 24", "trials = 60"), ('name = "tiny"', 'name = "four"'))
    rng, kills = random.Random(0), 0

    def begin(index: int) -> "Process":
        folder = tmp_path / f"worker{index}"
        arguments = ("run", definition, "--out", folder, "--storage", url, "--slots", 2, "--no-confirm")
        return start(*command, *arguments, "--no-progress", cwd=tmp_path, err=tmp_path / f"err{index}")

    workers = [begin(index) for index in range(4)]
    deadline = time.monotonic() + LONGEST_SECONDS
    while any(worker.poll() is None for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(rng.uniform(4.0, 8.0))
        living = [index for index, worker in enumerate(workers) if worker.poll() is None]
        if living and kills < 10:
            index = rng.choice(living)
            workers[index].kill()
            workers[index].wait()
            workers[index] = begin(index)
            kills += 1
    errors = "".join(path.read_text() for path in tmp_path.glob("err*"))
    assert [worker.returncode for worker in workers] == [0] * 4, errors
    assert "sw0rdfish" not in errors and "Traceback" not in errors
    rows = rows_of(url, "four")
    assert_budget_met(rows, 60)
    assert len({row.owner for row in rows}) >= 4
    drawn = rng.sample([row for row in rows if row.result is not None and not row.result.curves.diverged], 5)
    expected = [{key: left[key] for key in ("curves", "measures")} for left in outcomes(drawn)]
    assert trained_again(definition, drawn) == expected
    print(f"{kills} kills, {len(rows)} rows, {len({row.owner for row in rows})} processes")


def test_postgresql_goes_away_for_ten_seconds(
    start: Start, command: list[str], postgres_server: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    definition = write(tmp_path, LONGER, ('name = "tiny"', 'name = "away"'))
    workers = [
        start(
            *command, "run", definition, "--out", tmp_path / f"worker{index}", "--storage", postgres_server.url,
            "--slots", 2, "--no-confirm", "--no-progress", cwd=tmp_path, err=tmp_path / f"err{index}",
        )
        for index in range(2)
    ]  # fmt: skip
    for index, worker in enumerate(workers):
        wait_for_line(tmp_path / f"err{index}", "Compiling", worker)
    wait_for_training(postgres_server.url, "away", workers)
    postgres_server.stop()
    time.sleep(10.0)
    postgres_server.start()
    assert [worker.wait(timeout=LONGEST_SECONDS) for worker in workers] == [0, 0]
    for index in range(2):
        lines = (tmp_path / f"err{index}").read_text().splitlines()
        assert len([line for line in lines if "the storage does not answer" in line]) == 1, lines
        assert len([line for line in lines if line.startswith("The storage answers again, after ")]) == 1, lines
        assert not [line for line in lines if "Traceback" in line or "sw0rdfish" in line]
    assert_budget_met(rows_of(postgres_server.url, "away"), 24)


def test_a_machine_that_joins_a_study_trains_its_share_of_the_same_course(
    start: Start,
    command: list[str],
    klsearch: Klsearch,
    outcomes: Outcomes,
    rows_in: RowsIn,
    postgres: str,
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    definition = write(tmp_path, LONGER, ("trials = 24", "trials = 80"), ('name = "tiny"', 'name = "joined"'))
    options = ("--slots", 16, "--no-confirm", "--no-progress")
    assert klsearch("run", definition, "--out", tmp_path / "alone", *options).code == 0
    workers = []
    for index in range(2):
        arguments = ("run", definition, "--out", tmp_path / f"worker{index}", "--storage", postgres, *options)
        workers.append(start(*command, *arguments, cwd=tmp_path, err=tmp_path / f"err{index}"))
        wait_for_line(tmp_path / f"err{index}", "Compiling", workers[-1])
        if index == 0:  # however long the second takes to load its libraries, most trials are still to come then
            wait_for_training(postgres, "joined", workers)
            workers[0].send_signal(signal.SIGSTOP)
    workers[0].send_signal(signal.SIGCONT)
    assert [worker.wait(timeout=LONGEST_SECONDS) for worker in workers] == [0, 0]
    rows = rows_of(postgres, "joined")
    trained = Counter(row.owner for row in rows)
    assert len(trained) == 2 and min(trained.values()) >= 8, trained
    assert outcomes(rows) == outcomes(rows_in(tmp_path / "alone"))


def test_ctrl_c_while_postgresql_is_away_keeps_what_was_trained(
    start: Start,
    command: list[str],
    postgres_server: Any,
    klsearch: Klsearch,
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    definition, err = write(tmp_path, LONGER, ('name = "tiny"', 'name = "left"')), tmp_path / "err"
    arguments = ("run", definition, "--out", tmp_path / "run", "--storage", postgres_server.url, "--no-confirm")
    running = start(*command, *arguments, "--slots", 4, "--no-progress", cwd=tmp_path, err=err)
    wait_for_line(err, "Compiling", running)
    time.sleep(6.0)
    postgres_server.stop()
    try:
        wait_for_line(err, "warning: the storage does not answer", running)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130, err.read_text()
    finally:
        postgres_server.start()
    assert err.read_text().splitlines()[-2:] == [
        "Stopped; what was trained is kept.",
        "klsearch: stopped while the storage did not answer; what was trained is kept. Give the same command again to "
        "go on.",
    ]
    assert len(list((tmp_path / "run" / "checkpoint").glob("*.npz"))) == 1
    ended = klsearch(*arguments)
    assert ended.code == 0, ended.err
    assert "Going on with left: " in ended.err
    assert_budget_met(rows_of(postgres_server.url, "left"), 24)


# Before the command: what makes a worker one of another machine, with a lease that a test can wait for.
ON_MACHINE = """
import socket
from klsearch.search.storage import leases
from klsearch.search.trials import source as trials
leases.LEASE_SECONDS = trials.LEASE_SECONDS = 8.0
socket.gethostname = lambda: "{}"
"""


def test_a_worker_that_was_stalled_finds_its_trials_taken_and_drops_them(
    start: Start, command: list[str], postgres: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    definition = write(tmp_path, LONGER, ('name = "tiny"', 'name = "stalled"'))
    *python, code = command

    def command_on(machine: str) -> list[object]:
        return [*python, ON_MACHINE.format(machine) + code, "run", definition]

    options = ("--storage", postgres, "--slots", 4, "--no-confirm", "--no-progress")
    stalled = start(*command_on("elsewhere"), "--out", tmp_path / "a", *options, cwd=tmp_path, err=tmp_path / "errA")
    wait_for_line(tmp_path / "errA", "Compiling", stalled)
    wait_for_training(postgres, "stalled", [stalled])
    stalled.send_signal(signal.SIGSTOP)
    had = [row.number for row in rows_of(postgres, "stalled") if row.state is TrialState.RUNNING]
    other = start(*command_on("here"), "--out", tmp_path / "b", *options, cwd=tmp_path, err=tmp_path / "errB")
    deadline = time.monotonic() + LONGEST_SECONDS
    while {row.number: row.owner.host for row in rows_of(postgres, "stalled")}[had[0]] != "here":
        assert time.monotonic() < deadline, "nobody took over"
        time.sleep(0.5)
    taken = {row.number for row in rows_of(postgres, "stalled") if row.number in had and row.owner.host == "here"}
    stalled.send_signal(signal.SIGCONT)
    assert [other.wait(timeout=LONGEST_SECONDS), stalled.wait(timeout=LONGEST_SECONDS)] == [0, 0], (
        tmp_path / "errA"
    ).read_text()
    assert not re.search("Traceback|warning: trial", (tmp_path / "errA").read_text() + (tmp_path / "errB").read_text())
    rows = rows_of(postgres, "stalled")
    assert_budget_met(rows, 24)
    assert {rows[number].owner.host for number in taken} == {"here"}


def test_two_runs_started_at_once_on_one_embedded_study(
    start: Start, command: list[str], rows_in: RowsIn, write: Callable[..., Path], tmp_path: Path
) -> None:
    definition = write(tmp_path)
    processes = [
        start(
            *command, "run", definition, "--out", tmp_path / "run", "--slots", 8, "--no-confirm", cwd=tmp_path, err=err
        )
        for err in (tmp_path / "err0", tmp_path / "err1")
    ]
    assert sorted(process.wait(timeout=LONGEST_SECONDS) for process in processes) == [0, 2]
    (refused,) = (i for i, process in enumerate(processes) if process.returncode == 2)
    assert "is being trained by process" in (tmp_path / f"err{refused}").read_text()
    assert_budget_met(rows_in(tmp_path / "run"), 24)


def test_four_runs_started_at_once_on_one_shared_study(
    start: Start, command: list[str], write: Callable[..., Path], tmp_path: Path
) -> None:
    """All find no study, and one of them makes it; SQLite, since the others are tried on PostgreSQL."""
    definition = write(tmp_path)
    url = f"sqlite:///{tmp_path}/shared.db"
    processes = [
        start(
            *command, "run", definition, "--out", tmp_path / f"w{index}", "--storage", url, "--slots", 2,
            "--no-confirm", cwd=tmp_path, err=tmp_path / f"err{index}",
        )
        for index in range(4)
    ]  # fmt: skip
    codes = [process.wait(timeout=LONGEST_SECONDS) for process in processes]
    assert codes == [0] * 4, [(tmp_path / f"err{index}").read_text() for index in range(4)]
    rows = rows_of(url, "tiny")
    assert_budget_met(rows, 24)
    assert [row.number for row in rows] == list(range(24)), "no row was void"
    assert [row.run.label for row in rows][:2] == ["before", "mine"]
