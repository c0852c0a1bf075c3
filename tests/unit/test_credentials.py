from __future__ import annotations

import base64
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config.load import load_config
from thinksafe.credentials import SECRET_VARIABLES, holds_secret, scrubbed, shown
from thinksafe.errors import ConfigError

SCHEMES = ("http", "https", "postgresql", "postgresql+psycopg2", "mysql+pymysql")
# what somebody who does not escape may still write; "#" and the like end the address for every client
PASSWORDS = st.text(st.sampled_from(string.ascii_letters + string.digits + "@:/!$*+,;=._~-"), min_size=6, max_size=20)


@given(st.sampled_from(SCHEMES), PASSWORDS, st.booleans())
def test_no_password_of_a_uri_is_shown(scheme: str, password: str, escaped: bool) -> None:
    secret = f"Zq{password}qZ"
    uri = f"{scheme}://ann:{quote(secret, safe='') if escaped else secret}@db.example:5432/mlflow"
    for text in (scrubbed(f"cannot connect to {uri} now", uri), scrubbed(f"'{secret}' is wrong", uri), shown(uri)):
        assert secret not in text
        assert quote(secret, safe="") not in text
    assert shown(uri) == f"{scheme}://db.example:5432/mlflow"
    assert holds_secret(uri)
    encoded = base64.b64encode(f"ann:{secret}".encode()).decode()
    if escaped:
        assert encoded not in scrubbed(f"Authorization: Basic {encoded}", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://mlflow:5000", "sqlite:////home/ann/mlflow.db", "postgresql://ann@db/mlflow", "s3://bucket/data@v2",
        "mysql://db/x?charset=utf8", "databricks", "",
    ],
)
def test_an_address_is_no_secret(uri: str) -> None:
    assert not holds_secret(uri)
    assert "***" not in shown(uri)


def test_tokens_and_options_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("https://t0ken@mlflow.example/x") == "https://mlflow.example/x"
    assert holds_secret("https://t0ken@mlflow.example/x")
    assert shown("postgresql://db/x?sslmode=require&password=pw1") == "postgresql://db/x?sslmode=require&password=***"
    assert holds_secret("postgresql://db/x?sslpassword=pw1")
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, f"value-of-{name}")
        assert scrubbed(f"Bearer value-of-{name}!") == "Bearer ***!"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    assert scrubbed("pw is no shipwright's option: pwd") == "*** is no shipwright's option: pwd"


@pytest.mark.parametrize("uri", ["http://ann:hunter22@mlflow:5000", "postgresql+psycopg2://ann:hunter22@db/mlflow"])
def test_a_config_with_a_password_is_refused_without_repeating_it(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"registry\.tracking_uri.*MLFLOW_TRACKING_URI") as caught:
        load_config("micro", [f"registry.tracking_uri={uri}"])
    assert "hunter22" not in str(caught.value)
