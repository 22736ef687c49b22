"""Opening storages."""

import gc
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import make_url

from klsearch.search.storage import opening
from klsearch.search.storage.database.patience import Patience, ServerAway, engine_of
from klsearch.search.storage.opening import (
    EmptyStorage,
    absolute_url,
    embedded_url,
    file_of,
    open_storage,
    without_password,
)
from klsearch.studies.errors import StorageError

if TYPE_CHECKING:
    from tests.search.conftest import PostgresServer


SECRET = "t0p5ecret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql+psycopg://me:{SECRET}@db:5432/studies", "postgresql+psycopg://me@db:5432/studies"),
        (f"postgresql+psycopg://me@db/studies?password={SECRET}&a=b", "postgresql+psycopg://me@db/studies?a=b"),
        (f"postgresql+psycopg://me@db/studies?sslpassword={SECRET}", "postgresql+psycopg://me@db/studies"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("journal:////tmp/x", "journal:////tmp/x"),
        (f"postgresql+psycopg://me%3A{SECRET}@db/studies", "postgresql+psycopg://me@db/studies"),
        (f"postgresql+psycopg://db/host=db%20password={SECRET}", "postgresql+psycopg://db"),
        (f"postgresql+psycopg://db/postgresql%3A%2F%2Fme:{SECRET}@db", "postgresql+psycopg://db"),
        (f"postgresql+psycopg://db/studies?dbname=password%3D{SECRET}", "postgresql+psycopg://db"),
        (f"postgresql+psycopg://db/studies?options=password%3D{SECRET}", "postgresql+psycopg://db/studies"),
        (f"postgresql+psycopg://db/studies?user=me:{SECRET}", "postgresql+psycopg://db/studies?user=me"),
        (f"postgresql+psycopg:///studies?host=me:{SECRET}@db", "postgresql+psycopg:///studies"),
        (f"postgresql+psycopg://me@{SECRET}@db/studies", "(a storage URL with a second @)"),
        (f"postgresql+psycopg://me@{SECRET}:a@db/studies", "(a storage URL with a second @)"),
        (f"postgresql+psycopg://me:a@{SECRET}@db/studies", "(a storage URL with a second @)"),
        (f"postgresql+psycopg://me@a/{SECRET}@db/studies?b=c", "(a storage URL with a second @)"),
        (f"postgresql+psycopg://me@a?{SECRET}@db/studies", "(a storage URL with a second @)"),
        ("postgresql+psycopg://me%40there@db/a%40b?c=d", "postgresql+psycopg://me%40there@db/a%40b?c=d"),
        ("sqlite:////home/me@there/a@b.db", "sqlite:////home/me%40there/a%40b.db"),
        (SECRET, "(not a storage URL)"),
        (f"postgresql://me@db:{SECRET}/studies", "(not a storage URL)"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (SECRET, "this is not a storage URL; give sqlite:///FILE, journal:///FILE or postgresql"),
        (f"postgresql://me:pw@db:{SECRET}/studies", "this is not a storage URL"),
        (f"mysql://me:{SECRET}@db/studies", "storage 'mysql' is not supported; give sqlite:///FILE"),
        (f"postgresql+psycopg://me:p@{SECRET}@db/studies", "write one that belongs to the password as %40"),
        (f"postgresql+psycopg://me@{SECRET}@db/studies", "write one that belongs to the password as %40"),
        (f"postgresql+psycopg://db/studies?user=me:{SECRET}", "holds a password; write it as USER:PASSWORD@HOST"),
        (f"postgresql+psycopg:///studies?host=me:{SECRET}@db", "holds a password; write it as USER:PASSWORD@HOST"),
        (f"postgresql+psycopg://me%3A{SECRET}@db/studies", "holds a password; write it as USER:PASSWORD@HOST"),
        (f"postgresql+psycopg://db/host=db%20password={SECRET}", "last part must be the name of a database"),
        (f"postgresql+psycopg://db/x?dbname=password%3D{SECRET}", "last part must be the name of a database"),
        ("sqlite://", "names no file"),
        ("journal://", "names no file"),
        (
            f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/studies",
            "cannot open the storage .*127.0.0.1:1/studies: .*refused",
        ),
        (f"postgresql+nodriver://me:{SECRET}@db/studies", "cannot open the storage .*nodriver"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_in_one_line_without_its_password(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as refused, open_storage(url, create=True):
        pass
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_storage_that_is_not_there_is_only_made_where_that_is_asked(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.storage"
    with (
        pytest.raises(StorageError, match=f"there is no storage {file}"),
        open_storage(f"{kind}:///{file}", create=False),
    ):
        pass
    assert not file.parent.exists()
    with open_storage(f"{kind}:///{file}", create=True), open_storage(f"{kind}:///{file}", create=False) as storage:
        assert storage.get_all_studies() == []


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("a note\n" * 1000)
    for create in (False, True):
        with (
            pytest.raises(StorageError, match="cannot open the storage"),
            open_storage(f"{kind}:///{file}", create=create),
        ):
            pass
    assert file.read_text() == "a note\n" * 1000


def test_reading_from_a_database_of_others_adds_no_tables_to_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "others.db")) as connection:
        connection.execute("create table theirs (a)")
    url = f"sqlite:///{tmp_path / 'others.db'}"
    with (
        pytest.raises(EmptyStorage, match="holds no study yet; `klsearch run` makes"),
        open_storage(url, create=False),
    ):
        pass
    with closing(sqlite3.connect(tmp_path / "others.db")) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("theirs",)]


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_pipe_is_no_storage_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for create in (False, True):
        with (
            pytest.raises(StorageError, match=r"cannot open the storage .*/pipe: it is no ordinary file"),
            open_storage(f"{kind}:///{tmp_path / 'pipe'}", create=create),
        ):
            pass


def test_a_folder_is_no_storage_file(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="cannot open the storage"),
        open_storage(f"journal:///{tmp_path}", create=True),
    ):
        pass


def test_a_plain_postgresql_url_means_the_driver_that_klsearch_comes_with(postgres: str) -> None:
    with open_storage(postgres.replace("+psycopg", ""), create=True) as storage:
        assert isinstance(storage.get_all_studies(), list)


@contextmanager
def server_that_asks_for(kind: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that asks every client for its password in a way; its port, and what clients answered."""
    told: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                with listener.accept()[0] as client, suppress(OSError):
                    while client.recv(4096)[4:8] == struct.pack("!I", 80877103):  # may it be encrypted? No.
                        client.sendall(b"N")
                    client.sendall(b"R" + struct.pack("!I", 4 + len(kind)) + kind)
                    told.append(client.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], told
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", [struct.pack("!I", 3), struct.pack("!I", 5) + b"salt"], ids=["clear", "md5"])
def test_no_password_is_told_to_a_server_that_asks_for_it_in_clear(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with server_that_asks_for(kind) as (port, told):
        for url in (f"postgresql+psycopg://me@127.0.0.1:{port}/x", f"postgresql://me:{SECRET}@127.0.0.1:{port}/x"):
            with pytest.raises(StorageError, match=r"add \?require_auth=password,md5"), open_storage(url, create=False):
                pass
        assert set(told) <= {b""}
        with pytest.raises(StorageError), open_storage(f"{url}?require_auth=password,md5", create=False):
            pass
        assert told[-1].startswith(b"p"), "it is told where the user asked for that"


def test_who_has_no_password_for_a_server_learns_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", "/none")
    says = pytest.raises(StorageError, match="no password supplied; set KLSEARCH_STORAGE to the URL with its password")
    with server_that_asks_for(struct.pack("!I", 3)) as (port, _):
        url = f"postgresql+psycopg://me@127.0.0.1:{port}/x?require_auth=password"
        with says, open_storage(url, create=False):
            pass


def test_a_wrong_password_is_a_storage_error_that_does_not_repeat_it(postgres: str) -> None:
    wrong = postgres.replace("sw0rdfish", SECRET)
    says = pytest.raises(StorageError, match='password authentication failed for user "searcher"')
    with says as refused, open_storage(wrong, create=True):
        pass
    assert SECRET not in str(refused.value)


def test_a_storage_that_stops_answering_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the storage sqlite:.* stopped answering: no such table: studies"):
        with open_storage(f"sqlite:///{tmp_path / 'x.db'}", create=True) as storage:
            with closing(sqlite3.connect(tmp_path / "x.db")) as others:
                others.execute("drop table studies")
            storage.create_new_study([StudyDirection.MINIMIZE], "tiny")


def test_paths_in_urls_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "100 % ?#ü"
    assert file_of(embedded_url(folder)) == folder / "storage.journal"
    assert file_of("postgresql+psycopg://db/studies") is None


def test_a_relative_file_becomes_absolute_and_a_server_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_url("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert absolute_url(f"sqlite:///{tmp_path}/x.db") == f"sqlite:///{tmp_path}/x.db"
    assert absolute_url(f"postgresql+psycopg://me:{SECRET}@db/x") == f"postgresql+psycopg://me:{SECRET}@db/x"


WRITE = """
import sys
import threading
from klsearch.search.storage.opening import open_storage
with open_storage(sys.argv[1], create=True) as storage:
    study = storage.get_study_id_from_name("shared")
    for _ in range(20):
        trial = storage.create_new_trial(study)
        print(storage.get_trial_number_from_id(trial))
"""


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.slow("starts processes")
def test_processes_that_write_at_once_never_get_the_same_number(
    kind: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    url = f"{kind}:///{tmp_path / 'shared'}"
    with open_storage(url, create=True) as storage:
        storage.create_new_study([StudyDirection.MINIMIZE], "shared")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, url], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    numbers = [int(line) for writer in writers for line in writer.communicate(timeout=120)[0].split()]
    assert sorted(numbers) == list(range(60))


def never() -> bool:
    return False


PATIENT = Patience(say=pytest.fail, stop=never)


def test_what_falls_silent_within_a_transaction_holds_nobody_up(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine was suspended or switched off there: its connection stays, and with it the lock on the study's row."""
    monkeypatch.setattr(opening, "_SILENT_SECONDS", 1)
    url, said = new_database(), list[str]()
    patience = Patience(say=said.append, stop=never)
    with open_storage(url, create=True) as silent, open_storage(url, create=True, patience=patience) as other:
        study_id = other.create_new_study([StudyDirection.MINIMIZE], "shared")
        engine = engine_of(silent)
        assert engine is not None
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM studies FOR UPDATE")
            other.create_new_trial(study_id)
            with pytest.raises(ServerAway):
                connection.exec_driver_sql("SELECT 1")
        assert silent.get_n_trials(study_id) == 1, "it goes on with another connection"


class TestJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        with open_storage(f"journal:///{tmp_path / 'journal'}", create=True, patience=PATIENT) as storage:
            yield storage


@pytest.fixture(scope="module")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'studies.db'}"


@pytest.fixture(scope="module")
def postgresql_url(postgres_server: "PostgresServer") -> str:
    """A database of its own: the test case counts studies."""
    postgres_server.psql("create database cases owner searcher;")
    return make_url(postgres_server.url).set(database="cases").render_as_string(hide_password=False)


@pytest.mark.slow("writes a database file in every test")
class TestSqlite(StorageTestCase):
    @pytest.fixture
    def storage(self, sqlite_url: str) -> Iterator[BaseStorage]:
        with open_storage(sqlite_url, create=True, patience=PATIENT) as storage:
            remove_studies(storage)
            yield storage


class TestPostgresql(StorageTestCase):
    @pytest.fixture
    def storage(self, postgresql_url: str) -> Iterator[BaseStorage]:
        with open_storage(postgresql_url, create=True, patience=PATIENT) as storage:
            remove_studies(storage)
            yield storage

    def test_pickle_storage(self, storage: BaseStorage) -> None:
        super().test_pickle_storage(storage)
        with warnings.catch_warnings():  # the storage that it made from the pickle is never closed
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def remove_studies(storage: BaseStorage) -> None:
    """Making the tables again for each test would take most of the time."""
    for study in storage.get_all_studies():
        storage.delete_study(study._study_id)
