"""The storages that this user has named."""

import json
from pathlib import Path

import pytest

from klsearch.search.storage.database.known import is_known_storage, remember_storage

URL = "postgresql+psycopg://me@db/studies"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own, which is not there yet."""
    monkeypatch.setenv("KLSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "storages.json"


def test_a_storage_is_known_once_it_was_named(cache: Path) -> None:
    assert not is_known_storage(URL)
    for _ in range(2):
        remember_storage(URL)
    remember_storage("sqlite:////x.db")
    assert is_known_storage(URL)
    assert not is_known_storage("postgresql+psycopg://me@elsewhere/studies")
    assert json.loads(cache.read_text()) == [URL, "sqlite:////x.db"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1, null]", "\0", '"postgresql+psycopg://me@db/studies"'])
def test_what_is_no_list_of_storages_knows_none(text: str, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(text)
    assert not is_known_storage(URL)
    remember_storage(URL)
    assert is_known_storage(URL)


def test_where_nothing_can_be_kept_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLSEARCH_CACHE", "/proc/nowhere")
    remember_storage(URL)
    assert not is_known_storage(URL)


def test_the_oldest_is_forgotten_in_the_end(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(json.dumps([str(number) for number in range(1000)]))
    remember_storage(URL)
    assert not is_known_storage("0")
    assert is_known_storage("1") and is_known_storage(URL)
