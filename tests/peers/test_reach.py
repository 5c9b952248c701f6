# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""pyVmomi in front of firewalls that shut: a lockout is one for people's clients, too."""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from tests.bench.measure import Server, served
from tests.peers.clients import connected, left_behind, trusted
from tests.peers.conftest import Servers

HOST = "esx-01.example.com"
VCENTER = "192.0.2.2"


def shut(firewall: Any, key: str, *addresses: str) -> None:
    allowed = vim.host.Ruleset.IpList(allIp=False, ipAddress=list(addresses), ipNetwork=[])
    firewall.UpdateRuleset(key, vim.host.Ruleset.RulesetSpec(allowedHosts=allowed))


def find(si: Any, name: str) -> Any:
    return si.content.searchIndex.FindByDnsName(None, name, False)


@pytest.fixture
def vcenter(serve: Servers) -> Server:
    return serve.fresh("firewall")


@pytest.fixture
def si(vcenter: Server) -> Iterator[Any]:
    with connected(vcenter) as made:
        yield made


def test_lost_and_found(vcenter: Server, si: Any) -> None:
    host = find(si, HOST)
    firewall = host.configManager.firewallSystem
    shut(firewall, "vSphereClient", "203.0.113.1")
    vcenter.control("/advance", {"seconds": 61})
    assert host.runtime.connectionState == "notResponding"
    with pytest.raises(vmodl.fault.HostNotReachable):
        firewall.DisableRuleset("syslog")
    with pytest.raises(vim.fault.NoHost):
        WaitForTask(host.ReconnectHost_Task(None, None), si=si)
    vcenter.control("/act", {"host": HOST, "do": "set_ruleset", "key": "vSphereClient", "all_ip": True})
    assert host.runtime.connectionState == "connected"
    shut(firewall, "vSphereClient", VCENTER)
    vcenter.control("/advance", {"seconds": 61})
    assert host.runtime.connectionState == "connected"


def test_reconnected_for_a_minute(vcenter: Server, si: Any) -> None:
    host = find(si, HOST)
    shut(host.configManager.firewallSystem, "vpxHeartbeats", "203.0.113.1")
    for _turn in range(2):
        vcenter.control("/advance", {"seconds": 61})
        assert host.runtime.connectionState == "notResponding"
        assert WaitForTask(host.ReconnectHost_Task(None, None), si=si) == "success"
        assert host.runtime.connectionState == "connected"


def test_asking_for_a_new_connection(vcenter: Server, si: Any) -> None:
    host = find(si, HOST)
    (datacenter,) = si.content.rootFolder.childEntity

    def knock(thumbprint: str | None) -> None:
        datacenter.QueryConnectionInfo(HOST, 443, "root", "Secret-of-the-host", thumbprint)

    with pytest.raises(vim.fault.SSLVerifyFault) as caught:
        knock(None)
    assert caught.value.thumbprint == host.summary.config.sslThumbprint
    with pytest.raises(vim.fault.InvalidLogin):
        knock(caught.value.thumbprint)
    shut(host.configManager.firewallSystem, "vSphereClient", "203.0.113.1")
    with pytest.raises(vim.fault.NoHost):
        knock(caught.value.thumbprint)
    assert host.runtime.connectionState == "connected" and "Secret-of-the-host" not in str(vcenter.control("/journal"))


def test_whom_a_host_must_keep_hearing(si: Any) -> None:
    """By attribute, as scripts read it, with the classes that scripts look for."""
    host = find(si, "esx-12.example.com")
    storage = host.configManager.storageSystem
    (iscsi,) = (one for one in storage.storageDeviceInfo.hostBusAdapter if isinstance(one, vim.host.InternetScsiHba))
    assert [(one.address, one.port) for one in iscsi.configuredSendTarget] == [("203.0.113.30", 3260), ("203.0.113.31", 3261)]
    mounts = [one.volume for one in storage.fileSystemVolumeInfo.mountInfo if isinstance(one.volume, vim.host.NasVolume)]
    assert [(one.type, one.remoteHost) for one in mounts] == [
        ("NFS", "203.0.113.20"),
        ("NFS", "nas.example.com"),
        ("NFS41", "203.0.113.22"),
    ]
    assert host.config.network.vnic[0].spec.ip.dhcp and host.configManager.networkSystem.dnsConfig.address
    assert find(si, "esx-14.example.com").config.vsanHostConfig.enabled and host.summary.managementServerIp == VCENTER
    assert find(si, "esx-10.example.com").configManager.firewallSystem.firewallInfo is None


def test_a_host_that_shuts_its_client_out(serve: Servers) -> None:
    server = serve.fresh("standalone_firewall")
    with connected(server) as si:
        assert si.content.sessionManager.currentSession.ipAddress == "198.51.100.7"
        host = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].host[0]
        firewall = host.configManager.firewallSystem
        shut(firewall, "vSphereClient", VCENTER)
        firewall.RefreshFirewall()  # pyVmomi's pool keeps the connection that stands
        with pytest.raises(OSError), connected(server):
            pass
        shut(firewall, "vSphereClient", VCENTER, "198.51.100.7")
        with connected(server) as again:
            assert again.content.about.apiType == "HostAgent"


def test_a_host_that_cuts_its_client_off(tmp_path: pathlib.Path) -> None:
    scenario = tmp_path / "cut.yml"
    scenario.write_text("name: cut\nkind: esxi\nclient_address: 198.51.100.7\nhosts: [{options: {firewall_established: cut}}]\n")
    with served(str(scenario)) as server:
        with connected(server, sslContext=trusted(server)) as si:
            host = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].host[0]
            shut(host.configManager.firewallSystem, "vSphereClient", VCENTER)
            with pytest.raises((OSError, ssl.SSLError)):
                host.configManager.firewallSystem.RefreshFirewall()
            server.control("/act", {"do": "set_ruleset", "key": "vSphereClient", "all_ip": True})
            host.configManager.firewallSystem.RefreshFirewall()
        assert left_behind(server) == {"sessions": [], "errors": []}
