"""Opening Optuna storages by URL, each configured so that several processes may share it."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from sqlalchemy import create_engine, event, inspect, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from klsearch.search.storage.database.patience import Patience, ServerAway, is_crowded, may_pass, reason
from klsearch.search.storage.encoding import DamagedStudy, decoding
from klsearch.search.storage.journal import JournalFile
from klsearch.studies.errors import StorageError

JOURNAL = "storage.journal"
_A_TABLE = "studies"  # that Optuna makes in every database
_SILENT_SECONDS = 60
_KINDS = "sqlite:///FILE, journal:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
_SECRET_WITHIN = re.compile(r"(pass|pwd|secret|token)\w*\s*=|://", re.IGNORECASE)  # a connection string as a value
# What Optuna and the drivers raise when a storage goes away, and on what is none that they can read.
_LOST = (SQLAlchemyError, StorageInternalError, ServerAway)
_UNREADABLE = (*_LOST, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)


class EmptyStorage(StorageError):
    """A database that answers, but in which nobody has made a study yet."""


def embedded_url(folder: Path) -> str:
    """The storage inside a run folder: Optuna's journal file.

    Creating and finishing a row of six hyperparameters and 60 epochs took 1 ms, against 27 ms for SQLite with a
    write-ahead log, and 109 ms for SQLite as it comes.
    """
    return URL.create("journal", database=str(folder.resolve() / JOURNAL)).render_as_string()


def absolute_url(url: str) -> str:
    """The URL with the path of its file, if it names one, made absolute: it then holds in any working folder."""
    parsed = _parse(url)
    file = file_of(url)
    if file is None or file.is_absolute():
        return url
    return parsed.set(database=str(file.resolve())).render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """The URL as it may be shown or stored: no password, in the address, its parts or among its options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "(not a storage URL)"
    if _has_second_at(url, parsed):
        return "(a storage URL with a second @)"
    options = {
        name: tuple(map(_user_alone, _each(value))) if name == "user" else value
        for name, value in parsed.query.items()
        if not _may_tell_secret(name, value)
    }
    user = None if parsed.username is None else _user_alone(parsed.username)
    database = None if _is_connection_string(parsed) else parsed.database
    return URL.create(parsed.drivername, user, None, parsed.host, parsed.port, database, options).render_as_string()


def _has_second_at(url: str, parsed: URL) -> bool:
    """Tell whether a server's URL holds a second @ before its options: what stands around it may be a password."""
    address = url.rpartition("?")[0] if parsed.query else url
    return _is_of_server(parsed) and address.count("@") > 1


def _names_password(parsed: URL) -> bool:
    """Tell whether a password stands within a name, which a server would repeat in its refusal."""
    users, hosts = (_each(parsed.query.get(name, ())) for name in ("user", "host"))
    return any(":" in user for user in (parsed.username or "", *users)) or any("@" in host for host in hosts)


def _user_alone(name: str) -> str:
    """The user of a name written as me%3Apassword, or as the option user=me:password."""
    return name.partition(":")[0]


def _may_tell_secret(name: str, value: str | tuple[str, ...]) -> bool:
    is_address = name != "user" and any("@" in one for one in _each(value))  # host=me:password@db
    return is_address or bool(_SECRET.search(name)) or any(map(_SECRET_WITHIN.search, _each(value)))


def _is_connection_string(parsed: URL) -> bool:
    """Tell whether PostgreSQL's library would read more than a name from the part that names the database."""
    named = [parsed.database or "", *_each(parsed.query.get("dbname", ()))]
    return parsed.drivername.startswith("postgresql") and any("=" in name or "://" in name for name in named)


def _each(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def file_of(url: str) -> Path | None:
    """The file behind a sqlite or journal URL; None for a server."""
    parsed = _parse(url)
    return None if _is_of_server(parsed) or not parsed.database else Path(parsed.database)


def _is_of_server(parsed: URL) -> bool:
    return not parsed.drivername.startswith(("sqlite", "journal"))


def with_file(url: str, file: Path) -> str:
    """The URL of a sqlite or journal storage, with another file behind it."""
    return _parse(url).set(database=str(file)).render_as_string(hide_password=False)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the second from a port that is no number
        raise StorageError(f"this is not a storage URL; give {_KINDS}.") from None
    if _has_second_at(url, parsed):
        raise StorageError("the storage URL holds a second @; write one that belongs to the password as %40.")
    if _names_password(parsed):
        raise StorageError("the storage URL's user or host holds a password; write it as USER:PASSWORD@HOST.")
    if not parsed.drivername.startswith(("sqlite", "journal", "postgresql")):
        raise StorageError(f"storage {parsed.drivername!r} is not supported; give {_KINDS}.")
    if not _is_of_server(parsed) and not parsed.database:
        raise StorageError(f"storage {without_password(url)!r} names no file; give {_KINDS}.")
    if _is_connection_string(parsed):
        raise StorageError(
            "the storage URL's last part must be the name of a database; write user, password and options before and "
            "behind it: postgresql+psycopg://USER:PASSWORD@HOST/DATABASE?OPTION=VALUE."
        )
    return parsed


@contextmanager
def open_storage(url: str, *, create: bool, patience: Patience | None = None) -> Iterator[BaseStorage]:
    """Open the storage behind a URL for a block; its connections are closed when that ends.

    Args:
        url: where it is.
        create: whether a file that does not exist, and tables that a database does not have, may be made.
        patience: how it is waited for when it goes away after it has answered once; without, that ends the block.

    Raises:
        StorageError: it cannot be opened, or stops answering in the block; the message holds no password.
        EmptyStorage: `create` is false, and the database has no tables.
    """
    parsed, file = _parse(url), file_of(url)
    if file is not None and not file.exists() and not create:
        raise StorageError(f"there is no storage {file}.")
    if file is not None and file.exists() and not file.is_file():
        raise StorageError(f"cannot open the storage {without_password(url)}: it is no ordinary file.")
    with _silence_optuna(), _say_where(url), ExitStack() as closing:
        with _translate_errors(_UNREADABLE, f"cannot open the storage {without_password(url)}"):
            if file is not None and create:
                file.parent.mkdir(parents=True, exist_ok=True)
            if parsed.drivername == "journal":
                journal = JournalFile(str(file))
                closing.callback(journal.close)
                with decoding("a record"):
                    storage: BaseStorage = JournalStorage(journal)
            else:
                database = _database(parsed, create=create, patience=patience)
                closing.callback(database.engine.dispose)
                storage = get_storage(database)
            if patience is not None:
                storage = patience.with_storage(storage)
            storage.get_all_studies()
        with _translate_errors(_LOST, f"the storage {without_password(url)} stopped answering"):
            yield storage


@contextmanager
def _silence_optuna() -> Iterator[None]:
    """Let Optuna log errors alone in the block: what else it says of trials, we say."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def _say_where(url: str) -> Iterator[None]:
    """Say of what is damaged in which storage it is."""
    try:
        yield
    except DamagedStudy as error:
        raise StorageError(f"the storage {without_password(url)}: {error}") from error


@contextmanager
def _translate_errors(errors: tuple[type[Exception], ...], what: str) -> Iterator[None]:
    """Turn these errors in the block into a StorageError that says what they stopped."""
    try:
        yield
    except errors as error:
        raise StorageError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error}; install klsearch[postgres]."
    told = reason(error)
    if "authentication method requirement" in told:
        told += "; if you trust it and the way to it, add ?require_auth=password,md5 to the URL."
    if "no password supplied" in told:
        told += "; set KLSEARCH_STORAGE to the URL with its password, on a cluster where the workers are started."
    return told


def _no_password_in_clear(parsed: URL) -> dict[str, Any]:
    """The options by which a password is told to nobody who asks for it as it is, or in a form easily guessed."""
    given = "require_auth" in parsed.query or "PGREQUIREAUTH" in os.environ
    if given or parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        return {}
    from psycopg import pq  # an optional dependency, which the caller asked for

    # Of what is left, SCRAM is what servers ask a password with. Libraries before 16 do not know the option.
    return {"require_auth": "!password,!md5"} if pq.version() >= 160_000 else {}


def _database(parsed: URL, *, create: bool, patience: Patience | None) -> RDBStorage:
    """Optuna's storage in a relational database; its tables are made if they are not there and `create` allows it."""
    if parsed.drivername.startswith("sqlite"):
        options: dict[str, Any] = {"connect_args": {"timeout": 60}}
    else:
        # A machine that is gone must be noticed in seconds, not when TCP gives up after minutes.
        silence = {"connect_timeout": 10, "tcp_user_timeout": 20_000, "keepalives_idle": 10, "keepalives_interval": 5}
        own = {name: value for name, value in silence.items() if name not in parsed.query} | _no_password_in_clear(
            parsed
        )
        options = {"pool_size": 2, "max_overflow": 1, "pool_pre_ping": True, "connect_args": own}
    if parsed.drivername == "postgresql":  # which SQLAlchemy takes for the driver before psycopg 3
        parsed = parsed.set(drivername="postgresql+psycopg")
    url = parsed.render_as_string(hide_password=False)
    greet = partial(_greet, parsed, options, create=create)
    if patience is None:
        greet()
    else:
        patience.call(greet, passes=is_crowded)

    def make() -> RDBStorage:
        return _make_with_tables(lambda: _make_whole(url, options, skip_table_creation=not create))

    storage = make() if patience is None else patience.call(make)
    event.listen(storage.engine, "handle_error", _say_away)
    if parsed.drivername.startswith("sqlite"):
        _share_sqlite(storage)
    elif storage.engine.name == "postgresql":
        _let_nobody_wait_for_the_silent(storage)
    return storage


def _greet(url: URL, options: Mapping[str, Any], *, create: bool) -> None:
    """See that a database answers: one that is full may be asked again, a wrong name or password stays wrong.

    One without Optuna's tables is refused if they are not to be made.

    Optuna would find that out too, in SQL's words, and leave a connection open.
    """
    engine = create_engine(url, **options)
    try:
        with engine.connect() as connection:
            if not create and not inspect(connection).has_table(_A_TABLE):
                raise EmptyStorage(f"{without_password(str(url))} holds no study yet; `klsearch run` makes the first.")
    finally:
        engine.dispose()


def _say_away(context: ExceptionContext) -> ServerAway | None:
    """What is raised instead of an error that may pass."""
    error = context.original_exception
    away = context.is_disconnect or may_pass(context.sqlalchemy_exception or error)
    return ServerAway(reason(cast(Exception, error))) if away else None


def _make_whole(url: str, options: dict[str, Any], *, skip_table_creation: bool) -> RDBStorage:
    """Make Optuna's storage; where that fails half-way, the connections that it has made are closed.

    Its constructor would leave them open until the garbage collector finds them.
    """
    storage = RDBStorage.__new__(RDBStorage)
    try:
        RDBStorage.__init__(storage, url, engine_kwargs=options, skip_table_creation=skip_table_creation)
    except BaseException:
        if hasattr(storage, "engine"):
            storage.engine.dispose()
        raise
    return storage


def _make_with_tables(make: Callable[[], RDBStorage]) -> RDBStorage:
    """Make a storage; again where another process made the same tables at the same moment.

    Optuna looks which tables are missing and then makes those, so that two processes may both begin.
    """
    for wait in (0.1, 0.2, 0.5, 1.0, 2.0):
        try:
            return make()
        except (IntegrityError, ProgrammingError, OperationalError, StorageInternalError) as error:
            if "exist" not in str(error) and "duplicate" not in str(error) and "UNIQUE" not in str(error):
                raise
        time.sleep(wait)
    return make()


def _let_nobody_wait_for_the_silent(storage: RDBStorage) -> None:
    """Have PostgreSQL end what a process holds that was suspended, or switched off, in the middle of a transaction.

    Else a server may keep its locks for hours. Whoever waits for a lock hears after a while that there is none.
    """
    silent = {"idle_in_transaction_session_timeout": f"{_SILENT_SECONDS}s", "lock_timeout": f"{_SILENT_SECONDS}s"}
    wanted = {**silent, "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
    setting = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in wanted.items())

    def configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True  # what a transaction sets is undone if it is rolled back
        connection.execute(f"SELECT {setting}")
        connection.autocommit = False

    event.listen(storage.engine, "connect", configure)
    storage.engine.dispose()  # connections made before the listener


def _share_sqlite(storage: RDBStorage) -> None:
    """Let several processes write: a write-ahead log, and transactions that take the write lock when they begin.

    Without `BEGIN IMMEDIATE` two processes may both read a row before either claims it.
    """

    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions of its own
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", configure)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # connections made before the listeners
