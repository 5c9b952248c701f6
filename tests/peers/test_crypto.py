# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key providers: vmware.vmware's and community.vmware's modules beside ours. What one has set up, the other finds right; and machines,
locked and open, as their inventories of machines see them."""

from __future__ import annotations

import hashlib
import pathlib
import ssl
from typing import Any

import pytest

from tests.bench.measure import Server
from tests.peers.clients import tell
from tests.peers.conftest import Servers

OURS, OUR_INFO = "fleetcare.esxi.vm_crypto_unlock", "fleetcare.esxi.vm_crypto_info"
THEIRS, THEIR_INFO, OLDER = (
    "vmware.vmware.key_provider_standard",
    "vmware.vmware.key_provider_info",
    "community.vmware.vcenter_standard_key_provider",
)
KMS = "kms-a.example.com"
NONE = {"validate_certs": False}


@pytest.fixture
def new_vcenter(serve: Servers) -> Server:
    """A vCenter that knows of no key provider, and locked machines whose keys name one."""
    server = serve.fresh("encrypted")
    server.control("/act", {"do": "replace_vcenter"})
    server.control("/act", {"do": "reboot_host"})
    return server


def key_server(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.control("/key_servers")[KMS]
    return found


def fingerprint(pem: str) -> str:
    text = pathlib.Path(pem).read_text() if pem.startswith("/") else pem
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


def ours(server: Server, **more: Any) -> dict[str, Any]:
    kms = key_server(server)
    wish = {"name": KMS, "address": kms["address"], "port": kms["port"], "fingerprint": fingerprint(kms["server_certificate"])}
    provider = {"name": "kms-a", "servers": [wish], "default": True, **more}
    return {OURS: {"vm_name": ["app-*"], "session": "single", "fail_on": "none", "key_provider": provider}}


def client(server: Server) -> dict[str, str]:
    kms = key_server(server)
    return {"certificate": pathlib.Path(kms["certificate"]).read_text(), "private_key": pathlib.Path(kms["key"]).read_text()}


def locked(server: Server) -> list[str]:
    return sorted(
        name for name, vm in server.control("/state")["crypto"]["vms"].items() if vm["crypto"] == "locked" and name.startswith("app-")
    )


def test_what_ours_has_set_up_theirs_finds_right(new_vcenter: Server, tmp_path: pathlib.Path) -> None:
    kms = key_server(new_vcenter)
    wish = {"id": KMS, "address": kms["address"], "port": kms["port"]}
    mine, told, again = tell(
        tmp_path,
        new_vcenter,
        ours(new_vcenter, **client(new_vcenter)),
        {THEIR_INFO: NONE},
        {THEIRS: {**NONE, "provider_name": "kms-a", "default_provider": True, "kms_servers": [wish]}},
    )
    assert mine.changed and locked(new_vcenter) == []
    assert told.result["key_providers"]["kms-a"]["default"] and told.result["key_providers"]["kms-a"]["type"] == "standard"
    assert [server["port"] for server in told.result["key_providers"]["kms-a"]["servers"]] == [kms["port"]]
    assert not again.changed and again.writes == []


def test_what_theirs_has_set_up_ours_finds_right_but_for_trust(new_vcenter: Server, tmp_path: pathlib.Path) -> None:
    """Theirs registers the server and stops there: no certificate is trusted, so no machine opens."""
    kms = key_server(new_vcenter)
    wish = {"id": KMS, "address": kms["address"], "port": kms["port"]}
    theirs, before, mine = tell(
        tmp_path,
        new_vcenter,
        {THEIRS: {**NONE, "provider_name": "kms-a", "default_provider": True, "kms_servers": [wish]}},
        {OUR_INFO: {"vm_name": ["app-*"], "session": "single"}},
        ours(new_vcenter, **client(new_vcenter)),
    )
    assert theirs.changed
    assert set(before.result["causes"]) == {"provider_unreachable"}
    assert [change["change"] for change in mine.result["endpoint"]["changes"]] == ["trust_server", "present_certificate"]
    assert locked(new_vcenter) == []


def test_the_older_module_and_ours_agree(new_vcenter: Server, tmp_path: pathlib.Path) -> None:
    """community.vmware's trusts whatever certificate it is shown; ours asks for the fingerprint first."""
    kms = key_server(new_vcenter)
    older, mine = tell(
        tmp_path,
        new_vcenter,
        {
            OLDER: {
                **NONE,
                "name": "kms-a",
                "mark_default": True,
                "kms_info": [{"kms_name": KMS, "kms_ip": kms["address"], "kms_port": kms["port"]}],
                "make_kms_trust_vc": {"upload_client_cert": kms["certificate"], "upload_client_key": kms["key"]},
            },
            "ignore_errors": True,
        },
        ours(new_vcenter),
    )
    assert not older.failed, older.result.get("msg")
    assert "UploadKmipServerCert" in [method for _host, method in older.writes]
    assert mine.result["endpoint"]["changes"] == []
    assert locked(new_vcenter) == []


def test_a_locked_machine_in_the_eyes_of_others(new_vcenter: Server, tmp_path: pathlib.Path) -> None:
    """Theirs shows where a locked machine stands, and nothing that only its configuration tells; ours shows the same place."""
    theirs, mine = tell(
        tmp_path,
        new_vcenter,
        {"community.vmware.vmware_vm_info": {**NONE, "vm_type": "all"}},
        {OUR_INFO: {"vm_name": ["*"], "session": "single"}},
    )
    told = {vm["guest_name"]: vm for vm in theirs.result["virtual_machines"]}
    assert set(told) == set(mine.result["vms"])
    for name, vm in mine.result["vms"].items():
        assert (vm["moid"], vm["host"]) == (told[name]["moid"], told[name]["esxi_hostname"])
        assert (told[name]["uuid"] is None) == (vm["outcome"] == "waiting" or name in ("broken-01", "orphan-01", "lost-01"))
