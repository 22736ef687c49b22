"""Every storage, as it is opened for a run, passes the test case that Optuna's authors wrote for storages."""

import gc
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import make_url

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.patience import make_patient

if TYPE_CHECKING:
    from tests.search.conftest import PostgresServer


def never() -> bool:
    return False


PATIENT = partial(make_patient, say=pytest.fail, stop=never)


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
