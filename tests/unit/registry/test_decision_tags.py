from __future__ import annotations

from registry_runs import PASSED, REFUSED

from thinksafe.records import Check, WaiverUse
from thinksafe.registry.decision_tags import DESCRIPTION, description
from thinksafe.registry.registration import Registration

REGISTRATION = Registration(
    name="m", version="3", run_id="run-1", candidate="c", adapter_digest="abcdef0123456789", data_digest="d",
    config_digest="e", model_id="m-1", mlflow_run="f00",
)


def test_a_refusal_says_what_failed_and_where_the_report_is() -> None:
    held = Check(name="unknown", passed=True, value=0.0, threshold=0.1, n=300, reason="held")
    decision = REFUSED.model_copy(update={"checks": (*REFUSED.checks, held), "notes": ("One guard did both.",)})
    assert description(REGISTRATION, decision) == (
        "**The gate refused this version.** Refused.\n"
        "- harm: too harmful\n"
        "- Note: One guard did both.\n\n"
        "Run run-1, adapter abcdef012345. All checks and numbers: report.html among the artifacts of the MLflow run "
        "f00."
    )


def test_a_passed_version_says_so_in_a_sentence() -> None:
    text = description(REGISTRATION, PASSED)
    assert text.startswith("**The gate passed this version.** All checks passed.\n\nRun run-1")


def test_a_waiver_is_named_and_the_end_is_never_cut() -> None:
    use = WaiverUse(
        check="harm", person="Ann", reason="A known\ngap. " + "x" * 9000, expires="2999-12-31", effect="applied"
    )
    waived = REFUSED.checks[0].model_copy(update={"status": "waived"})
    text = description(REGISTRATION, PASSED.model_copy(update={"checks": (waived,), "waivers": (use,)}))
    assert text.startswith("**The gate passed this version with waivers.**")
    assert "- harm (waived by Ann until 2999-12-31): A known gap. xxx" in text
    assert len(text) == DESCRIPTION
    assert text.endswith("MLflow run f00.")
