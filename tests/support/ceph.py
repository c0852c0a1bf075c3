"""A single-node Ceph with its S3 gateway, for tests that want a real, persistent S3 server.

Needs Debian's ceph-mon, ceph-osd and radosgw. Everything lives in one folder and on the loopback interface; object
data is kept in memory unless ``persistent``. One monitor, one OSD, one replica: nothing here is a way to run Ceph.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
SECONDS = 90

GLOBAL = {
    "ms bind ipv4": "true", "ms bind ipv6": "false", "ms bind msgr1": "false", "public network": "127.0.0.0/8",
    "public addr": "127.0.0.1", "cluster addr": "127.0.0.1",
    # one replica on one disk, without the warnings and waits meant for clusters
    "osd pool default size": "1", "osd pool default min size": "1", "osd pool default pg num": "1",
    "osd pool default pgp num": "1", "osd pool default pg autoscale mode": "off", "osd crush chooseleaf type": "0",
    "mon allow pool size one": "true", "mon max pg per osd": "1000", "mon warn on pool no redundancy": "false",
    "mon data avail crit": "1", "mon data avail warn": "2", "paxos propose interval": "0.02", "paxos min wait": "0.01",
}
OSD = {
    "memstore device bytes": str(2 << 30), "bluestore block size": str(4 << 30), "bluestore block db create": "false",
    "bluestore block wal create": "false", "osd memory target": str(900 << 20), "osd class update on start": "false",
    "osd crush update on start": "false",
}
GATEWAY = {
    "rgw enable usage log": "false", "rgw enable ops log": "false", "rgw run sync thread": "false",
    "rgw override bucket index max shards": "1", "rgw dynamic resharding": "false", "rgw gc obj min wait": "5",
    "rgw gc processor period": "10", "rgw gc processor max time": "10",
}


@dataclass(frozen=True)
class S3Server:
    """Where a server listens and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which boto3 finds the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": "us-east-1",
        }


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def ceph_s3(folder: Path, *, persistent: bool = False) -> Iterator[S3Server]:
    """Start Ceph in an empty folder and yield its S3 server; stops it, gateway first, in the end.

    Raises:
        RuntimeError: a daemon did not come up; the message ends with its log.
    """
    server = S3Server(f"http://127.0.0.1:{_free_port()}", uuid.uuid4().hex[:20], uuid.uuid4().hex)
    cluster = _Cluster(folder, persistent, server)
    try:
        cluster.start()
        yield server
    finally:
        cluster.stop()


def stranger(folder: Path, server: S3Server) -> S3Server:
    """Add a user who has no right to anybody else's buckets to the server that runs in ``folder``."""
    other = replace(server, access_key=uuid.uuid4().hex[:20], secret_key=uuid.uuid4().hex)
    _run({**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}, *_new_user(other, f"user-{other.access_key}"))
    return other


def _new_user(server: S3Server, name: str) -> list[str]:
    return [
        "radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}",
        f"--access-key={server.access_key}", f"--secret-key={server.secret_key}",
    ]


class _Cluster:
    def __init__(self, folder: Path, persistent: bool, server: S3Server) -> None:
        self._folder, self._persistent, self._server = folder, persistent, server
        self._daemons: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._environment = {**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}
        self._fsid, self._monitor = str(uuid.uuid4()), f"v2:127.0.0.1:{_free_port()}"

    def start(self) -> None:
        folder = self._folder
        for name in ("mon", "osd", "rgw", "run", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._write_config()
        keyring = str(folder / "keyring")
        self._run("ceph-authtool", keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name, caps in {
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
        }.items():
            options = [text for service, cap in caps.items() for text in ("--cap", service, cap)]
            self._run("ceph-authtool", keyring, "--gen-key", "-n", name, *options)
        monmap = str(folder / "monmap")
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", f"[{self._monitor}]", monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._daemon("mon", "ceph-mon", "-i", "a", "-f")
        self._await("mon", lambda: self._answers("ceph", "--connect-timeout", "3", "-s"))
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("osd", "ceph-osd", "-i", "0", "-f")
        self._await("osd", lambda: self._answers("ceph", "osd", "stat", expect=" 1 up"))
        self._run(*_new_user(self._server, "tests"))
        self._daemon("rgw", "radosgw", "-n", "client.rgw", "-f")
        self._await("rgw", lambda: _listens(self._server.endpoint))

    def stop(self) -> None:
        for _, daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _write_config(self) -> None:
        folder, port = self._folder, self._server.endpoint.rpartition(":")[2]
        sections: dict[str, Mapping[str, str]] = {
            "global": {
                "fsid": self._fsid, "mon host": self._monitor, "mon initial members": "a",
                "keyring": str(folder / "keyring"), "run dir": str(folder / "run"),
                "admin socket": str(folder / "run" / "$cluster-$name.asok"),
                "log file": str(folder / "log" / "$name.log"), "crash dir": str(folder / "crash"), **GLOBAL,
            },
            "mon": {"mon data": str(folder / "mon"), "auth allow insecure global id reclaim": "false"},
            "osd": {
                "osd data": str(folder / "osd"), "osd objectstore": "bluestore" if self._persistent else "memstore",
                **OSD,
            },
            "client.rgw": {
                "rgw frontends": f"beast endpoint=127.0.0.1:{port}", "rgw data": str(folder / "rgw"), **GATEWAY,
            },
        }
        lines = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value}" for key, value in values.items()))
        ]
        (folder / "ceph.conf").write_text("\n".join(lines) + "\n")

    def _run(self, *command: str) -> None:
        _run(self._environment, *command)

    def _answers(self, *command: str, expect: str = "") -> bool:
        try:
            done = subprocess.run(
                command, env=self._environment, capture_output=True, text=True, timeout=8, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0 and expect in done.stdout

    def _daemon(self, name: str, *command: str) -> None:
        with (self._folder / "log" / f"{name}.out").open("wb") as log:
            started = subprocess.Popen(command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)
        self._daemons.append((name, started))

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not ready():
            dead = [other for other, daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                log = (self._folder / "log" / f"{(dead or [name])[0]}.out").read_text(errors="replace")
                raise RuntimeError(f"Ceph's {(dead or [name])[0]} did not come up: {log[-800:]}")
            time.sleep(0.2)


def _run(environment: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed: {done.stderr[-800:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(endpoint: str) -> bool:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


if __name__ == "__main__":  # python tests/support/ceph.py FOLDER: run a server by hand until Ctrl-C
    import sys

    with ceph_s3(Path(sys.argv[1]).absolute()) as by_hand:
        print(json.dumps(by_hand.environment, indent=2), flush=True)
        signal.pause()
