"""A storage that goes away for a while is waited for."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.stopping import Interrupted
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.patience import make_patient
from klsearch.studies.errors import StorageError

if TYPE_CHECKING:
    from tests.search.conftest import PostgresServer


class Flaky:
    """A storage in front of another, whose answers or questions get lost as often as a test says."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self.lost_questions = self.lost_answers = 0

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if self.lost_questions:
                self.lost_questions -= 1
                raise OSError(28, "No space left on device")
            answer = getattr(self._storage, name)(*arguments, **named)
            if self.lost_answers:
                self.lost_answers -= 1
                raise OSError(5, "Input/output error")
            return answer

        return call


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def flaky(tmp_path: Path) -> "Flaky":
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=True) as storage:
        return Flaky(storage)


@pytest.fixture
def storage(flaky: Flaky, said: list[str], monkeypatch: pytest.MonkeyPatch) -> BaseStorage:
    monkeypatch.setattr("klsearch.search.storage.patience._FIRST_WAIT_SECONDS", 0.01)
    return make_patient(flaky, say=said.append, stop=lambda: False)  # type: ignore[arg-type]


def running_trial(name: str) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, user_attrs={"name": name})


def test_a_call_is_tried_until_it_succeeds_and_the_user_is_told_once(
    storage: BaseStorage, flaky: Flaky, said: list[str]
) -> None:
    flaky.lost_questions = 3
    study = storage.create_new_study([StudyDirection.MINIMIZE], "tiny")
    assert storage.get_study_name_from_id(study) == "tiny"
    assert said == [
        "warning: the storage does not answer ([Errno 28] No space left on device); waiting for it.",
        "The storage answers again, after 0 s.",
    ]


@pytest.mark.parametrize("lost", ["lost_questions", "lost_answers"])
def test_a_row_is_made_once_whatever_got_lost(storage: BaseStorage, flaky: Flaky, lost: str) -> None:
    study = storage.create_new_study([StudyDirection.MINIMIZE], "tiny")
    storage.create_new_trial(study, running_trial("first"))
    setattr(flaky, lost, 1)
    made = storage.create_new_trial(study, running_trial("second"))
    assert [trial.user_attrs["name"] for trial in storage.get_all_trials(study)] == ["first", "second"]
    assert storage.get_trial(made).user_attrs == {"name": "second"}


def test_errors_that_no_waiting_mends_are_raised_at_once(storage: BaseStorage, said: list[str]) -> None:
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("nobody's")
    assert said == []


def test_whoever_is_asked_to_stop_does_not_wait_any_longer(flaky: Flaky) -> None:
    began = time.monotonic()
    stop = iter([False, False, True])
    waiting = make_patient(flaky, say=lambda line: None, stop=lambda: next(stop))  # type: ignore[arg-type]
    flaky.lost_questions = 1000
    with pytest.raises(Interrupted):
        waiting.get_all_studies()
    assert time.monotonic() - began < 2


def test_whoever_was_asked_to_stop_before_does_not_begin_to_wait(flaky: Flaky, said: list[str]) -> None:
    waiting = make_patient(flaky, say=said.append, stop=lambda: True)  # type: ignore[arg-type]
    flaky.lost_questions = 1
    with pytest.raises(Interrupted):
        waiting.get_all_studies()
    assert said == []
    assert waiting.get_all_studies() == [], "a storage that answers is still used: there may be a state to save"


def test_in_the_end_it_gives_up_with_the_reason(
    storage: BaseStorage, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.search.storage.patience._PATIENCE_SECONDS", 0.05)
    flaky.lost_questions = 1000
    with pytest.raises(StorageInternalError) as gave_up:
        storage.get_all_studies()
    assert isinstance(gave_up.value.__cause__, OSError)


def test_a_server_that_is_started_again_meanwhile_is_no_error(
    postgres_server: "PostgresServer", said: list[str]
) -> None:
    def start_again(line: str) -> None:
        if not said:
            postgres_server.start()
        said.append(line)

    with open_storage(
        postgres_server.url,
        create=True,
        patience=lambda storage: make_patient(storage, say=start_again, stop=lambda: False),
    ) as storage:
        study = storage.create_new_study([StudyDirection.MINIMIZE], "started again")
        postgres_server.stop()
        assert storage.get_trial_number_from_id(storage.create_new_trial(study, running_trial("only"))) == 0
        assert len(storage.get_all_trials(study)) == 1
    assert len(said) == 2
    assert "sw0rdfish" not in "".join(said)


def test_a_server_that_stays_away_is_a_storage_error(
    postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.search.storage.patience._PATIENCE_SECONDS", 0.1)
    says = pytest.raises(StorageError, match=r"the storage postgresql\+psycopg://searcher@.* stopped answering: ")
    try:
        with (
            says as lost,
            open_storage(
                postgres_server.url,
                create=True,
                patience=lambda s: make_patient(s, say=lambda line: None, stop=lambda: False),
            ) as storage,
        ):
            postgres_server.stop()
            storage.get_all_studies()
    finally:
        postgres_server.start()
    assert "sw0rdfish" not in str(lost.value)
