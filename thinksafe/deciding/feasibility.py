"""Can the gate of a configuration pass at all, and with what power does it decide?"""

from __future__ import annotations

import datetime
from dataclasses import replace

from thinksafe.config import RealignmentConfig
from thinksafe.deciding.power import Finding, gate_feasibility
from thinksafe.errors import ConfigError


def refuse_hopeless_gate(config: RealignmentConfig) -> None:
    """Raise ConfigError when the gate could not pass even with perfect results."""
    errors = [f"{finding.check}: {finding.message}" for finding in findings_on(config) if finding.level == "error"]
    if errors:
        raise ConfigError(
            "The gate of this configuration can never pass: " + " ".join(errors),
            "Give more evaluation prompts or another threshold; `thinksafe config check` shows the power.",
        )


def findings_on(config: RealignmentConfig) -> list[Finding]:
    """Return the findings on the gate; a check that is waived today cannot stop a run, so its error is a warning."""
    today = datetime.datetime.now(datetime.UTC).date()
    waived = {waiver.check: waiver for waiver in config.gate.waivers if waiver.expires >= today}
    findings = [
        replace(finding, level="warning") if finding.level == "error" and finding.check in waived else finding
        for finding in gate_feasibility(config)
    ]
    for waiver in config.gate.waivers:
        if waiver.check in waived:
            message = f"Waived by {waiver.person} until {waiver.expires}: should it fail, it does not stop a candidate."
        else:
            message = f"The waiver by {waiver.person} expired on {waiver.expires}; it does not count."
        findings.append(Finding(waiver.check, "warning", message))
    return findings
