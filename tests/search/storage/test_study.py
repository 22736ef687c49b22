"""One study in its storage."""

import math
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import SCHEMA_VERSION, StudyStorage
from klsearch.studies.errors import StorageError, StudyConflict
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.samples import ColumnErrors
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

RUN = Run(hyperparameters=Hyperparameters(kl_weight=1 / 3, clip_high=2.0), seed=123, label="search")
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "kl_weight": FloatDistribution(1e-4, 1.0, log=True),
    "annealing_epochs": IntDistribution(0, 5),
}
PARAMS = {"kl_weight": 1 / 3, "annealing_epochs": 3}
DEAD = replace(this_process(), started="1")


@pytest.fixture(
    params=["journal", "sqlite", pytest.param("postgres", marks=pytest.mark.slow("starts a PostgreSQL server"))]
)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    """A storage of each kind."""
    kind = request.param
    url = request.getfixturevalue("postgres") if kind == "postgres" else f"{kind}:///{tmp_path / 'storage'}"
    with open_storage(url, create=True) as storage:
        yield storage


@pytest.fixture
def study(storage: BaseStorage, workshop: "Workshop") -> StudyStorage:
    """An empty study in a storage of each kind; the PostgreSQL server keeps those of other tests."""
    return workshop.new_study(storage, str(uuid.uuid4()))


def result(epochs: int = 3, *, with_nan: bool = False) -> Result:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(epochs, len(CURVE_NAMES))).astype(np.float32)
    if with_nan:
        rows[-1, :3] = np.nan, np.inf, -np.inf
    latents = {name: rng.normal(size=3) for name in ("kl_mean_part", "kl_variance_part", "prior_mismatch")}
    measures = Measures(
        reconstruction=1 / 7,
        unexplained=1 / 9,
        elbo=math.nan if with_nan else -1 / 3,
        active_units=2,
        clip_share_low=0.0,
        clip_share_high=0.1,
        **latents,
    )
    return Result(curves=TrainingCurves.from_rows(rows), measures={"validation": measures}, seconds=0.25)


def test_what_others_write_is_seen_and_a_closed_row_is_read_once(
    study: StudyStorage, storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def from_json(values: Mapping[str, Any]) -> Run:
        read.append(values["seed"])
        return RUN

    monkeypatch.setattr(Run, "from_json", from_json)
    other = StudyStorage(storage, study.name)
    for seed in range(3):
        other.create_row(replace(RUN, seed=seed), DEAD)
    assert [row.state for row in study.rows(results=False)] == [TrialState.RUNNING] * 3
    other.finish_row(1, result(), owner=DEAD, score=0.5, constraints={})
    other.void_row(2, "no more")
    other.create_row(replace(RUN, seed=3), DEAD)
    for _ in range(3):
        read.clear()
        rows = study.rows(results=False)
        assert [row.number for row in rows] == [0, 1, 2, 3]
        assert [(row.score, row.error) for row in rows[1:3]] == [
            (0.5, ""),
            (pytest.approx(math.nan, nan_ok=True), "no more"),
        ]
    assert read == [0, 3], "those that run still"
    assert study.rows()[1].result is not None, "results are read when they are asked for"
    assert study.take_over(0, this_process())
    assert study.rows(results=False)[0].owner == this_process()


def measured_bytes(measured: Measures) -> list[bytes]:
    return [np.asarray(getattr(measured, name)).tobytes() for name in Measures.__slots__]


def again(study: StudyStorage, storage: BaseStorage) -> Row:
    """The study's first row, as another process reads it."""
    return StudyStorage.load(storage, study.name).rows()[0]


@pytest.mark.parametrize("with_nan", [False, True])
def test_a_finished_row_comes_back_bit_for_bit(study: StudyStorage, storage: BaseStorage, with_nan: bool) -> None:
    number = study.create_row(RUN, this_process(), params=PARAMS, distributions=DISTRIBUTIONS)
    left = result(with_nan=with_nan)
    study.finish_row(number, left, owner=this_process(), score=1 / 3, constraints={"band": 2 / 3, "alive": -1.0})
    row = again(study, storage)
    assert (row.number, row.state, row.run, row.owner) == (0, TrialState.COMPLETE, RUN, this_process())
    assert (row.score, row.error, row.progress) == (1 / 3, "", {})
    assert row.result is not None
    assert row.result.seconds == 0.25
    assert row.result.curves.as_rows().tobytes() == left.curves.as_rows().tobytes()
    assert measured_bytes(row.result.measures["validation"]) == measured_bytes(left.measures["validation"])
    (trial,) = study.trials()
    assert trial.params == PARAMS
    assert trial.distributions == DISTRIBUTIONS
    assert dict(trial.constraints) == {"band": 2 / 3, "alive": -1.0}


def test_measures_on_the_test_split_are_added_to_a_closed_row(study: StudyStorage, storage: BaseStorage) -> None:
    number = study.create_row(RUN, this_process())
    study.finish_row(number, result(), owner=this_process(), score=0.5, constraints={})
    (test,) = result().measures.values()
    study.add_test_measures(number, test)
    row = again(study, storage)
    assert row.result is not None
    assert list(row.result.measures) == ["validation", "test"]
    assert measured_bytes(row.result.measures["test"]) == measured_bytes(test)


def test_a_running_row_is_whole_from_the_start(study: StudyStorage, storage: BaseStorage) -> None:
    study.create_row(RUN, this_process(), params=PARAMS, distributions=DISTRIBUTIONS)
    row = again(study, storage)
    assert (row.state, row.run, row.result, row.ended) == (TrialState.RUNNING, RUN, None, None)
    assert math.isnan(row.score)
    assert study.trials()[0].params == PARAMS
    assert [running.number for running in study.running_rows()] == [0]


def test_times_are_in_utc(study: StudyStorage, storage: BaseStorage) -> None:
    study.finish_row(study.create_row(RUN, this_process()), result(), owner=this_process(), score=0.5, constraints={})
    row = again(study, storage)
    assert row.ended is not None
    assert timedelta(0) <= row.ended - row.started < timedelta(minutes=5)
    assert abs(datetime.now(UTC) - row.ended) < timedelta(minutes=5)


def test_a_row_that_another_program_failed_says_so(study: StudyStorage, storage: BaseStorage) -> None:
    study.create_row(RUN, this_process())
    optuna.load_study(study_name=study.name, storage=storage).tell(0, state=TrialState.FAIL)
    row = again(study, storage)
    assert (row.state, row.error, row.result) == (TrialState.FAIL, "marked as failed from outside", None)


def test_a_row_that_was_voided_says_why_and_not_that_another_program_failed_it(
    study: StudyStorage, storage: BaseStorage
) -> None:
    number = study.create_row(RUN, this_process())
    study.void_row(number, "void, never trained: another row took its number.")
    row = again(study, storage)
    assert (row.state, row.error) == (TrialState.FAIL, "void, never trained: another row took its number.")
    assert row.is_void


def test_definition_and_facts_come_back_and_can_be_replaced(
    study: StudyStorage, storage: BaseStorage, workshop: "Workshop"
) -> None:
    assert study.facts == workshop.facts
    changes: dict[str, Any] = {
        "winner": 3,
        "test_looks": ("2026-03-01",),
    }
    study.change_facts(**changes)
    facts = replace(workshop.facts, **changes)
    study.replace_definition("[study]\n# ä\n")
    other = StudyStorage.load(storage, study.name)
    assert other.facts == facts
    assert other.facts.fingerprint == workshop.facts.fingerprint, "what was found out changes no fingerprint"
    assert other.definition == "[study]\n# ä\n"


def test_rows_of_a_confirmation_lie_apart(study: StudyStorage, storage: BaseStorage) -> None:
    assert study.confirmation_rows() == []
    names = StudyStorage.names(storage)
    study.create_row(RUN, this_process())
    number = study.confirmation().create_row(replace(RUN, label="before"), this_process())
    assert number == 0
    assert [row.run.label for row in StudyStorage.load(storage, study.name).confirmation_rows()] == ["before"]
    assert [row.run.label for row in study.rows()] == ["search"]
    assert StudyStorage.names(storage) == names, "a confirmation is no study of its own"


def test_the_confirmation_of_a_deleted_study_is_not_that_of_the_next_of_its_name(
    study: StudyStorage, storage: BaseStorage, workshop: "Workshop"
) -> None:
    study.confirmation().create_row(replace(RUN, label="before"), this_process())
    optuna.delete_study(study_name=study.name, storage=storage)
    assert workshop.new_study(storage, study.name).confirmation_rows() == []


def test_a_study_is_created_once(study: StudyStorage, storage: BaseStorage, workshop: "Workshop") -> None:
    with pytest.raises(StudyConflict, match=r"exists in this storage; choose another name \(--study\)"):
        workshop.new_study(storage, study.name)


def test_a_study_that_is_not_there_is_named_with_those_that_are(study: StudyStorage, storage: BaseStorage) -> None:
    with pytest.raises(StorageError, match=f"the storage holds no study 'tidy'; it holds: .*{study.name}"):
        StudyStorage.load(storage, "tidy")


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, "3.1"])
def test_a_study_of_a_newer_klsearch_is_refused(study: StudyStorage, storage: BaseStorage, version: int | str) -> None:
    storage.set_study_user_attr(storage.get_study_id_from_name(study.name), "klsearch:schema", version)
    said = rf"newer klsearch \(storage format {version}, this one knows {SCHEMA_VERSION}\); upgrade klsearch"
    with pytest.raises(StorageError, match=said):
        StudyStorage.load(storage, study.name)


def test_a_study_of_another_program_is_refused_and_left_alone(storage: BaseStorage) -> None:
    name = str(uuid.uuid4())
    foreign = optuna.create_study(study_name=name, storage=storage)
    foreign.set_user_attr("theirs", 1)
    assert StudyStorage.exists(storage, name, alone=False)
    with pytest.raises(StorageError, match="was not made by klsearch; choose another name"):
        StudyStorage.load(storage, name)
    foreign.enqueue_trial({"x": 1.0})
    assert StudyStorage.exists(storage, name, alone=True)
    assert len(foreign.trials) == 1


def test_what_is_left_of_a_study_cut_off_in_the_making_is_removed(storage: BaseStorage) -> None:
    def begun(**attributes: str) -> str:
        name = str(uuid.uuid4())
        study = storage.create_new_study([StudyDirection.MINIMIZE], name)
        for key, value in attributes.items():
            storage.set_study_user_attr(study, f"klsearch:{key}", value)
        return name

    for name, alone in [
        (begun(definition="[study]"), False),
        (begun(definition="", facts="{}"), True),
        (begun(), True),
        (begun(), False),
    ]:
        assert not StudyStorage.exists(storage, name, alone=alone)
        assert name not in StudyStorage.names(storage)


def test_whoever_makes_a_study_that_others_took_for_left_finds_theirs(
    storage: BaseStorage, study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sqlite" in str(getattr(getattr(storage, "_backend", None), "url", "")):
        pytest.skip("SQLite gives the number of a deleted study to the next one")
    name, facts, create = str(uuid.uuid4()), study.facts, storage.create_new_study

    def create_slowly(directions: list[StudyDirection], name: str) -> int:
        made = create(directions, name)
        assert not StudyStorage.exists(storage, name, alone=False), "it is removed, for it stayed empty"
        monkeypatch.undo()
        StudyStorage.create(storage, name, definition="theirs", facts=facts)
        return made

    monkeypatch.setattr(storage, "create_new_study", create_slowly)
    with pytest.raises(StudyConflict):
        StudyStorage.create(storage, name, definition="ours", facts=facts)
    assert StudyStorage.load(storage, name).definition == "theirs"


def test_a_study_that_another_process_makes_just_now_is_waited_for(
    storage: BaseStorage, workshop: "Workshop", other: tuple[Owner, "subprocess.Popen[str]"]
) -> None:
    name, (maker, _) = str(uuid.uuid4()), other
    study = storage.create_new_study([StudyDirection.MINIMIZE], name)
    storage.set_study_user_attr(study, "klsearch:maker", maker.as_json())

    def make_the_rest(seconds: float) -> None:
        assert 0 < seconds < 1
        storage.set_study_user_attr(study, "klsearch:schema", 1)

    assert StudyStorage.exists(storage, name, alone=False, wait=make_the_rest)


def test_the_rest_of_a_study_whose_maker_was_killed_is_removed(
    storage: BaseStorage, other: tuple[Owner, "subprocess.Popen[str]"]
) -> None:
    name, (maker, process) = str(uuid.uuid4()), other
    study = storage.create_new_study([StudyDirection.MINIMIZE], name)
    storage.set_study_user_attr(study, "klsearch:maker", maker.as_json())

    def kill_the_maker(seconds: float) -> None:
        process.kill()
        process.wait()

    assert not StudyStorage.exists(storage, name, alone=False, wait=kill_the_maker)
    assert name not in StudyStorage.names(storage)


def test_what_two_processes_find_out_about_a_study_stays_side_by_side(
    study: StudyStorage, storage: BaseStorage
) -> None:
    one, other = StudyStorage.load(storage, study.name), StudyStorage.load(storage, study.name)
    one.change_facts(winner=3)
    other.change_facts(confirmed_among=40)
    assert (study.facts.winner, study.facts.confirmed_among) == (3, 40)


def test_a_result_is_recorded_once(study: StudyStorage, storage: BaseStorage) -> None:
    number = study.create_row(RUN, this_process())
    assert study.finish_row(number, result(), owner=this_process(), score=0.5, constraints={})
    assert not study.finish_row(number, result(epochs=5), owner=this_process(), score=0.7, constraints={})
    row = again(study, storage)
    assert row.result is not None
    assert (row.score, row.result.curves.epochs) == (0.5, 3)


def test_a_result_of_a_row_that_was_taken_over_is_not_recorded(study: StudyStorage, storage: BaseStorage) -> None:
    number = study.create_row(RUN, DEAD)
    assert study.take_over(number, this_process())
    assert not study.finish_row(number, result(), owner=DEAD, score=0.5, constraints={})
    assert again(study, storage).state is TrialState.RUNNING


def test_a_row_that_is_finished_is_taken_over_by_nobody(study: StudyStorage, storage: BaseStorage) -> None:
    number = study.create_row(RUN, this_process(), course="one")
    study.finish_row(number, result(), owner=this_process(), score=0.5, constraints={})
    assert not study.take_over(number, DEAD, course="two")
    assert (again(study, storage).owner, again(study, storage).course) == (this_process(), "one")


def test_a_row_taken_over_is_the_new_owner_s(study: StudyStorage, storage: BaseStorage) -> None:
    study.take_over(study.create_row(RUN, DEAD, course="one"), this_process(), course="two")
    assert (again(study, storage).owner, again(study, storage).course) == (this_process(), "two")


def test_a_running_row_shows_what_its_owner_said_last(study: StudyStorage, storage: BaseStorage) -> None:
    number = study.create_row(RUN, DEAD)
    study.leases.say_alive(DEAD, {number: {"epoch": 7.0, "kl": 2.5}})
    assert again(study, storage).progress == {"epoch": 7.0, "kl": 2.5}
    study.take_over(number, this_process())
    assert again(study, storage).progress == {}, "that was the dead owner's"
    study.leases.say_alive(this_process(), {number: {"epoch": 1.0, "kl": 9.0}})
    assert again(study, storage).progress == {"epoch": 1.0, "kl": 9.0}
    study.finish_row(number, result(), owner=this_process(), score=0.5, constraints={})
    assert again(study, storage).progress == {}


def test_rows_that_others_put_into_a_study_are_not_its_trials(study: StudyStorage, storage: BaseStorage) -> None:
    optuna.load_study(study_name=study.name, storage=storage).enqueue_trial({"x": 1.0})
    assert study.rows() == []


def test_samples_are_kept_with_the_confirmation_and_replaced_as_a_whole(study: StudyStorage) -> None:
    assert study.confirmation_samples() is None
    assert study.confirmation_rows() == [], "looking for samples writes nothing"
    rows = study.confirmation()
    assert rows.sampled_rows() == ()
    for column, numbers in (("a", [3, 8]), ("b", [4, 8])):
        samples = ColumnErrors(
            split="test", names=("trial 1", "before"), columns=(column,), unexplained=np.ones((2, 1)), of=1
        )
        rows.replace_samples(samples, numbers)
        kept = study.confirmation_samples()
        assert isinstance(kept, ColumnErrors)
        assert kept.columns == (column,)
        assert rows.sampled_rows() == tuple(numbers)
    rows.replace_samples(None, [4, 8])
    assert study.confirmation_samples() is None
    assert rows.sampled_rows() == (4, 8), "that nothing can be drawn is known too"
