"""The section sign: off by default, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document
from cryptography.hazmat.primitives.asymmetric import ec
from signed_worlds import Key, certificate, pem_of

from thinksafe.config import load_config, sections_of
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.load import canonical
from thinksafe.config.pods import SIGNING_VARIABLE, environment, secret_variables, signing_secret
from thinksafe.config.sign import SignSettings, TrustedSigner
from thinksafe.config.stage_table import STAGES
from thinksafe.errors import ConfigError


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "ours")


def section(key: Key, **changed: Any) -> dict[str, Any]:
    return {"secret": "signing", "trusted": [key.trusted()], **changed}


def loaded(sign: dict[str, Any], **cluster: Any) -> Any:
    text = cluster_document(**cluster) if cluster else yaml.safe_dump({"extends": "micro"})
    return load_config(yaml.safe_dump({**yaml.safe_load(text), "sign": sign}))


def test_without_the_section_nothing_is_signed_and_nothing_says_so() -> None:
    config = load_config("micro")
    assert config.sign is None
    assert "sign" not in canonical(config)
    sections = sections_of(config)
    for name in ("registry", "promote", "deploy"):
        assert "sign" not in getattr(sections, name).model_dump(mode="json")


def test_three_sections_get_it(key: Key) -> None:
    before, after = sections_of(load_config("micro")), sections_of(loaded(section(key)))
    changed = {name for name in dict(after) if dict(before)[name] != dict(after)[name]}
    assert changed == {"registry", "promote", "deploy"}
    assert after.deploy.sign == after.promote.sign == after.registry.sign is not None


def test_only_register_and_promote_mount_the_secret(key: Key) -> None:
    cluster = loaded(section(key), name="plain").cluster
    assert cluster.signing == "signing"
    assert {stage for stage in STAGES if signing_secret(cluster, stage)} == {"register", "promote"}
    assert {stage for stage in STAGES if SIGNING_VARIABLE in environment(cluster, stage)} == {"register", "promote"}
    assert not [of for stage in STAGES for of in secret_variables(cluster, stage) if of.secret == "signing"]


def test_the_secret_is_part_of_what_a_pipeline_is_compiled_with(key: Key) -> None:
    plain = load_config(cluster_document()).cluster
    one, two = (loaded(section(key, secret=name), name="plain").cluster for name in ("one", "two"))
    assert len({of.digest for of in (plain, one, two)}) == 3
    assert isinstance(plain, ClusterSettings)
    assert plain.with_signing("one").digest == one.digest
    assert one.with_signing("").digest == plain.digest


def test_a_cluster_needs_the_secret(key: Key) -> None:
    with pytest.raises(ConfigError, match=r"set sign\.secret"):
        loaded(section(key, secret="", private_key="/k.pem"), name="plain")
    keyless = {"kind": "keyless", "trusted": [{"name": "ci", "identity": "a@b", "issuer": "https://issuer"}]}
    assert loaded(keyless, name="plain").cluster.signing == ""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trusted": []}, "at least 1"),
        ({"kind": "certificate"}, "kind certificate takes exactly authority and identity"),
        ({"kind": "keyless"}, "kind keyless takes exactly identity and issuer"),
        ({"certificate": "x"}, "certificate is for kind certificate"),
        ({"trust_config": "{}"}, "trust_config is for kind keyless"),
        ({"secret": "No Name"}, "not a Kubernetes name"),
    ],
)
def test_what_does_not_fit_together_is_refused(key: Key, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(section(key, **changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"public_key": "x"}, "trusted signer ours: public_key is not an elliptic public key"),
        ({"public_key": ""}, "kind key takes exactly public_key"),
        ({"identity": "a"}, "kind key takes exactly public_key"),
        ({"not_before": "2026-02-01", "not_after": "2026-01-01"}, "not_before is after not_after"),
    ],
)
def test_a_trusted_signer_that_could_never_count_is_refused(key: Key, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(section(key, trusted=[key.trusted(**changed)]))
    with pytest.raises(ConfigError, match="two signers have one name"):
        loaded(section(key, trusted=[key.trusted(), key.trusted()]))


def test_other_curves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not an elliptic public key"):
        loaded(section(Key(tmp_path, "k1", ec.SECP256K1())))


@pytest.mark.parametrize("where", ["public_key", "authority", "identity", "certificate", "private_key"])
def test_a_private_key_in_a_config_is_never_shown(key: Key, where: str) -> None:
    pem = key.pem.decode()
    signer = {"name": "ours", "public_key": key.public}
    sign: dict[str, Any] = {"trusted": [signer]}
    if where in ("certificate", "private_key"):
        sign |= {where: pem, "kind": "keyless"}
    else:
        signer[where] = pem
        sign["kind"] = "certificate" if where == "authority" else "key"
    with pytest.raises(ConfigError) as caught:
        loaded(sign)
    assert pem.splitlines()[1][:12] not in str(caught.value)


def test_certificates_are_checked(key: Key) -> None:
    root = {"name": "corporate", "authority": pem_of(certificate(key, "root")), "identity": "signing"}
    assert SignSettings.model_validate({"kind": "certificate", "trusted": [root]}).trusted[0].identity == "signing"
    with pytest.raises(ConfigError, match="authority is not a certificate"):
        loaded({"kind": "certificate", "trusted": [{**root, "authority": "x"}]})


def test_the_page_names_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "governance.md").read_text("utf-8").split("### Keys")[1]
    table = " ".join(line for line in page.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert set(SignSettings.model_fields) | set(TrustedSigner.model_fields) <= named
