"""The clients of the soak: each kind of life that a connection to a proxy can have, good and bad."""

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct

import httpx
import websockets

from .origins import BIG


class Clients:
    """What they share: where the proxy is and whom they trust."""

    def __init__(self, proxy, admin, ca):
        self.proxy, self.admin = proxy, admin
        self.trust = ssl.create_default_context(cafile=ca)
        self.trust.set_alpn_protocols(["http/1.1"])
        self.trust_h2 = ssl.create_default_context(cafile=ca)

    # --- what must succeed -------------------------------------------------------------------------

    async def plain(self):
        async with self._connection() as (reader, writer):
            for _ in range(random.randint(1, 10)):
                path = random.choice(["/", "/chunked", "/cookie", "/busy"])
                writer.write(get(f"http://plain.test{path}", "plain.test", named()))
                status, _ = await response(reader)
                assert status == (503 if path == "/busy" else 200), status

    async def intercepted(self):
        async with self._tunnel("tls.test:443") as (reader, writer):
            for _ in range(random.randint(1, 10)):
                path = random.choice(["/", "/chunked", "/cookie"])
                writer.write(get(path, "tls.test", named()))
                assert (await response(reader))[0] == 200

    async def upload(self):
        size = random.randint(1, 1 << 18)
        async with self._tunnel("tls.test:443") as (reader, writer):
            writer.write(f"POST / HTTP/1.1\r\nHost: tls.test\r\nContent-Length: {size}\r\n\r\n".encode())
            writer.write(b"u" * size)
            assert await response(reader) == (200, str(size).encode())

    async def h2(self):
        proxy = f"http://{self.proxy[0]}:{self.proxy[1]}"
        async with httpx.AsyncClient(http1=False, http2=True, proxy=proxy, verify=self.trust_h2, timeout=30) as client:
            origin = random.choice(["https://h2.test", "https://tls.test"])
            paths = ["/"] * 8 + ["/big"]
            answers = await asyncio.gather(*(client.get(origin + path, headers=session()) for path in paths))
            assert all(answer.status_code == 200 and answer.http_version == "HTTP/2" for answer in answers)
            assert len(answers[-1].content) == BIG

    async def websocket(self):
        proxy = f"http://{self.proxy[0]}:{self.proxy[1]}"
        async with websockets.connect("ws://chat.test/", proxy=proxy, additional_headers=session()) as chat:
            for _ in range(5):
                await chat.send("x" * 1000)
                assert await chat.recv() == "x" * 1000
                await asyncio.sleep(random.random() / 10)

    async def relayed(self):
        async with self._tunnel("echo.test:7", tls=False) as (reader, writer):
            writer.write(b"\x01binary")
            assert await reader.readexactly(7) == b"\x01binary"

    async def slow_reader(self):
        async with self._tunnel("tls.test:443") as (reader, writer):
            writer.write(get("/big", "tls.test", named()))
            length = (await head(reader))[1]
            while length:
                length -= len(await reader.readexactly(min(length, 32768)))
                await asyncio.sleep(0.05)

    async def owner(self):
        """Makes a session by the API, scrapes with it, deletes it."""
        base = f"http://{self.admin[0]}:{self.admin[1]}/api/v1"
        async with httpx.AsyncClient(timeout=30) as client:
            made = (await client.post(f"{base}/sessions", json={})).json()
            call = {"url": "https://h2.test/"}
            page = await client.post(f"{base}/scrape", headers={"X-Session-ID": made["id"]}, json=call)
            assert page.json()["status"] == 200, page.text
            assert (await client.delete(f"{base}/sessions/{made['id']}")).status_code == 204

    async def delete_sessions(self):
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.delete(f"http://{self.admin[0]}:{self.admin[1]}/api/v1/sessions")
            assert answer.status_code == 200, answer.text

    # --- what must be told -------------------------------------------------------------------------

    async def failing_origin(self):
        async with self._connection() as (reader, writer):
            for target in ("http://plain.test/hang-up", "http://plain.test/nonsense", "http://127.0.0.1:1/"):
                writer.write(get(target, "plain.test", named()))
                status, problem = await response(reader)
                assert status == 502 and json.loads(problem)["status"] == 502, (target, status)
            writer.write(get("http://nowhere.invalid/", "nowhere.invalid", named()))
            assert (await response(reader))[0] == 502

    async def half_a_response(self):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with self._tunnel("tls.test:443") as (reader, writer):
                writer.write(get("/half", "tls.test", named()))
                await response(reader)
                raise AssertionError("half a response looked whole")

    async def refused_stream(self):
        proxy = f"http://{self.proxy[0]}:{self.proxy[1]}"
        async with httpx.AsyncClient(http1=False, http2=True, proxy=proxy, verify=self.trust_h2, timeout=30) as client:
            answer = await client.get("https://h2.test/refused", headers=session())
            assert answer.status_code == 502, answer.status_code

    # --- who goes away -----------------------------------------------------------------------------

    async def aborted(self):
        """Goes in the middle of something, politely or by a reset."""
        half_a_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        connect = b"CONNECT tls.test:443 HTTP/1.1\r\nHost: tls.test:443\r\n\r\n"
        said = random.choice(
            [
                b"GET http://pl",
                get("http://plain.test/never", "plain.test", named()),
                get("http://plain.test/big", "plain.test", named()),
                b"POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 99999\r\n\r\nhalf",
                connect,
                connect + half_a_hello,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                b"SSH-2.0-x\r\n",
            ]
        )
        reader, writer = await asyncio.open_connection(*self.proxy)
        writer.write(said)
        await writer.drain()
        await asyncio.sleep(random.random() / 5)
        if random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def _connection(self):
        reader, writer = await asyncio.open_connection(*self.proxy)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def _tunnel(self, target, tls=True):
        async with self._connection() as (reader, writer):
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            line = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in line.split(b"\r\n")[0], line
            if tls:
                await writer.start_tls(self.trust, server_hostname=target.split(":")[0])
            yield reader, writer


def session():
    """One of twenty sessions, or none."""
    number = random.randrange(25)
    return {"X-Session-ID": f"soak-{number}"} if number < 20 else {}


def named():
    return "".join(f"{name}: {value}\r\n" for name, value in session().items())


def get(target, host, fields):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()


async def head(reader):
    """Status, and the length or None for chunked."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), None)
    return int(lines[0].split(" ")[1]), length


async def response(reader):
    status, length = await head(reader)
    if length is not None:
        return status, await reader.readexactly(length)
    whole = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return status, whole
