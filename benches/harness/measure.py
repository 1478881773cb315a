"""One measurement: a fresh peer on its core, load and origin on theirs, a counted window."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.request

from harness import build, peers

# Seconds for a process to listen, and for one to end when asked to.
PATIENCE = 20


class Failure(Exception):
    """A peer did not start, or a request through it failed: there is nothing to compare."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one counted window."""

    requests_per_second: float
    # None without a proxy.
    requests_per_cpu_second: float | None
    p50: float
    p99: float
    peak_kib: int | None
    # Shares of a core.
    proxy: float
    # A store's server is there too.
    load_and_origin: float
    store: float
    # What others did on the two cores: over a few hundredths, the machine was not ours.
    foreign_on_proxy_core: float
    foreign_on_load_core: float


class Bench:
    """The scratch folder, the cores and the origin that all measurements of a run share."""

    def __init__(self, scratch, proxy_core, load_core):
        self.scratch = scratch
        self.proxy_core = proxy_core
        self.load_core = load_core
        self.children = contextlib.ExitStack()

    def __enter__(self):
        pki = self.scratch / "origin"
        subprocess.run([build.LOAD, "pki", pki], check=True)
        self.origin_ca = pki / "origin-ca.pem"
        self.ports = {"http": peers.free_port(), "https": peers.free_port()}
        ports = ["--plain", str(self.ports["http"]), "--tls", str(self.ports["https"])]
        command = [build.LOAD, "origin", "--pki", pki, *ports]
        self.origin = self.children.enter_context(self._running("origin", command, self.load_core))
        for port in self.ports.values():
            self._await("origin", self.origin, lambda: _listens(port))
        return self

    def __exit__(self, *failure):
        return self.children.__exit__(*failure)

    def measure(self, peer, workload, warmup, seconds):
        """Figures of one peer under one workload; raises when a single request failed."""
        port = peers.free_port()
        start = peer.start(self.scratch, port, self.origin_ca)
        with contextlib.ExitStack() as stack:
            drive = workload.drive(self.ports[workload.scheme], peer.sessions)
            drive += ["--warmup", str(warmup), "--seconds", str(seconds), "--watch", str(self.origin.pid)]
            if start is None:
                drive += ["--ca", self.origin_ca]
                proxy = None
            else:
                if start.store:
                    name = f"store of {peer.name}"
                    store = stack.enter_context(self._running(name, start.store, self.load_core))
                    self._await(name, store, lambda: _listens(start.store_port))
                    drive += ["--watch", str(store.pid)]
                proxy = stack.enter_context(self._running(peer.name, start.command, self.proxy_core))
                # A listener may be there before the authority that a first start makes.
                self._await(peer.name, proxy, lambda: start.ca.exists() and _listens(port))
                drive += ["--proxy", f"127.0.0.1:{port}", "--ca", start.ca, "--watch", str(proxy.pid)]
            seen = self._drive(peer, drive, warmup + seconds)
            peak = proxy and _peak_kib(proxy.pid)
            if workload.adapters:
                _is_kept(peer, workload, start.admin_port)
        return self._figures(seen, peak, bool(start and start.store))

    def _drive(self, peer, drive, duration):
        load = subprocess.run(
            _pinned([build.LOAD, "drive", *drive], self.load_core),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=duration + 6 * PATIENCE,
            env=_environment(),
        )
        if load.returncode != 0:
            raise Failure(f"load through {peer.name}: {load.stderr}\n{self._log(peer.name)}")
        return json.loads(load.stdout)

    def _figures(self, seen, peak, stored):
        seconds = seen["seconds"]
        origin, *rest = seen["watched"]
        store = rest.pop(0) if stored else 0
        proxy = sum(rest)
        ours = seen["own"] + origin + store
        return dataclasses.asdict(
            Figures(
                requests_per_second=seen["requests"] / seconds,
                requests_per_cpu_second=seen["requests"] / proxy if proxy else None,
                p50=seen["p50"],
                p99=seen["p99"],
                peak_kib=peak,
                proxy=proxy / seconds,
                load_and_origin=ours / seconds,
                store=store / seconds,
                foreign_on_proxy_core=max(0, seen["cores"][self.proxy_core] - proxy) / seconds,
                foreign_on_load_core=max(0, seen["cores"][self.load_core] - ours) / seconds,
            )
        )

    @contextlib.contextmanager
    def _running(self, name, command, core):
        with open(self.scratch / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                _pinned(command, core), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment()
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _await(self, name, process, ready):
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{name} does not get ready\n{self._log(name)}")
            time.sleep(0.02)

    def _log(self, name):
        log = self.scratch / f"{name}.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""


def _pinned(command, core):
    # setpriv: a child does not outlive this harness, however it ends. Both replace themselves by the command, so the
    # process id is the command's.
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *command]


def _environment():
    # burdock reads settings from there too and would prefer them to its file; the others would print backtraces.
    taken = ("BURDOCK_", "RUST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(taken)}


def _listens(port):
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        return True
    return False


def _is_kept(peer, workload, admin_port):
    """Fails unless a session is in the store that was measured, with the cookie that was set."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/api/v1/sessions/visitor-0", timeout=PATIENCE) as answer:
        session = json.load(answer)
    found, expected = (session["adapter"], session["cookieCount"]), (peer.store.adapter, int(workload.cookies))
    if found != expected:
        raise Failure(f"{peer.name}: a session's store and cookies are {found}, not {expected}")


def _peak_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1])
