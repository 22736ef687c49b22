"""Optuna's dashboard on a study, in a process of its own."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

pytest.importorskip("optuna_dashboard", reason="klsearch[dashboard] is not installed")

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]


def test_it_shows_the_study_on_this_machine_until_it_is_interrupted(
    finished: "Finished", command: list[str], environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        [*command, "dashboard", str(finished.folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        told = re.fullmatch(
            r"(http://127\.0\.0\.1:\d+)(/dashboard/studies/(\d+)) \(Ctrl-C ends it\)\n", process.stdout.readline()
        )
        assert told is not None
        host, page, number = told.groups()
        with urlopen(host + page) as answer:
            assert b"<title>Optuna Dashboard</title>" in answer.read()
        with urlopen(f"{host}/api/studies/{number}") as answer:
            study = json.load(answer)
        assert (study["name"], len(study["trials"])) == ("tiny", 24)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_port_that_is_taken_is_one_line_with_the_way_out(finished: "Finished", klsearch: Klsearch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = klsearch("dashboard", finished.folder, "--port", port)
    assert called.code == 2
    assert called.err == f"klsearch: cannot listen on port {port}: Address already in use; give another --port.\n"
