"""Cards (GPUs) as NVIDIA's driver tells of them, and which of them a process may use; TensorFlow is not loaded."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VISIBLE = "CUDA_VISIBLE_DEVICES"
PROCESSOR = "the processor"
"""What trains where no card does, in words."""
_QUERY = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free")
_MEBIBYTE = 1 << 20
_SECONDS = 20.0  # a driver that was not used for a while takes some to wake


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledCard:
    """A card that the driver knows.

    Attributes:
        index: its number among the machine's cards.
        uuid: its name for good.
        name: of its type.
        driver: the version of the driver.
        memory: bytes built in; None where the driver does not tell, as of memory that it shares with the processor.
        free: bytes of them that nobody has taken.
    """

    index: str
    uuid: str
    name: str
    driver: str
    memory: int | None
    free: int | None


def installed_cards() -> list[InstalledCard]:
    """The machine's cards, whoever may use them; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        called = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if called.returncode:
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in called.stdout.splitlines()]
    return [_card(row) for row in rows if len(row) == len(_QUERY)]


def _card(row: Sequence[str]) -> InstalledCard:
    index, uuid, name, driver, memory, free = row
    return InstalledCard(
        index=index, uuid=uuid, name=name, driver=driver, memory=_in_bytes(memory), free=_in_bytes(free)
    )


def _in_bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * _MEBIBYTE if mebibytes.isdigit() else None


def visible_cards(
    installed: Sequence[InstalledCard], environment: Mapping[str, str] = os.environ
) -> list[InstalledCard]:
    """Those of the cards that CUDA shows to a process with this environment, in its order.

    As CUDA reads the variable, what comes after an entry that names no card does not count. A part of a card
    (`MIG-…`) is taken for none: the driver does not list it.
    """
    if VISIBLE not in environment:
        return list(installed)
    found: list[InstalledCard] = []
    for entry in _entries(environment[VISIBLE]):
        card = next((one for one in installed if entry == one.index or _names(entry, one.uuid)), None)
        if card is None:
            break
        found.append(card)
    return found


def _names(entry: str, uuid: str) -> bool:
    return entry.startswith("GPU-") and uuid.startswith(entry)


def _entries(visible: str) -> list[str]:
    return [entry.strip() for entry in visible.split(",")]


def cards_of_workers(workers: int, cards: int, environment: Mapping[str, str] = os.environ) -> list[str | None]:
    """The card of each worker, in turn, as CUDA_VISIBLE_DEVICES is to name it; None where there are no cards.

    Args:
        workers: how many there are.
        cards: how many this process sees.
        environment: of this process, whose own choice of cards the workers' are taken from.

    >>> cards_of_workers(3, 2, {})
    ['0', '1', '0']
    >>> cards_of_workers(2, 2, {"CUDA_VISIBLE_DEVICES": "3,GPU-5a"})
    ['3', 'GPU-5a']
    """
    if not cards:
        return [None] * workers
    names = _entries(environment[VISIBLE])[:cards] if VISIBLE in environment else [str(card) for card in range(cards)]
    return [names[worker % len(names)] for worker in range(workers)]
