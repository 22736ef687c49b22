"""What the shell completes, and what it does with it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from klsearch.search.cli import main

KLSEARCH = str(Path(sys.executable).with_name("klsearch"))
ZSH_WAITS = b"\x1b[?2004h"  # for a line; a TAB that is typed before does not complete
# How a shell that reads no settings is started, and told to complete.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(klsearch completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -uD; eval "$(klsearch completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "klsearch completion fish | source"),
}
COMMANDS = ["$(touch PWNED)", "`touch PWNED`", "a;touch PWNED"]


def completions(words: str, folder: Path) -> list[str]:
    """What bash is offered for the last of some words."""
    asked = {"_KLSEARCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    called = subprocess.run([KLSEARCH], env=os.environ | asked, cwd=folder, capture_output=True, text=True, check=True)
    assert called.stderr == ""
    return called.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "run.json").write_text("{}")
    (tmp_path / "runs" / "no-run").mkdir()
    return tmp_path


def test_commands_options_studies_and_runs_are_completed(folder: Path) -> None:
    assert completions("klsearch exp", folder) == ["plain,export"]
    assert completions("klsearch run digits --no-c", folder) == ["plain,--no-confirm"]
    assert completions("klsearch run d", folder) == ["file,d", "plain,digits"]
    assert completions("klsearch status runs/", folder) == ["dir,runs/", "plain,runs/mine"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_klsearch(shell: str) -> None:
    called = subprocess.run([KLSEARCH, "completion", shell], capture_output=True, text=True, check=True)
    assert f"_KLSEARCH_COMPLETE={shell}_complete" in called.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=called.stdout, text=True, check=True)


def typed(shell: str, keys: str, folder: Path) -> str:
    """What a terminal shows when these keys are typed into a shell."""
    started, setup = SHELLS[shell]
    settings = {"PATH": f"{Path(KLSEARCH).parent}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "xterm"}
    in_terminal = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *started]
    process = subprocess.Popen(
        in_terminal, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | settings, cwd=folder
    )
    assert process.stdin is not None and process.stdout is not None
    shown = b""
    for number, line in enumerate([setup, keys, "exit"]):
        while shell == "zsh" and shown.count(ZSH_WAITS) <= number and (more := os.read(process.stdout.fileno(), 65536)):
            shown += more
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()
    rest, _ = process.communicate()
    return (shown + rest).decode(errors="replace")


@pytest.mark.slow("types into a shell")
@pytest.mark.parametrize("shell", SHELLS)
def test_no_name_of_a_run_is_a_command_to_the_shell_that_completes_it(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    for number, name in enumerate(COMMANDS):
        folder = tmp_path / str(number)
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "run.json").write_text("{}")
        shown = typed(shell, "klsearch status runs/\t", folder)
        assert not (folder / "PWNED").exists(), name
        assert f"{name}/run.json cannot be read" in " ".join(shown.split()), name  # it was completed, and that run read


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_that_comes_next_can_be_pasted_whatever_the_file_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", name]) == 0
    command = capsys.readouterr().out.partition("Next: ")[2]
    assert shlex.split(command) == ["klsearch", "check", name]
    subprocess.run(["bash", "-c", command.replace("klsearch", "true")], check=True)
    assert not (tmp_path / "PWNED").exists()
