"""Containers that share a folder: all that a process is known by is the same in each, but its token."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.files import remove_unfinished

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

Klsearch = Callable[..., "Called"]
Start = Callable[..., "Process"]
Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]
RowsIn = Callable[..., list[Row]]
Begin = Callable[[str], "subprocess.Popen[str]"]

# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900
# Trials that train for some seconds, so that both containers have some when one of them is killed.
LONGER = ("epochs = 12", "epochs = 100")
# Before the command: a lease that a test can wait for.
SHORT_LEASE = """
from klsearch.search.storage import leases
from klsearch.search.trials import source
leases.LEASE_SECONDS = source.LEASE_SECONDS = 8.0
"""


@pytest.fixture(scope="session")
def container() -> list[str]:
    """What starts a command as process 1 of a container of its own; killed, it takes the command with it."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child"]
    if os.geteuid() != 0:
        unshare.insert(1, "--map-root-user")
    try:
        refused = subprocess.run([*unshare, "true"], capture_output=True, text=True).stderr
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        pytest.skip(f"needs namespaces of processes: {refused.strip()}")
    return unshare


@pytest.fixture
def command(container: list[str], command: list[str]) -> list[str]:
    """What starts the command line in a container."""
    *python, code = command
    return [*container, *python, SHORT_LEASE + code]


@pytest.fixture
def inside(container: list[str], environment: dict[str, str], tmp_path: Path) -> Iterator[Begin]:
    """Starts Python code in a container, in the folder that containers share; it does not outlive the test."""
    with ExitStack() as ending:

        def begin(code: str) -> subprocess.Popen[str]:
            words = [*container, sys.executable, "-c", code]
            piped: dict[str, Any] = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process = ending.enter_context(subprocess.Popen(words, cwd=tmp_path, env=environment, **piped))
            ending.callback(process.kill)
            return process

        yield begin


def kill(container: "subprocess.Popen[str]") -> None:
    """Kill process 1 of a container, whose end ends the container."""
    (first,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGKILL)
    container.wait()


def line(process: "subprocess.Popen[str]") -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def rows_of(url: str) -> list[Row]:
    with open_storage(url, create=False) as storage:
        return StudyStorage.load(storage, "tiny").rows()


def training(url: str) -> dict[Owner, set[int]]:
    """The trials in training, by the process that trains them."""
    owned: dict[Owner, set[int]] = {}
    for row in rows_of(url):
        if row.state is TrialState.RUNNING:
            owned.setdefault(row.owner, set()).add(row.number)
    return owned


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_of_two_containers_that_look_the_same_the_dead_ones_trials_alone_are_taken_over(
    kind: str,
    start: Start,
    command: list[str],
    klsearch: Klsearch,
    outcomes: Outcomes,
    rows_in: RowsIn,
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    definition, folder = write(tmp_path, LONGER), tmp_path / "run"
    url = f"{kind}:///{tmp_path / 'shared'}"
    arguments = ("run", definition, "--out", folder, "--storage", url, "--slots", 2, "--no-confirm", "--no-progress")

    def begin(name: str) -> "Process":
        return start(*command, *arguments, cwd=tmp_path, err=tmp_path / name)

    whole = klsearch("run", definition, "--out", tmp_path / "whole", "--slots", 2, "--no-confirm")
    assert whole.code == 0, whole.err
    killed, living = begin("killed"), begin("living")
    living.wait_until(lambda: "Compiling" in (tmp_path / "living").read_text())  # by then the study is made
    living.wait_until(lambda: len(training(url)) == 2)
    owners = set(training(url))
    assert {(owner.host, owner.process) for owner in owners} == {(next(iter(owners)).host, 1)}
    kill(killed)
    left = training(url)
    joining = begin("joining")
    assert [one.wait(timeout=LONGEST_SECONDS) for one in (living, joining)] == [0, 0], (tmp_path / "living").read_text()
    rows = rows_of(url)
    assert [row.number for row in rows] == list(range(24)), "no row is void"
    assert outcomes(rows) == outcomes(rows_in(tmp_path / "whole"))
    (dead,) = set(left) - {row.owner for row in rows}
    assert left[dead], "it was killed while it trained"
    (survivor,) = owners - {dead}
    assert {rows[number].owner for number in left[survivor]} == {survivor}, "the trials of the living stay its own"
    said = "".join((tmp_path / name).read_text() for name in ("killed", "living", "joining"))
    assert "Traceback" not in said and "warning: " not in said
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "run.json", "study.toml", "trials.csv"]


# Everything in a folder that containers share; each says that it has begun, and waits to be told to end.
WRITE = """
from pathlib import Path
from klsearch.studies.files import open_to_replace
with open_to_replace(Path("report.html")) as file:
    file.write(b"whole")
    print("begun", flush=True)
    input()
"""
WRITE_OFTEN = """
from pathlib import Path
from klsearch.studies.files import write_atomically
for number in range(300):
    write_atomically(Path("report.html"), f"{number}" * 1000)
"""
HOLD = """
from pathlib import Path
from klsearch.search.storage.place import new_place
from klsearch.studies.errors import StudyConflict
try:
    with new_place("tiny", out=Path("run")).hold():
        print("held", flush=True)
        input()
except StudyConflict as refused:
    print(refused, flush=True)
"""


# A process that starts another, and looks whether it is known to live or to be dead, before its end and after.
LOOK = """
import json, subprocess, sys
from klsearch.search.storage.process import Owner, this_process
if len(sys.argv) > 1:
    print(json.dumps(this_process().as_json()), flush=True)
    input()
else:
    with subprocess.Popen([sys.executable, "-c", CODE, "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        owner = Owner.from_json(json.loads(other.stdout.readline()))
        print(owner.is_known_alive(), owner.is_known_dead())
        other.communicate(b"\\n")
    print(owner.is_known_alive(), owner.is_known_dead(), this_process().is_known_dead(), flush=True)
"""


@pytest.mark.parametrize("own_table", [True, False])
def test_where_a_container_shows_the_processes_of_its_machine_nothing_is_certain_of_its_own(
    own_table: bool, container: list[str], environment: dict[str, str]
) -> None:
    words = [word for word in container if own_table or word != "--mount-proc"]
    code = f"CODE = {LOOK!r}" + LOOK
    told = subprocess.run([*words, sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert told.stdout.splitlines() == (
        ["True False", "False True False"] if own_table else ["False False", "False False False"]
    ), told.stderr


def test_what_a_dead_container_was_writing_is_removed_and_what_a_living_one_writes_is_not(
    inside: Begin, tmp_path: Path
) -> None:
    dead, living = inside(WRITE), inside(WRITE)
    assert [line(one) for one in (dead, living)] == ["begun", "begun"]
    kill(dead)
    assert len(list(tmp_path.glob(".report.html.*.tmp"))) == 2
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.glob(".report.html.*.tmp"))) == 1
    assert living.communicate("\n")[0] == "" and living.returncode == 0
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "whole")]


@pytest.mark.slow("starts programs in containers of their own")
def test_containers_that_write_one_report_at_once_do_not_meet(inside: Begin, tmp_path: Path) -> None:
    writing = [inside(WRITE_OFTEN) for _ in range(2)]
    assert [one.wait(timeout=LONGEST_SECONDS) for one in writing] == [0, 0]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "299" * 1000)]


@pytest.mark.slow("starts programs in containers of their own")
def test_a_run_folder_is_held_against_other_containers_until_its_own_is_dead(inside: Begin, tmp_path: Path) -> None:
    holding = inside(HOLD)
    assert line(holding) == "held"
    refused = f"{tmp_path / 'run'} is being trained by process 1; wait for it, or give another --out."
    assert line(inside(HOLD)).startswith(refused)
    kill(holding)
    assert line(inside(HOLD)) == "held"
