"""Where a study lives: its run folder and its storage."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.backends import embedded_url, without_password
from studies.errors import StorageError, StudyConflict, UsageError
from studies.files import write_atomically

STORAGE_VARIABLE = "KLSEARCH_STORAGE"
_ABOUT = "run.json"


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
    url: str
    name: str
    embedded: bool

    @property
    def shown_url(self) -> str:
        """The URL as it may be shown."""
        return without_password(self.url)

    @property
    def resume_command(self) -> str:
        """What continues the study from the present working folder."""
        folder = self.folder
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())
        return f"klsearch resume {folder}"

    def create(self, definition: str) -> None:
        """Make the run folder, or write its definition again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"study": self.name, "storage": None if self.embedded else self.shown_url}
        write_atomically(self.folder / _ABOUT, json.dumps(about, indent=2) + "\n")
        write_atomically(self.folder / "study.toml", definition)

    @contextmanager
    def held(self) -> Iterator[None]:
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


def new_place(name: str, *, storage: str | None, out: Path | None) -> Place:
    """Where a study of that name goes: `out` or runs/<name>, and the storage given, else the one in the folder."""
    folder = (out or Path("runs") / name).resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give another --out.")
    _check_free(folder, name)
    url = storage or os.environ.get(STORAGE_VARIABLE)
    return Place(folder=folder, url=url or embedded_url(folder), name=name, embedded=url is None)


def _check_free(folder: Path, name: str) -> None:
    """Refuse a folder that holds something else than this study."""
    if not folder.exists():
        return
    if (folder / _ABOUT).exists():
        held = _about(folder)["study"]
        if held != name:
            raise StudyConflict(f"{folder} holds study {held!r}, not {name!r}; give another --out.")
    elif any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(f"{folder} is no run folder and not empty; give another --out.")


def known_place(run: str | None, *, storage: str | None, study: str | None) -> Place:
    """Where an existing study is: by its run folder (or its name below runs/), or by storage and name.

    Raises:
        UsageError: neither names one.
    """
    url = storage or os.environ.get(STORAGE_VARIABLE)
    if run is None:
        if url is None or study is None:
            raise UsageError("name the run: its folder, or --storage URL with --study NAME.")
        return Place(folder=(Path("runs") / study).resolve(), url=url, name=study, embedded=False)
    folder = _folder(run)
    about = _about(folder)
    if about["storage"] is None and storage is None:
        return Place(folder=folder, url=embedded_url(folder), name=about["study"], embedded=True)
    return Place(folder=folder, url=url or about["storage"], name=study or about["study"], embedded=False)


def _folder(run: str) -> Path:
    for folder in (Path(run), Path("runs") / run):
        if (folder / _ABOUT).exists():
            return folder.resolve()
    known = sorted(str(found.parent) for found in Path("runs").glob(f"*/{_ABOUT}"))
    hint = f"; there are {', '.join(known)}" if known else "; `klsearch run STUDY` starts one"
    raise UsageError(f"{run}: no run folder{hint}.")


def _about(folder: Path) -> dict[str, str | None]:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        return {"study": str(about["study"]), "storage": about["storage"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{folder / _ABOUT} cannot be read: {error}") from error
