"""The site whose pages a browser renders in the benchmark of the browser route: `http` and `https`, under any name."""

import asyncio
import contextlib
import ssl
import subprocess

ROWS = 100
# What every page has once its scripts ran.
WANTS = f"row {ROWS - 1}"

PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>A page that a script fills</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<h1>Rows</h1>
<table id="rows"></table>
<script src="/rows.js"></script>
</body>
</html>
"""
STYLE = b"body { font-family: sans-serif } td { padding: 4px; border: 1px solid teal }\n"
SCRIPT = (
    """const rows = document.querySelector("#rows");
for (let n = 0; n < %d; n++) {
  const row = rows.insertRow();
  for (const text of [`row ${n}`, `${n * n}`, "some words that a row may have"]) row.insertCell().textContent = text;
}
"""
    % ROWS
).encode()

ANSWERS = {
    "/": (PAGE, "text/html; charset=utf-8", "no-store"),
    "/style.css": (STYLE, "text/css", "max-age=600"),
    "/rows.js": (SCRIPT, "text/javascript", "max-age=600"),
}


class Site:
    """It listens on two free ports of 127.0.0.1."""

    def __init__(self, folder, names):
        self.names = names
        self.certificate = folder / "site.pem"
        key = folder / "site.key"
        alternatives = ",".join(f"DNS:{name}" for name in names)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            + ["-subj", "/CN=pages", "-addext", f"subjectAltName={alternatives}", "-days", "2"]
            + ["-keyout", key, "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(self.certificate, key)
        self.servers = []
        self.ports = {}

    async def start(self):
        for port, tls in ((80, None), (443, self.tls)):
            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, backlog=1000)
            self.servers.append(server)
            self.ports[port] = server.sockets[0].getsockname()[1]

    def stop(self):
        for server in self.servers:
            server.close()

    def connect_to(self):
        """As burdock is told where it is."""
        return [f"{name}:{port}:127.0.0.1:{ours}" for name in self.names for port, ours in self.ports.items()]

    def resolver_rules(self):
        """As Chromium is told."""
        return ", ".join(f"MAP *:{port} 127.0.0.1:{ours}" for port, ours in self.ports.items())


async def serve(reader, writer):
    """The requests of one connection; who breaks off has done with it."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode("latin-1")
            body, kind, cache = ANSWERS.get(path, (b"", "text/plain", "no-store"))
            status = "200 OK" if path in ANSWERS else "404 Not Found"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nCache-Control: {cache}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
