"""The command line where nothing is trained: definitions, data, places, and one clear line for whatever is wrong."""

import json
import os
import re
import resource
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

pytestmark = pytest.mark.usefixtures("work")

Klsearch = Callable[..., "Called"]


def test_built_in_studies_are_listed_and_can_be_checked(klsearch: Klsearch) -> None:
    listed = klsearch("list")
    assert listed.code == 0
    names = [entry["name"] for entry in klsearch("list", "--json").document["studies"]]
    assert names == ["digits", "fashion-mnist"]
    assert [line.split()[0] for line in listed.out.splitlines()] == names
    checked = klsearch("check", "digits")
    assert checked.code == 0
    assert "digits: valid" in checked.out
    assert "1,257 train, 270 validation, 270 test rows of 8×8 values" in checked.out
    told = r"\ntime: about \d+ (s|min|h) .* for at most 138 trainings of 60 epochs; up to 1\.0 GB"
    assert re.search(told, checked.out)


def test_check_tells_what_it_found_as_a_document(klsearch: Klsearch, definition_file: Path) -> None:
    document = klsearch("check", definition_file, "--json").document
    assert set(document) == {
        *("schema_version", "study", "valid", "trials", "rows", "shape", "scaling", "fingerprint", "warnings"),
        "warning_codes",
        *("estimate", "columns", "notes", "proposal", "model_notes"),
    }
    assert set(document["estimate"]) == {"trainings", "seconds", "memory", "device", "card_memory"}
    assert (document["study"], document["valid"], document["trials"]) == ("tiny", True, 24)
    assert document["rows"] == {"train": 128, "validation": 36, "test": 36}
    assert document["shape"] == [6]
    assert document["columns"][0] == {"name": "a", "kind": "number", "categories": []}
    assert document["notes"] == []
    assert document["warning_codes"] == ["short-training"]
    (warning,) = document["warnings"]
    assert "too short to judge `settled`" in warning


@pytest.mark.slow
def test_memory_that_runs_out_is_one_line_with_the_way_out(
    command: list[str], environment: dict[str, str], definition_file: Path, work: Path
) -> None:
    limit = 700 * 2**20  # bytes of addresses: enough to read the data, not for TensorFlow
    done = subprocess.run(
        [*command, "run", str(definition_file), "--out", "run"], cwd=work, env=environment, check=False,
        capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("klsearch: this process may take no more memory ("), done.stderr
    assert "give the same command again" in last
    assert not (work / "run").exists()


HOSTILE = "\x1b]0;title\x07\x1b[31m\x9b5m\u202e"


def test_no_name_from_elsewhere_reaches_the_terminal_raw(klsearch: Klsearch, definition_file: Path, work: Path) -> None:
    data = work / f"a{HOSTILE}.csv"
    rows = "\n".join(f"{n},{n * n % 7},{n % 5}" for n in range(200))
    data.write_text(f"{HOSTILE},b,c\n{rows}\n")
    source = json.dumps(str(data))
    toml = re.sub(r"(?m)^source = .*$", lambda _: f"source = {source}", definition_file.read_text())
    definition_file.write_text(toml)
    checked = [klsearch("check", definition_file), klsearch("check", definition_file, "--json")]
    refused = [klsearch("check", f"{HOSTILE}.toml"), klsearch("status", HOSTILE), klsearch(HOSTILE)]
    assert [called.code for called in [*checked, *refused]] == [0, 0, 2, 2, 2]
    for called in [*checked, *refused]:
        assert not set("\x1b\x07\x9b\u202e") & {*called.out, *called.err}
        assert "]0;title" in called.out + called.err
    assert checked[1].document["columns"][0]["name"] == HOSTILE


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_name_with_a_line_end_makes_a_line_of_its_own(
    end: str, klsearch: Klsearch, definition_file: Path, work: Path
) -> None:
    name = f"age{end}klsearch: forged{end}warning: forged{end}"
    rows = "\n".join(f"{n},{n * n % 7},text {n}" for n in range(200))
    definition_file.with_name("rows.csv").write_text(f'b,c,"{name}"\n{rows}\n')
    (work / "runs" / name).mkdir(parents=True)
    (work / "runs" / name / "run.json").touch()
    refused = [
        klsearch("check", definition_file),
        klsearch("status", "tiny"),
        klsearch("init", "new.toml", "--data", name),
    ]
    definition_file.with_name("rows.csv").write_text(f'b,c,"{name}"\n{rows.replace("text ", "")}\n')
    checked = klsearch("check", definition_file)
    assert ([called.code for called in refused], checked.code) == ([2, 2, 2], 0)
    for called in [*refused, checked]:
        assert "forged" in called.out + called.err
        lines = (called.out + called.err).splitlines()
        assert [line for line in lines if re.match("(klsearch: |warning: )+forged", line)] == []


@pytest.mark.parametrize("command", [("init",), ("report", "RUN", "-o")])
def test_no_link_and_no_device_is_replaced(command: tuple[str, ...], klsearch: Klsearch, work: Path) -> None:
    (work / "precious.toml").write_text("precious")
    (work / "link").symlink_to("precious.toml")
    (work / "dangling").symlink_to("nowhere")
    os.mkfifo(work / "pipe")
    force = ["--force"] if command[0] == "init" else []
    for name in ("link", "dangling", "pipe", "/dev/null"):
        called = klsearch(*command, name, *force)
        assert called.code == 2
        assert re.search(r"so it is not (replaced|overwritten); name another file\.\n$", called.err), called.err
    assert ((work / "link").is_symlink(), (work / "precious.toml").read_text()) == (True, "precious")


SECRET = "t0p5ecret"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/studies",
        f"postgresql://me%3A{SECRET}@127.0.0.1:1/studies",
        f"postgresql+psycopg://me:%25{SECRET}@127.0.0.1:1/studies?sslpassword={SECRET}&options=-c%20x.password%3D{SECRET}",
        f"postgresql+psycopg://127.0.0.1:1/host=127.0.0.1%20password={SECRET}",
        f"postgresql+psycopg://127.0.0.1:1/x?dbname=postgresql%3A%2F%2Fme:{SECRET}%40db",
        f"postgresql+psycopg://me@db:{SECRET}/studies",
        f"postgresql+psycopg://me:p@{SECRET}@db/studies",
        f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:1/studies",
        f"mysql://me:{SECRET}@127.0.0.1:1/studies",
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_no_password_is_told_however_it_is_written(url: str, debug: bool, klsearch: Klsearch) -> None:
    called = klsearch(*(["--debug"] if debug else []), "status", "--storage", url, "--study", "mine")
    assert called.code == 4
    assert SECRET not in called.out + called.err


def test_there_is_one_place_that_prints() -> None:
    root = Path(__file__).parents[2] / "search"
    printing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"\b(click\.echo|print|secho|print_exc|console\.print)\(", path.read_text())
    }
    # Texts, and the lines of a running study; and a document for the process that asked for it.
    terminal = {f"terminal/{name}.py" for name in ("printing", "progress", "live", "notebook")}
    assert printing == {*terminal, "commands/doctor.py"}


def test_init_writes_a_definition_that_is_valid_and_never_overwrites_unasked(klsearch: Klsearch, work: Path) -> None:
    written = klsearch("init", "mine.toml")
    assert (written.code, written.out) == (0, "Wrote mine.toml. Next: klsearch check mine.toml\n")
    assert klsearch("check", "mine.toml").code == 0
    (work / "mine.toml").write_text("mine\n")
    refused = klsearch("init", "mine.toml")
    assert (refused.code, refused.err) == (2, "klsearch: mine.toml exists; give --force to overwrite it.\n")
    assert (work / "mine.toml").read_text() == "mine\n"
    assert klsearch("init", "mine.toml", "--force").code == 0
    assert klsearch("init", ".").code == 2


BAD_DEFINITIONS = {
    "unknown key": ("high = 10.0, log = true", "hihg = 10.0, log = true", r"tiny\.toml:20: space\.kl_weight\.hihg: "),
    "annealing longer than training": (
        "annealing_epochs = { low = 0, high = 6 }",
        "annealing_epochs = { low = 0, high = 40 }",
        r"tiny\.toml:21: space\.annealing_epochs: reaches 40, but training lasts 12 epochs",
    ),
    "text for a number": ("epochs = 12", 'epochs = "12"', r"tiny\.toml:15: training\.epochs: "),
    "no TOML": ("[space]", "[space", r"tiny\.toml:19: "),
    "no budget": ("trials = 24", "trials = 0", r"tiny\.toml:3: study\.trials: "),
}


@pytest.mark.parametrize("problem", BAD_DEFINITIONS)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_definition_is_named_with_its_line(
    command: str, problem: str, klsearch: Klsearch, definition_file: Path, work: Path
) -> None:
    right, wrong, _ = BAD_DEFINITIONS[problem]
    assert right in definition_file.read_text()
    definition_file.write_text(definition_file.read_text().replace(right, wrong))
    called = klsearch(command, "tiny.toml")
    assert_refused(called, BAD_DEFINITIONS[problem][2], work)


def assert_refused(called: "Called", pattern: str, work: Path) -> None:
    """One clear line on standard error, exit code 2, and nothing written."""
    assert (called.code, called.out) == (2, "")
    (line,) = called.err.splitlines()
    assert re.match(rf"klsearch: (tiny\.toml:\d+: )?{pattern}", line), line
    assert "Traceback" not in called.err
    assert not (work / "runs").exists()


def table_cells(rows: np.ndarray | None = None) -> list[list[str]]:
    values = np.random.default_rng(0).normal(size=(200, 6)) if rows is None else rows
    return [[f"{value:.6f}" for value in row] for row in values]


def with_cell(row: int, column: int, text: str) -> list[list[str]]:
    cells = table_cells()
    cells[row][column] = text
    return cells


BAD_DATA = {
    "NaN": (with_cell(4, 2, "nan"), r"rows\.csv: .*NaN.* column 'c', row 4 \(counted from 0\), line 6"),
    "infinity": (with_cell(4, 2, "inf"), r"rows\.csv: infinity .* column 'c', row 4 \(counted from 0\), line 6"),
    "text": (with_cell(4, 2, "three"), r"rows\.csv: column 'c' holds 'three' at row 4 \(counted from 0, line 6\)"),
    "constant": (table_cells(np.ones((200, 6))), r"rows\.csv: .*constant"),
    "one row": (table_cells()[:1], r"rows\.csv: holds one row"),
    "fewer rows than a batch": (
        table_cells()[:40],
        r"rows\.csv: training\.batch_size = 32 is larger than the training split",
    ),
    "no rows": ([], r"rows\.csv: .*no rows"),
}


@pytest.mark.parametrize("problem", BAD_DATA)
@pytest.mark.parametrize("command", ["run", "check"])
def test_data_that_cannot_be_trained_on_are_named_with_their_place(
    command: str, problem: str, klsearch: Klsearch, definition_file: Path, work: Path
) -> None:
    cells, pattern = BAD_DATA[problem]
    (work / "rows.csv").write_text("\n".join(",".join(row) for row in [list("abcdef"), *cells]) + "\n")
    assert_refused(klsearch(command, "tiny.toml"), pattern, work)


def test_data_that_are_not_there_are_named(klsearch: Klsearch, definition_file: Path, work: Path) -> None:
    (work / "rows.csv").unlink()
    assert_refused(klsearch("run", "tiny.toml"), r".*rows\.csv", work)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["run", "digts"], r"digts: no built-in study and no file of that name; did you mean 'digits'\?"),
        (["run", "nowhere.toml"], "nowhere.toml: no built-in study and no file of that name. `klsearch list` names"),
        (["run", "."], r"\.: is a folder, not a study definition"),
        (["check", "nothing"], "nothing: no built-in study"),
        (["run"], "Missing argument 'STUDY'"),
        (["run", "digits", "--trials", "0"], "Invalid value for '--trials'"),
        (["run", "digits", "--timeout", "soon"], "Invalid value for '--timeout': 'soon' is not a time"),
        (
            ["run", "digits", "--slots", "many"],
            "Invalid value for '--slots': 'many' is neither 'auto', 'measure' nor a number",
        ),
        (["run", "digits", "--slots", "0"], "Invalid value for '--slots': 0 is not between 1 and 1024"),
        (["run", "digits", "--seed", "-1"], "Invalid value for '--seed'"),
        (["run", "digits", "--unknown"], "No such option"),
        (["trail"], "No such command 'trail'"),
        (["best", "nothing"], "nothing: no such run folder; `klsearch run STUDY` starts one"),
        (["resume", "nothing"], "nothing: no such run folder"),
        (["status"], "name the run: its folder, or --storage URL with --study NAME"),
        (["best", "--storage", "sqlite:///x.db"], "name the run: its folder, or --storage URL with --study NAME"),
    ],
)
def test_wrong_usage_is_one_line_with_the_way_out(
    arguments: list[str], pattern: str, klsearch: Klsearch, work: Path
) -> None:
    assert_refused(klsearch(*arguments), pattern, work)


def test_one_document_cannot_be_watched(klsearch: Klsearch, finished: "Finished") -> None:
    called = klsearch("status", finished.folder, "--watch", "--json")
    assert called.code == 2
    message = "give --watch or --json, not both: --json prints one document."
    assert called.document["error"] == {"message": message, "exit_code": 2}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "digts", "--json"], 2),
        (["best", "nothing", "--json"], 2),
        (["check", "--json"], 2),
        (["status", "--storage", "sqlite:///nothing.db", "--study", "tiny", "--json"], 4),
    ],
)
def test_an_error_is_a_document_too_where_one_was_asked_for(
    arguments: list[str], code: int, klsearch: Klsearch
) -> None:
    called = klsearch(*arguments)
    assert (called.code, called.err) == (code, "")
    assert set(called.document) == {"schema_version", "error"}
    assert set(called.document["error"]) == {"message", "exit_code"}
    assert called.document["error"]["exit_code"] == code


@pytest.mark.parametrize(
    ("storage", "pattern"),
    [
        ("sqlite:///nothing.db", "there is no storage nothing.db|there is no storage .*nothing.db"),
        ("postgresql+psycopg://me:t0p5ecret@127.0.0.1:1/x", "cannot open the storage .*refused"),
        ("mysql://me:t0p5ecret@db/x", "storage 'mysql' is not supported"),
    ],
)
@pytest.mark.parametrize("command", ["best", "resume", "report"])
def test_a_storage_that_cannot_be_reached_exits_with_4(
    command: str, storage: str, pattern: str, klsearch: Klsearch, work: Path
) -> None:
    called = klsearch(command, "--storage", storage, "--study", "tiny")
    assert (called.code, called.out) == (4, "")
    (line,) = called.err.splitlines()
    assert re.search(pattern, line)
    assert "t0p5ecret" not in line
    assert list(work.iterdir()) == []


def test_a_study_that_a_storage_does_not_hold_exits_with_4(klsearch: Klsearch, finished: "Finished") -> None:
    called = klsearch("best", "--storage", f"journal:///{finished.folder / 'storage.journal'}", "--study", "tidy")
    assert (called.code, called.err) == (4, "klsearch: the storage holds no study 'tidy'; it holds: tiny.\n")


def test_a_file_that_cannot_be_written_is_a_failure_that_names_it(
    klsearch: Klsearch, finished: "Finished", definition_file: Path, work: Path
) -> None:
    (work / "file").touch()
    for arguments in (["report", finished.folder, "-o", "file/report.html"], ["init", "file/x.toml"]):
        called = klsearch(*arguments)
        assert (called.code, called.out) == (1, "")
        assert re.fullmatch(r"klsearch: \S*file\S*: (Not a directory|File exists)\n", called.err), called.err
    refused = klsearch("report", finished.folder, "-o", ".")
    assert (refused.code, refused.err) == (2, "klsearch: . is a folder; name a file in it, say report.html.\n")


def test_without_a_command_the_help_is_shown(klsearch: Klsearch) -> None:
    called = klsearch()
    assert called.code == 2
    assert called.err.startswith("Usage: klsearch")
    for command in ("run", "resume", "report", "status", "best", "trials", "list", "init", "check"):
        assert f"\n  {command} " in called.err
    assert klsearch("--help").out == called.err


def test_every_option_has_a_help_text_and_every_command_a_line(klsearch: Klsearch) -> None:
    import click

    from klsearch.search.cli import cli

    for name, command in cli.commands.items():
        assert command.short_help, name
        assert klsearch(name, "--help").code == 0
        assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


def test_the_version_is_told(klsearch: Klsearch) -> None:
    called = klsearch("--version")
    assert (called.code, called.out.split()[0]) == (0, "klsearch")


def test_debug_shows_where_an_error_came_from(klsearch: Klsearch) -> None:
    for arguments in (["--debug", "best", "nothing"], ["best", "nothing", "--debug"], ["best", "--debug", "nothing"]):
        called = klsearch(*arguments)
        assert called.code == 2
        assert "Traceback" in called.err
        assert called.err.splitlines()[-1].startswith("klsearch: nothing: no such run folder")


def test_output_that_nobody_reads_any_more_ends_quietly(
    command: list[str], environment: dict[str, str], finished: "Finished"
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    called = subprocess.run(
        [*command, "trials", str(finished.folder), "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    os.close(writing)
    assert (called.returncode, called.stderr) == (1, "")


def test_the_documents_are_one_line_of_json_each(klsearch: Klsearch, finished: "Finished") -> None:
    for arguments in (["list"], ["best", finished.folder], ["trials", finished.folder], ["status", finished.folder]):
        (line,) = klsearch(*arguments, "--json").out.splitlines()
        assert json.loads(line)["schema_version"] == 1


def test_a_table_with_gaps_is_refused_by_the_key_that_masks_them(klsearch: Klsearch, definition_file: Path) -> None:
    rows = definition_file.parent / "rows.csv"
    lines = rows.read_text().splitlines()
    lines[4] = "," + lines[4].partition(",")[2]
    rows.write_text("\n".join(lines) + "\n")
    refused = klsearch("check", definition_file)
    assert refused.code == 2
    assert "NaN (no number) in 1 value at column 'a', row 3 (counted from 0), line 5" in refused.err
    assert 'data.missing = "mask"' in refused.err
    definition_file.write_text(definition_file.read_text().replace('"rows.csv"', '"rows.csv"\nmissing = "mask"'))
    document = klsearch("check", definition_file, "--json").document
    assert len(document["notes"]) == 1
    assert document["notes"][0].startswith("rows.csv: 1 of 1,200 values are missing, in 1 of 200 rows; ")


TALKATIVE = """\
import atexit, os, threading
import numpy as np

def talk():
    print("talk")
    os.write(1, b"talk")

def keep_on():
    while True:
        talk()

def rows():
    talk()
    atexit.register(talk)
    threading.Thread(target=keep_on, daemon=True).start()
    {}
    return np.random.default_rng(0).normal(size=(200, 6))
"""


@pytest.mark.slow("starts the command in processes of its own")
@pytest.mark.parametrize(("then", "code"), [("pass", 0), ("raise ValueError('no rows')", 2), ("os.fork()", 0)])
def test_a_document_is_all_that_standard_output_gets_whatever_users_code_writes_and_when(
    then: str, code: int, command: list[str], environment: dict[str, str], definition_file: Path, work: Path
) -> None:
    definition_file.write_text(definition_file.read_text().replace('"rows.csv"', '"talkative:rows"'))
    (work / "talkative.py").write_text(TALKATIVE.format(then))
    called = subprocess.run(
        [*command, "check", "tiny.toml", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert called.returncode == code, called.stderr
    (line,) = called.stdout.splitlines()
    assert set(json.loads(line)) >= ({"error"} if code else {"valid"})
    assert "talk" in called.stderr


def test_help_stays_on_standard_output_beside_the_option_for_a_document(klsearch: Klsearch) -> None:
    for arguments in (["check", "--json", "--help"], ["--version", "check", "--json"]):
        called = klsearch(*arguments)
        assert (called.code, called.err) == (0, "")
        assert called.out


def test_a_choice_that_is_missing_is_told_in_one_line(klsearch: Klsearch) -> None:
    called = klsearch("completion")
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "\\n" not in called.err and "\t" not in called.err and "bash, zsh, fish" in called.err


@pytest.mark.slow("starts two processes")
@pytest.mark.parametrize(("where", "told"), [(">&-", ""), (">/dev/full", "klsearch: No space left on device\n")])
def test_a_standard_output_that_takes_nothing_is_no_traceback(
    command: list[str], environment: dict[str, str], where: str, told: str
) -> None:
    words = shlex.join([*command, "list", "--json"])
    called = subprocess.run(f"{words} {where}", shell=True, env=environment, capture_output=True, text=True)
    assert called.stderr == told
