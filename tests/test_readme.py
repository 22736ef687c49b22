"""The README's commands run as they are written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"

NOT_RUN_HERE = {
    "make demo": "installs what these tests run in, then runs `klsearch run digits`, which is run here",
    "make test": "is these tests",
    ". .venv/bin/activate": "the commands here find the environment that runs these tests",
}


def commands() -> list[str]:
    """The lines after `$ ` in the README's console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_commands_left_out_are_still_in_the_readme() -> None:
    assert set(NOT_RUN_HERE) <= set(commands())


def test_the_readme_s_commands_run_as_written_one_after_the_other(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands():
        if command in NOT_RUN_HERE:
            continue
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
