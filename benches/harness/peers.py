"""Who is measured: a row here is a row in every table."""

import dataclasses
import pathlib
import socket
import tempfile

from harness import build, stores


@dataclasses.dataclass(frozen=True)
class Start:
    """How a peer is started: its command, and the authority that signs what its clients are shown."""

    command: list
    ca: pathlib.Path
    # The server of its sessions, which runs before it does, and where that listens.
    store: tuple = ()
    store_port: int | None = None
    # Where its admin API listens, which tells of its sessions.
    admin_port: int | None = None


class Direct:
    """No proxy: what the clients and the origin do by themselves on their core."""

    name = "direct"
    sessions = False

    def build(self):
        pass

    def start(self, scratch, port, origin_ca):
        return None

    def about(self):
        return None


class Hudsucker:
    """The published crate. It knows no sessions, so it is not sent the field it would only have to carry."""

    name = "hudsucker"
    sessions = False

    def build(self):
        build.peer("hudsucker")

    def start(self, scratch, port, origin_ca):
        binary = build.PEERS / "release" / "hudsucker-peer"
        ca = scratch / "hudsucker-ca.pem"
        return Start([binary, f"127.0.0.1:{port}", origin_ca, ca], ca)

    def about(self):
        return f"hudsucker {_versions('benches/peers/hudsucker', 'hudsucker')}, TCP_NODELAY set"


class Burdock:
    """burdock as released: access log off, and a session in every request, in memory or in another store."""

    sessions = True

    def __init__(self, name="burdock", binary=None, store=stores.MEMORY):
        self.name = name
        self.store = store
        self.binary = binary or build.TARGET / "release" / "burdock"
        self.built_here = binary is None

    def build(self):
        if self.built_here:
            build.burdock()

    def start(self, scratch, port, origin_ca):
        # Sessions are new each time.
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=scratch))
        store_port = free_port() if self.store.server else None
        place = {"folder": folder, "port": store_port}
        admin_port = free_port()
        # The authority is made by the first start and kept for the later ones, as a user's is.
        config = scratch / f"{self.name}.toml"
        ca_dir = scratch / f"{self.name}-ca"
        config.write_text(
            f"""
[proxy]
listen = ["127.0.0.1:{port}"]
[admin]
listen = ["127.0.0.1:{admin_port}"]
[ca]
dir = "{ca_dir}"
[tls]
upstream_ca_files = ["{origin_ca}"]
[observability]
access_log = false
[sessions]
default_adapter = "{self.store.adapter}"
max_active_sessions = 2000
{self.store.config.format(**place)}
"""
        )
        command = [self.binary, "serve", "--config", config, "--log", "warn"]
        server = tuple(part.format(**place) for part in self.store.server)
        return Start(command, ca_dir / "burdock-ca.pem", server, store_port, admin_port)

    def about(self):
        if self.store.missing:
            return None
        if self.store.about:
            return f"{self.name}: {self.store.about}"
        if not self.built_here:
            return f"{self.name}: a burdock given by --burdock"
        return f"{self.name} {_versions('.', 'burdock')}, memory adapter, access log off"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _versions(folder, package):
    parts = [f"{name} {build.locked(folder, name)}" for name in ("hyper", "tokio", "rustls", "aws-lc-rs")]
    return f"{build.locked(folder, package)} ({', '.join(parts)})"


ALL = [Direct(), Hudsucker(), Burdock()]


def adapters(binary=None, suffix=""):
    """burdock with each of its stores."""
    return [Burdock(store.adapter + suffix, binary, store) for store in stores.ALL]
