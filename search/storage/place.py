"""The place of a study: its run folder and its storage."""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from klsearch.search.storage.database.known import is_known_storage, remember_storage
from klsearch.search.storage.opening import JOURNAL, absolute_url, embedded_url, file_of, with_file, without_password
from klsearch.studies.errors import StorageError, StudyConflict, UsageError
from klsearch.studies.files import read_ordinary, write_atomically

STORAGE_VARIABLE = "KLSEARCH_STORAGE"
_ABOUT = "run.json"
_MOST_ABOUT = 100_000  # bytes of it, which are a few hundred
_MOST_NAMED = 10  # runs, in one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A study's run folder, the URL of its storage, and its name in it.

    Attributes:
        folder: the run folder; need not exist.
        url: the storage, with its password if it has one: never to be shown.
        name: the study's name.
        embedded: whether the storage lies in the run folder.
    """

    folder: Path
    url: str = field(repr=False)
    name: str
    embedded: bool

    @property
    def shown_url(self) -> str:
        """The URL as it may be shown."""
        return without_password(self.url)

    def without_password(self) -> "Place":
        """The place as it may be sent to other machines, whose own environment has the password."""
        return replace(self, url=self.shown_url)

    def with_own_password(self) -> "Place":
        """The place with the password that this process's environment has for it, if it has one."""
        own = os.environ.get(STORAGE_VARIABLE)
        is_same = own is not None and not self.embedded and without_password(absolute_url(own)) == self.url
        return replace(self, url=absolute_url(own)) if own is not None and is_same else self

    @property
    def checkpoints(self) -> Path:
        """The folder of the courses' checkpoints."""
        return self.folder / "checkpoint"

    @property
    def kept_members(self) -> Path:
        """The folder of confirmed members that wait for the winner to be known."""
        return self.checkpoints / "confirmed"

    @property
    def is_made(self) -> bool:
        """True if the run folder is there."""
        return (self.folder / _ABOUT).exists()

    @property
    def resume_command(self) -> str:
        """The command that continues the study from the present working folder."""
        return self.command("resume")

    def command(self, verb: str) -> str:
        """The command that does something with the study, from the present working folder."""
        if not self.is_made:
            return f"klsearch {verb} --storage {shlex.quote(self.shown_url)} --study {shlex.quote(self.name)}"
        folder = str(self.folder)
        if self.folder.is_relative_to(Path.cwd()):
            folder = str(self.folder.relative_to(Path.cwd()))
        return f"klsearch {verb} {shlex.quote(f'./{folder}' if folder.startswith('-') else folder)}"

    def create(self, definition: str) -> None:
        """Make the run folder, or write its definition again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"study": self.name, "storage": None if self.embedded else self.shown_url}
        write_atomically(self.folder / _ABOUT, json.dumps(about, indent=2) + "\n")
        write_atomically(self.folder / "study.toml", definition)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the run folder to this process while it trains into its embedded storage.

        The system releases the lock when the process ends, however it ends.

        Raises:
            StudyConflict: another process has it.
        """
        if not self.embedded:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise StudyConflict(
                    f"{self.folder} is being trained by process {file.read().strip() or '?'}; wait for it, or give "
                    "another --out. To share a study between processes give all of them one --storage."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def new_place(name: str, *, storage: str | None = None, out: Path | None = None) -> Place:
    """The place for a study of that name: `out` or runs/<name>, and the storage that this folder's study has, if any.

    Raises:
        UsageError: the folder holds something else.
        StudyConflict: the folder holds another study, or the same in another storage.
    """
    folder = (out or Path("runs") / name).resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give another --out.")
    if (folder / _ABOUT).exists():
        return _place_of_run(folder, storage, name)
    if folder.exists() and any(path.name != JOURNAL and not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and not a run folder; give another --out.")
    url = storage or os.environ.get(STORAGE_VARIABLE)
    if url is None:
        return Place(folder=folder, url=embedded_url(folder), name=name, embedded=True)
    return _named(folder, url, name)


def known_place(run: str | None = None, *, storage: str | None = None, study: str | None = None) -> Place:
    """The place of an existing study: by its run folder (or its name below runs/), or by storage and name.

    Raises:
        UsageError: neither names one.
        StudyConflict: the run folder's study is another one, or in another storage.
    """
    if run is not None:
        return _place_of_run(_folder(run), storage, study)
    known = os.environ.get(STORAGE_VARIABLE)
    url = storage or known
    if url is None or study is None:
        raise UsageError("name the run: its folder, or --storage URL with --study NAME.")
    if known is not None and without_password(absolute_url(known)) == absolute_url(url):
        url = known  # the same, and the password with it
    folder = (Path("runs") / study).resolve()
    if (folder / _ABOUT).exists():
        return _place_of_run(folder, url, study)
    return _named(folder, url, study)


def named_place(run: str, storage: str | None) -> Place:
    """The place of an existing study: by its run folder, or, given a storage, by its name in it."""
    return known_place(None if storage else run, storage=storage, study=run if storage else None)


def _place_of_run(folder: Path, storage: str | None, study: str | None) -> Place:
    """The place that a run folder tells of; `storage` and `study` may only repeat it, and add the password.

    Raises:
        UsageError: it tells of a storage that the user did not name, now or before: it may be anyone's.
        StudyConflict: it tells of another study or storage.
    """
    name, told = _about(folder)
    if study not in (None, name):
        raise StudyConflict(f"{folder} holds study {name!r}, not {study!r}; name another run folder.")
    known = told or embedded_url(folder)
    given = storage or (os.environ.get(STORAGE_VARIABLE) if told else None)
    file = None if told is None else file_of(told)
    lost = file if file is not None and not file.exists() else None
    if given is not None and (without_password(absolute_url(given)) == known or (lost and _is_there(storage))):
        known = absolute_url(given)
        remember_storage(without_password(known))
    elif lost is not None and storage is None and (folder / lost.name).exists():
        known = with_file(known, folder / lost.name)  # which moved with the folder
    elif storage is not None:
        raise StudyConflict(f"the study in {folder} lies in {known}; leave --storage out, or name another run folder.")
    elif told is not None and not is_known_storage(told):
        raise UsageError(
            f"{folder} says that its study lies in {told}, a storage that you have not named here before. If you trust "
            f"it, name it once: klsearch status {shlex.quote(str(folder))} --storage {shlex.quote(told)}"
        )
    return Place(folder=folder, url=known, name=name, embedded=told is None)


def _is_there(storage: str | None) -> bool:
    """Whether a storage that the user names is a file that exists."""
    file = None if storage is None else file_of(absolute_url(storage))
    return file is not None and file.exists()


def _named(folder: Path, url: str, study: str) -> Place:
    """The place of a study in a storage that the user named."""
    remember_storage(without_password(absolute_url(url)))
    return Place(folder=folder, url=absolute_url(url), name=study, embedded=False)


def _folder(run: str) -> Path:
    for folder in (Path(run), Path("runs") / run):
        if (folder / _ABOUT).exists():
            return folder.resolve()
    known = sorted(shlex.quote(str(found.parent)) for found in Path("runs").glob(f"*/{_ABOUT}"))
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    hint = f"; there are {', '.join(known[:_MOST_NAMED])}{more}" if known else "; `klsearch run STUDY` starts one"
    raise UsageError(f"{run}: no such run folder{hint}.")


def _about(folder: Path) -> tuple[str, str | None]:
    """The study that a run folder holds, and its storage without password; None for the one in the folder."""
    try:
        about = json.loads(read_ordinary(folder / _ABOUT, most=_MOST_ABOUT).decode())
        study, storage = about["study"], about["storage"]
        if not isinstance(study, str) or not isinstance(storage, str | None):
            raise TypeError("it names no study and storage")
        return study, storage
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"{folder / _ABOUT} cannot be read: {reason}") from error
