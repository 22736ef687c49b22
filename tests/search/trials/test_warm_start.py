"""A study that begins with the finished trials of an earlier one."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.trial import TrialState

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place, known_place
from klsearch.search.storage.rows import EarlierTrial
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.warm_start import WarmStart, find_warm_start
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import UsageError
from klsearch.studies.record import StudyRecord

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop

Klsearch = Callable[..., "Called"]
Record = Callable[[StudyStorage], StudyRecord]

NARROWER = (
    "kl_weight = { low = 1e-3, high = 10.0, log = true }",
    "kl_weight = { low = 0.03, high = 30.0, log = true }",
)


@pytest.fixture(scope="module")
def earlier(finished: "Finished") -> Place:
    return known_place(str(finished.folder), storage=None, study=None)


@pytest.fixture(scope="module")
def define(finished: "Finished") -> Callable[..., StudyDefinition]:
    """The small study's definition with each first string replaced by the second."""
    toml = finished.definition_file.read_text()

    def changed(*changes: tuple[str, str]) -> StudyDefinition:
        text = toml
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return parse_definition(text, "new.toml")

    return changed


Define = Callable[..., StudyDefinition]


@pytest.fixture(scope="module")
def narrower_start(workshop: "Workshop", earlier: Place, define: Define) -> WarmStart:
    return find_warm_start(define(NARROWER), workshop.dataset, earlier)


def new_study(workshop: "Workshop", url: str, trials: tuple[EarlierTrial, ...]) -> None:
    with open_storage(url, create=True) as storage:
        StudyStorage.create(storage, "new", definition="", facts=workshop.facts, earlier=trials)


def test_trials_inside_the_new_space_are_taken_over_with_their_settings_and_results(
    narrower_start: WarmStart, earlier: Place, define: Define
) -> None:
    with open_storage(earlier.url, create=False) as storage:
        rows = StudyStorage.load(storage, earlier.name).rows()
    inside = [row for row in rows if row.run.hyperparameters.kl_weight >= 0.03]
    assert 0 < len(inside) < len(rows) == narrower_start.complete == 24
    assert narrower_start.outside == {"kl_weight": 24 - len(inside)}
    for trial, row in zip(narrower_start.trials(define(NARROWER)), inside, strict=True):
        assert (trial.row.number, trial.origin) == (row.number, f"tiny trial {row.number}")
        assert trial.params["kl_weight"] == row.run.hyperparameters.kl_weight
        assert trial.distributions["kl_weight"].to_internal_repr(30.0) == 30.0
        assert trial.score == row.score
    assert narrower_start.words.startswith(f"{len(inside)} of 24 complete trials of study 'tiny' (journal:///")
    assert narrower_start.words.endswith(f"; the others lie outside the space (kl_weight {24 - len(inside)})")


def test_another_band_scores_and_judges_them_anew(
    workshop: "Workshop", earlier: Place, define: Define, narrower_start: WarmStart
) -> None:
    tight = define(NARROWER, ("trials = 24", "trials = 24\nkl_band = [0.0, 0.001]"))
    again = find_warm_start(tight, workshop.dataset, earlier)
    for wide, narrow in zip(narrower_start.trials(define(NARROWER)), again.trials(tight), strict=True):
        assert narrow.score >= wide.score
        assert narrow.constraints["band"] > wide.constraints["band"]


OTHERWISE = {
    "epochs": (("epochs = 12", "epochs = 13"), r"training\.epochs: 12, now 13"),
    "architecture": (("hidden = [16]", "hidden = [17]"), r"model\.hidden\S*: \[16\], now \[17\]"),
    "objective": (("trials = 24", 'trials = 24\nkl_reduction = "sum"'), r"study\.kl_reduction: 'mean', now 'sum'"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_trials_that_were_trained_otherwise_are_refused(
    what: str, workshop: "Workshop", earlier: Place, define: Define
) -> None:
    change, words = OTHERWISE[what]
    with pytest.raises(UsageError, match=f"cannot be taken over, because they were trained differently .*{words}"):
        find_warm_start(define(change), workshop.dataset, earlier)


def test_trials_of_other_rows_are_refused(workshop: "Workshop", earlier: Place, define: Define) -> None:
    with pytest.raises(UsageError, match=r"data: the rows, their split .* differ"):
        find_warm_start(define(), replace(workshop.dataset, fingerprint="0"), earlier)


def test_a_space_that_holds_none_of_them_is_refused(workshop: "Workshop", earlier: Place, define: Define) -> None:
    beyond = define((NARROWER[0], "kl_weight = { low = 50.0, high = 60.0 }"))
    with pytest.raises(UsageError, match=r"gives nothing to begin with: 0 of 24 .*kl_weight 24.*Leave it out"):
        find_warm_start(beyond, workshop.dataset, earlier)


def test_settings_that_a_fixed_number_rules_out_are_left_behind(
    workshop: "Workshop", earlier: Place, define: Define
) -> None:
    fixed = define(("annealing_epochs = { low = 0, high = 6 }", "annealing_epochs = 5"))
    found = find_warm_start(fixed, workshop.dataset, earlier)
    assert {row.run.hyperparameters.annealing_epochs for row in found.rows} == {5}
    assert found.outside == {"annealing_epochs": 24 - len(found.rows)}


def test_settings_that_no_trial_could_have_beside_a_fixed_number_are_left_behind_and_counted(
    workshop: "Workshop", study: StudyStorage, define: Define, tmp_path: Path
) -> None:
    """An earlier trial's upper bound lies below the lower one that the new study fixes."""
    low = define(("[baselines", "clip_high = { low = -5, high = 2 }\n[baselines"))
    workshop.search(study, 8, definition=low)
    bounds = [row.run.hyperparameters.clip_high for row in study.rows()]
    assert any(bound < -1 for bound in bounds)
    place = Place(folder=tmp_path, url=f"journal:///{tmp_path / 'journal'}", name="tiny", embedded=False)
    crossed = define(("[baselines", "clip_low = -1\nclip_high = { low = 0, high = 2 }\n[baselines"))
    with pytest.raises(UsageError, match=r"gives nothing to begin with: 0 of 8 complete .*\(.*clip_low 8"):
        find_warm_start(crossed, workshop.dataset, place)
    raised = define(("[baselines", "clip_high = { low = 0, high = 2 }\n[baselines"))
    found = find_warm_start(raised, workshop.dataset, place)
    assert [row.run.hyperparameters.clip_high for row in found.rows] == [bound for bound in bounds if bound >= 0]
    assert found.outside == {"clip_high": sum(bound < 0 for bound in bounds)}


def test_they_do_not_count_to_the_budget_and_the_sampler_learns_from_them(
    workshop: "Workshop", narrower_start: WarmStart, define: Define, tmp_path: Path, record: Record
) -> None:
    definition, count = define(NARROWER), len(narrower_start.rows)
    suggested = {}
    for name, trials in (("warm", narrower_start.trials(definition)), ("cold", ())):
        url = f"journal:///{tmp_path / name}"
        new_study(workshop, url, trials)
        with open_storage(url, create=False) as storage:
            study = StudyStorage.load(storage, "new")
            workshop.search(study, 5, definition=definition)
            assert len(study.counted_numbers()) == 5
            suggested[name] = [row for row in study.rows() if not row.warm_start]
    assert [row.number for row in suggested["warm"]] == list(range(count, count + 5))
    assert suggested["warm"][-1].run.label == "search"
    assert suggested["warm"][-1].run.hyperparameters != suggested["cold"][-1].run.hyperparameters


def test_a_study_cut_off_in_between_goes_on_to_the_same_trials(
    workshop: "Workshop", narrower_start: WarmStart, define: Define, tmp_path: Path
) -> None:
    definition, settings = define(NARROWER), []
    for name, epochs in (("whole", None), ("cut", 17)):
        url = f"journal:///{tmp_path / name}"
        new_study(workshop, url, narrower_start.trials(definition))
        with open_storage(url, create=False) as storage:
            study = StudyStorage.load(storage, "new")
            if epochs:
                workshop.search(study, 8, definition=definition, epochs=epochs)
            workshop.search(study, 8, definition=definition)
            settings.append([(row.number, row.run, row.score) for row in study.rows()])
    assert settings[0] == settings[1]


def test_one_that_was_killed_while_it_was_made_is_made_again(
    workshop: "Workshop", narrower_start: WarmStart, define: Define, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    new_study(workshop, f"journal:///{path}", narrower_start.trials(define(NARROWER)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))  # without its last trial and what says that it is whole
    with open_storage(f"journal:///{path}", create=False) as storage:
        assert not StudyStorage.exists(storage, "new", alone=True)
        assert StudyStorage.names(storage) == []


@pytest.mark.slow("searches two studies")
def test_a_warm_start_is_shown_wherever_the_study_is(
    finished: "Finished", narrower_start: WarmStart, klsearch: Klsearch, tmp_path: Path
) -> None:
    definition, count = finished.definition_file.with_name("new.toml"), len(narrower_start.rows)
    text = finished.definition_file.read_text().replace(*NARROWER).replace('"tiny"', '"new"')
    definition.write_text(text)
    options = ("--out", tmp_path / "run", "--slots", 2, "--no-confirm", "--quiet")
    called = klsearch("run", definition, "--warm-start", finished.folder, "--trials", 2, *options)
    assert called.code == 0, called.err
    listed = klsearch("trials", tmp_path / "run", "--json").document["trials"]
    before = {trial["number"]: trial for trial in klsearch("trials", finished.folder, "--json").document["trials"]}
    assert [trial["warm_start"] for trial in listed] == [True] * count + [False] * 2
    for trial in listed[:count]:
        original = before[int(re.fullmatch(r"tiny trial (\d+)", trial["origin"])[1])]  # type: ignore[index]
        for name in ("score", "kl", "hyperparameters", "seed", "gates", "seconds", "epochs"):
            assert trial[name] == original[name]
    status = klsearch("status", tmp_path / "run").out
    assert status.startswith("new: 2 of 2 trials done (2 complete)\n")
    assert f"\nwarm start: {count} of 24 complete trials" in status
    assert f"tiny trial {narrower_start.rows[0].number}\n" in klsearch("trials", tmp_path / "run").out
    report = (tmp_path / "run" / "report.html").read_text()
    assert f"{count} more from an earlier study" in report
    assert f"tiny trial {narrower_start.rows[0].number}" in report
    reproduced = klsearch("reproduce", tmp_path / "run", 0)
    assert (reproduced.code, reproduced.err.splitlines()[-1]) == (
        2,
        "klsearch: trial 0 was not trained in study 'new': "
        f"reproduce tiny trial {narrower_start.rows[0].number} where it was.",
    )

    again = klsearch("run", definition, "--warm-start", finished.folder, "--trials", 3, *options)
    assert again.code == 0, again.err
    assert len(klsearch("trials", tmp_path / "run", "--json").document["trials"]) == count + 3
    refused = klsearch("run", finished.definition_file, "--warm-start", tmp_path / "run", "--out", finished.folder)
    assert refused.code == 2
    assert "it exists already, and began without --warm-start" in refused.err


def test_trials_that_ended_early_are_left_behind_and_counted(
    workshop: "Workshop", study: StudyStorage, define: Define, tmp_path: Path
) -> None:
    workshop.search(study, 24, definition=define(("trials = 24", 'trials = 24\npruner = "median"')))
    states = {row.number: row.state for row in study.rows()}
    complete = [number for number, state in states.items() if state is TrialState.COMPLETE]
    assert 0 < len(complete) < 24
    place = Place(folder=tmp_path, url=f"journal:///{tmp_path / 'journal'}", name="tiny", embedded=False)
    found = find_warm_start(define(), workshop.dataset, place)
    assert [row.number for row in found.rows] == complete
    assert found.words.startswith(f"{len(complete)} of {len(complete)} complete trials of study 'tiny' (")
    assert found.words.endswith(f"); {24 - len(complete)} that ended early are left behind")


def test_a_warm_start_is_refused_before_anything_is_measured_or_trained(
    finished: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    definition = finished.definition_file.with_name("longer.toml")
    text = finished.definition_file.read_text().replace("epochs = 12", "epochs = 13")
    definition.write_text(text.replace("trials = 24", 'trials = 24\nkl_band = "auto"').replace('"tiny"', '"longer"'))
    called = klsearch("run", definition, "--warm-start", finished.folder, "--out", tmp_path / "run")
    assert called.code == 2
    assert "training.epochs: 12, now 13" in called.err
    assert "Measuring" not in called.err
    assert "Training" not in called.err
    assert klsearch("status", tmp_path / "run").code != 0


TO_CHOOSE = (NARROWER[1], NARROWER[1] + '\nkl_schedule = ["linear", "cosine"]')


def test_trials_of_one_schedule_are_taken_over_where_it_can_be_chosen(
    workshop: "Workshop", earlier: Place, define: Define
) -> None:
    chosen = define(NARROWER, TO_CHOOSE)
    found = find_warm_start(chosen, workshop.dataset, earlier).trials(chosen)
    assert [trial.params["kl_schedule"] for trial in found] == ["linear"] * len(found) != []
    assert all(trial.row.run.hyperparameters.kl_schedule == "linear" for trial in found)
    others = define(NARROWER, (TO_CHOOSE[0], TO_CHOOSE[1].replace("linear", "sigmoid")))
    with pytest.raises(UsageError, match=r"gives nothing to begin with: 0 of 24 .*kl_schedule 24"):
        find_warm_start(others, workshop.dataset, earlier)


def test_trials_of_another_schedule_were_trained_otherwise_where_it_cannot_be_chosen(
    workshop: "Workshop", earlier: Place, define: Define
) -> None:
    with pytest.raises(UsageError, match=r"training\.kl_schedule: none, now {shape = 'cosine'"):
        find_warm_start(
            define(NARROWER, ("epochs = 12", 'epochs = 12\nkl_schedule = "cosine"')), workshop.dataset, earlier
        )


@pytest.mark.slow("searches a study")
def test_of_trials_with_schedules_of_their_own_those_of_the_new_study_s_one_are_taken_over(
    workshop: "Workshop", define: Define, klsearch: Klsearch, write: Callable[..., Path], tmp_path: Path
) -> None:
    choosing = write(tmp_path, ("[baselines.mine]", 'kl_schedule = ["linear", "cosine"]\n\n[baselines.mine]'))
    called = klsearch("run", choosing, "--trials", 12, "--no-confirm", "--out", tmp_path / "choosing")
    assert called.code == 0, called.err
    place = known_place(str(tmp_path / "choosing"))
    with open_storage(place.url, create=False) as storage:
        rows = StudyStorage.load(storage, place.name).rows()
    linear = [row.run.hyperparameters for row in rows if row.run.hyperparameters.kl_schedule == "linear"]
    assert 0 < len(linear) < len(rows) == 12
    fixed = define()
    found = find_warm_start(fixed, workshop.dataset, place)
    assert found.outside == {"kl_schedule": 12 - len(linear)}
    taken = [trial.row.run.hyperparameters for trial in found.trials(fixed)]
    assert taken == [replace(settings, kl_schedule=None) for settings in linear]
