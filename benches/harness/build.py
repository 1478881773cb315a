"""Cargo, and where it puts things."""

import os
import pathlib
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# The peers share one folder, so that what they have in common is built once.
PEERS = TARGET / "peers"
LOAD = PEERS / "release" / "load"


def load():
    """Builds the origin and load generator."""
    peer("load")


def peer(name):
    """Builds the crate `benches/peers/NAME`."""
    _cargo(ROOT / "benches" / "peers" / name, PEERS)


def burdock():
    """Builds the release binary that is measured."""
    _cargo(ROOT, TARGET)


def locked(folder, package):
    """The version of `package` that the lock file of a crate names."""
    lock = tomllib.loads((ROOT / folder / "Cargo.lock").read_text())
    return next(entry["version"] for entry in lock["package"] if entry["name"] == package)


def _cargo(folder, target):
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target-dir", str(target)],
        cwd=folder,
        check=True,
    )
