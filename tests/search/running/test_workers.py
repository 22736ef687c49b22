"""Several workers on one study, started by one command."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from joblib.externals.loky import get_reusable_executor
from optuna.trial import TrialState

from klsearch.search.running import workers
from klsearch.search.running.options import RunOptions
from klsearch.search.running.workers import _Overseer, worker_count
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.errors import UsageError

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process, Told, Workshop

Klsearch = Callable[..., "Called"]
Start = Callable[..., "Process"]
Run = Callable[..., "Process"]
RowsIn = Callable[..., list[Row]]
TRIALS = 20
# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 600


def assert_every_row_complete(rows: list[Row], trials: int) -> None:
    """Exactly so many trials, all finished, none double."""
    assert [row.number for row in rows] == list(range(trials))
    assert {row.state for row in rows} == {TrialState.COMPLETE}
    assert len({row.run.hyperparameters for row in rows}) == trials


def test_a_pruned_trial_of_a_worker_is_not_shown_as_one_to_use(
    workshop: "Workshop", study: StudyStorage, told: "Told"
) -> None:
    feasible = next(int(one.label.split()[1]) for one in workshop.search(study, 12) if one.rank.feasible)
    row = study.row(feasible)
    assert row.result is not None
    overseer = _Overseer(study, workshop.definition, told)
    for pruned in (False, True):
        number = study.create_row(row.run, this_process())
        study.finish_row(number, row.result, owner=this_process(), score=row.score, constraints={}, pruned=pruned)
    overseer._look()
    assert [one is not None and one.rank.feasible for one in told.ended] == [True, False]


@pytest.fixture
def run(start: Start, command: list[str], tmp_path: Path, write: Callable[..., Path]) -> Run:
    """Starts a run of the small study in a process of its own: trials take some seconds, the band is found first."""
    trials = f'trials = {TRIALS}\nkl_band = "auto"'
    definition = write(tmp_path, ("epochs = 12", "epochs = 120"), ("trials = 24", trials))
    arguments = ("run", definition, "--out", "run", "--slots", 4, "--no-confirm", "--no-progress")
    return lambda *options: start(*command, *arguments, *options, cwd=tmp_path, err=tmp_path / "err")


def owners(rows: list[Row]) -> set[Owner]:
    return {row.owner for row in rows}


def test_a_worker_that_is_killed_does_not_end_the_study(run: Run, rows_in: RowsIn, tmp_path: Path) -> None:
    process, folder = run("--workers", "2"), tmp_path / "run"
    process.wait_until(lambda: len(rows := rows_in(folder)) > 8 and len(owners(rows)) == 2)
    first = owners(rows_in(folder))
    os.kill(min(owner.process for owner in first), signal.SIGKILL)
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    err = (tmp_path / "err").read_text()
    assert "warning: a worker was killed; all are started again and go on from their checkpoints." in err
    assert err.count("Training the reference for the KL band") == 1, "all workers keep the band that was found"
    assert "Traceback" not in err
    assert_every_row_complete(rows_in(folder), TRIALS)
    assert not (folder / "checkpoint").exists()
    assert all(owner.is_known_dead() for owner in first | owners(rows_in(folder))), "no worker is left"


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command_that_started_them_and_their_trials_go_on(
    run: Run, klsearch: Klsearch, rows_in: RowsIn, tmp_path: Path, number: signal.Signals
) -> None:
    process, folder = run("--workers", "2"), tmp_path / "run"
    process.wait_until(lambda: len(rows := rows_in(folder)) > 8 and len(owners(rows)) == 2)
    began = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=20)
    if number is signal.SIGTERM:
        assert process.returncode == 130
        assert time.monotonic() - began < 10
    workers = owners(rows_in(folder))
    while not all(owner.is_known_dead() for owner in workers):
        assert time.monotonic() - began < 20, "they outlive the command"
        time.sleep(0.1)
    before = {row.number: row.run for row in rows_in(folder)}
    ended = klsearch("resume", folder, "--no-confirm")
    assert ended.code == 0, ended.err
    rows = rows_in(folder)
    assert_every_row_complete(rows, TRIALS)
    assert {number: rows[number].run for number in before} == before


# The first call is that of the command itself; its workers make the others.
ROWS = """
from pathlib import Path
import numpy as np

def load():
    here = Path(__file__).parent
    call = 0
    while True:
        try:
            (here / f"call{call}").touch(exist_ok=False)
            break
        except FileExistsError:
            call += 1
    if call in FAILING:
        raise OSError("no such share")
    return np.loadtxt(here / "rows.csv", delimiter=",", skiprows=1)
"""


@pytest.mark.parametrize(("failing", "code"), [({1}, 0), ({1, 2}, 2)])
@pytest.mark.slow("starts workers, which load TensorFlow")
def test_a_worker_that_fails_is_told_at_once_and_counts_only_if_the_budget_is_not_met(
    failing: set[int], code: int, klsearch: Klsearch, rows_in: RowsIn, tmp_path: Path, write: Callable[..., Path]
) -> None:
    module = f"failing{len(failing)}"
    definition = write(tmp_path, ("trials = 24", "trials = 8"), ("rows.csv", f"{module}:load"))
    (tmp_path / f"{module}.py").write_text(f"FAILING = {failing}\n{ROWS}")
    called = klsearch("run", definition, "--out", tmp_path / "run", "--slots", 4, "--workers", 2, "--no-confirm")
    assert called.code == code, called.err
    *lines, last = called.err.splitlines()
    if code:
        assert re.fullmatch(r"klsearch: a worker failed: .*no such share.*", last)
    else:
        (warned,) = (line for line in lines if "no such share" in line)
        assert warned.startswith("warning: a worker failed, 1 of 2 go on: ")
        assert len(rows_in(tmp_path / "run")) == 8


WITH_CARD = """
import os
from pathlib import Path
import numpy as np

def load():
    here = Path(__file__).parent
    with (here / "cards").open("a") as file:
        file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "all") + "\\n")
    return np.loadtxt(here / "rows.csv", delimiter=",", skiprows=1)
"""


@pytest.mark.parametrize(
    ("cards", "visible", "seen"),
    [(2, None, ["0", "1"]), (3, "5,GPU-77c0,6", ["5", "GPU-77c0"]), (0, "-1", ["-1", "-1"])],
)
@pytest.mark.slow("starts workers, which load TensorFlow")
def test_each_worker_sees_a_card_of_its_own_among_those_of_the_command(
    cards: int,
    visible: str | None,
    seen: list[str],
    klsearch: Klsearch,
    rows_in: RowsIn,
    tmp_path: Path,
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command is told of cards that are not there; what its workers see is what they are started with."""
    get_reusable_executor().shutdown()  # its processes know the cards of the test before
    monkeypatch.setattr(workers, "count_cards", lambda: cards)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    definition = write(tmp_path, ("trials = 24", "trials = 8"), ("rows.csv", f"cards{cards}:load"))
    (tmp_path / f"cards{cards}.py").write_text(WITH_CARD)
    called = klsearch("run", definition, "--out", tmp_path / "run", "--slots", 4, "--workers", 2, "--no-confirm")
    assert called.code == 0, called.err
    assert len(rows_in(tmp_path / "run")) == 8
    command, *of_workers = (tmp_path / "cards").read_text().split()
    assert command == (visible or "all")
    assert sorted(of_workers) == sorted(seen)


@dataclass(frozen=True)
class Cluster:
    address: str
    scheduler: "Process"


Assemble = Callable[..., Cluster]


@pytest.fixture
def assemble(start: Start, tmp_path: Path) -> Assemble:
    """A function that starts a Dask cluster of worker processes with these options, on this machine alone.

    They look for packages in a folder first, if one is named.
    """
    return lambda *wanted, finding=tmp_path: start_cluster(start, tmp_path, wanted, finding)


@pytest.fixture
def cluster(assemble: Assemble) -> Cluster:
    """A Dask scheduler with two worker processes of one thread each."""
    return assemble(ONE_THREAD, ONE_THREAD)


ONE_THREAD = ("--nthreads", "1")
WITH_GPU = (*ONE_THREAD, "--resources", "GPU=1")


def start_cluster(start: Start, tmp_path: Path, wanted: Sequence[Sequence[str]], finding: Path) -> Cluster:
    dask, log = (sys.executable, "-m"), tmp_path / "scheduler.log"
    scheduler = start(
        *dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard",
        cwd=tmp_path, err=log,
    )  # fmt: skip
    scheduler.wait_until(lambda: "Scheduler at:" in log.read_text())
    address = re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text())
    assert address is not None
    for options in wanted:
        start(
            "env", f"PYTHONPATH={finding}", *dask, "distributed.cli.dask_worker", address[1],
            "--host", "127.0.0.1", "--no-dashboard", *options,
            cwd=tmp_path, err=tmp_path / "worker.log",
        )  # fmt: skip
    scheduler.wait_until(lambda: log.read_text().count("Register worker") == len(wanted))
    return Cluster(address[1], scheduler)


@pytest.mark.faults
def test_the_workers_of_a_dask_cluster_search_together(
    run: Run, cluster: Cluster, rows_in: RowsIn, tmp_path: Path
) -> None:
    process = run("--backend", "dask", "--scheduler", cluster.address)
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    assert "Searching with 2 workers" in (tmp_path / "err").read_text()
    rows = rows_in(tmp_path / "run")
    assert_every_row_complete(rows, TRIALS)
    assert len({row.owner for row in rows}) == 2


@pytest.mark.faults
def test_a_worker_of_a_cluster_that_is_killed_does_not_end_the_study(
    run: Run, cluster: Cluster, rows_in: RowsIn, tmp_path: Path
) -> None:
    process, folder = run("--backend", "dask", "--scheduler", cluster.address), tmp_path / "run"
    process.wait_until(lambda: len(rows := rows_in(folder)) > 4 and len(owners(rows)) == 2)
    os.kill(min(owner.process for owner in owners(rows_in(folder))), signal.SIGKILL)
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert_every_row_complete(rows_in(folder), TRIALS)


@pytest.mark.parametrize(
    ("started", "count"),
    [
        ([ONE_THREAD, ONE_THREAD], 2),
        ([WITH_GPU, ONE_THREAD, WITH_GPU], 2),
        ([WITH_GPU, ("--nthreads", "4")], 1),
    ],
    ids=["none has a card", "two of three have one", "one has none, and many threads"],
)
def test_of_a_cluster_with_cards_the_workers_that_have_one_search(
    assemble: Assemble, started: list[tuple[str, ...]], count: int
) -> None:
    assert worker_count(RunOptions(scheduler=assemble(*started).address)) == count


def test_a_worker_of_several_threads_is_refused(assemble: Assemble) -> None:
    address = assemble(ONE_THREAD, ("--nthreads", "2")).address
    with pytest.raises(UsageError, match="must have one thread"):
        worker_count(RunOptions(scheduler=address))


def test_a_worker_of_other_versions_is_refused(assemble: Assemble, tmp_path: Path) -> None:
    """Its trials would come out differently, and the same command would not be the same study again."""
    metadata = tmp_path / "other" / "keras-2.0.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: keras\nVersion: 2.0.0\n")
    address = assemble(ONE_THREAD, finding=tmp_path / "other").address
    here = re.escape(version("keras"))
    with pytest.raises(
        UsageError, match=rf"worker at tcp://\S+ has keras 2\.0\.0 \(here: {here}\), .*the same versions"
    ):
        worker_count(RunOptions(scheduler=address))


def test_a_worker_without_klsearch_is_refused(assemble: Assemble, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "klsearch.py").touch()  # in place of the package
    address = assemble(ONE_THREAD, finding=tmp_path / "other").address
    with pytest.raises(UsageError, match=r"cannot run klsearch \(.*'klsearch' is not a package.*\); install klsearch"):
        worker_count(RunOptions(scheduler=address))


@pytest.mark.faults
def test_no_worker_without_a_card_is_given_trials_where_another_has_one(
    run: Run, assemble: Assemble, rows_in: RowsIn, tmp_path: Path
) -> None:
    process = run("--backend", "dask", "--scheduler", assemble(WITH_GPU, ONE_THREAD, ONE_THREAD).address)
    assert process.wait(timeout=LONGEST_SECONDS) == 0, (tmp_path / "err").read_text()
    assert "Searching with 1 worker…" in (tmp_path / "err").read_text()
    rows = rows_in(tmp_path / "run")
    assert_every_row_complete(rows, TRIALS)
    assert len({row.owner for row in rows}) == 1


@pytest.mark.faults
def test_a_scheduler_that_is_killed_is_one_line_soon(
    run: Run, cluster: Cluster, rows_in: RowsIn, tmp_path: Path
) -> None:
    process = run("--backend", "dask", "--scheduler", cluster.address)
    process.wait_until(lambda: len(rows_in(tmp_path / "run")) > 4)
    cluster.scheduler.kill()
    killed = time.monotonic()
    assert process.wait(timeout=LONGEST_SECONDS) == 1
    assert time.monotonic() - killed < 60
    err = (tmp_path / "err").read_text()
    last = err.splitlines()[-1]
    assert last.startswith(f"klsearch: the Dask scheduler at {cluster.address} went away, and its workers with it. ")
    assert last.endswith("start the cluster and give the same command again to go on.")
    assert "distributed" not in err


@pytest.mark.parametrize(
    "address",
    ["", " ", "nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "http://127.0.0.1:1", "\x00:1"],
)
def test_what_is_no_address_of_a_scheduler_is_refused_at_once(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a Dask scheduler; write it as tcp://HOST:PORT"):
        worker_count(RunOptions(scheduler=address))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_a_scheduler_that_is_not_there_is_one_clear_line_even_when_the_process_has_ended(
    address: str, command: list[str], environment: dict[str, str], definition_file: Path
) -> None:
    """A client without certificates fails half-made."""
    called = subprocess.run(
        [
            *command, "run", str(definition_file), "--out", str(definition_file.parent / "run"), "--slots", "2",
            "--quiet", "--backend", "dask", "--scheduler", address,
        ],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert called.returncode == 2
    assert called.stderr == f"klsearch: there is no Dask scheduler at {address}; start one with `dask scheduler`.\n"


def test_the_cluster_decides_how_many_workers_there_are(klsearch: Klsearch, definition_file: Path) -> None:
    called = klsearch("run", definition_file, "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1", "--workers", 2)
    assert (called.code, called.err) == (2, "klsearch: all workers of the Dask cluster search; leave --workers out.\n")


@pytest.mark.parametrize("options", [("--backend", "dask"), ("--scheduler", "tcp://127.0.0.1:1")])
def test_dask_needs_its_scheduler_named(klsearch: Klsearch, definition_file: Path, options: tuple[str, str]) -> None:
    called = klsearch("run", definition_file, *options)
    assert (called.code, called.err) == (
        2,
        "klsearch: give --backend dask and --scheduler ADDRESS together, or neither.\n",
    )
