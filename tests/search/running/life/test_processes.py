"""A study that is interrupted, contended for, killed and resumed, in processes of its own."""

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

Klsearch = Callable[..., "Called"]
Start = Callable[..., "Process"]

NOISE = re.compile(
    r"tensorflow/|cuda|oneDNN|XLA|WARNING|^[IWE]\d{4}|^\d{4}-\d\d-\d\d|Traceback", re.IGNORECASE | re.MULTILINE
)
WATCHED = ("kl", "reconstruction", "kl_weight", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was seen of one study: run, run again meanwhile, interrupted, resumed, killed, resumed twice more."""

    folder: Path
    while_running: dict[str, Any]
    watched: str
    meanwhile: "Called"
    toml_meanwhile: str
    exit_code: int
    out: str
    err: str
    while_resumed: dict[str, Any]
    killed: list[dict[str, Any]]
    timed_out: "Called"
    after_timeout: list[dict[str, Any]]
    ended: "Called"
    after_end: list[dict[str, Any]]


def wait_until_training(klsearch: Klsearch, folder: Path, process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The study's status as soon as it tells of a running trial's epochs."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended early"
        called = klsearch("status", folder, "--json")
        if called.code == 0 and called.document["running"] and "kl" in called.document["running"][0]:
            return called.document
        time.sleep(0.2)
    raise AssertionError("it did not begin to train")


def listed(klsearch: Klsearch, folder: Path) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = klsearch("trials", folder, "--json").document["trials"]
    return trials


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    klsearch: Klsearch,
    starting: Callable[[], AbstractContextManager[Start]],
    command: list[str],
    write: Callable[..., Path],
) -> Story:
    """Trials that train for some seconds, two at a time, and more of them than there will be time for."""
    work = tmp_path_factory.mktemp("work")
    definition = write(work, ("epochs = 12", "epochs = 200"), ("trials = 24", "trials = 500"))
    folder = work / "runs" / "tiny"
    with starting() as start:
        first = start(
            *command, "run", definition.name, "--slots", 2, "--no-confirm",
            cwd=work, err=work / "err1", stdout=subprocess.PIPE,
        )  # fmt: skip
        while_running = wait_until_training(klsearch, folder, first)
        watched = klsearch("status", folder).out
        meanwhile = klsearch("run", definition, "--out", folder, "--seed", 5, "--quiet")
        toml_meanwhile = (folder / "study.toml").read_text()
        first.send_signal(signal.SIGINT)
        out, _ = first.communicate(timeout=240)
        resume = shlex.split(out[out.index("klsearch resume") :].splitlines()[0])[1:]
        second = start(*command, *resume, "--slots", 2, cwd=work, err=work / "err2")
        while_resumed = wait_until_training(klsearch, folder, second)
        second.send_signal(signal.SIGKILL)
        second.wait()
    killed = listed(klsearch, folder)
    timed_out = klsearch("resume", folder, "--timeout", "1s", "--no-confirm")
    after_timeout = listed(klsearch, folder)
    ended = klsearch("resume", folder, "--trials", len(after_timeout), "--no-confirm", "--quiet")
    return Story(
        folder=folder,
        while_running=while_running,
        watched=watched,
        meanwhile=meanwhile,
        toml_meanwhile=toml_meanwhile,
        exit_code=first.returncode,
        out=out,
        err=(work / "err1").read_text(),
        while_resumed=while_resumed,
        killed=killed,
        timed_out=timed_out,
        after_timeout=after_timeout,
        ended=ended,
        after_end=listed(klsearch, folder),
    )


def settings(trials: list[dict[str, Any]]) -> list[tuple[int, int, dict[str, float]]]:
    return [(trial["number"], trial["seed"], trial["hyperparameters"]) for trial in trials]


def test_a_running_study_shows_the_four_watched_values_of_its_leading_trial(story: Story) -> None:
    (running,) = story.while_running["running"]
    assert 1 <= running["epoch"] <= running["epochs"] == 200
    assert all(isinstance(running[name], float) for name in WATCHED)
    assert 1 <= story.while_running["counts"]["running"] <= 2
    values = r"epoch \d+/200  KL \S+ nats per latent  reconstruction \S+  KL weight \S+  total \S+"
    assert re.search(rf"running trial \d+: ({values}|first epoch)", story.watched)


def test_a_second_run_on_a_study_in_training_is_refused_plainly_and_harms_nothing(story: Story) -> None:
    assert (story.meanwhile.code, story.meanwhile.out) == (2, "")
    (line,) = story.meanwhile.err.splitlines()
    assert re.search(r"is being trained by process \d+; wait for it, or give another --out", line)
    assert "seed" not in story.toml_meanwhile.partition("[data]")[0]


def test_ctrl_c_saves_everything_and_says_how_to_go_on(story: Story) -> None:
    assert story.exit_code == 130
    assert re.search(r"\d+ of 500 trials are done. Go on with: klsearch resume runs/tiny\n", story.out)
    assert "Stopped; what was trained is kept." in story.err
    assert "Report: " not in story.out, "it would not be up to date"


def test_there_is_no_noise_on_either_output(story: Story) -> None:
    assert not NOISE.search(story.out)
    assert not NOISE.search(story.err)
    if_slow = ("Loading the data…", "Measuring what a PCA leaves unexplained…")  # told only where it takes a while
    beginnings = (*if_slow, "Loading TensorFlow…", "warning: ", "Compiling ", "trials ", "Stopp")
    assert [line for line in story.err.splitlines() if not line.startswith(beginnings)] == []


def test_a_resumed_study_goes_on_training(story: Story) -> None:
    assert 1 <= story.while_resumed["counts"]["running"] <= 2
    assert story.while_resumed["finished"] >= story.while_running["finished"]


def test_a_killed_process_leaves_its_trials_to_the_next_with_number_settings_and_seed(story: Story) -> None:
    running = [trial["number"] for trial in story.killed if trial["state"] == "running"]
    assert 1 <= len(running) <= 2
    assert f"{len(running)} taken up again" in story.timed_out.err
    assert settings(story.after_timeout)[: len(story.killed)] == settings(story.killed)
    assert settings(story.after_end) == settings(story.after_timeout)


def test_a_time_limit_ends_the_training_with_a_partial_report(story: Story) -> None:
    assert story.timed_out.code == 0
    assert "of 500 trials are done. Go on with: klsearch resume" in story.timed_out.out
    assert "Report: " in story.timed_out.out
    assert any(trial["state"] == "running" for trial in story.after_timeout)


def test_in_the_end_the_budget_is_met_exactly_and_nothing_is_left_running(story: Story) -> None:
    """The budget was lowered to the trials that had begun."""
    assert (story.ended.code, story.ended.err) == (0, "")
    assert [trial["number"] for trial in story.after_end] == list(range(len(story.after_timeout)))
    assert {trial["state"] for trial in story.after_end} == {"complete"}
    assert len({str(trial["hyperparameters"]) for trial in story.after_end}) == len(story.after_end)
    assert all(trial["epochs"] == 200 for trial in story.after_end)
    assert f"Report: {story.folder / 'report.html'}" in story.ended.out


def test_a_run_is_found_by_its_name_below_runs(
    story: Story, klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(story.folder.parents[1])
    assert klsearch("trials", "tiny", "--json").document["trials"] == story.after_end


def test_a_second_signal_ends_the_process_without_waiting(
    start: Start, command: list[str], definition_file: Path, tmp_path: Path
) -> None:
    """While TensorFlow is loaded nobody asks whether to stop."""
    err = tmp_path / "err"
    process = start(*command, "run", definition_file.name, cwd=definition_file.parent, err=err)
    while process.poll() is None and not err.read_text():
        time.sleep(0.02)
    assert err.read_text().startswith("Loading ")
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    # To a shell both are one: where the process was about to end, it was the system that ended it.
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert not (definition_file.parent / "runs").exists()
