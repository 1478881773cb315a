"""What is asked of each peer: a row here is a table in the result."""

import dataclasses

# Few enough for one core to serve without queueing for long, and as many sessions: each connection is a visitor.
CONNECTIONS = 32
SESSIONS = 32


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    scheme: str
    connections: int = CONNECTIONS
    # Bytes of each answer.
    size: int = 1024
    # A new TCP connection, tunnel and full TLS handshake for each request.
    reconnect: bool = False
    # Where a session is named: everywhere | requests | connect.
    carrier: str = "everywhere"
    # Each request of a connection names another session.
    interleave: bool = False
    sessions: int = SESSIONS
    # Each answer sets a cookie.
    cookies: bool = False
    # What is compared: burdock with its peers, or its adapters with one another.
    adapters: bool = False

    def drive(self, port, sessions):
        """Arguments of `load drive` for this workload, against the origin on `port`."""
        flags = [
            *("--scheme", self.scheme),
            *("--port", str(port)),
            *("--size", str(self.size)),
            *("--connections", str(self.connections)),
            *("--carrier", self.carrier),
            *("--sessions", str(self.sessions if sessions else 0)),
        ]
        if self.reconnect:
            flags.append("--reconnect")
        if self.interleave:
            flags.append("--interleave")
        if self.cookies:
            flags.append("--cookies")
        return flags


ALL = [
    Workload("plain", "plain proxying, kept alive, 1 KiB", "http"),
    Workload("intercepted", "interception, kept alive, 1 KiB", "https"),
    Workload(
        "tunnels",
        "interception, a new tunnel and full handshake per request, session named on CONNECT and inside",
        "https",
        reconnect=True,
    ),
    Workload(
        "tunnels-inner",
        "interception, a new tunnel and full handshake per request, session named inside only",
        "https",
        reconnect=True,
        carrier="requests",
    ),
    Workload(
        "interleaved",
        "interception, kept alive, 1 KiB, each request of a connection another session",
        "https",
        carrier="requests",
        interleave=True,
    ),
    Workload("alone", "interception, one connection alone, 1 KiB", "https", connections=1),
    Workload(
        "stores",
        "interception, kept alive, 1 KiB, 1,000 sessions, no cookie set",
        "https",
        connections=1000,
        sessions=1000,
        adapters=True,
    ),
    Workload(
        "stores-100",
        "interception, kept alive, 1 KiB, 100 sessions, no cookie set",
        "https",
        connections=100,
        sessions=100,
        adapters=True,
    ),
    Workload(
        "stores-cookies",
        "interception, kept alive, 1 KiB, 1,000 sessions, a cookie set by every response",
        "https",
        connections=1000,
        sessions=1000,
        cookies=True,
        adapters=True,
    ),
    Workload(
        "stores-64",
        "interception, kept alive, 1 KiB, 1,000 sessions by turns on 64 connections, no cookie set",
        "https",
        connections=64,
        sessions=1000,
        carrier="requests",
        interleave=True,
        adapters=True,
    ),
    Workload(
        "stores-64-cookies",
        "interception, kept alive, 1 KiB, 1,000 sessions by turns on 64 connections, a cookie set by every response",
        "https",
        connections=64,
        sessions=1000,
        carrier="requests",
        interleave=True,
        cookies=True,
        adapters=True,
    ),
]
