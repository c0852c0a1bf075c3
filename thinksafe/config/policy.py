"""Policies that a guard judges by: text files of the team's own."""

from __future__ import annotations

from thinksafe.config.guard import GuardsSettings
from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError
from thinksafe.store.remote import local_file

LONGEST_POLICY = 100_000
"""Characters of a policy: more leaves no guard room for a response."""


def read_policy(address: str) -> str:
    """Return the text of a policy file, without white space around it; "" for no address.

    Args:
        address: Local path, or ``s3://bucket/key``.

    Raises:
        InputError: the file is missing, empty, too long, or not text.
        StoreError: an object cannot be read.
    """
    if not address:
        return ""
    with local_file(address) as path:
        try:
            text = path.read_text("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InputError(f"Cannot read guard.policy {address!r}: {reason}.", "Name a text file.") from error
    if not text or len(text) > LONGEST_POLICY:
        raise InputError(
            f"guard.policy {address!r} has {len(text):,} characters; a policy has 1 to {LONGEST_POLICY:,}.",
            "Write what is not allowed, in plain words.",
        )
    return text


def policy_digest(address: str) -> str:
    """Return the digest of a policy's text. Raises as :func:`read_policy`."""
    return digest_bytes(read_policy(address).encode())


def policy_digests(guards: GuardsSettings) -> dict[str, str]:
    """Return the digest of each guard's policy by the guard's key, of those that have one. Raises as above."""
    return {use: policy_digest(guard.policy) for use, guard in guards.named.items() if guard.policy}
