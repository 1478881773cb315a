"""The origins of the soak: HTTP/1.1 in the clear and over TLS, HTTP/2, WebSocket, and bytes that come back."""

import asyncio
import contextlib
import pathlib
import ssl
import subprocess

import h2.config
import h2.connection
import h2.events
from websockets.asyncio.server import serve

BIG = 1 << 20
NAMES = ("plain.test", "tls.test", "h2.test", "chat.test", "echo.test")


class Origins:
    """All of them on free ports of 127.0.0.1; `routes` leads there by name."""

    def __init__(self, folder: pathlib.Path):
        self.certificate = folder / "origins.pem"
        key = folder / "origins.key"
        names = ",".join(f"DNS:{name}" for name in NAMES)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            + ["-subj", "/CN=soak", "-addext", f"subjectAltName={names}", "-days", "2"]
            + ["-keyout", key, "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        self.tls = {}
        for protocol in ("http/1.1", "h2"):
            self.tls[protocol] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls[protocol].load_cert_chain(self.certificate, key)
            self.tls[protocol].set_alpn_protocols([protocol])
        self.routes = []
        self.servers = []

    async def start(self):
        for name, port, handler, tls in (
            ("plain.test", 80, http1, None),
            ("tls.test", 443, http1, self.tls["http/1.1"]),
            ("h2.test", 443, http2, self.tls["h2"]),
            ("echo.test", 7, echo, None),
        ):
            server = await asyncio.start_server(quiet(handler), "127.0.0.1", 0, ssl=tls, backlog=1000)
            self._add(name, port, server)
        self._add("chat.test", 80, await serve(chat, "127.0.0.1", 0))

    def _add(self, name, port, server):
        self.servers.append(server)
        actual = list(server.sockets)[0].getsockname()[1]
        self.routes.append(f"{name}:{port}:127.0.0.1:{actual}")

    def stop(self):
        for server in self.servers:
            server.close()


def quiet(handler):
    """A connection that breaks off is the proxy's right, and the end of its handler. So is the end of the soak."""

    async def handle(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    return handle


async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


async def chat(socket):
    async for message in socket:
        await socket.send(message)


async def http1(reader, writer):
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return
        target = head[0].split(" ")[1]
        fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if ":" in line}
        received = await body(reader, fields)
        if not await respond(writer, target, received):
            return


async def body(reader, fields):
    if fields.get("transfer-encoding") == "chunked":
        received = 0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
            received += size
        await reader.readuntil(b"\r\n")
        return received
    length = int(fields.get("content-length", 0))
    await reader.readexactly(length)
    return length


async def respond(writer, target, received):
    """Whether the connection goes on."""
    if target == "/hang-up":
        return False
    if target == "/nonsense":
        writer.write(b"this is no HTTP\r\n\r\n")
        return False
    if target == "/half":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        return False
    if target == "/never":
        await asyncio.sleep(30)
        return False
    if target == "/chunked":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            writer.write(b"5\r\nhello\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")
        return True
    payload = b"x" * BIG if target == "/big" else str(received).encode()
    cookie = "Set-Cookie: visit=1; Max-Age=60\r\n" if target == "/cookie" else ""
    status = "503 Busy" if target == "/busy" else "200 OK"
    writer.write(f"HTTP/1.1 {status}\r\n{cookie}Content-Length: {len(payload)}\r\n\r\n".encode())
    writer.write(payload)
    await writer.drain()
    return True


async def http2(reader, writer):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    pending = {}
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                path = dict(event.headers)[":path"]
                if path == "/refused":
                    connection.reset_stream(event.stream_id, 7)
                    continue
                payload = b"x" * BIG if path == "/big" else b"0"
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", str(len(payload)))])
                pending[event.stream_id] = payload
            elif isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                pending.pop(event.stream_id, None)
            elif isinstance(event, h2.events.ConnectionTerminated):
                return
        for stream in list(pending):
            send(connection, pending, stream)
        writer.write(connection.data_to_send())
        await writer.drain()


def send(connection, pending, stream):
    """As much as the windows allow; the rest when they open."""
    payload = pending[stream]
    while payload and (room := min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)):
        connection.send_data(stream, payload[:room])
        payload = payload[room:]
    pending[stream] = payload
    if not payload:
        connection.end_stream(stream)
        del pending[stream]
