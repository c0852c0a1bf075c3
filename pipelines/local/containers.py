"""Run stage commands as containers on this machine's Docker daemon, and report how each ended.

``kfp.local`` asks Docker to remove a container when it ends, and treats one that is gone before its exit code was read
as successful. Here the exit code is read first, and the container removed afterwards.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinksafe.errors import ConfigError, StageError, ThinkSafeError

LABEL = "thinksafe.run"
"""Label of every container: the folder of its run."""

PASSED_ON = ("AWS_", "MLFLOW_", "HF_", "OPENAI_", "THINKSAFE_")
"""Prefixes of the environment variables of this process that are passed to stages in containers."""

UNPRIVILEGED = 10001
"""User and group of the images; stages run as this user if root starts the run."""

SHARED_MEMORY = "1g"
"""Shared memory, through which the processes of a training communicate."""

GPU_DEVICE = "/dev/nvidiactl"

ANSWER_SECONDS = 60
"""Time limit for an answer of the daemon, in seconds."""

LOOK_SECONDS = 300.0
"""Seconds between two checks of the daemon: a stage may take days."""

ATTEMPTS, PAUSE_SECONDS = 5, 1.0
"""How often waiting is resumed after it breaks off at once, and the pause in between."""


@dataclass(frozen=True)
class Containers:
    """Creates the containers of one run.

    Args:
        folder: Folder of the run, absolute; the only place that stages can write to, besides ``/tmp`` in memory.
        images: All images that stages run in.
        mounts: Further files and folders that stages can read, absolute, at the same path.
    """

    folder: Path
    images: tuple[str, ...]
    mounts: tuple[Path, ...] = ()

    @property
    def user(self) -> str:
        """``uid:gid`` of the stages: the caller's, and never root."""
        return f"{UNPRIVILEGED}:{UNPRIVILEGED}" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"

    def prepare(self) -> None:
        """Check that the run can start, remove leftovers of a killed run, and give the folder to the stages' user.

        Raises:
            ConfigError: there is no Docker daemon, an image is not on it, or a mount does not exist.
        """
        import docker

        for mount in self.mounts:
            if not mount.exists():
                raise ConfigError(f"There is no {mount} to mount.", "Check --mount.")
        client = connected()
        try:
            for image in sorted(set(self.images)):
                try:
                    client.images.get(image)
                except docker.errors.ImageNotFound as error:
                    raise ConfigError(
                        f"The image {image} is not on this machine.", "Build it with `make images`, or pull it."
                    ) from error
            for left in client.containers.list(all=True, filters={"label": f"{LABEL}={self.folder}"}):
                left.remove(force=True)
        finally:
            client.close()
        if os.getuid() == 0:
            for found in (self.folder, *self.folder.rglob("*")):
                os.chown(found, UNPRIVILEGED, UNPRIVILEGED, follow_symlinks=False)

    def start(self, image: str, command: list[str], variables: Mapping[str, str], log: Path) -> ContainerProcess:
        """Start a stage.

        Args:
            image: Image that holds the stage CLI.
            command: ``thinksafe <stage> ...``.
            variables: Environment variables over those that are passed on.
            log: File that gets what the stage prints; appended to.

        Raises:
            OSError: the container could not be started.
            ConfigError: no daemon answers any more.
        """
        environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        volumes = {str(mount): {"bind": str(mount), "mode": "ro"} for mount in self.mounts}
        volumes[str(self.folder)] = {"bind": str(self.folder), "mode": "rw"}
        return ContainerProcess(
            log, image=image, command=command, environment={**environment, **variables}, volumes=volumes,
            user=self.user, labels={LABEL: str(self.folder)}, network_mode="host", read_only=True,
            tmpfs={"/tmp": "mode=1777,exec"}, cap_drop=["ALL"], security_opt=["no-new-privileges"],  # noqa: S108
            shm_size=SHARED_MEMORY, working_dir="/tmp", device_requests=_gpus(),  # noqa: S108
        )


class ContainerProcess:
    """A stage command in a container; has the part of ``subprocess.Popen``'s interface that a run needs.

    Args:
        log: File that gets what the stage prints; appended to.
        options: Of ``docker.models.containers.ContainerCollection.create``.

    Raises:
        OSError: the container could not be started.
        ConfigError: no daemon answers.
    """

    def __init__(self, log: Path, **options: Any) -> None:
        import docker

        self._client = connected()
        self._code: int | None = None
        self._lock = threading.Lock()
        # the client raises errors of its own, and of the HTTP library (OSError, ValueError) where a connection breaks
        self._failures = (docker.errors.DockerException, OSError, ValueError)
        try:
            self._container = self._client.containers.create(**options)
            try:
                self._container.start()
            except self._failures:
                with suppress(*self._failures):
                    self._container.remove(force=True)
                raise
        except self._failures as error:
            self._client.close()
            raise OSError(f"Docker refused it ({getattr(error, 'explanation', None) or error})") from error
        self._reader = threading.Thread(target=self._copy, args=(log,), daemon=True)
        self._reader.start()

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal; removes the container.

        Raises:
            StageError: the daemon went away, or the container did. The process counts as ended then; the container is
                removed where that is still possible, else the next run does it.
        """
        if self._code is None:
            try:
                code = self._status()
            except ThinkSafeError:
                self._ended(1)
                raise
            self._reader.join(ANSWER_SECONDS)
            self._ended(code)
        assert self._code is not None
        return self._code

    def _status(self) -> int:
        """Return the container's exit code when it has one; a connection that breaks is made again."""
        broken = 0
        while True:
            clock = time.monotonic()
            try:
                return int(self._client.api.wait(self._container.id, timeout=LOOK_SECONDS)["StatusCode"])
            except (*self._failures, KeyError) as error:
                broken = broken + 1 if time.monotonic() - clock < PAUSE_SECONDS else 0
                self._require_container(error)
                if broken >= ATTEMPTS:
                    raise _lost(error) from error
            if broken:
                time.sleep(PAUSE_SECONDS)

    def _require_container(self, broken: Exception) -> None:
        """Raise StageError unless the daemon answers and still has the container."""
        try:
            client = connected()
        except ConfigError as error:
            raise _lost(broken) from error
        try:
            client.api.inspect_container(self._container.id)
        except self._failures as error:
            raise _lost(error) from error
        finally:
            client.close()

    def poll(self) -> int | None:
        """Return the exit code, or None while it has not been waited for."""
        return self._code

    def terminate(self) -> None:
        """Ask the stage to end."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """End the stage."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        # it has ended, or the daemon is gone, which wait() reports
        with suppress(ConfigError, *self._failures):
            client = connected()  # threads cannot share a connection
            try:
                client.api.kill(self._container.id, name)
            finally:
                client.close()

    def _copy(self, log: Path) -> None:
        with suppress(ConfigError, *self._failures):  # the log ends here; wait() reports why
            client = connected()
            try:
                with log.open("ab") as stream:
                    for block in client.api.logs(self._container.id, stream=True, follow=True):
                        stream.write(block)
                        stream.flush()
            finally:
                client.close()

    def _ended(self, code: int) -> None:
        with self._lock:
            if self._code is None:
                # shells and Docker say 128 + n of signal n
                self._code = 128 - code if code > 128 else code
                with suppress(*self._failures):
                    self._container.remove(force=True)
                self._client.close()


def _lost(error: Exception) -> StageError:
    return StageError(
        f"The Docker daemon went away while the stage ran, or lost its container ({type(error).__name__}).",
        "Start Docker, then the same command again; finished work is kept.",
    )


def connected() -> Any:
    """Return a client of the Docker daemon.

    Raises:
        ConfigError: the package is not installed, or no daemon answers.
    """
    try:
        import docker
    except ImportError as error:
        raise ConfigError("--runner docker needs the package docker.", "pip install 'thinksafe[docker]'.") from error
    try:
        client = docker.from_env(timeout=ANSWER_SECONDS)
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise ConfigError(
            "No Docker daemon answers.", "Start it, or set DOCKER_HOST; without Docker leave --runner out."
        ) from error
    return client


def has_gpu() -> bool:
    """Return whether containers here can be given a GPU."""
    return os.path.exists(GPU_DEVICE)


def _gpus() -> list[Any]:
    if not has_gpu():
        return []
    import docker

    return [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
