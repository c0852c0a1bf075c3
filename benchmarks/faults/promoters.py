"""Concurrent promoters, generation after generation: one wins each, and the others say who won.

All promoters of a generation start from the same champion. The answers to the ledger's conditional creates are delayed
at first, so that all promoters have read the ledger when the first create arrives. In the last generation nothing is
delayed, and a late promoter sees the new champion before it writes.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from benchmarks.faults.processes import Ended
from benchmarks.faults.records import Record
from benchmarks.faults.registry import Registry
from benchmarks.faults.servers import Fault, FlakyProxy
from benchmarks.faults.settings import Settings


def record(settings: Settings, server: str, generations: int) -> Record:
    """Return the empty record of a race."""
    return Record(
        "promoters", f"{settings.promoters} concurrent promoters ({server})",
        f"{settings.promoters} concurrent processes of `thinksafe promote` on {server}, {generations} generations",
        "one wins each generation; the others name the winner; the alias points to the winner",
    )


def race(record: Record, registry: Registry, model: str, settings: Settings, generations: int) -> None:
    """Let the promoters race for each generation."""
    registered = _register(registry, model, settings.promoters)
    champion = ""
    for generation in range(1, generations + 1):
        hold = generation < generations or generations == 1
        with FlakyProxy(registry.bucket.server.endpoint) as proxy:
            if hold:
                proxy.add(Fault("delay", method="PUT", path=f"/promotions/{model}/", times=None, wait=settings.hold))
            processes = [
                registry.start(
                    "promote", model, number, _run_id(generation, number), champion=champion,
                    registration=registered[number], THINKSAFE_ACTOR=f"promoter-{number}",
                    AWS_ENDPOINT_URL=proxy.endpoint,
                )
                for number in range(settings.promoters)
            ]
            ended = [process.wait() for process in processes]
        record.repeats += 1
        _judge(record, registry, model, generation, ended)
        champion = _champion(registry, model, generation)


def _register(registry: Registry, model: str, promoters: int) -> list[str]:
    runs = [f"candidate-{number}" for number in range(promoters)]
    with ThreadPoolExecutor(2) as pool:
        for ended in pool.map(lambda number: registry.do("register", model, number, runs[number]), range(promoters)):
            if ended.code:
                raise RuntimeError(f"register: {ended.error}")
    return runs


def _run_id(generation: int, number: int) -> str:
    return f"generation-{generation}-run-{number}"


def _judge(record: Record, registry: Registry, model: str, generation: int, ended: list[Ended]) -> None:
    state = registry.state(model)
    winners = [number for number, end in enumerate(ended) if end.code == 0]
    record.count("winners", len(winners))
    record.demand(len(winners) == 1, f"generation {generation} has {len(winners)} winners")
    record.demand(
        [entry["generation"] for entry in state.ledger] == list(range(1, generation + 1)),
        f"the ledger after generation {generation}: {[entry['generation'] for entry in state.ledger]}",
    )
    newest = state.ledger[-1]
    record.demand(
        [newest["run_id"]] == [_run_id(generation, number) for number in winners], "the ledger has another winner"
    )
    for number, end in enumerate(ended):
        if number in winners:
            continue
        # it names the winner by its run and by who promoted it
        named = newest["run_id"] in end.error and newest["who"] in end.error
        record.count("losers", 1)
        record.count("losers that name the winner", int(named and end.clear))
        record.count("lost in the conditional create", int(f"Generation {generation} of" in end.error))
        record.demand(named and end.clear, f"a loser says: {end.error}")
        record.observed.setdefault("message", end.error)
    record.count("aliases that point to the winner", int(state.settled))
    record.demand(state.settled, "the alias does not point to the newest generation")


def _champion(registry: Registry, model: str, generation: int) -> str:
    """Write the reference of the champion that the next generation's promoters compared with."""
    path = registry.folder / model / f"champion-{generation}.json"
    path.write_text(json.dumps(registry.state(model).ledger[-1]["target"]), "utf-8")
    return str(path)
