"""The promotion ledger: one winner a generation, no gaps, nothing malformed taken for whole."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from thinksafe.errors import ConfigError, ConflictError, StageError, StoreError
from thinksafe.models.references import ModelReference
from thinksafe.registry import ledger
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

STUDENT = StudentSettings(model="micro://default")


def make(generation: int, run_id: str, *, adapter: str = "", model: str = "m", who: str = "ann") -> LedgerEntry:
    adapter = adapter or f"digest-{run_id}"
    return LedgerEntry(
        model=model, generation=generation, previous=generation - 1 or None, action="promote",
        target=ModelReference(
            role="champion", student=STUDENT, base_digest="b", adapter=f"adapters/{adapter}", adapter_digest=adapter
        ),
        version=str(generation), run_id=run_id, digests=Digests(adapter=adapter, base="b"), reason="passed",
        who=who, created=ledger.now(),
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_an_empty_ledger_has_no_champion(store: LocalStore) -> None:
    assert ledger.entries(store, "m") == []
    assert ledger.newest(store, "m") is None
    reference = ledger.champion_reference(store, "m", STUDENT)
    assert reference.absent
    assert reference.role == "champion"
    assert reference.student == STUDENT


def test_generations_are_appended_and_read_back(store: LocalStore) -> None:
    written = [make(1, "a"), make(2, "b"), make(3, "c")]
    for entry in written:
        ledger.append(store, entry)
    ledger.append(store, make(1, "z", model="m-2"))
    assert store.keys("promotions/m/") == [f"promotions/m/{g:06d}.json" for g in (1, 2, 3)]
    assert ledger.entries(store, "m") == written
    assert ledger.newest(store, "m") == written[2]
    assert ledger.champion_reference(store, "m", STUDENT) == written[2].target
    assert not ledger.champion_reference(store, "m", STUDENT).absent


def test_the_loser_learns_whom_it_lost_to_and_changes_nothing(store: LocalStore) -> None:
    ledger.append(store, make(1, "winner", who="ann"))
    before = store.get("promotions/m/000001.json")
    with pytest.raises(ConflictError, match=r"(?s)Generation 1 of 'm'.*run winner by ann.*decide again"):
        ledger.append(store, make(1, "loser", who="bob"))
    assert store.get("promotions/m/000001.json") == before


def test_an_append_whose_answer_was_lost_is_its_own_success(store: LocalStore) -> None:
    entry = make(1, "a")
    ledger.append(store, entry)
    ledger.append(store, entry)
    assert ledger.entries(store, "m") == [entry]


def test_an_append_beyond_the_next_generation_is_refused(store: LocalStore) -> None:
    ledger.append(store, make(1, "a"))
    with pytest.raises(StoreError, match=r"000002\.json"):
        ledger.append(store, make(3, "a"))


def test_a_gap_is_an_error_that_names_the_missing_key(store: LocalStore, tmp_path: Path) -> None:
    for generation in (1, 2, 3):
        ledger.append(store, make(generation, "a"))
    (tmp_path / "promotions/m/000002.json").unlink()
    for read in (ledger.entries, ledger.newest):
        with pytest.raises(StoreError, match=r"000002\.json"):
            read(store, "m")


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"[]", b'{"schema_version": 2}',
        make(2, "a").model_dump_json().encode(),  # another generation's
        make(1, "a", model="other").model_dump_json().encode(),
    ],
)
def test_a_malformed_entry_is_an_error_that_names_its_key(store: LocalStore, damage: bytes) -> None:
    store.put("promotions/m/000001.json", damage)
    for read in (ledger.entries, ledger.newest):
        with pytest.raises(StoreError, match=r"000001\.json"):
            read(store, "m")


def test_a_stray_file_is_named(store: LocalStore) -> None:
    ledger.append(store, make(1, "a"))
    store.put("promotions/m/notes.txt", b"x")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        ledger.newest(store, "m")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "-a", "a" * 64, "a\n"])
def test_a_name_that_is_no_registered_model_name_is_refused(store: LocalStore, name: str) -> None:
    with pytest.raises(ConfigError, match="registered model name"):
        ledger.entries(store, name)


def test_an_entry_must_be_consistent() -> None:
    good = make(2, "a").model_dump()
    for change in (
        {"previous": None}, {"previous": 2}, {"generation": 0}, {"version": "latest"}, {"reason": ""},
        {"target": {**good["target"], "adapter_digest": "other"}}, {"target": {**good["target"], "adapter": ""}},
        {"target": {**good["target"], "weights": "weights/x", "weights_digest": "x"}},
        {"digests": {**good["digests"], "weights": "x"}},
        {"model": "../m"}, {"typo": 1},
    ):
        with pytest.raises(ValidationError):
            LedgerEntry.model_validate({**good, **change})


def test_champion_for_run_skips_the_runs_own_generations(store: LocalStore) -> None:
    for generation, run in enumerate("abacc", start=1):
        ledger.append(store, make(generation, run))

    def of(run: str) -> int | None:
        entry = ledger.champion_for_run(store, "m", run)
        return entry.generation if entry else None

    assert of("c") == 3
    assert of("a") == 5
    assert of("new") == 5
    assert ledger.champion_for_run(store, "empty", "a") is None
    ledger.append(store, make(1, "x", model="own"))
    assert ledger.champion_for_run(store, "own", "x") is None
    assert ledger.champion_reference(store, "own", STUDENT, run_id="x").absent
    assert not ledger.champion_reference(store, "own", STUDENT).absent


def follow(entry: LedgerEntry, action: str, to: LedgerEntry | None = None) -> LedgerEntry:
    """Return the generation that follows another with a rollback, or a withdrawal of it."""
    like = to or entry
    return LedgerEntry.model_validate({
        **like.model_dump(), "generation": entry.generation + 1, "previous": entry.generation, "action": action
    })


def write(store: LocalStore, *actions: str) -> list[LedgerEntry]:
    """Append generations: a run's name promotes it, ``<N`` rolls back to a generation, ``x`` withdraws the newest."""
    past: list[LedgerEntry] = []
    for number, action in enumerate(actions, start=1):
        if action == "x":
            past.append(follow(past[-1], "withdraw"))
        elif action.startswith("<"):
            past.append(follow(past[-1], "rollback", past[int(action[1:]) - 1]))
        else:
            past.append(make(number, action))
        ledger.append(store, past[-1])
    return past


@pytest.mark.parametrize(
    ("actions", "gone"),
    [
        ("a b", ""),
        ("a b <1", "b"),
        ("a b c <2", "c"),
        ("a b c <2 <1", "b c"),
        ("a b <1 <2", ""),  # reinstated, which takes nothing back
        ("a b <1 b", ""),  # promoted again
        ("a b <1 c <3", "b c"),
        ("a x", "a"),
        ("a x b", "a"),
        ("a x <1", ""),
        ("a b <1 x", "a b"),
    ],
)
def test_what_was_taken_back(store: LocalStore, actions: str, gone: str) -> None:
    found = ledger.taken_back(write(store, *actions.split()))
    assert sorted(taken.entry.run_id for taken in found.values()) == gone.split()
    for taken in found.values():
        assert taken.by.generation == taken.entry.generation + 1
        assert taken.by.action in ("rollback", "withdraw")


@pytest.mark.parametrize(
    ("actions", "run", "generation"),
    [
        ("a b <1", "b", 3),
        ("a b <1", "new", 3),
        ("a b <1", "a", None),  # b is no champion any more
        ("a b c <2", "b", 1),  # c was taken back meanwhile
        ("a b c <2", "c", 4),
        ("a b c <2", "new", 4),
        ("a x", "new", None),
        ("a x", "a", None),
        ("a x b x", "b", None),
        ("a b x", "b", 1),
        ("a b x", "new", None),
        ("a x <1", "new", 3),
    ],
)
def test_champion_for_run_is_none_that_was_taken_back(
    store: LocalStore, actions: str, run: str, generation: int | None
) -> None:
    write(store, *actions.split())
    found = ledger.champion_for_run(store, "m", run)
    assert (found.generation if found else None) == generation


def test_after_a_withdrawal_there_is_no_champion(store: LocalStore) -> None:
    past = write(store, "a", "x")
    assert ledger.newest(store, "m") == past[1]
    assert ledger.champion(store, "m") is None
    assert ledger.champion_reference(store, "m", STUDENT).absent
    assert ledger.describe(past[1]).startswith("the withdrawal of run a by ann (generation 2, ")
    later = make(3, "b")
    ledger.append(store, later)
    assert ledger.champion(store, "m") == later


OLD = """{"schema_version": 1, "model": "m", "generation": %d, "previous": %s, "action": "%s",
 "target": {"role": "champion", "absent": false, "student": {"model": "micro://default"}, "base_digest": "b",
 "adapter": "adapters/%s", "adapter_digest": "%s"}, "version": "%d", "run_id": "%s",
 "digests": {"adapter": "%s", "base": "b"}, "reason": "r", "who": "ann", "created": "2026-01-01T00:00:00+00:00"}"""


def test_a_ledger_of_an_earlier_version_is_read(store: LocalStore) -> None:
    for number, (action, run) in enumerate((("promote", "a"), ("promote", "b"), ("rollback", "a")), start=1):
        values = (number, number - 1 or "null", action, run, run, number, run, run)
        store.put(f"promotions/m/{number:06d}.json", (OLD % values).encode())
    past = ledger.entries(store, "m")
    assert [entry.action for entry in past] == ["promote", "promote", "rollback"]
    (taken,) = ledger.taken_back(past).values()
    assert (taken.entry.run_id, taken.by.generation) == ("b", 3)
    champion = ledger.champion(store, "m")
    assert champion is not None
    assert champion.run_id == "a"


@given(runs=st.lists(st.sampled_from("abc"), max_size=8), run=st.sampled_from("abc"))
def test_champion_for_run_is_the_last_entry_of_another_run(
    runs: list[str], run: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("ledger"))
    for generation, owner in enumerate(runs, start=1):
        ledger.append(store, make(generation, owner))
    others = [generation for generation, owner in enumerate(runs, start=1) if owner != run]
    found = ledger.champion_for_run(store, "m", run)
    assert (found.generation if found else None) == (others[-1] if others else None)


def test_of_eight_racing_threads_one_wins_each_generation(store: LocalStore) -> None:
    generations = 5
    barrier = threading.Barrier(8)
    outcomes: list[list[tuple[str, str]]] = [[] for _ in range(generations)]

    def race(name: str) -> None:
        for generation in range(1, generations + 1):
            barrier.wait(timeout=30)
            try:
                ledger.append(store, make(generation, name))
            except ConflictError as error:
                outcomes[generation - 1].append((name, str(error)))
            else:
                outcomes[generation - 1].append((name, ""))

    threads = [threading.Thread(target=race, args=(f"run-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = ledger.entries(store, "m")
    assert [entry.generation for entry in entries] == [1, 2, 3, 4, 5]
    for entry, results in zip(entries, outcomes, strict=True):
        assert [name for name, message in results if not message] == [entry.run_id]
        losers = [message for _, message in results if message]
        assert len(losers) == 7
        assert all(f"run {entry.run_id} by ann (generation {entry.generation}" in message for message in losers)


RACE = """
import sys, time
from pathlib import Path
from thinksafe.registry import ledger
from thinksafe.errors import ConflictError
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.store.local import LocalStore
entry, store = LedgerEntry.model_validate_json(sys.argv[1]), LocalStore(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
try:
    ledger.append(store, entry)
    print("won")
except ConflictError as error:
    print(error)
"""


def test_of_racing_processes_one_wins(store: LocalStore, tmp_path: Path) -> None:
    runs = [f"run-{i}" for i in range(8)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, make(1, run).model_dump_json(), str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(ledger.__file__).parents[1],
        )
        for run in runs
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    results = dict(zip(runs, (racer.communicate(timeout=30)[0] for racer in racers), strict=True))
    winner = ledger.entries(store, "m")[0].run_id
    assert [run for run, text in results.items() if text == "won\n"] == [winner]
    assert all(f"run {winner} by ann" in text for run, text in results.items() if run != winner)


def test_conflicts_are_stage_errors(store: LocalStore) -> None:
    assert issubclass(ConflictError, StageError)


def test_the_actor_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("THINKSAFE_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(ledger, "_SERVICE_ACCOUNT", tmp_path / "token")
    monkeypatch.setenv("LOGNAME", "ann")
    assert ledger.actor() == "ann"
    monkeypatch.setenv("GITHUB_ACTOR", "octo")
    assert ledger.actor() == "github:octo"
    payload = base64.urlsafe_b64encode(json.dumps({"sub": "system:serviceaccount:ns:pipeline"}).encode())
    (tmp_path / "token").write_bytes(b"e30." + payload.rstrip(b"=") + b".c2ln")
    assert ledger.actor() == "system:serviceaccount:ns:pipeline"
    for broken in ("", "x", "a.b.c", "e30.e30.x", "e30.W10.x", "e30.bnVsbA.x", "é.é.é"):
        (tmp_path / "token").write_text(broken, encoding="utf-8")
        assert ledger.actor() == "github:octo"
    monkeypatch.setenv("THINKSAFE_ACTOR", " nightly\njob ")
    assert ledger.actor() == "nightly job"
