"""The storages that this user has named, kept in the user's cache folder.

A run folder says where its study lies. One that came from elsewhere may name any server, to which this user's password
would be sent. So a storage that only a folder names is used where the user named it before, or made the study there.
"""

import json
from contextlib import suppress

from klsearch.studies.files import read_ordinary, write_atomically
from klsearch.vae.host.machine import cache_folder

_MOST = 1000  # storages; the oldest are forgotten
_MOST_BYTES = 10_000_000


def remember_storage(shown_url: str) -> None:
    """Remember a storage that the user named, without its password; a cache that cannot be written forgets it."""
    known = _read()
    if shown_url in known:
        return
    with suppress(OSError, RuntimeError):
        write_atomically(cache_folder() / "storages.json", json.dumps([*known, shown_url][-_MOST:], indent=1) + "\n")


def is_known_storage(shown_url: str) -> bool:
    """Tell whether the user named this storage before."""
    return shown_url in _read()


def _read() -> list[str]:
    try:
        known = json.loads(read_ordinary(cache_folder() / "storages.json", most=_MOST_BYTES).decode())
    except (OSError, ValueError, RuntimeError):  # the last of nested lists, too
        return []
    return [url for url in known if isinstance(url, str)] if isinstance(known, list) else []
