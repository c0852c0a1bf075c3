"""Waivers: what they can and cannot do, and that nobody takes a waived check for one that passed."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
import report_measures as measures
import report_runs as runs
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from thinksafe.config import RealignmentConfig, load_config, sections_of
from thinksafe.config.checks import check_names
from thinksafe.config.planning import suite_sections
from thinksafe.config.sections import GateSection
from thinksafe.config.suite import SuiteConfig
from thinksafe.config.waivers import Waiver, objection
from thinksafe.deciding import feasibility
from thinksafe.deciding.gate import decide
from thinksafe.deciding.monitor import assess
from thinksafe.deciding.waivers import applied, apply_waivers, decision_word
from thinksafe.errors import ConfigError, InputError
from thinksafe.records import Check, Decision
from thinksafe.report import render_page
from thinksafe.report.summary import summarise
from thinksafe.report.terminal import run_table

DAY = datetime.date(2026, 6, 30)
HARM = "harm/wildjailbreak"


def waiver(check: str = HARM, **changes: Any) -> dict[str, Any]:
    given = {"check": check, "person": "Ann Example", "reason": "A known gap.", "expires": "2026-06-30"}
    return given | changes


def config(*waivers: dict[str, Any], **gate: Any) -> RealignmentConfig:
    document = measures.config().model_dump(mode="json")
    document["gate"] |= {"waivers": list(waivers), **gate}
    return RealignmentConfig.model_validate(document)


def section(*waivers: dict[str, Any], day: datetime.date = DAY, **gate: Any) -> GateSection:
    return sections_of(config(*waivers, **gate), day).gate


def decided(of: GateSection, shift: float = 0.06) -> Decision:
    """A candidate that is too harmful on one or more benchmarks, unless the shift is small."""
    sets = measures.metric_set("base"), measures.metric_set("candidate", shift), measures.metric_set("champion")
    return decide(*sets, {metrics.role: measures.outcomes(metrics) for metrics in sets}, of)


def failing(shift: float = 0.06) -> list[str]:
    return [check.name for check in decided(section(), shift).checks if not check.passed]


class TestDecision:
    def test_the_waived_check_keeps_its_numbers_and_does_not_pass(self) -> None:
        names = failing()
        assert HARM in names
        decision = decided(section(*map(waiver, names)))
        assert decision.passed
        assert decision_word(decision) == "passed with waivers"
        before = {check.name: check for check in decided(section()).checks}
        for check in decision.checks:
            expected = "waived" if check.name in names else "passed"
            assert check == before[check.name].model_copy(update={"status": expected})
            assert check.passed == (expected == "passed")
        assert decision.waivers_on == DAY
        assert [use.check for use in applied(decision)] == names
        total = len(decision.checks)
        assert decision.summary.startswith(f"Passed with waivers: {total - len(names)} of {total} checks hold; ")
        assert f"{HARM} (waived by Ann Example until 2026-06-30)" in decision.summary

    def test_one_waiver_does_not_cover_another_check(self) -> None:
        decision = decided(section(waiver()))
        assert not decision.passed
        assert decision.stopped_by == "gate"
        assert decision_word(decision) == "refused"
        assert decision.summary.startswith(f"Refused: {len(failing()) - 1} of {len(decision.checks)} checks failed")

    @pytest.mark.parametrize(("day", "effect"), [(DAY, "applied"), (DAY + datetime.timedelta(days=1), "expired")])
    def test_the_last_day_counts_and_the_next_does_not(self, day: datetime.date, effect: str) -> None:
        decision = decided(section(waiver(), day=day))
        (use,) = decision.waivers
        assert use.effect == effect
        (check,) = (check for check in decision.checks if check.name == HARM)
        assert check.status == ("waived" if effect == "applied" else "failed")
        assert decision.waivers_on == day

    def test_a_check_that_passes_stays_passed(self) -> None:
        decision = decided(section(waiver("reasoning/loss")), shift=0.0)
        (use,) = decision.waivers
        assert use.effect == "not needed"
        assert all(check.status != "waived" for check in decision.checks)

    def test_no_champion_no_check_no_harm(self) -> None:
        of = section(waiver("champion/reasoning"))
        sets = [measures.metric_set("base"), measures.metric_set("candidate"), measures.metric_set("champion")]
        absent = sets[2].model_copy(update={"absent": True, "metrics": ()})
        rows = {metrics.role: measures.outcomes(metrics) for metrics in sets[:2]}
        (use,) = decide(sets[0], sets[1], absent, rows, of).waivers
        assert use.effect == "not needed"

    def test_missing_data_cannot_be_waived(self) -> None:
        of = section(waiver())
        sets = measures.metric_set("base"), measures.metric_set("candidate"), measures.metric_set("champion")
        decision = decide(*sets, {"base": measures.outcomes(sets[0]), "champion": measures.outcomes(sets[2])}, of)
        assert [use.effect for use in decision.waivers] == ["no data"]
        assert not decision.passed
        assert all(check.status == "failed" for check in decision.checks if check.value is None)

    def test_without_waivers_there_is_no_day(self) -> None:
        one, two = (decided(section(day=day)) for day in (DAY, DAY + datetime.timedelta(days=400)))
        assert one.model_dump_json() == two.model_dump_json()
        assert (one.waivers, one.waivers_on) == ((), None)

    def test_the_same_day_gives_the_same_bytes(self) -> None:
        one, two = (decided(section(waiver())) for _ in range(2))
        assert one.model_dump_json() == two.model_dump_json()
        assert Decision.model_validate_json(one.model_dump_json()) == one


class TestConfig:
    def test_an_unknown_check_is_refused_with_the_names(self) -> None:
        with pytest.raises(ValidationError, match=r"'harm/other' is not a check of .*champion/harm/harmbench"):
            config(waiver("harm/other"))

    @pytest.mark.parametrize("check", ["min_prompts/harmbench", "unknown", "unknown/base", "truncated"])
    def test_checks_of_the_evidence_cannot_be_waived(self, check: str) -> None:
        with pytest.raises(ValidationError, match="cannot be waived") as caught:
            config(waiver(check))
        names = str(caught.value).split("can be waived: ")[1]
        assert "min_prompts" not in names.split("[")[0]

    def test_a_benchmark_called_like_a_family_can_be_waived(self) -> None:
        assert objection("harm/unknown", ["harm/unknown"]) is None

    def test_all_checks_of_the_gate_have_known_names(self) -> None:
        known = check_names(["gate"], measures.config().evaluation.benchmarks, second_guard=True)
        names = [check.name for check in decided(section().model_copy(update={"second_guard": True})).checks]
        assert set(names) <= set(known)
        # both guards and a champion: only what takes a contamination report is left out
        assert {name for name in known if not name.startswith("contamination/")} == set(names)

    @pytest.mark.parametrize(
        "change",
        [
            {"person": " "}, {"person": ""}, {"person": "Ann\nPassed"}, {"reason": "\n"}, {"expires": 20260630},
            {"expires": "soon"}, {"expires": None}, {"expires": "2026-06-30T10:00:00"}, {"check": ""}, {"more": 1},
            {"expires": datetime.datetime(2026, 6, 30)}, {"person": "x" * 201}, {"expires": True},
        ],
    )
    def test_malformed(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Waiver.model_validate(waiver(**change))

    def test_yaml_dates(self) -> None:
        override = "gate.waivers=[{check: reasoning/loss, person: A, reason: r, expires: 2026-06-30}]"
        (found,) = load_config("micro", [override]).gate.waivers
        assert found.expires == DAY

    def test_two_waivers_of_one_check(self) -> None:
        with pytest.raises(ValidationError, match="two waivers of harm/wildjailbreak"):
            config(waiver(), waiver(person="Bob"))

    def test_config_check_says_so_and_what_is_waived_cannot_stop_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hopeless = ["gate.harm.max=0", "gate.harm.min_reduction=0"]
        rows = "gate.waivers=[{check: harm/micro-harm, person: Ann, reason: r, expires: %s}]"
        with pytest.raises(ConfigError, match="can never pass"):
            feasibility.refuse_hopeless_gate(load_config("micro", hopeless))
        feasibility.refuse_hopeless_gate(load_config("micro", [*hopeless, rows % "2999-01-01"]))
        with pytest.raises(ConfigError, match="can never pass"):
            feasibility.refuse_hopeless_gate(load_config("micro", [*hopeless, rows % "2001-01-01"]))
        messages = [found.message for found in feasibility.findings_on(load_config("micro", [rows % "2001-01-01"]))]
        assert "The waiver by Ann expired on 2001-01-01; it has no effect." in messages


class TestEvaluation:
    def test_a_limit_that_was_waived_raises_no_alarm_until_the_day(self) -> None:
        metrics = measures.metric_set("candidate", 0.06)
        names = {check.name for check in self.assessed(metrics).checks if not check.passed}
        assert HARM in names
        for day, passed in ((DAY, True), (DAY + datetime.timedelta(days=1), False)):
            decision = self.assessed(metrics, *map(waiver, names), day=day)
            assert decision.passed == passed
            assert [use.effect == "applied" for use in decision.waivers] == [passed] * len(names)
        assert self.assessed(metrics, *map(waiver, names)).summary.endswith("until 2026-06-30).")

    def test_a_recipes_waivers_of_other_checks_do_no_harm(self) -> None:
        metrics = measures.metric_set("candidate")
        (use,) = self.assessed(metrics, waiver("champion/reasoning")).waivers
        assert use.effect == "not needed"

    def test_names_of_both_kinds_are_known(self) -> None:
        self.assessed(measures.metric_set("candidate"), waiver("regression/reasoning"))
        with pytest.raises(ValidationError, match="is not a check of this gate"):
            self.assessed(measures.metric_set("candidate"), waiver("regression/other"))

    def assessed(self, metrics: Any, *waivers: dict[str, Any], day: datetime.date = DAY) -> Decision:
        document = SuiteConfig.of(measures.config()).model_dump(mode="json")
        document["gate"] |= {"waivers": list(waivers)}
        of = suite_sections(SuiteConfig.model_validate(document), "think", day=day).monitor
        return assess(metrics, measures.outcomes(metrics), None, (), of)


class TestByHand:
    def test_a_section_without_a_day_is_refused(self) -> None:
        with pytest.raises(InputError, match="no date to check them against"):
            decided(section(waiver()).model_copy(update={"waivers_on": None}))

    @pytest.mark.parametrize(("name", "why"), [("harm/x", "is not a check"), ("truncated", "cannot be waived")])
    def test_a_section_with_another_check_is_refused(self, name: str, why: str) -> None:
        of = section(waiver())
        wrong = of.gate.model_copy(update={"waivers": (Waiver.model_validate(waiver(name)),)})
        with pytest.raises(InputError, match=why) as caught:
            decided(of.model_copy(update={"gate": wrong}))
        assert HARM in caught.value.action


class TestRecords:
    def test_old_checks_get_the_status_of_what_they_say(self) -> None:
        for passed in (True, False):
            found = Check.model_validate({"name": "c", "passed": passed, "value": 1.0, "n": 1, "reason": "r"})
            assert found.status == ("passed" if passed else "failed")

    @pytest.mark.parametrize(
        "change",
        [
            {"status": "waived", "passed": True}, {"status": "passed", "passed": False},
            {"status": "failed", "passed": True},
        ],
    )
    def test_a_status_that_contradicts_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Check.model_validate({"name": "c", "value": 1.0, "n": 1, "reason": "r"} | change)

    def test_a_check_without_a_waiver_is_not_waived(self) -> None:
        decision = decided(section(*map(waiver, failing())))
        for change in ({"waivers": []}, {"waivers_on": None}):
            with pytest.raises(ValidationError):
                Decision.model_validate(decision.model_dump() | change)


@settings(max_examples=100)
@given(st.data())
def test_waivers_never_change_a_passed_check_and_never_make_one(data: st.DataObject) -> None:
    names = ["harm/a", "harm/b", "reasoning/loss", "champion/harm/a"]
    checks = [
        Check(name=name, passed=data.draw(st.booleans()), value=0.1, n=3, reason="r")
        if data.draw(st.booleans())
        else Check(name=name, passed=False, value=None, n=0, reason="no data")
        for name in names[:3]
    ]
    waived = data.draw(st.lists(st.sampled_from(names), unique=True))
    days = {name: data.draw(st.dates(datetime.date(2026, 6, 1), datetime.date(2026, 7, 31))) for name in waived}
    waivers = [Waiver.model_validate(waiver(name, expires=days[name])) for name in waived]
    after, uses = apply_waivers(checks, waivers, DAY, names)
    assert [check.name for check in after] == [check.name for check in checks]
    for before, check in zip(checks, after, strict=True):
        assert check.passed == before.passed
        counts = check.name in days and days[check.name] >= DAY and not before.passed and before.value is not None
        assert check.status == ("waived" if counts else before.status)
    assert [use.check for use in uses] == waived


def test_report_and_terminal_say_waived_and_who() -> None:
    records = runs.refused()
    decision = decided(section(*(waiver(name, reason="<b>why</b>") for name in failing())))
    gate = records["gate"].model_copy(
        update={"verdict": "passed with waivers", "details": {"decision": decision.model_dump(mode="json")}}
    )
    summary = summarise(records | {"gate": gate})
    page = render_page(summary)
    assert page.count('<tr role="row" class="waived">') == len(failing())
    assert 'class="failed"' not in page
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "<b>why" not in page
    assert "valid on 2026-06-30" in page
    assert "failed and did not count, because Ann Example waived it until 2026-06-30" in page
    out = io.StringIO()
    Console(file=out, width=300).print(run_table(summary))
    lines = {line.split()[1]: line.split()[0] for line in out.getvalue().splitlines() if line[:6].strip().isalpha()}
    assert {lines[name] for name in failing()} == {"WAIVED"}
    assert "Passed with waivers" in out.getvalue()
