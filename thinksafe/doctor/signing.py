"""Checks of signing: the Secret with the private key, and that a signer counts today."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from thinksafe.config.pods import SIGNING_FILES
from thinksafe.config.sign import SignKind, SignSettings
from thinksafe.doctor.checks import Check, Finding, failed, ok
from thinksafe.doctor.looking import keyed
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError

CHECK = "signing"
KEY, CERTIFICATE, TOKEN = SIGNING_FILES
KEYS: dict[SignKind, tuple[str, ...]] = {"key": (KEY,), "certificate": (KEY, CERTIFICATE), "keyless": (TOKEN,)}
"""Keys of the Secret by kind."""


def signing_checks(sign: SignSettings | None, api: KubernetesClient) -> list[Check]:
    """Return the checks of signing; none if nothing is signed.

    Args:
        sign: The section ``sign``.
        api: Client of the namespace of runs.
    """
    if sign is None:
        return []
    return [(CHECK, lambda: _secret(sign, api)), (CHECK, lambda: _signers(sign))]


def _secret(sign: SignSettings, api: KubernetesClient) -> Iterator[Finding]:
    if not sign.secret:
        return
    try:
        api.get("Secret", sign.secret)
    except ForbiddenError:  # the chart grants it to nobody, the doctor's account included
        yield ok(CHECK, f"This account may not read the Secret {sign.secret}, as it should be.")
        return
    yield from keyed(CHECK, "Secret", {sign.secret: KEYS[sign.kind]}, api)


def _signers(sign: SignSettings) -> Iterator[Finding]:
    today = datetime.datetime.now(datetime.UTC).date()
    names = [signer.name for signer in sign.trusted if signer.on(today)]
    if names:
        yield ok(CHECK, f"Signatures count today by {', '.join(names)}.")
    else:
        yield failed(
            CHECK, "No trusted signer counts today, so no signature is accepted.",
            "Correct the days in sign.trusted, or add the key that signs now.",
        )
