"""Who passes the guard of a page that is served on this machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

import pytest

from klsearch.search.commands.dashboard.guard import Guard

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PAGE = "http://127.0.0.1:8080/dashboard/studies/1"


def secret(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"secret"]


@dataclass
class Answer:
    status: str
    headers: dict[str, str]
    text: str


def ask(guard: Guard, url: str, *, method: str = "GET", **headers: str) -> Answer:
    address = urlsplit(url)
    told: list[Any] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": address.path,
        "QUERY_STRING": address.query,
        "HTTP_HOST": address.netloc,
        "SERVER_PORT": "8080",
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    setup_testing_defaults(environ)
    if environ["HTTP_HOST"] == "none":
        del environ["HTTP_HOST"]
    body = b"".join(guard(environ, lambda *values: told.extend(values)))  # type: ignore[arg-type]
    return Answer(told[0], dict(told[1]), body.decode())


def cookie_of(guard: Guard) -> str:
    return ask(guard, guard.address(PAGE)).headers["Set-Cookie"].partition(";")[0]


def test_whoever_has_the_address_is_led_to_the_page_without_its_token_and_stays_known() -> None:
    guard = Guard(secret, can_write=False)
    led = ask(guard, guard.address(PAGE))
    assert (led.status, led.headers["Location"]) == ("303 See Other", "/dashboard/studies/1")
    assert led.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert ask(guard, PAGE, cookie=f"other={{}}; {cookie_of(guard)}").text == "secret"


@pytest.mark.parametrize("cookie", ["", "klsearch-8080=guessed", "klsearch-8080=ä", "klsearch-8080", "klsearch-9999=x"])
@pytest.mark.parametrize("query", ["", "?token=guessed", "?token=", "?token=%ff", "?token=a&token=b"])
def test_without_the_token_nothing_is_shown(query: str, cookie: str) -> None:
    answer = ask(Guard(secret, can_write=True), PAGE + query, cookie=cookie)
    assert answer.status == "403 Forbidden"
    assert "open the whole address that klsearch printed" in answer.text


@pytest.mark.parametrize(
    "host",
    ["evil.example:8080", "127.0.0.1.evil.example", "[::1", "none", "", "127.0.0.1:8080@evil.example", "10.0.0.1"],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_page_whose_name_was_made_to_point_here_is_refused(host: str, method: str) -> None:
    guard = Guard(secret, can_write=True)
    assert ask(guard, PAGE, method=method, host=host, cookie=cookie_of(guard)).status == "403 Forbidden"
    assert "Set-Cookie" not in ask(guard, guard.address(PAGE), host=host).headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "https://127.0.0.1:8080", "http://127.0.0.1"]
)
def test_what_another_page_sends_is_refused(origin: str) -> None:
    guard = Guard(secret, can_write=True)
    cookie = cookie_of(guard)
    assert ask(guard, PAGE, method="POST", origin=origin, cookie=cookie).status == "403 Forbidden"
    assert ask(guard, PAGE, method="POST", origin="http://127.0.0.1:8080", cookie=cookie).text == "secret"


def test_through_a_tunnel_it_is_reached_by_another_port() -> None:
    guard = Guard(secret, can_write=True)
    tunnel: Mapping[str, str] = {"host": "localhost:9000", "origin": "http://localhost:9000"}
    assert ask(guard, PAGE, method="POST", cookie=cookie_of(guard), **tunnel).text == "secret"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads_unless_asked(method: str) -> None:
    reading, writing = Guard(secret, can_write=False), Guard(secret, can_write=True)
    refused = ask(reading, PAGE, method=method, cookie=cookie_of(reading))
    assert (refused.status, "`klsearch dashboard --write`" in refused.text) == ("403 Forbidden", True)
    assert ask(writing, PAGE, method=method, cookie=cookie_of(writing)).text == "secret"


def test_an_address_for_once_is_good_for_one_visit() -> None:
    guard = Guard(secret, can_write=False)
    address = guard.address(PAGE, once=True)
    assert [ask(guard, address).status for _ in range(2)] == ["303 See Other", "403 Forbidden"]


def test_no_page_leads_elsewhere_or_is_shown_within_another() -> None:
    guard = Guard(secret, can_write=False)
    led = ask(guard, guard.address("http://127.0.0.1:8080//evil.example/\r\nSet-Cookie: a=b".replace("\r\n", "%0D%0A")))
    assert led.headers["Location"] == "/evil.example/%250D%250ASet-Cookie%3A%20a%3Db"
    assert (led.headers["X-Frame-Options"], led.headers["Referrer-Policy"]) == ("DENY", "no-referrer")


def test_every_start_has_a_token_of_its_own() -> None:
    one, other = Guard(secret, can_write=False), Guard(secret, can_write=False)
    assert ask(other, one.address(PAGE)).status == ask(other, PAGE, cookie=cookie_of(one)).status == "403 Forbidden"
