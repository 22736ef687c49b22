"""The README's commands and programs run as they are written there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from klsearch.studies.definitions.catalog import template

README = Path(__file__).parents[1] / "README.md"

NOT_RUN_HERE = {
    "make demo": "installs what these tests run in, then runs `klsearch run digits`, which is run here",
    "make test": "is these tests",
    ". .venv/bin/activate": "the commands here find the environment that runs these tests",
}


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language, in order."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines after `$ ` in the README's console blocks, in order."""
    return [
        line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")
    ]


def test_commands_left_out_are_still_in_the_readme() -> None:
    assert set(NOT_RUN_HERE) <= set(commands())


def run(command: str | list[str], folder: Path) -> str:
    """What a command, given as a shell takes it or as a list, prints; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=isinstance(command, str), cwd=folder, env=os.environ | {"PATH": path}, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_readme_s_commands_run_as_written_one_after_the_other(tmp_path: Path) -> None:
    for command in commands():
        if command not in NOT_RUN_HERE:
            run(command, tmp_path)


def test_the_readme_s_data_are_read_as_it_says(tmp_path: Path) -> None:
    before, after = re.split(r"^\[data\]\n.*?(?=^\[model\])", template(), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.toml").write_text(f"{before}{blocks('toml')[0]}\n{after}", encoding="utf-8")
    rows = "".join(f"{row},{row**2 % 17},kind {row % 3},{row // 4}\n" for row in range(400))
    (tmp_path / "measurements.csv").write_text(f"length,width,species,patient\n{rows}", encoding="utf-8")
    assert "280 train, 60 validation, 60 test rows of 2 values" in run("klsearch check mine.toml", tmp_path)


def test_the_readme_s_model_trains(tmp_path: Path) -> None:
    (tmp_path / "my_vae.py").write_text(blocks("python")[0], encoding="utf-8")
    definition = template().replace('kind = "dense"', 'kind = "my_vae:build"').replace("\nhidden = ", "\n# hidden = ")
    (tmp_path / "mine.toml").write_text(definition, encoding="utf-8")
    run("klsearch run mine.toml --trials 2 --slots 2 --no-confirm --out run", tmp_path)
    assert json.loads(run("klsearch best run --json", tmp_path))["trial"] in (0, 1)


def test_the_readme_s_program_trains_an_array_and_reads_frames(tmp_path: Path) -> None:
    sentence, *frames = run([sys.executable, "-c", blocks("python")[1]], tmp_path).splitlines()
    assert re.match(r"Trial \d+: \d of 8 fresh seeds pass all gates", sentence)
    assert frames[0].split() == ["number", "kl_weight", "kl", "unexplained", "feasible"]
    assert len(frames) > 6
    assert {"after", "before", "winner"} <= {line.partition(" ")[0] for line in frames[6:]}
    assert (tmp_path / "runs" / "wine" / "report.html").exists()


def test_the_readme_s_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert len(pictures) == 2
    for picture in pictures:
        assert 10_000 < (README.parent / picture).stat().st_size < 150_000
