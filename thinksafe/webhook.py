"""Tell a webhook: one POST of a JSON document to the address in an environment variable.

The address may be a secret: it is in no text, no exception and no log. A webhook that fails is told and stops nothing.
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
"""Twice as many seconds pass before the third attempt, none before the second."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses after which it is tried again."""


class Answer(NamedTuple):
    """What came of a call."""

    failed: bool
    """It was to be called, and did not take the message."""
    words: str
    """For a record or a log; without the address."""


def post(variable: str, message: Mapping[str, object]) -> Answer:
    """Send a message and return what came of it.

    It is sent again where no connection came about or the receiver was busy; once it was sent whole it is not, since
    it may have been heard. The environment's proxy and certificates hold. Redirects are not followed: the message is
    for the address that was named, and for no other.

    Args:
        variable: Environment variable with the address; empty where no webhook is named.
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
