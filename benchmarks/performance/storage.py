"""The bytes that the sample stage sends to S3, compared with the bytes of its rows."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result, SkippedError

PROMPTS, CHUNK, WORKERS, WORDS = 512, 64, 2, 400


class Scripted:
    """An engine that answers at once, so that only storage is measured."""

    def generate(
        self, conversations: list[Any], settings: Any, seed: int, advance: Callable[[int], None]
    ) -> list[Any]:
        """Return one response of several hundred words for each conversation."""
        from thinksafe.sampling.engines import Generation

        advance(len(conversations))
        return [
            Generation(f"{seed} {row} " + "word " * WORDS, "stop", WORDS, 20) for row, _ in enumerate(conversations)
        ]


@contextmanager
def s3_server() -> Iterator[None]:
    """Run moto's server on a free port, with a bucket, and point boto3 to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        boto3.client("s3").create_bucket(Bucket="bench")
        yield
    finally:
        server.stop()


@contextmanager
def counted(calls: Counter[str]) -> Iterator[None]:
    """Count requests by method, and their bodies in bytes as ``sent``, when botocore passes them to the network."""
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def counting(self: Any, request: Any) -> Any:
        body = request.body or b""
        calls[request.method] += 1
        calls["sent"] += len(body) if isinstance(body, bytes | bytearray | str) else _left(body)
        answer = send(self, request)
        calls["received"] += int(answer.headers.get("Content-Length", 0)) if request.method == "GET" else 0
        return answer

    URLLib3Session.send = counting
    try:
        yield
    finally:
        URLLib3Session.send = send


def _left(body: Any) -> int:
    place = body.tell()
    length = int(body.seek(0, os.SEEK_END))
    body.seek(place)
    return length - place


def in_turn(address: str, workers: int, opener: Any, look: Callable[[], Any]) -> list[str]:
    """Work on an order in this process, a worker after another; see :func:`thinksafe.work.processes.run_processes`."""
    from thinksafe.work.worker import work_on

    for worker in range(workers):
        work_on(address, worker, opener)
    look()
    return []


def measure(_model: Path) -> Result:
    """Run the stage twice on one store: the first run makes the rows, the second finds them."""
    if importlib.util.find_spec("moto") is None:
        raise SkippedError("moto is not installed")
    from thinksafe.config.model import EngineSettings
    from thinksafe.config.sections import SampleSection
    from thinksafe.jsonl import write_json, write_records
    from thinksafe.models.loading import resolve_student
    from thinksafe.models.references import ModelReference
    from thinksafe.records import Prompt, SamplingSettings
    from thinksafe.run.record import StageContext, silent
    from thinksafe.settings import StudentSettings
    from thinksafe.stages import sample
    from thinksafe.store import open_store
    from thinksafe.work import complete

    section = SampleSection(
        seed=1, engine=EngineSettings(), settings=SamplingSettings(), n=1, n_reasoning=1, chunk_size=CHUNK,
        template="prefix", arms={"benign": ("plain",)}, reasoning="none",
    )
    student = StudentSettings(model="micro://default", dtype="float32")
    sample.open_engine = lambda *_: Scripted()  # type: ignore[assignment]
    complete.run_processes = in_turn  # type: ignore[assignment]  # what other processes send cannot be counted
    first, second = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch, s3_server():
        folder = Path(scratch)
        write_json(
            folder / "model.json",
            ModelReference(role="base", student=student, base_digest=resolve_student(student).digest),
        )
        write_records(
            folder / "prompts.jsonl",
            [
                Prompt(id=f"p{number:04}", prompt=f"Say something about {number}.", label="benign", source="bench")
                for number in range(PROMPTS)
            ],
        )
        for calls in (first, second):
            with counted(calls):
                context = StageContext(open_store("s3://bench/run"), "run", "sample", "sample", silent)
                sample.run(
                    context, section, folder / "model.json", folder / "prompts.jsonl",
                    samples_out=folder / "samples.json", parallelism=WORKERS,
                )
        store = open_store("s3://bench/run")
        payload = sum(len(store.get(key)) for key in store.keys("chunks/") if key.endswith(".jsonl"))
    chunks, ratio = PROMPTS // CHUNK, first["sent"] / payload

    def requests(calls: Counter[str]) -> str:
        made = {method: count for method, count in sorted(calls.items()) if method.isupper()}
        return ", ".join(f"{count / chunks:.1f} {method}" for method, count in made.items())

    return Result(
        "storage", "bytes sent to S3 by the sample stage, against the bytes of its rows (lower is better).", "bytes",
        first["sent"], payload, ratio, target="≤ 1.05", reached=ratio <= 1.05,
        n=f"{PROMPTS} samples of {payload / PROMPTS / 1000:.1f} kB, {chunks} chunks, {WORKERS} workers",
        notes=(
            f"Request bodies without headers, to moto's server; requests per chunk: {requests(first)}. Started again, "
            f"with nothing left to make, the stage sent {second['sent']:,} bytes (its record) and "
            f"read {second['received']:,}; requests per chunk: {requests(second)}. The target is the project's own."
        ),
    )
