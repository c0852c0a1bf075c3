"""Tell a webhook: one POST of a JSON document to the address in an environment variable.

The address may be a secret: it is in no text, no exception and no log. A webhook that fails is told and stops nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

TIMEOUT = 10.0
"""Seconds to connect, and for the answer."""
WAITS = (0.5, 2.0)
"""Seconds before each further attempt."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses after which it is tried again."""


class Answer(NamedTuple):
    """What came of a call."""

    failed: bool
    """It was to be called, and did not take the message."""
    words: str
    """For a record or a log; without the address."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The message is for the address that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(variable: str, message: Mapping[str, object]) -> Answer:
    """Send a message and return what came of it.

    It is sent again where no connection came about or the receiver was busy; after a time-out it is not, since it may
    have been heard.

    Args:
        variable: Environment variable with the address; empty where no webhook is named.
        message: Becomes the JSON document.
    """
    if not variable:
        return Answer(failed=False, words="none is named")
    address = os.environ.get(variable, "").strip()
    if not address.startswith(("https://", "http://")):
        return Answer(failed=True, words=f"not called: {variable} holds no http address")
    data = json.dumps(message).encode()
    for wait in WAITS:
        answer, again = _send(address, data)
        if not again:
            return answer
        time.sleep(wait)
    return _send(address, data)[0]


def _send(address: str, data: bytes) -> tuple[Answer, bool]:
    """Return what came of one attempt, and whether another may help."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            address, data, {"Content-Type": "application/json"}, method="POST"
        )
        with opener.open(request, timeout=TIMEOUT) as answer:
            return Answer(failed=False, words=f"called: status {answer.status}"), False
    except urllib.error.HTTPError as error:
        with error:
            return Answer(failed=True, words=f"failed: status {error.code}"), error.code in BUSY
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        unconnected = isinstance(cause, OSError) and not isinstance(cause, TimeoutError)
        return Answer(failed=True, words=f"failed: {type(cause).__name__}"), unconnected
