"""``thinksafe config check``: is the configuration valid, and can its gate pass at all?"""

from __future__ import annotations

import datetime
from dataclasses import replace

import typer

from thinksafe.config import RealignmentConfig, load_config
from thinksafe.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError
from thinksafe.power import Finding, gate_feasibility


def check_config(config: str, overrides: list[str]) -> int:
    """Print the findings on a configuration; return 0, or 2 when its gate cannot pass."""
    loaded = load_config(config, overrides)
    findings = findings_on(loaded)
    typer.echo(f"{loaded.name}: the configuration is valid.")
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        typer.echo(f"  {finding.level:8}{finding.check:{width}}  {finding.message}")
    return EXIT_BAD_INPUT if any(finding.level == "error" for finding in findings) else EXIT_OK


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
