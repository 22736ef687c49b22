"""The guard of a page that is served on this machine: what other pages, and other users of the machine, cannot pass.

A browser sends requests to 127.0.0.1 for any page that it shows. A page of another origin cannot read the answer, but
the request has been acted on; and one whose name its owner makes point to 127.0.0.1 (DNS rebinding) is of the same
origin.
"""

import json
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_NAMES = (
    "127.0.0.1",
    "localhost",
)  # by another, a request comes from a page that is not ours; the port may be forwarded
_READING = ("GET", "HEAD")
_TOKEN = "token"
_HEADERS = [  # no other page shows this one within itself, or learns its address
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
]


class Guard:
    """Passes to a WSGI application the requests of whoever was given its address.

    The address bears a token, which is exchanged for a cookie: the page's own requests do not bear it.

    Args:
        app: what answers.
        can_write: whether requests that may change something are passed too.
    """

    def __init__(self, app: "WSGIApplication", *, can_write: bool) -> None:
        self._app = app
        self._can_write = can_write
        self._token, self._cookie = secrets.token_urlsafe(), secrets.token_urlsafe()
        self._once = set[str]()

    def address(self, page: str, *, once: bool = False) -> str:
        """The address of a page, with a token.

        Args:
            page: its URL.
            once: whether the token is good for one visit: for a browser, whose arguments the whole machine can see.
        """
        token = self._token
        if once:
            self._once.add(token := secrets.token_urlsafe())
        return f"{page}?{urlencode({_TOKEN: token})}"

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, *_HEADERS], *rest)

        if not _is_of_this_page(environ):
            return _refuse(start, "this page is for this machine alone, by the address that klsearch printed")
        if environ["REQUEST_METHOD"] in _READING and self._takes_token(environ):
            cookie = f"{_cookie_name(environ)}={self._cookie}; Path=/; HttpOnly; SameSite=Lax"
            page = quote(environ["PATH_INFO"].lstrip("/"), encoding="latin-1")  # as WSGI decodes it
            start("303 See Other", [("Location", f"/{page}"), ("Set-Cookie", cookie)])
            return []
        if not _are_same(_cookie(environ), self._cookie):
            return _refuse(start, "open the whole address that klsearch printed, with its token")
        if environ["REQUEST_METHOD"] not in _READING and not self._can_write:
            return _refuse(start, "this dashboard only reads; `klsearch dashboard --write` lets it change studies")
        return self._app(environ, start)

    def _takes_token(self, environ: "WSGIEnvironment") -> bool:
        for token in parse_qs(environ.get("QUERY_STRING", "")).get(_TOKEN, ()):
            if _are_same(token, self._token):
                return True
            if token in self._once:
                self._once.remove(token)
                return True
        return False


def _is_of_this_page(environ: "WSGIEnvironment") -> bool:
    """Tell whether a request was sent by a page of ours, or by no page: it names the host that it was sent to."""
    host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name in _NAMES and origin in (None, f"http://{host}")


def _cookie_name(environ: "WSGIEnvironment") -> str:
    return f"klsearch-{environ['SERVER_PORT']}"  # browsers send cookies to every port of a host


def _cookie(environ: "WSGIEnvironment") -> str:
    """The cookie that was sent; empty without. Those of others on this host may be such that Python refuses them."""
    sent = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return next((value for name, _, value in sent if name == _cookie_name(environ)), "")


def _are_same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _refuse(start: "StartResponse", reason: str) -> list[bytes]:
    start("403 Forbidden", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]  # which Optuna's page shows
