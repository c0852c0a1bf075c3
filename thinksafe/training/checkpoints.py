"""Checkpoints of a training in the store, so that an interrupted training resumes, even on another node.

``checkpoints/<key>/<step>/`` contains the files that transformers writes and reads and, written last,
``manifest.json`` with their digests. The two newest are kept while the training runs, and none after what it made is
written. The store's content is not trusted: only files with known names and matching digests are fetched, and tensors
in PyTorch's format are opened with ``weights_only``, which runs no code.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from thinksafe.digests import digest_file
from thinksafe.errors import DamagedError, MissingError, StageError, StoreError
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.records import Record
from thinksafe.store import Store
from thinksafe.training.weights import CHECKPOINT

if TYPE_CHECKING:
    from transformers import TrainerCallback

HEAD = "head.safetensors"
"""Weights that an objective trains with the adapter and drops in the end; only in its own checkpoints."""
KEPT = 2
"""Checkpoints to keep while the training runs: one more than needed, in case the newest is damaged."""
MANIFEST = "manifest.json"
_STATE, _STEP = "trainer_state.json", re.compile(r"\d{8}")
_SHARED = "pytorch_model_fsdp.bin"
_KINDS = ({*ADAPTER_FILES}, {CHECKPOINT}, {_SHARED})
"""Files of what was trained, one set a checkpoint: an adapter, all weights, or all weights that processes shared."""
_TENSORS = re.compile(r"(optimizer|scheduler|rng_state(_\d+)?)\.pth?|(optimizer|pytorch_model_fsdp)\.bin")


class CheckpointManifest(Record):
    """The content of one checkpoint, written after the files."""

    schema_version: Literal[1] = 1
    step: int
    """Optimiser steps done."""
    files: dict[str, str]
    """Digest of each file by name."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        store: Where they are kept.
        key: Key of what is trained: another training never finds them.
        folder: Local folder that the training's processes share.
        step: Step of the checkpoint to resume from, which :meth:`restore` fetched into ``folder``; 0 without one.
    """

    def __init__(self, store: Store, key: str, folder: Path, step: int = 0) -> None:
        self._store, self._prefix, self.folder, self.step = store, f"checkpoints/{key}", folder, step

    @property
    def restored(self) -> Path | None:
        """Folder of the checkpoint to resume from."""
        return self.folder / "restored" / f"{self.step:08d}" if self.step else None

    def restore(self) -> int:
        """Fetch the newest intact checkpoint and return its step, or 0; warn about a damaged one.

        Raises:
            StoreError: the store cannot be reached. Training from scratch would cost more than starting the stage
                again.
        """
        for prefix in reversed(self._all()):
            try:
                self.step = self._fetch(prefix, self.folder / "restored" / prefix.rpartition("/")[2])
                return self.step
            except (ValidationError, MissingError, DamagedError, ValueError) as error:
                warnings.warn(
                    f"The checkpoint {self._store.uri(prefix)} is incomplete or damaged and is not used ({error}).",
                    stacklevel=2,
                )
        return 0

    def fetch(self, step: int) -> None:
        """Fetch the checkpoint of a step, which another node found intact.

        Raises:
            StageError: it is not intact here.
            StoreError: the store cannot be reached.
        """
        prefix = f"{self._prefix}/{step:08d}"
        try:
            self.step = self._fetch(prefix, self.folder / "restored" / f"{step:08d}")
        except (ValidationError, MissingError, DamagedError, ValueError) as error:
            raise StageError(
                f"The checkpoint {self._store.uri(prefix)} differs from what another node found ({error}).",
                "Start the same stage again.",
            ) from error

    def write(self, folder: Path, step: int) -> None:
        """Write the checkpoint that transformers left in ``folder``, then delete what is older than the newest two.

        If the store fails, the checkpoint is lost, with a warning, but not the training.
        """
        prefix = f"{self._prefix}/{step:08d}"
        names = sorted(path.name for path in folder.iterdir() if _known(path.name))
        manifest = CheckpointManifest(step=step, files={name: digest_file(folder / name) for name in names})
        try:
            self._delete(prefix)  # from an earlier attempt, manifest first
            for name in names:
                self._store.put_file(f"{prefix}/{name}", folder / name)
            self._store.put(f"{prefix}/{MANIFEST}", manifest.model_dump_json(indent=2).encode() + b"\n")
            for old in self._all()[: -KEPT]:
                self._delete(old)
        except StoreError as error:
            warnings.warn(f"The checkpoint of step {step} is not written. {error}", stacklevel=2)

    def clear(self) -> None:
        """Delete all checkpoints of this training."""
        try:
            for prefix in self._all():
                self._delete(prefix)
        except StoreError as error:
            warnings.warn(f"Checkpoints below {self._store.uri(self._prefix)} are left over. {error}", stacklevel=2)

    def callback(self) -> TrainerCallback:
        """Return a callback that writes each checkpoint of transformers; of several processes, the first writes."""
        import torch
        from transformers import TrainerCallback

        write = self.write

        class Upload(TrainerCallback):
            def on_save(self, *given: Any, **_: Any) -> None:
                arguments, state, _control = given
                folder = Path(arguments.output_dir) / f"checkpoint-{state.global_step}"
                if torch.distributed.is_initialized():
                    _collect(folder)  # each process has a separate file in it
                if state.is_world_process_zero:
                    write(folder, state.global_step)
                if torch.distributed.is_initialized():
                    torch.distributed.barrier()

        return Upload()

    def _all(self) -> list[str]:
        found = {key.rpartition("/")[0] for key in self._store.keys(f"{self._prefix}/")}
        return sorted(prefix for prefix in found if _STEP.fullmatch(prefix.removeprefix(f"{self._prefix}/")))

    def _delete(self, prefix: str) -> None:
        keys = self._store.keys(f"{prefix}/")
        for key in sorted(keys, key=lambda key: not key.endswith(f"/{MANIFEST}")):
            self._store.delete(key)

    def _fetch(self, prefix: str, folder: Path) -> int:
        """Fetch a checkpoint and return its step. Raises ValidationError, ValueError or a StoreError when damaged."""
        import torch
        from transformers.trainer_pt_utils import safe_globals

        if not self._store.exists(f"{prefix}/{MANIFEST}"):
            raise ValueError("it has no manifest")
        manifest = CheckpointManifest.model_validate_json(self._store.get(f"{prefix}/{MANIFEST}"))
        if manifest.step != int(folder.name) or manifest.step < 1:
            raise ValueError("the manifest is of another step")
        names = manifest.files.keys()
        if _STATE not in names or not any(kind <= names for kind in _KINDS) or not all(map(_known, names)):
            raise ValueError("its files are not those of a checkpoint")
        for name, digest in manifest.files.items():
            self._store.get_file(f"{prefix}/{name}", folder / name)
            if digest_file(folder / name) != digest:
                raise ValueError(f"the digest of {name} differs")
            if _TENSORS.fullmatch(name):
                try:
                    with safe_globals():  # type: ignore[no-untyped-call]
                        torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)
                except Exception as error:  # a malformed file gives errors of many types
                    raise ValueError(f"{name} holds more than tensors") from error
        return manifest.step


def _collect(folder: Path) -> None:
    """Wait until all processes have written a checkpoint, and send the files of other nodes to the first one."""
    import torch

    rank, local = torch.distributed.get_rank(), int(os.environ["LOCAL_WORLD_SIZE"])
    own = folder / f"rng_state_{rank}.pth"
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own.read_bytes() if rank >= local and own.is_file() else None)
    for other, data in enumerate(found):
        if rank == 0 and data is not None:
            (folder / f"rng_state_{other}.pth").write_bytes(data)


def _known(name: str) -> bool:
    return name in (*ADAPTER_FILES, CHECKPOINT, _STATE, HEAD) or bool(_TENSORS.fullmatch(name))
