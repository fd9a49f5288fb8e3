"""A TCP proxy that becomes a black hole: connections stand, new ones are taken, and nothing arrives any more."""

import contextlib
import socket
import threading


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes all on to `port`, until `swallow`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._swallows = False
        self._connections: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """Take what is sent, and pass nothing on, in both directions."""
        self._swallows = True

    def pass_on(self) -> None:
        """End of `swallow`: what was open then has lost bytes, and is closed."""
        self._swallows = False
        self._close_all()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._close_all()

    def _close_all(self) -> None:
        gone, self._connections = self._connections, []
        for connection in gone:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self._swallows:
                while client.recv(65_536):
                    pass
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5.0)
            except OSError:
                return
            with server:
                server.settimeout(None)
                self._connections.append(server)
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not self._swallows:
                    sink.sendall(data)
        if not self._swallows:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
