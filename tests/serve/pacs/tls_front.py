"""TLS before a server that speaks none, as a proxy puts it there: Debian's Orthanc cannot speak it itself."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK = 65_536


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Pass on to a port of loopback what comes by TLS to another; give that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(server, port, context, ended))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def _accept(server: socket.socket, port: int, context: ssl.SSLContext, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(TimeoutError):
            client, _ = server.accept()
            threading.Thread(target=_pass_on, args=(client, port, context), daemon=True).start()


def _pass_on(client: socket.socket, port: int, context: ssl.SSLContext) -> None:
    client.settimeout(60)
    with (
        client,
        suppress(OSError),
        context.wrap_socket(client, server_side=True) as outer,
        socket.create_connection(("127.0.0.1", port)) as inner,
    ):
        back = threading.Thread(target=_copy, args=(inner, outer), daemon=True)
        back.start()
        _copy(outer, inner)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
