"""A storage that goes away for a while is waited for, and told nothing twice."""

import errno
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.confirmation.source import ConfirmationSource
from klsearch.search.stopping import Interrupted
from klsearch.search.storage.database.patience import Patience, may_pass
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.studies.errors import StorageError
from klsearch.vae.evaluation.evaluator import Members
from tests.benchmarks.bare import bare_study
from tests.search.storage.database.cutting_proxy import Cut, CuttingProxy

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
    monkeypatch.setattr("klsearch.search.storage.database.patience._FIRST_WAIT_SECONDS", 0.01)
    return Patience(say=said.append, stop=lambda: False).with_storage(flaky)  # type: ignore[arg-type]


def running_trial(name: str) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, user_attrs={"name": name})


def test_a_call_is_tried_until_it_succeeds_and_the_user_is_told_once(
    storage: BaseStorage, flaky: Flaky, said: list[str]
) -> None:
    flaky.lost_questions = 3
    study = storage.create_new_study([StudyDirection.MINIMIZE], "tiny")
    assert storage.get_study_name_from_id(study) == "tiny"
    assert said == [
        "warning: the storage does not answer (No space left on device); waiting for it.",
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
    waiting = Patience(say=lambda line: None, stop=lambda: next(stop)).with_storage(flaky)  # type: ignore[arg-type]
    flaky.lost_questions = 1000
    with pytest.raises(Interrupted):
        waiting.get_all_studies()
    assert time.monotonic() - began < 2


def test_whoever_was_asked_to_stop_before_does_not_begin_to_wait(flaky: Flaky, said: list[str]) -> None:
    waiting = Patience(say=said.append, stop=lambda: True).with_storage(flaky)  # type: ignore[arg-type]
    flaky.lost_questions = 1
    with pytest.raises(Interrupted):
        waiting.get_all_studies()
    assert said == []
    assert waiting.get_all_studies() == [], "a storage that answers is still used: there may be a state to save"


def test_in_the_end_it_gives_up_with_the_reason(
    storage: BaseStorage, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.search.storage.database.patience._PATIENCE_SECONDS", 0.05)
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
        patience=Patience(say=start_again, stop=lambda: False),
    ) as storage:
        study = storage.create_new_study([StudyDirection.MINIMIZE], "started again")
        postgres_server.stop()
        assert storage.get_trial_number_from_id(storage.create_new_trial(study, running_trial("only"))) == 0
        assert len(storage.get_all_trials(study)) == 1
    assert len(said) == 2
    assert "sw0rdfish" not in "".join(said)


def test_a_server_that_has_no_connection_to_give_is_waited_for_from_the_first_one_on(
    postgres_server: "PostgresServer", said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.search.storage.database.patience._FIRST_WAIT_SECONDS", 0.01)

    def make_room(line: str) -> None:
        said.append(line)
        postgres_server.psql("alter role searcher connection limit -1;")

    postgres_server.psql("alter role searcher connection limit 0;")
    patience = Patience(say=make_room, stop=lambda: False)
    with open_storage(postgres_server.url, create=True, patience=patience) as storage:
        storage.get_all_studies()
    assert len(said) == 2
    assert 'too many connections for role "searcher"); waiting for it' in said[0]


def test_a_server_that_stays_away_is_a_storage_error(
    postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klsearch.search.storage.database.patience._PATIENCE_SECONDS", 0.1)
    says = pytest.raises(StorageError, match=r"the storage postgresql\+psycopg://searcher@.* stopped answering: ")
    try:
        with (
            says as lost,
            open_storage(
                postgres_server.url,
                create=True,
                patience=Patience(say=lambda line: None, stop=lambda: False),
            ) as storage,
        ):
            postgres_server.stop()
            storage.get_all_studies()
    finally:
        postgres_server.start()
    assert "sw0rdfish" not in str(lost.value)


DEFINITION = override(load_definition("digits"), stop="budget")
NAME = "cut"
MakeResult = Callable[..., Result]


def live_through(url: str, make_result: MakeResult) -> None:
    """A small study from making its tables to its last fact: all that a process writes, without training anything."""
    definition, owner = DEFINITION.definition, this_process()
    with open_storage(url, create=True, patience=Patience(say=lambda line: None, stop=lambda: False)) as storage:
        if not StudyStorage.exists(storage, NAME, alone=False):
            bare_study(storage, DEFINITION, NAME)
        study = StudyStorage.load(storage, NAME)
        worker = Worker(
            owner=owner, is_dead=study.leases.is_dead, turn=lambda: study.asking.turn(owner, wait=time.sleep)
        )
        decider, told = Decider(study, definition), list[Any]()
        source = TrialSource(study, definition, budget=4, worker=worker, tell=told.append, decider=decider)
        while jobs := source.take(2):
            study.leases.say_alive(owner, {job.number: {"epoch": 1.0} for job in jobs})
            source.finish({job.number: make_result([1.0 + job.number]) for job in jobs}, no_member)
        assert len(told) == 4, "each trial is told of"
        with study.confirming.turn(owner, wait=time.sleep):
            rows = study.confirmation()
            wanted = [Run(hyperparameters=study.rows()[0].run.hyperparameters, seed=s, label="trial 0") for s in (7, 8)]
            proof = ConfirmationSource(
                rows, definition, wanted, worker=worker, keep=lambda run, members: None, tell=told.append
            )
            proof.finish({job.number: make_result([2.0 + job.number]) for job in proof.take(2)}, no_member)
            rows.replace_samples(None, [0])
            study.change_facts(winner=0, test_looks=(*study.facts.test_looks, "2026"))
            rows.add_test_measures(1, make_result([1.0]).measures["validation"])
            rows.add_probe(1, None)
        study.leases.say_gone(owner)


def no_member(number: int) -> Members:
    return cast(Members, number)


def outcome(url: str) -> dict[str, Any]:
    """All that the study came to, but for times and names of processes."""

    def said(row: Row) -> dict[str, Any]:
        assert row.result is not None
        curves = row.result.curves.as_rows().tobytes()
        test = None if "test" not in row.result.measures else row.result.measures["test"].unexplained
        return {
            "number": row.number,
            "state": row.state,
            "run": row.run,
            "score": row.score,
            "test": test,
            "of": curves,
        }

    with open_storage(url, create=False) as storage:
        study = StudyStorage.load(storage, NAME)
        constraints = [trial.constraints for trial in study.trials()]
        rows, proof = study.rows(), study.confirmation()
        return {
            "names": sorted(known.study_name for known in storage.get_all_studies()),
            "rows": [said(row) for row in rows],
            "constraints": constraints,
            "confirmed": [said(row) for row in proof.rows()],
            "sampled": proof.sampled_rows(),
            "facts": study.facts,
        }


class Cutting:
    """The small study with connections cut, beside the one that nothing happened to."""

    def __init__(self, new_database: Callable[[], str], make_result: MakeResult) -> None:
        self._new_database, self._make_result = new_database, make_result
        self.expected, self.statements, _ = self.run(lambda number, text: False, "answer")

    def run(self, is_cut: Callable[[int, bytes], bool], cut: Cut) -> tuple[dict[str, Any], int, int]:
        """What it came to, the statements that were asked for, and the connections that were cut."""
        url = self._new_database()
        proxy = CuttingProxy(url, is_cut, cut)
        try:
            try:
                live_through(proxy.url, self._make_result)
            except StorageError as error:
                assert str(error).startswith("cannot open the storage") and "\n" not in str(error)
                assert proxy.statements <= GREETING, "it is waited for once it has answered"
                live_through(proxy.url, self._make_result)
            return outcome(url), proxy.statements, proxy.cuts
        finally:
            proxy.close()


GREETING = 12  # statements at most until a database has answered for the first time
APART = 97  # statements: more than any one call takes


@pytest.fixture
def cutting(new_database: Callable[[], str], make_result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> Cutting:
    monkeypatch.setattr("klsearch.search.storage.database.patience._FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr("klsearch.search.storage.study._FIRST_ATTRIBUTE_SECONDS", 0.2)
    return Cutting(new_database, make_result)


@pytest.mark.parametrize("cut", ["question", "answer", "late"])
def test_a_study_whose_every_seventh_commit_is_cut_off_ends_as_if_nothing_had_happened(
    cutting: Cutting, cut: Cut
) -> None:
    commits = count()
    reached, _, cuts = cutting.run(lambda number, text: b"COMMIT" in text and next(commits) % 7 == 6, cut)
    assert reached == cutting.expected
    assert cuts > 3


@pytest.mark.parametrize("cut", ["question", "answer"])
def test_a_study_cut_off_at_every_so_many_statements_ends_as_if_nothing_had_happened(
    cutting: Cutting, cut: Cut
) -> None:
    reached, _, cuts = cutting.run(lambda number, text: number % APART == APART - 1, cut)
    assert reached == cutting.expected
    assert cuts > 3


@pytest.mark.faults
@pytest.mark.parametrize("cut", ["question", "answer", "late"])
def test_a_study_may_be_cut_off_at_any_statement(cutting: Cutting, cut: Cut) -> None:
    in_all = 0
    for first in range(APART):  # so that every statement is cut off in one of the studies
        reached, _, cuts = cutting.run(lambda number, text, first=first: number % APART == first, cut)  # type: ignore[misc]
        assert (first, reached) == (first, cutting.expected)
        in_all += cuts
    assert in_all >= cutting.statements
    print(f"cut off at {in_all} statements of {APART} studies of {cutting.statements} each, losing the {cut}")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.EROFS, "read-only"), True),
        (PermissionError(errno.EACCES, "no permission"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (psycopg.errors.QueryCanceled("statement timeout"), True),
        (psycopg.errors.ReadOnlySqlTransaction("read-only"), True),
        (psycopg.errors.InsufficientPrivilege("no permission"), False),
    ],
)
def test_faults_that_pass_are_told_from_those_that_stay(error: Exception, passes: bool) -> None:
    assert may_pass(error) == passes
