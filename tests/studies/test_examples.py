"""Every example runs as its page has it, with fewer trials of fewer epochs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import klsearch as kl

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "studies" / "built_in" / "README.md").read_text(encoding="utf-8")
EXAMPLES = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
SHORTER = {r"^epochs = \d+": "epochs = 8", r"^rows = \d+": "rows = 300", r"(annealing_epochs = .*high =) \d+": r"\1 3"}


def files_of(example: str) -> dict[str, str]:
    """Its blocks by the file that the text before each names last."""
    found = {}
    for block in re.finditer(r"^```(python|toml)\n(.*?)^```$", example, flags=re.MULTILINE | re.DOTALL):
        name = re.findall(r"`([\w.]+\.(?:py|toml))`", example[: block.start()])[-1]
        found[name] = block[2]
    return found


def commands_of(example: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```$", example, flags=re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def output_of(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_there_are_four_examples_each_of_files_and_commands() -> None:
    assert len(EXAMPLES) == 4
    for example in EXAMPLES.values():
        assert [Path(name).suffix for name in files_of(example)] == [".py", ".toml"]
        assert any(command.startswith("klsearch run ") for command in commands_of(example))


@pytest.mark.slow("trains what the page trains")
@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_runs_as_it_is_written(title: str, tmp_path: Path) -> None:
    example = EXAMPLES[title]
    for name, text in files_of(example).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    definition = next(tmp_path.glob("*.toml"))
    kl.load_definition(definition)  # in full, before it is made shorter
    text = definition.read_text(encoding="utf-8")
    for pattern, shorter in SHORTER.items():
        text = re.sub(pattern, shorter, text, flags=re.MULTILINE)
    definition.write_text(text, encoding="utf-8")
    for command in commands_of(example):
        run = command.startswith("klsearch run ")
        output_of(f"{command} --trials 2 --slots 2 --no-confirm" if run else command, tmp_path)
    best = json.loads(output_of(f"klsearch best runs/{definition.stem} --json", tmp_path))
    assert best["trial"] in (0, 1)
    assert best["unexplained"] > 0
    if "klsearch export" in example:
        settings = (tmp_path / "best" / "vae_settings.py").read_text(encoding="utf-8")
        assert "class Trained(Training, keras_vae.VAE):" in settings
        assert (tmp_path / "audit.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
