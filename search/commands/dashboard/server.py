"""The server of Optuna's own dashboard on a study's storage, for this machine alone."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from klsearch.search.commands.dashboard.guard import Guard
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.errors import UsageError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_HOST = "127.0.0.1"


# Not `optuna_dashboard.run_server`: it answers one request at a time, writes a line for each, and prints an address
# before it has the port: one that is taken, or 0 for any that is free.
class _Server(ThreadingMixIn, WSGIServer):
    """Answers a page's many requests side by side."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Answers requests without a line for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def serve_dashboard(
    place: Place, *, port: int, can_write: bool, ready: Callable[[str, Callable[[], str]], None]
) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        place: where the study is.
        port: to listen on; 0 for any that is free.
        can_write: whether it may change and delete studies.
        ready: is told the study's address, once it answers, and a function that gives one that is good for one visit.

    Raises:
        UsageError: optuna-dashboard is not installed, or the port is taken.
        StorageError: there is no such study, or its storage cannot be read.
    """
    try:
        from optuna_dashboard import wsgi  # an optional dependency
    except ImportError as error:
        raise UsageError(f"{error}; install klsearch[dashboard].") from error
    with open_storage(place.url, create=False) as storage:
        StudyStorage.load(storage, place.name)  # which says what is wrong if it cannot be read
        number = storage.get_study_id_from_name(place.name)
        guard = Guard(wsgi(storage), can_write=can_write)
        with _listening(port, guard) as server, suppress(KeyboardInterrupt):
            page = f"http://{_HOST}:{server.server_port}/dashboard/studies/{number}"
            ready(guard.address(page), partial(guard.address, page, once=True))
            server.serve_forever()


def _listening(port: int, app: "WSGIApplication") -> _Server:
    try:
        return make_server(_HOST, port, app, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise UsageError(f"cannot listen on port {port}: {error.strerror}; give another --port.") from error
