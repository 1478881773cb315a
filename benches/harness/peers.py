"""Who is measured: a row here is a row in every table."""

import dataclasses
import pathlib

from harness import build


@dataclasses.dataclass(frozen=True)
class Start:
    """How a peer is started: its command, and the authority that signs what its clients are shown."""

    command: list
    ca: pathlib.Path


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
    """burdock as released: memory adapter, access log off, and a session in every request."""

    sessions = True

    def __init__(self, name="burdock", binary=None):
        self.name = name
        self.binary = binary or build.TARGET / "release" / "burdock"
        self.built_here = binary is None

    def build(self):
        if self.built_here:
            build.burdock()

    def start(self, scratch, port, origin_ca):
        # The authority is made by the first start and kept for the later ones, as a user's is.
        config = scratch / f"{self.name}.toml"
        ca_dir = scratch / f"{self.name}-ca"
        config.write_text(
            f"""
[proxy]
listen = ["127.0.0.1:{port}"]
[admin]
listen = ["127.0.0.1:0"]
[ca]
dir = "{ca_dir}"
[tls]
upstream_ca_files = ["{origin_ca}"]
[observability]
access_log = false
"""
        )
        command = [self.binary, "serve", "--config", config, "--log", "warn"]
        return Start(command, ca_dir / "burdock-ca.pem")

    def about(self):
        if not self.built_here:
            return f"{self.name}: a burdock given by --burdock"
        return f"burdock {_versions('.', 'burdock')}, memory adapter, access log off"


def _versions(folder, package):
    parts = [f"{name} {build.locked(folder, name)}" for name in ("hyper", "tokio", "rustls", "aws-lc-rs")]
    return f"{build.locked(folder, package)} ({', '.join(parts)})"


# hudsucker is what the others are compared with.
BASELINE = "hudsucker"
ALL = [Direct(), Hudsucker(), Burdock()]
