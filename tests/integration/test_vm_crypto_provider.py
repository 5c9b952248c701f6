# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key provider on a new vCenter: registered, trusted both ways, the default one, and then the machines open."""

from __future__ import annotations

import hashlib
import json
import pathlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from tests.integration.driver import run
from tests.simulator import Simulator

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = pytest.mark.newest_only

KMS_A, KMS_B = "kms-a.example.com", "kms-b.example.com"
PASSWORD = "marker-Kms-Pa55word-91c2"


@pytest.fixture(scope="module")
def started() -> Iterator[Simulator]:
    with Simulator("encrypted") as sim:
        yield sim


@pytest.fixture
def sim(started: Simulator) -> Iterator[Simulator]:
    """The vCenter is a new one without any provider, and two hosts have forgotten their keys."""
    started.reset()
    started.act("replace_vcenter", name="vcenter-2.example.com")
    started.act("reboot_host", host="esx-0[12]*")
    started.clear_journal()
    yield started
    assert started.errors == []


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)


def fingerprint(sim: Simulator, server: str = KMS_A) -> str:
    pem = sim.key_servers[server]["server_certificate"].strip()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def server(sim: Simulator, name: str = KMS_A, **more: Any) -> dict[str, Any]:
    told = sim.key_servers[name]
    return {"name": name, "address": told["address"], "port": told["port"], "fingerprint": fingerprint(sim, name), **more}


def own(sim: Simulator, name: str = KMS_A) -> dict[str, str]:
    told = sim.key_servers[name]
    return {"certificate": pathlib.Path(told["certificate"]).read_text(), "private_key": pathlib.Path(told["key"]).read_text()}


def unlock(sim: Simulator, provider: dict[str, Any], vm_name: str = "app-*", **more: Any) -> dict[str, Any]:
    return run(sim, "vm_crypto_unlock", vm_name=[vm_name], key_provider=provider, **more)


def changes(result: dict[str, Any]) -> list[str]:
    return [change["change"] for change in result["endpoint"]["changes"]]


def writes(sim: Simulator) -> list[str]:
    return [entry.method for entry in sim.journal if entry.write]


def all_open(sim: Simulator) -> bool:
    return all(sim.state()["crypto"]["vms"][f"app-0{number}"]["crypto"] == "unlocked" for number in (1, 2, 3, 4))


def known(sim: Simulator) -> dict[str, Any]:
    found: dict[str, Any] = sim.state()["crypto"]["providers"]
    return found


def test_at_one_go(sim: Simulator) -> None:
    """With a certificate of the key administrator's: one task, and all is open."""
    wish = {"name": "kms-a", "servers": [server(sim)], **own(sim), "default": True}
    planned = ["register_server", "trust_server", "present_certificate", "mark_default"]
    checked = unlock(sim, wish, check=True)
    assert changes(checked) == planned and writes(sim) == [] and checked["summary"] == {"would_change": 4}
    assert checked["endpoint"]["status"] == "would_change" and checked["endpoint"]["failure"] is None
    done = unlock(sim, wish)
    assert done["endpoint"]["changes"] == checked["endpoint"]["changes"]
    assert done["endpoint"]["status"] == "changed" and done["endpoint"]["failure"] is None, done["endpoint"]
    assert done["summary"] == {"changed": 4} and all_open(sim)
    assert done["causes"] == {} and done["worksheet"] == [], "nobody waits for a key any more"
    assert done["diff"] == checked["diff"]
    (told,) = done["providers"]
    assert (told["name"], told["default"], told["active"]) == ("kms-a", True, True) and told["certificate_days_left"] > 300
    assert told["servers"][0]["fingerprint"] == fingerprint(sim)
    sim.clear_journal()
    again = unlock(sim, wish)
    assert not again["changed"] and writes(sim) == [] and again["endpoint"]["status"] == "compliant"
    assert again["diff"]["before"] == again["diff"]["after"]


def test_the_fingerprint_as_openssl_prints_it(sim: Simulator) -> None:
    digits = fingerprint(sim).upper()
    told = "SHA256 Fingerprint=".replace("SHA256 Fingerprint", "sha256") + ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    done = unlock(sim, {"name": "kms-a", "servers": [server(sim, fingerprint=told)], **own(sim)})
    assert done["endpoint"]["status"] == "changed" and all_open(sim), done["msg"]


def test_first_the_fingerprint_is_told_then_confirmed(sim: Simulator) -> None:
    first = unlock(sim, {"name": "kms-a", "servers": [server(sim, fingerprint=None)], **own(sim)})
    assert changes(first) == ["register_server", "present_certificate"] and first["endpoint"]["status"] == "failed"
    told = next(each["text"] for each in first["endpoint"]["findings"] if each["code"] == "key_server_unconfirmed")
    assert told.endswith(fingerprint(sim)) and fingerprint(sim) in first["msg"]
    assert known(sim)["kms-a"]["trusts"] == 0 and not all_open(sim)
    again = unlock(sim, {"name": "kms-a", "servers": [server(sim, fingerprint=None)], **own(sim)})
    assert not again["changed"] and again["endpoint"]["status"] == "failed"
    second = unlock(sim, {"name": "kms-a", "servers": [server(sim, fingerprint=told.split()[-1])], **own(sim)})
    assert changes(second) == ["trust_server"] and all_open(sim), second["msg"]


def test_a_wrong_fingerprint_is_never_trusted(sim: Simulator) -> None:
    wish = {"name": "kms-a", "servers": [server(sim, fingerprint=fingerprint(sim, KMS_B))], **own(sim), "default": True}
    for _time in range(2):
        done = unlock(sim, wish)
        (row,) = [each for each in done["endpoint"]["findings"] if each["level"] == "error"]
        assert row["code"] == "key_server_differs" and fingerprint(sim) in row["text"]
        assert done["endpoint"]["status"] == "failed" and "trust_server" not in changes(done)
    assert "kms-a" not in known(sim) and not all_open(sim)
    assert writes(sim) == [], "a password is sent to nobody who shows another certificate"


def test_the_key_administrator_signs_a_request(sim: Simulator) -> None:
    wish: dict[str, Any] = {"name": "kms-a", "servers": [server(sim)], "request": True}
    first = unlock(sim, wish)
    assert changes(first) == ["register_server", "trust_server", "request_certificate"]
    request = first["providers"][0]["certificate_request"]
    assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----") and first["endpoint"]["status"] == "failed"
    assert {each["code"] for each in first["endpoint"]["findings"]} == {"certificate_requested"}
    waiting = unlock(sim, wish)
    assert not waiting["changed"] and waiting["providers"][0]["certificate_request"] == request
    assert writes(sim).count("GenerateClientCsr") == 1, "a second request would make the first one's answer worthless"
    answer = {**wish, "request": False, "certificate": sim.sign_csr(KMS_A, request), "default": True}
    checked = unlock(sim, answer, check=True)
    done = unlock(sim, answer)
    assert changes(done) == changes(checked) == ["present_certificate", "mark_default"]
    assert done["endpoint"]["status"] == "changed" and all_open(sim) and done["summary"] == {"changed": 4}, done["msg"]
    assert not unlock(sim, answer)["changed"]
    # The option may stay in the playbook: a provider whose servers trust vCenter needs no request.
    assert not unlock(sim, wish)["changed"]


def test_the_server_has_moved(sim: Simulator) -> None:
    wish = {"name": "kms-a", "servers": [server(sim)], **own(sim)}
    unlock(sim, wish)
    away = unlock(sim, {**wish, "servers": [server(sim, address="localhost", port=1)]})
    assert {each["code"] for each in away["endpoint"]["findings"]} == {"key_server_silent"} and not away["changed"]
    assert all_open(sim), "what works is not exchanged for what does not"
    moved = {**wish, "servers": [server(sim, address="localhost")]}
    checked = unlock(sim, moved, check=True)
    done = unlock(sim, moved)
    assert changes(done) == changes(checked) == ["update_server"], done["endpoint"]
    assert all_open(sim) and not unlock(sim, moved)["changed"]


def test_a_renewed_certificate_is_trusted_anew(sim: Simulator) -> None:
    wish = {"name": "kms-a", "servers": [server(sim)], **own(sim)}
    unlock(sim, wish)
    sim.act("renew_server_certificate", server=KMS_A)
    stale = unlock(sim, wish)
    assert {each["code"] for each in stale["endpoint"]["findings"]} == {"key_server_differs"} and not stale["changed"]
    wish["servers"] = [server(sim)]
    done = unlock(sim, wish)
    assert changes(done) == ["trust_server"] and done["endpoint"]["status"] == "changed", done["endpoint"]


def test_two_servers_and_two_providers(sim: Simulator) -> None:
    both = {"name": "kms-a", "servers": [server(sim), server(sim, KMS_B)], **own(sim)}
    done = unlock(sim, both)
    assert changes(done).count("register_server") == 2 and sorted(known(sim)["kms-a"]["servers"]) == [KMS_A, KMS_B]
    assert {each["code"] for each in done["endpoint"]["findings"]} == {"vcenter_not_trusted"}, "each server has a CA of its own"
    assert all_open(sim)
    other = unlock(sim, {"name": "kms-b", "servers": [server(sim, KMS_B)], **own(sim, KMS_B), "default": True}, vm_name="app-01")
    assert other["endpoint"]["status"] == "changed", other["endpoint"]
    assert sorted(known(sim)) == ["kms-a", "kms-b"] and [each["name"] for each in other["providers"] if each["default"]] == ["kms-b"]


def test_what_is_there_stays(sim: Simulator) -> None:
    """Nothing of a provider is removed, and what is left out is left alone."""
    unlock(sim, {"name": "kms-a", "servers": [server(sim)], **own(sim), "default": True})
    before = known(sim)
    sim.clear_journal()
    for wish in ({"name": "kms-a"}, {"name": "kms-a", "servers": []}, {"name": "kms-a", "servers": [server(sim, fingerprint=None)]}):
        assert not unlock(sim, wish)["changed"], wish
    assert known(sim) == before and writes(sim) == []


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("RegisterKmipServer", {"drop": "after"}),
        ("RegisterKmipServer", {"fault": "InvalidArgument"}),
        ("UploadKmipServerCert", {"fault": "SystemError"}),
        ("UploadClientCert", {"drop": "before"}),
        ("MarkDefault", {"fault": "NoPermission", "args": {"privilegeId": "Cryptographer.ManageKeyServers"}}),
    ],
)
def test_a_call_goes_wrong(sim: Simulator, method: str, effect: dict[str, Any]) -> None:
    sim.fault(method=method, **effect)
    wish = {"name": "kms-a", "servers": [server(sim)], **own(sim), "default": True}
    done = unlock(sim, wish)
    failed = "drop" not in effect or effect["drop"] == "before"
    assert done["endpoint"]["status"] == ("failed" if failed else "changed"), done["endpoint"]
    assert len(changes(done)) < 4 if failed else len(changes(done)) == 4
    assert not failed or (done["endpoint"]["failure"]["hint"] and done["endpoint"]["failure"]["cause"].rstrip(".") in done["msg"])
    again = unlock(sim, wish)
    assert again["endpoint"]["status"] in ("changed", "compliant") and all_open(sim), again["msg"]
    assert not unlock(sim, wish)["changed"]


def test_no_machine_has_to_be_named(sim: Simulator) -> None:
    """The provider is set up before anybody looks at machines."""
    done = run(sim, "vm_crypto_unlock", key_provider={"name": "kms-a", "servers": [server(sim)], **own(sim), "default": True})
    assert done["endpoint"]["status"] == "changed" and done["vms"] == {} and done["worksheet"] == []
    assert not run(sim, "vm_crypto_unlock", key_provider={"name": "kms-a", "servers": [server(sim)], **own(sim)})["changed"]
    assert run(sim, "vm_crypto_unlock", vm_name=["app-*"])["summary"] == {"changed": 4}


def test_who_may_not_manage_key_servers(sim: Simulator) -> None:
    wish = {"name": "kms-a", "servers": [server(sim)], **own(sim)}
    told = unlock(sim, wish, username="no-servers@vsphere.local", password="Simulated-1")
    assert told["endpoint"]["status"] == "failed" and writes(sim) == []
    assert "Cryptographer.ManageKeyServers on the root folder" in told["endpoint"]["failure"]["message"]
    assert known(sim) == {}


def test_no_secret_comes_back(sim: Simulator) -> None:
    """Neither the password of a server nor the private key, in whatever way it goes."""
    key = own(sim)["private_key"]
    body = "".join(line for line in key.splitlines() if "-----" not in line)
    wish = {"name": "kms-a", "servers": [server(sim, username="somebody", password=PASSWORD)], **own(sim), "default": True}
    said = [unlock(sim, wish, check=True)]
    sim.fault(method="UploadClientCert", fault="InvalidArgument")
    said += [unlock(sim, wish) for _time in range(3)]
    assert all_open(sim) and not said[-1]["changed"]
    whole = json.dumps(said) + json.dumps([entry.as_dict() for entry in sim.journal])
    for secret in (PASSWORD, body[:64], body[64:128], "PRIVATE KEY"):
        assert secret and secret not in whole, secret
