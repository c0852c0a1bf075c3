"""Secrets in addresses and messages: what may be shown, and what a configuration must not hold."""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import unquote

HIDDEN = "***"
SECRET_VARIABLES = (
    "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)
"""Environment variables whose values never appear in a message."""
# A password may hold an unescaped "/" or "@".
_USERINFO = re.compile(r"://(?:([^\s/@:'\"]*):([^\s'\"]*)|([^\s/@'\"]+))@")
_QUERY = re.compile(r"(?i)([?&;][\w.-]*(?:passw|pwd|token|secret|key)[\w.-]*=)[^&\s'\"]+")
_SHORT = 6
"""Shorter secrets are hidden only as whole words: they may be part of other words."""


def scrubbed(text: str, *uris: str) -> str:
    """Return a text without user names and passwords of URIs, and without the secrets in the environment.

    Args:
        text: Message of a library or server, or a URI.
        *uris: URIs in use; their passwords are hidden in every form.
    """
    text = _QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(f"://{HIDDEN}@", text))
    secrets = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    for uri in uris:
        secrets |= _secrets(uri)
    for secret in sorted(secrets - {"", HIDDEN}, key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(pattern if len(secret) >= _SHORT else rf"(?<!\w){pattern}(?!\w)", HIDDEN, text)
    return text


def shown(uri: str) -> str:
    """Return a URI without user name, password and secret options, fit to be shown."""
    return scrubbed(uri).replace(f"{HIDDEN}@", "", 1)


def holds_secret(uri: str) -> bool:
    """Return whether a URI holds a secret: a password, a secret option, or a token as the user name."""
    if _QUERY.search(uri):
        return True
    found = _USERINFO.search(uri)
    return found is not None and (found[2] is not None or uri.lower().startswith("http"))


def _secrets(uri: str) -> set[str]:
    found = _USERINFO.search(uri)
    if found is None or not holds_secret(uri):
        return set()
    user, password = found[1] or "", found[2] or found[3] or ""
    plain = unquote(password)
    return {password, plain, base64.b64encode(f"{unquote(user)}:{plain}".encode()).decode()}
