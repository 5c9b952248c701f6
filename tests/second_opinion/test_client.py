# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our client against a server that nobody here wrote."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Selection, select_hosts
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import collect
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    LoginRefused,
    ServerFault,
    TargetUnknown,
    WriteRefused,
)
from tests.integration.driver import reach, run
from tests.second_opinion.vcsim import CLUSTER, LONE_HOST, Vcsim

FIREWALL = "configManager.firewallSystem"
NTP_CLIENT = f'{FIREWALL}/firewallInfo.ruleset["ntpClient"]'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def connect(server: Vcsim, *, may_write: bool = False, **changes: Any) -> Session:
    return Session(Endpoint(**{**reach(server), "session": "single", **changes}), Guard(60), may_write=may_write)


def sessions(session: Session) -> int:
    manager = Ref("SessionManager", session.content.sessionManager._moId)
    ((_ref, values, _missing),) = list(collect(session, [manager], ["sessionList"]).values())
    return len(values["sessionList"])


def test_connects_and_speaks_the_servers_version(vcsim_server: Vcsim) -> None:
    with connect(vcsim_server) as session:
        assert session.is_vcenter == (vcsim_server.kind == "vcenter")
        assert session.content.about.apiVersion == "6.5"


def test_thumbprint_pins_and_refuses(vcsim_server: Vcsim) -> None:
    with connect(vcsim_server, ca_file="", thumbprint=vcsim_server.thumbprint.replace(":", "").lower()):
        pass
    with pytest.raises(Exception, match="thumbprint"), connect(vcsim_server, ca_file="", thumbprint="0" * 64):
        pass


def test_inventory_is_the_servers(vcsim_vcenter: Vcsim) -> None:
    with connect(vcsim_vcenter) as session:
        hosts = select_hosts(session, Selection(hosts=("*",)))
        assert len(hosts) == vcsim_vcenter.hosts
        assert {host.place("datacenter") for host in hosts} == {"DC0"}
        in_cluster = select_hosts(session, Selection(clusters=(CLUSTER,)))
        assert len(in_cluster) == vcsim_vcenter.hosts - 1
        assert [host.name for host in select_hosts(session, Selection(hosts=(LONE_HOST,)))] == [LONE_HOST]
        with pytest.raises(TargetUnknown, match="Did you mean"):
            select_hosts(session, Selection(hosts=(LONE_HOST + "x",)))


def test_a_lone_host_needs_no_selection(vcsim_esxi: Vcsim) -> None:
    with connect(vcsim_esxi) as session:
        assert [host.ref.id for host in select_hosts(session, Selection())] == ["ha-host"]


def test_bulk_read_falls_back_from_keyed_paths(vcsim_server: Vcsim) -> None:
    with connect(vcsim_server) as session:
        hosts = select_hosts(session, Selection(hosts=("*",)))
        rows = collect(session, [host.ref for host in hosts], ["name", "config.product.version", NTP_CLIENT])
        assert len(rows) == len(hosts)
        for row in rows.values():
            assert row.values["config.product.version"] == "6.5.0"
            assert row.values[NTP_CLIENT]["key"] == "ntpClient"
            assert row.values[NTP_CLIENT]["rule"][0]["port"] == 123


def test_faults_become_sentences(vcsim_server: Vcsim) -> None:
    with connect(vcsim_server, may_write=True) as session:
        host = select_hosts(session, Selection(hosts=("*",)))[0]
        ref = collect(session, [host.ref], [FIREWALL])[host.ref].values[FIREWALL]
        with pytest.raises(ServerFault) as caught:
            session.write(host.name, ref, "EnableRuleset", id="noSuchRuleset")
        assert caught.value.fault == "NotFound"
        assert session.sent[-1].outcome == "server_fault"
        session.write(host.name, ref, "EnableRuleset", id="ntpClient")
        after = collect(session, [host.ref], [NTP_CLIENT])[host.ref]
        assert after.values[NTP_CLIENT]["enabled"] is True


def test_the_gate_is_shut_for_reads(vcsim_server: Vcsim) -> None:
    with connect(vcsim_server) as session:
        ref = Ref("HostFirewallSystem", "firewallSystem")
        with pytest.raises(WriteRefused):
            session.write("host", ref, "EnableRuleset", id="ntpClient")
        with pytest.raises(WriteRefused):
            session.read(ref, "EnableRuleset", id="ntpClient")


def test_wrong_password_is_one_sentence(vcsim_server: Vcsim) -> None:
    with pytest.raises(LoginRefused, match="user name or password is wrong"), connect(vcsim_server, password="wrong"):
        pass


def test_no_session_is_left(vcsim_vcenter: Vcsim) -> None:
    with connect(vcsim_vcenter) as watcher:
        before = sessions(watcher)
        for _turn in range(3):
            with connect(vcsim_vcenter) as session:
                assert sessions(session) == before + 1
        assert sessions(watcher) == before


def test_a_kept_session_is_used_again_and_replaced_when_lost(vcsim_vcenter: Vcsim) -> None:
    with connect(vcsim_vcenter) as watcher:
        before = sessions(watcher)
        for _turn in range(3):
            with connect(vcsim_vcenter, session="keep") as session:
                assert sessions(session) == before + 1
        with connect(vcsim_vcenter, session="keep") as session:
            session._call(Ref("SessionManager", session.content.sessionManager._moId), "Logout", {}, repeat=False)
        assert sessions(watcher) == before
        with connect(vcsim_vcenter, session="end") as session:
            assert sessions(session) == before + 1
        assert sessions(watcher) == before


def test_what_the_server_lacks_is_a_finding_not_a_crash(vcsim_server: Vcsim) -> None:
    """It has no HostDateTimeSystem and no HostServiceSystem: the refusal has to name that."""
    result = run(vcsim_server, "esxi_ntp_align", esxi_hostname=["*"], ntp_servers=["192.0.2.1"])
    assert result["hosts"]
    for host in result["hosts"].values():
        assert host["status"] == "failed"
        assert host["failure"]["fault"] == "ManagedObjectNotFound"
        assert not host["changed"]
