"""Every command, definition and program on the project's pages works as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

import klsearch as kl

ROOT = Path(__file__).parents[1]
TEMPLATE = (ROOT / "studies" / "template.toml").read_text(encoding="utf-8")

# Pages whose commands go on from one another share a folder.
FOLDERS = (("README.md", "search/README.md", "reports/README.md"), ("studies/README.md",), ("vae/README.md",))
PAGES = [page for pages in FOLDERS for page in pages]

NOT_RUN_HERE = {
    "make demo": "installs what these tests run in, then runs `klsearch run digits`, which is run here",
    "make test": "is these tests",
    ". .venv/bin/activate": "the commands here find the environment that runs these tests",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    """A page's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The lines of a page's console blocks, in order, without the `$ ` that each begins with."""
    lines = [line for block in code_blocks(page, "console") for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def template_with(block: str) -> str:
    """The template, with the tables of a block in place of its own."""
    definition = tomlkit.parse(TEMPLATE)
    definition.update(tomlkit.parse(block))
    return tomlkit.dumps(definition)


def output_of(command: str | list[str], folder: Path, package: Path = ROOT / "src" / "klsearch") -> str:
    """What a command, given as a shell takes it or as a list, prints; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        command, shell=isinstance(command, str), cwd=folder, env=environment, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def shorter(tmp_path: Path) -> Path:
    """A copy of the package whose definitions are shorter, but long enough for every part of a report."""
    package = tmp_path / "shorter" / "klsearch"
    shutil.copytree(ROOT / "src" / "klsearch", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("built_in/digits.toml", "template.toml"):
        definition = package / "studies" / name
        text = definition.read_text(encoding="utf-8")
        for key, value in (("trials", 24), ("epochs", 30)):
            text, found = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.MULTILINE)
            assert found == 1, f"{name} has no one {key}"
        definition.write_text(text, encoding="utf-8")
    return package


@pytest.mark.slow("trains what the pages train")
@pytest.mark.parametrize("pages", FOLDERS, ids=" ".join)
def test_commands_run_as_written_one_after_the_other(pages: tuple[str, ...], shorter: Path, tmp_path: Path) -> None:
    for page in pages:
        for command in commands(page):
            if command not in NOT_RUN_HERE:
                output_of(command, tmp_path, shorter)


def test_commands_left_out_are_still_on_the_front_page() -> None:
    assert set(NOT_RUN_HERE) <= set(commands("README.md"))


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_a_page_names_are_there(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", text_of(page)))
    written = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named <= written


@pytest.mark.parametrize("name", PAGES)
def test_definitions_are_accepted(name: str, tmp_path: Path) -> None:
    for block in code_blocks(name, "toml"):
        (tmp_path / "mine.toml").write_text(template_with(block), encoding="utf-8")
        kl.load_definition(tmp_path / "mine.toml")


def test_every_program_has_a_test() -> None:
    programs = {page: len(found) for page in PAGES if (found := code_blocks(page, "python"))}
    assert programs == {"README.md": 2, "vae/README.md": 1}  # run by the four tests below


@pytest.mark.slow("starts a process")
def test_the_front_page_s_data_are_read_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(template_with(code_blocks("README.md", "toml")[0]), encoding="utf-8")
    rows = "".join(f"{row},{row**2 % 17},kind {row % 3},{row // 4}\n" for row in range(400))
    (tmp_path / "measurements.csv").write_text(f"length,width,species,patient\n{rows}", encoding="utf-8")
    assert "280 train, 60 validation, 60 test rows of 2 values" in output_of("klsearch check mine.toml", tmp_path)


@pytest.mark.slow("trains what the page trains")
def test_the_front_page_s_model_trains(tmp_path: Path) -> None:
    (tmp_path / "my_vae.py").write_text(code_blocks("README.md", "python")[0], encoding="utf-8")
    definition = TEMPLATE.replace('kind = "dense"', 'kind = "my_vae:build"').replace("\nhidden = ", "\n# hidden = ")
    (tmp_path / "mine.toml").write_text(definition, encoding="utf-8")
    output_of("klsearch run mine.toml --trials 2 --slots 2 --no-confirm --out run", tmp_path)
    assert json.loads(output_of("klsearch best run --json", tmp_path))["trial"] in (0, 1)


@pytest.mark.slow("trains what the page trains")
def test_the_front_page_s_program_trains_an_array_and_reads_frames(tmp_path: Path) -> None:
    sentence, *frames = output_of([sys.executable, "-c", code_blocks("README.md", "python")[1]], tmp_path).splitlines()
    assert re.match(r"Stable: Trial \d+: 8 of 8 fresh seeds pass all gates", sentence), sentence
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert frames[0].split() == ["number", "kl_weight", "kl", "unexplained", "feasible"]
    assert len(frames) > 6
    assert {"after", "before", "winner"} <= {line.partition(" ")[0] for line in frames[6:]}
    assert (tmp_path / "runs" / "cells" / "report.html").exists()


@pytest.mark.slow("starts a process")
def test_a_function_s_rows_are_read_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(code_blocks("vae/README.md", "python")[0], encoding="utf-8")
    (tmp_path / "mine.toml").write_text(template_with(code_blocks("vae/README.md", "toml")[0]), encoding="utf-8")
    assert "399 train, 85 validation, 85 test rows of 30 values" in output_of("klsearch check mine.toml", tmp_path)


def test_every_key_of_a_definition_is_explained() -> None:
    keys = re.findall(r"^(?:# )?(\w+) = ", TEMPLATE, flags=re.MULTILINE)
    assert len(set(keys)) > 30
    page = text_of("studies/README.md")
    assert [key for key in keys if not re.search(rf"`(\w+\.)?{key}`", page)] == []


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^):#]+)\)", text_of(name))
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_pictures_are_small() -> None:
    pictures = [
        (ROOT / page).parent / link for page in PAGES for link in re.findall(r"!\[.+?\]\((.+?)\)", text_of(page))
    ]
    assert len(pictures) == 1
    assert all(10_000 < picture.stat().st_size < 150_000 for picture in pictures)


def test_the_front_page_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 170
