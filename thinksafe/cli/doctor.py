"""``thinksafe doctor``: findings as a table or JSON, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial

import typer

from thinksafe.config import load_config
from thinksafe.config.load import find_document
from thinksafe.config.model import RealignmentConfig
from thinksafe.doctor.checks import LIMIT, Check, Finding, failed, findings
from thinksafe.errors import EXIT_FAILED, EXIT_OK, ConfigError

RETRY_SECONDS = 2.0
"""How long an unanswered call to Kubernetes is retried, in seconds; short, because somebody is waiting."""
CHECK_WIDTH = 15
"""Columns of a check's name."""
SYMBOLS = {"ok": "✓", "warning": "!", "failed": "✕"}


def run_doctor(
    config: str, overrides: list[str], *, cluster: bool, as_json: bool, pods: bool = False, services: bool = False
) -> int:
    """Run the checks of a cluster or of this machine and print them; return 1 if one failed.

    Args:
        config: Recipe name, path, or text; empty for none.
        overrides: ``key=value`` texts.
        cluster: Check the cluster, not this machine.
        as_json: Print JSON.
        pods: Start pods that check from inside of the cluster, too.
        services: Check nothing but the services, as these pods do.

    Raises:
        ConfigError: the configuration is wrong, or ``cluster`` is set and it has no such section.
    """
    loaded = load_config(config, overrides) if config else None
    if cluster or pods or services:
        if loaded is None or loaded.cluster is None:
            raise ConfigError("There is no cluster section to check.", "Give a CONFIG with one (docs/cluster.md).")
        if services:
            return _report(_service_findings(loaded), as_json)
        inside = [find_document(config).text, *(f"--set={one}" for one in overrides)] if pods else None
        return _report(_cluster_findings(loaded, inside), as_json)
    from thinksafe.doctor.laptop import laptop_checks

    return _report(findings(laptop_checks(loaded)), as_json)


def _service_findings(config: RealignmentConfig) -> Iterator[Finding]:
    from thinksafe.doctor.probes import services_in_pods
    from thinksafe.doctor.services import as_pods_see_it, service_checks

    assert config.cluster is not None
    wanted = services_in_pods(config.cluster)
    with as_pods_see_it(config.cluster, None):
        yield from findings(one for one in service_checks(config.cluster, config.registry) if one[0] in wanted)


def _cluster_findings(config: RealignmentConfig, inside: list[str] | None) -> Iterator[Finding]:
    from thinksafe.doctor import probes
    from thinksafe.doctor.gpus import gpu_findings
    from thinksafe.doctor.objects import kubernetes_checks
    from thinksafe.doctor.rollout import rollout_checks
    from thinksafe.doctor.services import as_pods_see_it, service_checks
    from thinksafe.doctor.signing import signing_checks
    from thinksafe.kube.client import KubernetesClient, connect
    from thinksafe.models.pins import require_pinned

    assert config.cluster is not None
    api: KubernetesClient | None = None
    checks: list[Check] = []
    yield from findings([("pins", lambda: _nothing(require_pinned(config))), ("gpus", lambda: gpu_findings(config))])
    try:
        api = connect(config.cluster.namespace, section="cluster", retry_seconds=RETRY_SECONDS)
        checks = [*kubernetes_checks(config.cluster, api), *signing_checks(config.sign, api)]
        deploy = config.deploy
        serving = connect(deploy.namespace, deploy.context, section="deploy", retry_seconds=RETRY_SECONDS)
        checks += rollout_checks(deploy, config.cluster, serving)
    except ConfigError as error:
        yield failed("kubernetes", error.problem, error.action)
    yield from findings(checks)
    done: set[str] = set()
    if inside is not None and api is not None:
        done, arguments = probes.services_in_pods(config.cluster), ["doctor", *inside, "--services", "--json"]
        probe = partial(probes.probe_findings, config.cluster, arguments, api)
        yield from findings([(probes.CHECK, probe)], limit=probes.LIMIT_S + LIMIT)
    with as_pods_see_it(config.cluster, api):
        yield from findings(one for one in service_checks(config.cluster, config.registry) if one[0] not in done)


def _nothing(_: object) -> Iterable[Finding]:
    return ()


def _report(found: Iterable[Finding], as_json: bool) -> int:
    from rich.console import Console

    console = Console()
    kept: list[Finding] = []
    with nullcontext() if as_json else console.status("checking"):
        for finding in found:
            kept.append(finding)
            if console.is_terminal and not as_json:
                _print(console, finding)
            elif not as_json:
                typer.echo(_lines(finding))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in kept], indent=2))
    else:
        counts = {status: sum(one.status == status for one in kept) for status in SYMBOLS}
        typer.echo(f"{counts['ok']} passed, {counts['warning']} warnings, {counts['failed']} failed")
    return EXIT_FAILED if any(finding.status == "failed" for finding in kept) else EXIT_OK


def _lines(finding: Finding) -> str:
    """Return a finding for a log, without line breaks: its width is unknown, and a host name must not be cut in two."""
    first = f"{SYMBOLS[finding.status]} {finding.check:<{CHECK_WIDTH}} {finding.message}"
    return f"{first}\n{'':<{CHECK_WIDTH + 2}} → {finding.action}" if finding.action else first


def _print(console: object, finding: Finding) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert isinstance(console, Console)
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(width=CHECK_WIDTH)
    table.add_column(overflow="fold")
    table.add_row(SYMBOLS[finding.status], finding.check, Text(finding.message))
    if finding.action:
        table.add_row("", "", Text(f"→ {finding.action}"))
    console.print(table)
