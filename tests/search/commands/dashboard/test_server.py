"""Optuna's dashboard on a study, in a process of its own."""

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

pytest.importorskip("optuna_dashboard", reason="klsearch[dashboard] is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

    from tests.search.conftest import Called

Klsearch = Callable[..., "Called"]


@dataclass(frozen=True)
class Served:
    address: str
    host: str
    page: str
    api: str


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture
def served_folder(tmp_path: Path) -> Path:
    """A run folder, whose study has finished."""
    return Path(shutil.copytree(Path(__file__).parents[2] / "running" / "first_release", tmp_path / "run"))


@pytest.fixture
def serve(served_folder: Path, command: list[str], environment: dict[str, str]) -> Serve:
    @contextmanager
    def served(*options: str) -> Iterator[Served]:
        with subprocess.Popen(
            [*command, "dashboard", str(served_folder), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Optuna warns so of the importances of few trials, which a page asks for.
            env=environment
            | {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore:Target and region quantiles:UserWarning"},
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            told = re.fullmatch(
                r"((http://127\.0\.0\.1:\d+)(/dashboard/studies/(\d+))\?token=[\w-]{40,}) "
                r"\(for whoever has this address on this machine; Ctrl-C ends it\)\n",
                process.stdout.readline(),
            )
            assert told is not None
            address, host, page, number = told.groups()
            try:
                yield Served(address, host, page, f"/api/studies/{number}")
            except BaseException:
                process.kill()  # else what is wrong would wait for it
                raise
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == ""
        assert process.returncode == 0

    return served


class Stranger(BaseHTTPRequestHandler):
    """A page of someone else on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<p>stranger</p>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def another_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def refused(opener: OpenerDirector, request: Request) -> str:
    with pytest.raises(HTTPError) as error, opener.open(request):
        pass
    with error.value:
        assert error.value.code == 403
        return str(json.load(error.value)["reason"])


def test_it_shows_the_study_to_whoever_has_its_address_until_it_is_interrupted(
    serve: Serve, served_folder: Path
) -> None:
    trials = json.loads((served_folder / "trials.json").read_text())
    with serve() as served:
        stranger, browser = build_opener(), build_opener(HTTPCookieProcessor())
        assert "open the whole address" in refused(stranger, Request(served.host + served.api))
        with browser.open(served.address) as answer:
            assert b"<title>Optuna Dashboard</title>" in answer.read()
            assert answer.url == served.host + served.page
        with browser.open(served.host + served.api) as answer:
            study = json.load(answer)
        assert (study["name"], len(study["trials"])) == ("tiny", len(trials["trials"]))
        delete = Request(served.host + served.api, method="DELETE")
        assert "this dashboard only reads" in refused(browser, delete)
        rebound = Request(served.host + served.api, headers={"Host": "rebound.example"})
        assert "for this machine alone" in refused(browser, rebound)


@pytest.mark.browser
def test_in_a_browser_it_works_and_no_other_page_reaches_it(
    serve: Serve, playwright: "Playwright", chromium: str
) -> None:
    rebinding = "--host-resolver-rules=MAP rebound.example 127.0.0.1"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", rebinding]
    with serve("--write") as served, playwright.chromium.launch(executable_path=chromium, args=flags) as browser:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.address)
        page.get_by_text("tiny").first.wait_for()
        with another_server() as elsewhere:  # whose pages are of the same site to a browser
            stranger = context.new_page()
            stranger.goto(elsewhere)
            send = "url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'})"
            stranger.evaluate(send, f"{served.host}{served.api}/rename")
        rebound = context.new_page()
        for path in (served.page, served.address.removeprefix(served.host)):
            answer = rebound.goto(served.host.replace("127.0.0.1", "rebound.example") + path)
            assert answer is not None and answer.status == 403
        ask = "([url, method]) => fetch(url, {method, credentials: 'include'}).then(answer => answer.status)"
        for method in ("GET", "DELETE"):  # of its own origin, as the browser sees it
            assert rebound.evaluate(ask, [served.api, method]) == 403
        page.reload()
        page.get_by_text("tiny").first.wait_for()  # nothing was renamed or deleted


def test_a_port_that_is_taken_is_one_line_with_the_way_out(served_folder: Path, klsearch: Klsearch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = klsearch("dashboard", served_folder, "--port", port)
    assert called.code == 2
    assert called.err == f"klsearch: cannot listen on port {port}: Address already in use; give another --port.\n"
