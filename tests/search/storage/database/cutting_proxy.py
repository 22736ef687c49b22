"""A way to a PostgreSQL server on which connections are cut, at a chosen statement, before or after it was run."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Literal

from sqlalchemy import make_url

# Lost on its way to the server; the answer lost; the connection lost long before the server runs it.
Cut = Literal["question", "answer", "late"]
_LATE_SECONDS = 0.3


class CuttingProxy:
    """Listens on this machine and passes statements on to a server's socket, one connection a thread.

    Args:
        url: of a database behind a local socket.
        is_cut: is asked with each statement's number, from 0, and its text, whether its connection is cut there.
        cut: what is lost of it.

    Attributes:
        url: of the same database through the proxy.
        statements: how many were asked for.
        cuts: how many connections were cut.
    """

    def __init__(self, url: str, is_cut: Callable[[int, bytes], bool], cut: Cut) -> None:
        parsed = make_url(url)
        self._server = f"{parsed.query['host']}/.s.PGSQL.{parsed.port or 5432}"
        self._is_cut, self._cut = is_cut, cut
        self.statements = self.cuts = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        through = parsed.set(host="127.0.0.1", port=self._listening.getsockname()[1], query={"sslmode": "disable"})
        self.url = through.update_query_dict({"gssencmode": "disable"}).render_as_string(hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, EOFError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an answer comes in many small messages
            server.connect(self._server)
            lost = threading.Event()
            pump = threading.Thread(target=_pump, args=(server, client, lost), daemon=True)
            with client.makefile("rb") as asking:
                server.sendall(_packet(asking))
                pump.start()
                with suppress(EOFError):
                    while not lost.is_set():
                        self._statement(_statement(asking), client, server, lost)
                if not lost.is_set():
                    server.shutdown(socket.SHUT_RDWR)
                pump.join()

    def _statement(self, question: bytes, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        cut = False
        if question[:1] != b"p":  # a password
            with self._lock:
                cut = self._is_cut(self.statements, question)
                self.statements += 1
                self.cuts += cut
        if cut and self._cut == "question":
            raise EOFError
        if cut:
            lost.set()
        if cut and self._cut == "late":
            client.shutdown(socket.SHUT_RDWR)
            time.sleep(_LATE_SECONDS)
        server.sendall(question)
        if cut and question[-5:-4] == b"H":  # after a part the server does not say that it has done
            time.sleep(_LATE_SECONDS)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def _pump(server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
    """Pass answers on until they get lost; then wait for the end of the last one."""
    with suppress(OSError, EOFError), server.makefile("rb") as answering:
        while True:
            answer = _message(answering)
            if not lost.is_set():
                client.sendall(answer)
            elif answer[:1] == b"Z":
                break
    for end in (client, server):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _packet(stream: BinaryIO) -> bytes:
    """What a client says first: a length, which counts itself, and so many bytes."""
    length = stream.read(4)
    if len(length) < 4:
        raise EOFError
    return length + stream.read(int.from_bytes(length, "big") - 4)


def _message(stream: BinaryIO) -> bytes:
    """Any later message: a letter, and a packet."""
    if not (kind := stream.read(1)):
        raise EOFError
    return kind + _packet(stream)


def _statement(stream: BinaryIO) -> bytes:
    """The messages of one statement, to the one at which the server answers; or a part of it that is flushed."""
    messages = b""
    while True:
        message = _message(stream)
        messages += message
        if message[:1] in (b"Q", b"S", b"H", b"p"):
            return messages
        if message[:1] == b"X":
            raise EOFError
