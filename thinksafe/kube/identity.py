"""Who acts: confirmed by the Kubernetes API, or the user of this machine."""

from __future__ import annotations

import os
from typing import NamedTuple

from thinksafe.config.promotion import Identity as Source
from thinksafe.errors import ConfigError, StageError
from thinksafe.kube.client import connect

LONGEST = 200
"""Characters of a name."""


class Identity(NamedTuple):
    """A person or a service account."""

    who: str
    confirmed_by: str
    """Address of the Kubernetes API that confirmed the name; empty if nobody did."""


def identity(source: Source) -> Identity:
    """Return who acts.

    Args:
        source: ``kubernetes``: what the API says in a SelfSubjectReview of the kubeconfig's or the pod's credentials;
            with OIDC that is the name from the token. ``system``: the user of this process, which nobody confirms.

    Raises:
        ConfigError: there are no credentials for a Kubernetes API.
        StageError: the API refused or did not answer, or does not know who this is.
    """
    return _confirmed() if source == "kubernetes" else Identity(_user(), "")


def _confirmed() -> Identity:
    api = connect("default", section="cluster", retry_seconds=10.0)
    answer = api.post("SelfSubjectReview", {})
    try:
        name = answer["status"]["userInfo"]["username"]
    except (KeyError, TypeError):
        name = ""
    if not isinstance(name, str) or not name or name == "system:anonymous":
        raise StageError(
            f"The Kubernetes API at {api.address} does not say who you are.", "Log in, or set KUBECONFIG."
        )
    if len(name) > LONGEST or not name.isprintable():
        raise StageError(
            f"The name that the Kubernetes API at {api.address} gives you is longer than {LONGEST} characters, or "
            "holds control characters.", "Log in as somebody else.",
        )
    return Identity(name, api.address)


def _user() -> str:
    # not getpass, which believes LOGNAME and USER
    try:
        import pwd
    except ImportError:
        raise ConfigError(
            "This system has no user database to say who you are.", "Set promotion.approval.identity to kubernetes."
        ) from None
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.geteuid()}"
