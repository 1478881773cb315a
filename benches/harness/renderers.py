"""Who renders: burdock's browser route, and a Playwright script that does without burdock. Both have the same methods."""

import asyncio
import json
import os
import pathlib
import re
import shutil
import ssl
import time

from harness import build
from harness.pages import WANTS

PATIENCE = 60
DEBIAN = "/usr/lib/chromium/chromium-headless-shell"
NODE_MODULES = build.ROOT / "tests" / ".cache" / "node_modules"
PEER = build.ROOT / "benches" / "peers" / "playwright" / "peer.js"


class Failure(Exception):
    """A page did not come, or not whole: there is nothing to compare."""


class Playwright:
    """A context that is reused, and for each page: newPage, goto until load, content, close."""

    name = "Playwright"

    def __init__(self, executable, site):
        self.command = ["node", str(PEER), executable, site.resolver_rules()]

    async def start(self, _folder):
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment, limit=1 << 24
        )
        self.about = f"playwright-core {self._version()}, Chromium {(await self._answer())['version']}"

    def _version(self):
        return json.loads((NODE_MODULES / "playwright-core" / "package.json").read_text())["version"]

    async def _answer(self):
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        if not line:
            raise Failure("the Playwright script ended")
        return json.loads(line)

    async def _do(self, command, **what):
        call = {"command": command, "wants": WANTS, **what}
        self.process.stdin.write(json.dumps(call).encode() + b"\n")
        return await self._answer()

    async def pages(self, url, parallel, seconds):
        """Milliseconds of each page, and the seconds that all took."""
        done = await self._do("pages", url=url, parallel=parallel, seconds=seconds)
        return done["latencies"], done["seconds"]

    async def fresh(self, url, state):
        """Milliseconds until the first page of a fresh context has come, with a state or none."""
        return (await self._do("fresh", url=url, state=state))["took"]

    async def idle(self, url, count):
        """Memory in MiB with so many contexts more, none of which has a page."""
        await self._do("idle", url=url, count=count)
        return await settled(self.process.pid)

    async def open(self, url, count):
        """Memory in MiB with so many pages open."""
        await self._do("open", url=url, count=count)
        return await settled(self.process.pid)

    async def clear(self):
        """Closes what `idle` and `open` left."""
        await self._do("clear")
        return await settled(self.process.pid)

    async def stop(self):
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), PATIENCE)


class Burdock:
    """burdock as released, with a client that asks for the browser by header and waits for `load`."""

    name = "burdock"

    def __init__(self, executable, site, binary):
        self.executable = executable
        self.site = site
        self.binary = binary
        self.sessions = 0

    async def start(self, folder):
        config = folder / "burdock.toml"
        config.write_text(
            f"[upstream]\nconnect_to = {json.dumps(self.site.connect_to())}\n"
            f"[tls]\nupstream_ca_files = ['{self.site.certificate}']\n"
            f"[browser]\nexecutable = '{self.executable}'\n"
            "[sessions]\nmax_active_sessions = 10000\n"
            "[observability]\naccess_log = false\n"
        )
        log = folder / "log"
        command = [self.binary, "--config", config, "--ca-dir", folder / "certs"]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        self.process = await asyncio.create_subprocess_exec(
            *map(str, command), stderr=log.open("wb"), env={**os.environ, "NO_COLOR": "1"}
        )
        self.proxy, self.admin = [await listener(log, name) for name in ("proxy", "admin")]
        self.trust = ssl.create_default_context(cafile=folder / "certs" / "burdock-ca.pem")
        self.about = f"burdock {build.locked('.', 'burdock')}, memory adapter, access log off, the rest as by default"

    async def pages(self, url, parallel, seconds):
        clients = [await Client.to(self, url) for _ in range(parallel)]
        await clients[0].render("pages")
        latencies = []
        began = time.perf_counter()

        async def worker(client):
            while time.perf_counter() - began < seconds:
                latencies.append(await client.render("pages"))

        await asyncio.gather(*map(worker, clients))
        took = time.perf_counter() - began
        for client in clients:
            client.close()
        return latencies, took

    async def fresh(self, url, state):
        session = self._session()
        client = await Client.to(self, url)
        began = time.perf_counter()
        await self._call("POST", "/api/v1/sessions", {"id": session})
        if state:
            await self._call("PUT", f"/api/v1/sessions/{session}/state", state)
        await client.render(session)
        took = (time.perf_counter() - began) * 1e3
        client.close()
        await self._call("DELETE", f"/api/v1/sessions/{session}")
        return took

    async def idle(self, url, count):
        client = await Client.to(self, url)
        for _ in range(count):
            await client.render(self._session())
        client.close()
        return await settled(self.process.pid)

    async def open(self, url, count):
        # They are open while they wait; what there is is looked at meanwhile.
        clients = [await Client.to(self, url) for _ in range(count)]
        session = self._session()
        waiting = asyncio.gather(*(client.render(session, wait="ms:8000") for client in clients))
        while await self._pages() < count:
            await asyncio.sleep(0.1)
        memory = await settled(self.process.pid)
        if await self._pages() < count:
            raise Failure("pages were closed while their memory was read")
        await waiting
        for client in clients:
            client.close()
        return memory

    async def clear(self):
        await self._call("DELETE", "/api/v1/sessions")
        return await settled(self.process.pid)

    async def stop(self):
        self.process.terminate()
        await asyncio.wait_for(self.process.wait(), PATIENCE)

    def _session(self):
        self.sessions += 1
        return f"bench-{self.sessions}"

    async def _pages(self):
        return (await self._call("GET", "/api/v1/status"))["browser"]["pages"]

    async def _call(self, method, path, body=None):
        reader, writer = await asyncio.open_connection(*self.admin)
        content = b"" if body is None else json.dumps(body).encode()
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        status, _, answer = await response(reader)
        writer.close()
        if status >= 300:
            raise Failure(f"{method} {path}: {status} {answer.decode()}")
        return json.loads(answer) if answer else None


class Client:
    """A connection through burdock that is kept."""

    @classmethod
    async def to(cls, burdock, url):
        self = cls()
        scheme, _, self.host, path = url.split("/", 3)
        self.target = url if scheme == "http:" else f"/{path}"
        self.reader, self.writer = await asyncio.open_connection(*burdock.proxy)
        if scheme == "https:":
            self.writer.write(f"CONNECT {self.host}:443 HTTP/1.1\r\nHost: {self.host}:443\r\n\r\n".encode())
            head = await self.reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise Failure(head.decode())
            await self.writer.start_tls(burdock.trust, server_hostname=self.host)
        return self

    async def render(self, session, wait="load"):
        """Milliseconds that a page took."""
        began = time.perf_counter()
        self.writer.write(
            f"GET {self.target} HTTP/1.1\r\nHost: {self.host}\r\nX-Session-ID: {session}\r\n"
            f"X-Burdock-Render: browser\r\nX-Burdock-Wait: {wait}\r\n\r\n".encode()
        )
        status, head, body = await asyncio.wait_for(response(self.reader), PATIENCE)
        took = (time.perf_counter() - began) * 1e3
        if status != 200 or WANTS.encode() not in body or b"x-burdock-route: browser" not in head:
            raise Failure(f"{self.target}: {status} {head.decode()}{body[:2000].decode()}")
        return took

    def close(self):
        self.writer.close()


async def response(reader):
    """Status, head in small letters, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return status, head, body
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    return status, head, await reader.readexactly(int(length[1]) if length else 0)


async def listener(log, name):
    """Where a burdock listens, from its log."""
    for _ in range(PATIENCE * 10):
        if found := re.search(rf'listener="{name}" address=127.0.0.1:(\d+)\n', log.read_text()):
            return "127.0.0.1", int(found[1])
        await asyncio.sleep(0.1)
    raise Failure(f"burdock does not listen:\n{log.read_text()}")


async def settled(pid):
    """MiB (RSS, PSS) of Chromium's processes below `pid`, once they have not changed by a percent for a second."""
    before = memory(pid)
    for _ in range(PATIENCE):
        await asyncio.sleep(1)
        now = memory(pid)
        if abs(now[1] - before[1]) < before[1] / 100:
            break
        before = now
    return now


def memory(pid):
    """MiB (RSS, PSS) of Chromium's processes below `pid`: shared pages are counted once in PSS, each time in RSS."""
    rss = pss = 0
    for process in below(pid):
        try:
            rollup = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        rss += int(re.search(r"^Rss:\s+(\d+)", rollup, re.MULTILINE)[1])
        pss += int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])
    return rss / 1024, pss / 1024


def below(pid):
    """The descendants of a process, without it."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(") ", 1)[1].split(" ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, parents = [], [pid]
    while parents:
        born = children.get(parents.pop(), [])
        found += born
        parents += born
    return found


def executable(given):
    """The Chromium that both use."""
    # Debian's command is a script round it.
    found = given or (DEBIAN if os.path.exists(DEBIAN) else shutil.which("chromium-headless-shell"))
    if not found or not NODE_MODULES.exists():
        raise Failure("no chromium-headless-shell, or no tests/.cache: run ./tests/run once")
    return found
