"""The state of the place where klsearch runs: versions, extras, devices, memory, storage."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from klsearch.reports.visible import as_lines
from klsearch.search.running.versions import find_missing, provenance
from klsearch.search.storage.opening import EmptyStorage, file_of, open_storage, without_password
from klsearch.search.storage.place import STORAGE_VARIABLE
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.errors import StorageError
from klsearch.vae.host.machine import free_memory, total_memory
from klsearch.vae.training.devices.driver import VISIBLE, InstalledCard, installed_cards, visible_cards

_DEVICES_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        works: whether klsearch can use it.
        words: what was found.
    """

    works: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Everything that was looked at.

    Attributes:
        versions: of klsearch, its libraries, Python and the machine, by name.
        extras: by extra, whether its packages are installed.
        devices: TensorFlow, and what it calculates on.
        memory: bytes, "total" and "free".
        folder: whether runs can be written into the working folder.
        storage: the storage that was named; None where none was, and every run keeps its own.
    """

    versions: Mapping[str, str]
    extras: Mapping[str, Finding]
    devices: Finding
    memory: Mapping[str, int]
    folder: Finding
    storage: Finding | None

    @property
    def exit_code(self) -> int:
        """0 if studies can be run here; 4 where the storage is the only reason why not."""
        if not (self.devices.works and self.folder.works):
            return 1
        return StorageError.exit_code if self.storage is not None and not self.storage.works else 0


def examine(storage: str | None) -> Health:
    """Look at everything; TensorFlow is loaded in a process of its own.

    Args:
        storage: the storage to look at; None for that of the environment, if it names one.
    """
    url = storage or os.environ.get(STORAGE_VARIABLE)
    return Health(
        versions=provenance(),
        extras=_extras(),
        devices=_devices(),
        memory={"total": total_memory(), "free": free_memory()},
        folder=_folder(Path.cwd()),
        storage=None if url is None else _storage(url),
    )


def health_text(health: Health) -> str:
    """The findings, for people."""
    gigabytes = {name: f"{count / 1e9:.1f} GB" for name, count in health.memory.items()}
    lines = [
        *health.versions.items(),
        ("memory", f"{gigabytes['free']} of {gigabytes['total']} free"),
        ("devices", health.devices.words),
        ("working folder", health.folder.words),
        ("storage", "none named: each run keeps its own" if health.storage is None else health.storage.words),
        *((f"klsearch[{name}]", extra.words) for name, extra in health.extras.items()),
    ]
    width = max(len(name) for name, _ in lines)
    return as_lines(f"{name.ljust(width)}  {words}" for name, words in lines)


def _extras() -> dict[str, Finding]:
    return {extra: _find_package(extra, package) for extra, package in sorted(_optional_packages())}


def _optional_packages() -> Iterator[tuple[str, str]]:
    """Each extra with a requirement, such as `psycopg[binary]`, as the installed klsearch declares them."""
    try:
        declared = requires("klsearch") or []
    except PackageNotFoundError:
        return
    for line in declared:
        if found := re.match(r"""([\w.-]+(?:\[[\w.-]+\])?)[^;]*;\s*extra\s*==\s*['"]([\w.-]+)['"]""", line):
            yield found[2], found[1]


def _find_package(extra: str, requirement: str) -> Finding:
    package, _, part = requirement.rstrip("]").partition("[")
    if find_missing(package, part):
        return Finding(works=False, words=f"not installed; pip install 'klsearch[{extra}]'")
    return Finding(works=True, words=f"{requirement} {version(package)}")


def _devices() -> Finding:
    """The devices that TensorFlow calculates on, tried with a product of matrices in a process that it may kill."""
    # -P: else the working folder comes first, and a keras.py in it would be taken for Keras.
    command = [sys.executable, "-P", "-c", "from klsearch.search.commands.doctor import print_devices; print_devices()"]
    try:
        called = subprocess.run(command, capture_output=True, text=True, timeout=_DEVICES_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(works=False, words=f"TensorFlow did not load within {_DEVICES_SECONDS:.0f} s")
    if called.returncode < 0:
        return Finding(works=False, words=f"TensorFlow was killed by signal {-called.returncode} when it loaded")
    if called.returncode:
        reason = (called.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding(works=False, words=f"TensorFlow does not load: {reason}")
    seen = SeenDevices(**json.loads(called.stdout.splitlines()[-1]))
    return Finding(works=True, words=devices_words(seen, installed_cards(), os.environ))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevices:
    """What TensorFlow sees.

    Attributes:
        devices: that it calculates on.
        cards: those of them that are cards, by their types.
        memory: bytes that it may take of the first card.
        as_needed: whether it takes them bit by bit.
        has_cuda: whether it is built to use cards.
    """

    devices: list[str]
    cards: list[str]
    memory: int | None
    as_needed: bool
    has_cuda: bool


def devices_words(seen: SeenDevices, installed: Sequence[InstalledCard], environment: Mapping[str, str]) -> str:
    """What is trained on, and why a card that is built in is not used, with the way out.

    Args:
        seen: by TensorFlow.
        installed: the cards that the driver knows.
        environment: of the process.
    """
    devices = ", ".join(seen.devices)
    if seen.cards:
        taken = "as they are needed" if seen.as_needed else "all at once"
        return f"{devices}; trains on {seen.cards[0]}, {(seen.memory or 0) / 1e9:.1f} GB of it, taken {taken}"
    if not installed:
        return devices
    card = installed[0]
    if not visible_cards(installed, environment):
        return f"{devices}; {VISIBLE}={environment[VISIBLE]!r} hides {card.name}: unset it to train there"
    unused = f"{devices}; {card.name} is there, but TensorFlow does not use it"
    if not seen.has_cuda:
        return f"{unused}: it is built without CUDA; on Linux, pip install --force-reinstall 'klsearch[gpu]'"
    if find_missing("tensorflow", "and-cuda"):
        return f"{unused}: CUDA's libraries are missing; pip install 'klsearch[gpu]'"
    return f"{unused}, though CUDA's libraries are installed; is driver {card.driver} too old for them?"


def print_devices() -> None:
    """Print a `SeenDevices` as JSON; loads TensorFlow."""
    from klsearch.search.training.tensorflow import load_tensorflow, take_this_process

    take_this_process()
    load_tensorflow()
    tensorflow = importlib.import_module("tensorflow")
    ones = tensorflow.ones([64, 64])
    assert float(tensorflow.reduce_sum(ones @ ones)) == 64.0**3
    cards = importlib.import_module("klsearch.vae.training.devices.cards")
    growth = tensorflow.config.experimental.get_memory_growth
    seen = SeenDevices(
        devices=[device.name.rpartition("device:")[2] for device in tensorflow.config.list_physical_devices()],
        cards=cards.card_names(),
        memory=cards.card_memory(),
        as_needed=all(growth(card) for card in tensorflow.config.list_physical_devices("GPU")),
        has_cuda=tensorflow.test.is_built_with_cuda(),
    )
    print(json.dumps(asdict(seen)))


def _folder(folder: Path) -> Finding:
    if os.access(folder, os.W_OK):
        return Finding(works=True, words=f"{folder} is writable")
    return Finding(works=False, words=f"{folder} is not writable; give `klsearch run` another --out")


def _storage(url: str) -> Finding:
    """The answer of a storage, and what it holds; one that the first run will make works."""
    shown = without_password(url)
    try:
        file = file_of(url)
        if file is not None and not file.exists():
            return _folder_of_new(shown, file)
        with open_storage(url, create=False) as storage:
            names = StudyStorage.names(storage)
    except EmptyStorage:
        return Finding(works=True, words=f"{shown} answers; the first run makes its tables")
    except StorageError as error:
        return Finding(works=False, words=str(error))
    return Finding(
        works=True, words=f"{shown} answers; it holds {len(names)} {'study' if len(names) == 1 else 'studies'}"
    )


def _folder_of_new(shown: str, file: Path) -> Finding:
    parent = next(folder for folder in file.resolve().parents if folder.exists())
    if os.access(parent, os.W_OK):
        return Finding(works=True, words=f"{shown} is not there yet; the first run makes it")
    return Finding(works=False, words=f"{shown} is not there, and {parent} is not writable")
