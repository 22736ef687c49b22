"""What the shell completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KLSEARCH = str(Path(sys.executable).with_name("klsearch"))


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
