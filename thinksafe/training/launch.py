"""A training with one process per GPU of the pod, each with the whole student or a share of it.

A single process trains here. Several are started by torch's spawn, and accelerate reads their ranks from the
environment. Each takes its share of every effective batch, so the number of processes changes the weights only by
rounding (and by the draws of dropout), not by what it learns. How they are spread over nodes
(:mod:`thinksafe.training.node`) changes nothing.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from thinksafe import errors
from thinksafe.config.memory import GIB, bytes_needed, told
from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.config.shape import Shape, shape_of
from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.jsonl import read_record, read_records, write_json
from thinksafe.methods.objectives import OnPolicy
from thinksafe.models.references import ModelReference
from thinksafe.records import Example, Record
from thinksafe.run.parents import dying_with
from thinksafe.run.record import StageContext, silent
from thinksafe.store import open_store
from thinksafe.training import sharding
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.drift import Drift

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, for example while the first one writes a checkpoint. If one dies, all end
at once."""


class Job(Record):
    """The description of a training for its processes."""

    section: TrainSection
    base: ModelReference
    examples: Path
    """JSON Lines of Example."""
    key: str
    """Key of what is trained."""
    folder: Path
    """Empty folder on a disk shared by all processes."""
    store: str
    """Root of the store."""
    run_id: str
    task: str
    resume: int = 0
    """Step of the checkpoint to resume from."""

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def made(self) -> Path:
        """Folder for the files of the adapter, or of all weights."""
        return self.folder / "made"


class Node(NamedTuple):
    """One of the machines whose processes train together."""

    rank: int = 0
    nodes: int = 1
    address: str = ""
    """Host of the first node, as seen from the others; empty for a single node, whose processes meet in a file."""
    port: int = 0


ONE = Node()


class Outcome(Record):
    """Results of a training, besides the files."""

    steps: int
    curve: list[dict[str, float]]
    """See :class:`thinksafe.training.fit.Training`."""
    rows: int
    tokens: int
    dropped: dict[str, int]
    drift: tuple[Drift, ...] = ()
    share: float
    resumed: int = 0
    """Steps already in the checkpoint."""
    responses: int = 0
    """Responses that training itself sampled."""
    response_tokens: int = 0
    changed: tuple[int, int] | None = None
    """See :class:`thinksafe.training.fit.Training`."""


def shape_here(settings: TrainingSettings) -> Shape:
    """Return the shape of a training on this machine alone, by the GPUs that are visible.

    Raises:
        ConfigError: there are fewer GPUs than processes, the effective batch cannot be divided, the settings ask for
            several nodes, or sharding has only one process.
    """
    import torch

    if settings.nodes > 1:
        raise ConfigError(
            f"training.nodes is {settings.nodes}, but this pod is not configured to start a TrainJob.",
            "Several nodes need a cluster (cluster.train_job.enabled); here set training.nodes to 1.",
        )
    try:
        return shape_of(settings, torch.cuda.device_count())
    except ValueError as error:
        raise ConfigError(
            f"training: {error}.", "Give the train task other GPUs, or change training.processes."
        ) from error


def train(context: StageContext, job: Job, processes: int) -> Outcome:
    """Train, here or in ``processes`` processes; the files are in ``job.made`` afterwards.

    Raises:
        ThinkSafeError: as :func:`thinksafe.training.fit.train_student` and
            :func:`thinksafe.training.data.encode_examples`; also if a process ended without an error message.
    """
    import torch

    # with several visible GPUs, torch's DataParallel would spread a single process over all of them
    if processes == 1 and torch.cuda.device_count() < 2:
        work(context, job)
    else:
        spawn(job, processes)
    return read_record(job.folder / "outcome.json", Outcome)


def work(context: StageContext, job: Job) -> None:
    """Do the training of one process."""
    import torch

    from thinksafe.models.loading import end_tokens, load_model, load_tokenizer, positions_of
    from thinksafe.models.templates import check_template
    from thinksafe.training.data import encode_examples
    from thinksafe.training.fit import train_student

    name, section = job.base.student.model, job.section
    tokenizer = load_tokenizer(job.base)
    check_template(tokenizer, section.reasoning, name)
    full = section.training.parameters == "full"
    model = load_model(job.base, context.store, section.training.strategy == "ddp" and not full, precise=full)
    if full:
        model = _placed(model, section)
    limit = min(section.training.max_length, positions_of(model.config) or section.training.max_length)
    examples = read_records(job.examples, Example)
    ends = end_tokens(model, tokenizer, name)
    room = section.objective.max_tokens if isinstance(section.objective, OnPolicy) else 0
    encoded = encode_examples(tokenizer, examples, ends, limit, reasoning=section.reasoning, room=room)
    kept = Checkpoints(context.store, job.key, job.checkpoints, job.resume)
    job.made.mkdir(exist_ok=True)
    done = train_student(
        context, model, tokenizer, encoded.rows, section, job.base.student, job.made,
        kept if section.training.checkpoint_steps or job.resume else None,
    )
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        dropped = {str(reason): count for reason, count in encoded.dropped.items()}
        outcome = Outcome(
            steps=done.steps, curve=done.curve, rows=len(encoded.rows), tokens=encoded.tokens, dropped=dropped,
            drift=done.drift, resumed=done.resumed, share=done.share, changed=done.changed,
            responses=done.responses, response_tokens=done.response_tokens,
        )
        write_json(job.folder / "outcome.json", outcome)


def _placed(model: Any, section: TrainSection) -> Any:
    """Return a student whose weights are all to be trained on its GPU, unless the weights are shared out later.

    Raises:
        ConfigError: they do not fit, which must not show only when the first step has run.
    """
    import torch

    sharded = section.training.strategy == "fsdp"
    processes = torch.distributed.get_world_size() if sharded else 1
    if not torch.cuda.is_available():
        return model
    count, kind = sum(weight.numel() for weight in model.parameters()), section.objective.kind
    _, memory = torch.cuda.mem_get_info()
    if bytes_needed(count, processes, kind) > memory:
        raise ConfigError(
            f"training.parameters is full: {told(count, processes, kind)}, and this GPU has "
            f"{memory / GIB:.0f} GiB.",
            "Use training.strategy: fsdp on more GPUs, or training.parameters: lora.",
        )
    return model if sharded else model.to("cuda")


def spawn(job: Job, processes: int, node: Node = ONE) -> None:
    """Train in the processes of one node. Raises ThinkSafeError, see :func:`train`."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    try:
        start_processes(  # type: ignore[no-untyped-call]
            _process, (processes, job.model_dump_json(), node, os.getpid()), processes, start_method="spawn"
        )
    except (ProcessRaisedException, ProcessExitedException) as error:
        for path in sorted(job.folder.glob("error-*.json")):
            said = json.loads(path.read_text("utf-8"))
            raise getattr(errors, said["type"])(said["problem"], said["action"]) from error
        ended = getattr(error, "signal_name", None) or getattr(error, "exit_code", None)
        if not ended:
            said = str(error)  # the traceback of the process
            if os.environ.get("THINKSAFE_DEBUG"):
                sys.stderr.write(said)
            ended = f"an unexpected {said.strip().splitlines()[-1].partition(':')[0]}"
        raise StageError(
            f"Training process {error.error_index} of {processes} ended with {ended}.",
            "SIGKILL usually means out of memory: lower training.micro_batch_size. For anything else set "
            "THINKSAFE_DEBUG=1 and check the log.",
        ) from error


def _process(local: int, processes: int, text: str, node: Node, parent: int) -> None:
    """Run process ``local`` of a node."""
    import torch

    # nobody must go on training when the stage was killed: it may have been started again
    dying_with(parent)()
    job = Job.model_validate_json(text)
    rank, world = node.rank * processes + local, node.nodes * processes
    gpu = torch.cuda.is_available()
    # else accelerate chooses a number of its own
    threads = job.section.training.threads or max(1, (os.cpu_count() or 1) // processes)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(local), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": str(threads),
    }
    if node.address:  # accelerate looks for them
        os.environ |= {"MASTER_ADDR": node.address, "MASTER_PORT": str(node.port)}
    if gpu:
        torch.cuda.set_device(local)
    elif not node.address:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if not gpu:
        torch.set_num_threads(threads)
    if rank:
        warnings.simplefilter("ignore")
    backend = "nccl" if gpu else "gloo"
    if job.section.training.strategy == "fsdp":
        backend = sharding.BACKEND if gpu else "gloo"
        sharding.announce()
    meeting = f"tcp://{node.address}:{node.port}" if node.address else f"file://{job.folder / 'rendezvous'}"
    torch.distributed.init_process_group(backend, meeting, PATIENCE, world, rank)
    try:
        if node.address:
            job = _together(job, local, node)
        work(_context(job, rank), job)
    except ThinkSafeError as error:
        said = {"type": type(error).__name__, "problem": error.problem, "action": error.action}
        write_json(job.folder / f"error-{rank}.json", said)
        raise
    torch.distributed.destroy_process_group()


def _together(job: Job, local: int, node: Node) -> Job:
    """Resume all nodes, which share no disk, from the checkpoint that the first process finds."""
    import torch

    kept = Checkpoints(open_store(job.store), job.key, job.checkpoints)
    found = [kept.restore() if node.rank == local == 0 and job.section.training.checkpoint_steps else 0]
    torch.distributed.broadcast_object_list(found)
    if node.rank and local == 0 and found[0]:
        kept.fetch(found[0])
    torch.distributed.barrier()
    return job.model_copy(update={"resume": found[0]})


def _context(job: Job, rank: int) -> StageContext:
    from thinksafe.run.progress import reporter

    track = silent if rank else reporter(job.task)
    return StageContext(open_store(job.store), job.run_id, "train", job.task, track)
