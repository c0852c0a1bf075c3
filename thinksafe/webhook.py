"""Call a webhook: POST a JSON document to the address in an environment variable.

The address may be secret: no text, exception or log contains it. A failing webhook is reported and stops nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import NamedTuple

TIMEOUT = 10.0
"""Seconds to connect, and for the answer."""
ATTEMPTS = 3
PAUSE = 1.0
"""Seconds before the third attempt, doubled after that; the second attempt follows at once."""
BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses after which the call is repeated."""


class Answer(NamedTuple):
    """The result of a call."""

    failed: bool
    """A webhook is configured but did not accept the message."""
    words: str
    """Result for a record or a log, without the address."""


def post(variable: str, message: Mapping[str, object]) -> Answer:
    """Send a message and return the result.

    The message is sent again if the connection failed or the receiver was busy, but not after it was sent completely:
    it may have arrived. The environment's proxy and certificates apply. Redirects are not followed: the message is for
    the configured address only.

    Args:
        variable: Environment variable with the address; empty if no webhook is configured.
        message: Becomes the JSON document.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    if not variable:
        return Answer(failed=False, words="none is named")
    address = os.environ.get(variable, "").strip()
    if not address.startswith(("https://", "http://")):
        return Answer(failed=True, words=f"not called: {variable} holds no http address")
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it logs addresses
    retry = Retry(
        ATTEMPTS - 1, read=False, other=False, allowed_methods=None, status_forcelist=BUSY, backoff_factor=PAUSE,
        raise_on_status=False, respect_retry_after_header=False,
    )
    try:
        with requests.Session() as session:
            session.mount(address, HTTPAdapter(max_retries=retry))
            answer = session.post(address, json=message, timeout=TIMEOUT, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        cause = getattr(error.args[0] if error.args else None, "reason", error)  # that of urllib3's last attempt
        return Answer(failed=True, words=f"failed: {type(cause).__name__}")
    taken = 200 <= answer.status_code < 300
    return Answer(failed=not taken, words=f"{'called' if taken else 'failed'}: status {answer.status_code}")
