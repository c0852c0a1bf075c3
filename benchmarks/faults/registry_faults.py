"""MLflow and S3 failing below register and promote: no alias without its ledger entry, and a rerun completes it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.faults.processes import POLL, Ended
from benchmarks.faults.records import Record
from benchmarks.faults.registry import Registry, State
from benchmarks.faults.servers import Fault, FlakyProxy, Kind
from benchmarks.faults.settings import Settings

REPORT_SECONDS = 30
"""Time limit for reporting an unreachable server, including the start of the process."""
EXPECTED = "fails clearly; no alias without its ledger entry; a rerun completes it, once"
Scenario = tuple[Record, Callable[[Record], None]]


def scenarios(registry: Registry, settings: Settings) -> Iterator[Scenario]:
    """Yield the scenarios of this group in the order in which they must run: MLflow is not running at first."""
    record = partial(Record, "MLflow", expected=EXPECTED)
    yield (
        record("down at register and at promote", done=(
            "MLflow's server not running at register; started, register again; killed (SIGKILL), promote; started, "
            "promote again"
        )),
        partial(down, registry),
    )
    for stage in ("register", "promote"):
        places = f"at {settings.cuts} random requests" if settings.cuts > 1 else "at a random request"
        yield (
            record(
                f"gone during {stage}", done=f"MLflow starts to refuse connections {places} of `thinksafe {stage}`"
            ),
            partial(interrupted, registry, stage, settings, killed=False),
        )
        yield (
            record(
                f"{stage} killed", done=f"kill -9 of `thinksafe {stage}` {places} that it makes",
                expected=EXPECTED.removeprefix("fails clearly; "),
            ),
            partial(interrupted, registry, stage, settings, killed=True),
        )
    yield (
        Record("MLflow", "the ledger's write is lost or late", (
            "promote: S3 carries out the conditional create of the ledger entry and closes without an answer; or "
            "closes at once and carries it out 3 s later"
        ), "succeeds; one entry, which belongs to this run"),
        partial(ledger_writes, registry),
    )


def down(registry: Registry, record: Record) -> None:
    """MLflow is not running at all, at register and then at promote."""
    model, run_id = "down", "down"
    record.repeats = 1
    _refused(record, registry.do("register", model, 0, run_id), "register")
    registry.mlflow.start()
    state = registry.state(model)
    record.demand(not state.versions and not state.ledger, "a failed register left something")
    _completes(record, registry.do("register", model, 0, run_id), "register")
    registry.mlflow.kill()
    _refused(record, registry.do("promote", model, 0, run_id), "promote")
    registry.mlflow.start()
    _check_alias(record, registry.state(model))
    _completes(record, registry.do("promote", model, 0, run_id), "promote")
    _complete(record, registry.state(model))


def _refused(record: Record, ended: Ended, stage: str) -> None:
    record.count("failed clearly", int(ended.clear))
    record.demand(ended.clear, f"{stage} without MLflow: {ended.error}")
    record.demand(ended.seconds <= REPORT_SECONDS, f"{stage} took {ended.seconds:.0f} s to report it")
    longest = max(float(record.observed.get("seconds until reported, at most", 0)), ended.seconds)
    record.observed["seconds until reported, at most"] = round(longest, 1)
    record.observed.setdefault("message", ended.error)


def _completes(record: Record, ended: Ended, stage: str) -> None:
    record.count("reruns that completed", int(ended.code == 0))
    record.demand(ended.code == 0, f"{stage} again: {ended.error}")


def _check_alias(record: Record, state: State) -> None:
    record.count("aliases without ledger entry", int(state.unbacked))
    record.demand(not state.unbacked, f"alias {state.champion} without a ledger entry")


def _complete(record: Record, state: State) -> None:
    """Check a model that was promoted once."""
    _check_alias(record, state)
    record.demand(len(state.ledger) == 1, f"{len(state.ledger)} ledger entries for one promotion")
    record.demand(state.versions == 1, f"{state.versions} versions for one registration")
    record.demand(state.settled, "the alias does not point to the ledger's newest generation")
    record.count("promotions completed", int(state.settled and len(state.ledger) == 1))


def interrupted(registry: Registry, stage: str, settings: Settings, record: Record, *, killed: bool) -> None:
    """MLflow stops, or the process is killed, in the middle of a stage; then both stages run without a fault."""
    draws = random.Random(f"{settings.seed} {stage} {killed}")
    name = f"{stage}-{'killed' if killed else 'gone'}"
    requests = _requests(registry, stage, f"{name}-whole")
    for repeat, place in enumerate(sorted(draws.sample(range(1, requests), settings.cuts))):
        model = run_id = f"{name}-{repeat}"
        if stage == "promote":
            _completes(record, registry.do("register", model, repeat, run_id), "register")
        with FlakyProxy(registry.mlflow.uri) as proxy:
            if not killed:
                proxy.add(Fault("refuse", skip=place, times=None, wait=3600))
            process = registry.start(stage, model, repeat, run_id, MLFLOW_TRACKING_URI=proxy.endpoint)
            if killed:
                while process.running and len(proxy.seen) < place:
                    time.sleep(POLL)
                time.sleep(draws.uniform(0, 0.05))
                record.count("killed", int(process.kill()))
            else:
                ended = process.wait()
                record.count("failed clearly", int(ended.clear))
                record.demand(ended.clear, f"after {place} requests: {ended.error}")
                if "message" not in record.observed:
                    record.observed["message"] = ended.error
        record.repeats += 1
        state = registry.state(model)
        _check_alias(record, state)
        if stage == "register":
            record.demand(not state.ledger, "register wrote to the ledger")
            _completes(record, registry.do("register", model, repeat, run_id), "register")
        elif state.ledger and not state.champion:
            record.count("ledger written, alias not yet")
        _completes(record, registry.do("promote", model, repeat, run_id), "promote")
        _complete(record, registry.state(model))


def _requests(registry: Registry, stage: str, model: str) -> int:
    """Return how many requests the stage makes without a fault."""
    for name in ("register", "promote")[: 1 + (stage == "promote")]:
        with FlakyProxy(registry.mlflow.uri) as proxy:
            ended = registry.do(name, model, 0, model, MLFLOW_TRACKING_URI=proxy.endpoint)
            if ended.code:
                raise RuntimeError(f"{name} without a fault: {ended.error}")
    return len(proxy.seen)


def ledger_writes(registry: Registry, record: Record) -> None:
    """The store does not answer the ledger's conditional create."""
    kinds: tuple[Kind, ...] = ("lost", "late")
    for kind in kinds:
        model = run_id = f"ledger-{kind}"
        _completes(record, registry.do("register", model, 0, run_id), "register")
        with FlakyProxy(registry.bucket.server.endpoint) as proxy:
            wait = 3.0 if kind == "late" else 0.0
            proxy.add(Fault(kind, method="PUT", path="/promotions/", wait=wait))
            ended = registry.do("promote", model, 0, run_id, AWS_ENDPOINT_URL=proxy.endpoint)
            time.sleep(wait + 1)
            record.count("writes hit", sum(bool(seen.fault) for seen in proxy.seen))
        record.repeats += 1
        record.count("succeeded", int(ended.code == 0))
        record.demand(ended.code == 0, f"{kind}: {ended.error}")
        state = registry.state(model)
        record.demand([entry["run_id"] for entry in state.ledger] == [run_id], "not one entry of this run")
        _complete(record, state)
    record.demand(record.observed["writes hit"] == record.repeats, "the fault did not hit exactly one write each time")
