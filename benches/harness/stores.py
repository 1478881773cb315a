"""The servers in which burdock's adapters keep sessions: a row here is one more adapter in the tables of stores."""

import dataclasses
import math
import shutil

from harness import build

# As `tests/run` installs it.
PYTHON = build.ROOT / "tests" / ".venv" / "bin" / "python"


@dataclasses.dataclass(frozen=True)
class Store:
    adapter: str
    # What its configuration says; `{folder}` and `{port}` stand for where it may keep things, and where its server listens.
    config: str
    # Why it cannot be measured here, or None.
    missing: str | None = None
    # The command of its server; none where there is none.
    server: tuple = ()
    about: str = ""
    # Writes a second that its server keeps up with; a session that is used makes one.
    most_writes: float = math.inf

    def left_out(self, workload):
        """Why it is not measured under a workload, or None."""
        if self.missing:
            return self.missing
        if self.most_writes < (math.inf if workload.cookies else workload.sessions):
            return f"its server here keeps up with {self.most_writes} writes a second, and this is more"
        return None


def _without(command, remedy):
    return None if shutil.which(command) else f"there is no `{command}` here; {remedy}"


MEMORY = Store("memory", "")
ALL = [
    MEMORY,
    Store("file", "[adapters.file]\npath = \"{folder}/sessions.db\"", about="on the disk of the folder for temporary files"),
    Store(
        "redis",
        "[adapters.redis]\nurl = \"redis://127.0.0.1:{port}\"",
        missing=_without("redis-server", "tests/run installs it"),
        server=("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--dir", "{folder}", "--appendonly", "yes"),
        about="redis-server on the load's core, appendonly yes, appendfsync everysec",
    ),
    Store(
        "mongodb",
        "[adapters.mongodb]\nuri = \"mongodb://127.0.0.1:{port}\"",
        missing=_without(str(PYTHON), "tests/run makes it, with SecantusDB in it"),
        server=(
            *(str(PYTHON), "-c", "import sys; from secantus.cli import main; sys.exit(main())"),
            *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "WARNING", "--storage-path", "{folder}/data"),
        ),
        about="SecantusDB, which speaks MongoDB's protocol and is not MongoDB, on the load's core",
        most_writes=100,
    ),
]
