# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""pyVmomi's own helpers and the patterns of its samples; what they read is compared with the simulator's state."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnection, SmartStubAdapter, VimSessionOrientedStub
from pyVim.task import WaitForTask, WaitForTasks
from pyVmomi import VmomiSupport, vim, vmodl

from tests.bench.measure import Server, served
from tests.peers.clients import connected, trusted
from tests.peers.conftest import Servers
from tests.simulator.registry import Managed

PyManaged: Any = VmomiSupport.ManagedObject
# By the class of what the simulator has; of the others it only gives references, until the issues that need them.
OFFERED = tuple({family.TYPE for family in Managed.FAMILIES})
# What a client makes first, and what no host has.
MADE_BY_A_CALL: set[Any] = {
    vim.Task,
    vim.alarm.Alarm,
    vim.view.ContainerView,
    vim.view.ListView,
    vim.event.EventHistoryCollector,
    vmodl.query.PropertyCollector.Filter,
}
VCENTER_ONLY: set[Any] = {
    vim.ClusterComputeResource,
    vim.ExtensionManager,
    vim.CustomFieldsManager,
    vim.LicenseAssignmentManager,
    vim.alarm.AlarmManager,
    vim.encryption.CryptoManagerHostKMS,
    vim.encryption.CryptoManagerKmip,
}
HOST_ONLY: set[Any] = {vim.encryption.CryptoManagerHost}
BARE = ("VpxSettings", "HostAgentSettings")  # the server's own OptionManager is one of these; a host's is there


@pytest.fixture(params=["drifting", "firewall", "standalone", "standalone67"])
def server(request: pytest.FixtureRequest, serve: Servers) -> Server:
    return serve.fresh(request.param)


@pytest.fixture
def si(server: Server) -> Iterator[Any]:
    with connected(server) as made:
        yield made


def container(si: Any, *kinds: Any) -> Any:
    return si.content.viewManager.CreateContainerView(si.content.rootFolder, list(kinds), True)


def collect(si: Any, view: Any, kind: Any, paths: list[str]) -> list[dict[str, Any]]:
    """Word for word what the community samples do (tools/pchelper.py): a view, a traversal, RetrieveContents."""
    collector = si.content.propertyCollector
    obj_spec = vmodl.query.PropertyCollector.ObjectSpec()
    obj_spec.obj = view
    obj_spec.skip = True
    traversal_spec = vmodl.query.PropertyCollector.TraversalSpec()
    traversal_spec.name = "traverseEntities"
    traversal_spec.path = "view"
    traversal_spec.skip = False
    traversal_spec.type = view.__class__
    obj_spec.selectSet = [traversal_spec]
    property_spec = vmodl.query.PropertyCollector.PropertySpec()
    property_spec.type = kind
    property_spec.all = not paths
    property_spec.pathSet = paths
    filter_spec = vmodl.query.PropertyCollector.FilterSpec()
    filter_spec.objectSet = [obj_spec]
    filter_spec.propSet = [property_spec]
    props = collector.RetrieveContents([filter_spec])
    return [{"obj": one.obj, **{prop.name: prop.val for prop in one.propSet}} for one in props]


# ---- connecting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "newest"), [("drifting", "9.0.0.0"), ("tiny", "8.0.3.0"), ("standalone67", "6.7")])
def test_the_newest_version_that_both_know(serve: Servers, scenario: str, newest: str) -> None:
    server = serve(scenario)
    known = [name.removeprefix("vim25/") for name in VmomiSupport.versionMap if name.startswith("vim25/")]
    assert newest in known and "9.1.0.0" in known, "pyVmomi knows newer ones than any of these servers"
    with connected(server) as si:
        assert si._stub.version == VmomiSupport.versionMap[f"vim25/{newest}"]
        assert si.content.about.apiVersion == newest == server.control("/state")["api"]


def test_an_old_client_sees_what_its_version_had(serve: Servers) -> None:
    server = serve("drifting")
    for name, enabled, controllable in (("8.0.2.0", True, False), ("7.0.3.0", True, None), ("6.7", None, None)):
        version = VmomiSupport.versionMap[f"vim25/{name}"]
        with connected(server, preferredApiVersions=[VmomiSupport.versionMap["vim25/9.1.0.0"], version]) as si:
            assert si._stub.version == version
            host = si.content.searchIndex.FindByDnsName(None, "esx-01.example.com", False)
            assert host.config.dateTimeInfo.enabled is enabled
            rulesets = {row.key: row for row in host.configManager.firewallSystem.firewallInfo.ruleset}
            assert getattr(rulesets["ntpClient"], "userControllable", None) is controllable


def test_a_client_that_takes_over_a_session(serve: Servers) -> None:
    """SmartConnect(sessionId=...): no login of its own, and its end is the end for both."""
    server = serve.fresh("tiny")
    with connected(server) as first:
        session = first._stub.GetSessionId()
        with SmartConnection(host=server.hostname, port=server.port, sessionId=session, sslContext=trusted(server)) as second:
            assert second.content.sessionManager.currentSession.key == first.content.sessionManager.currentSession.key
        summary = server.control("/summary")
        assert (summary["logins"], summary["logouts"], summary["sessions"]) == (1, 1, [])


def test_a_wrong_password_is_pyvmomis_own_fault(server: Server) -> None:
    with pytest.raises(vim.fault.InvalidLogin) as caught, connected(server, pwd="wrong"):
        pass
    fault: Any = caught.value
    assert fault.msg == "Cannot complete login due to an incorrect user name or password."


# ---- sessions -------------------------------------------------------------------------------------------------------


def test_keep_alive_and_coming_back(tmp_path: pathlib.Path) -> None:
    """A call now and then keeps a session; a stub that may log in again does so when the session has ended."""
    scenario = tmp_path / "idle.yml"
    scenario.write_text("name: idle\nvcenter: {options: {session_idle_timeout: 2.5}}\nhosts: [{count: 1}]\n")
    with served(str(scenario)) as server:
        with connected(server) as si:
            key = si.content.sessionManager.currentSession.key
            for _turn in range(5):
                time.sleep(0.6)
                si.CurrentTime()
            assert si.content.sessionManager.currentSession.key == key
            (seen,) = server.control("/summary")["sessions"]
            assert seen["key"] == key and seen["idle_s"] < 2.5
            time.sleep(2.8)
            with pytest.raises(vim.fault.NotAuthenticated):
                si.content.sessionManager.sessionList  # noqa: B018
            assert server.control("/summary")["sessions"] == []
        login = VimSessionOrientedStub.makeUserLoginMethod(server.username, server.password)
        stub = VimSessionOrientedStub(SmartStubAdapter(server.hostname, server.port, sslContext=trusted(server)), login)
        again: Any = vim.ServiceInstance("ServiceInstance", stub)
        first = again.content.sessionManager.currentSession.key
        server.control("/fault", {"expire_session": True})
        expired = again.content.sessionManager.currentSession
        assert expired is None, "what may be read without a session says that there is none"
        assert again.content.rootFolder.name == "Datacenters", "what may not makes the stub log in again"
        assert again.content.sessionManager.currentSession.key not in (first, key)
        again.content.sessionManager.Logout()
        summary = server.control("/summary")
        assert (summary["logins"], summary["sessions"], server.control("/errors")) == (3, [], [])


def test_the_list_of_sessions(server: Server) -> None:
    with connected(server) as one, connected(server) as two:
        first, second = (si.content.sessionManager.currentSession.key for si in (one, two))
        manager = one.content.sessionManager
        assert {session.key for session in manager.sessionList} == {first, second}
        assert manager.SessionIsActive(second, server.username) and not manager.SessionIsActive(second, "nobody")
        Disconnect(two)
        assert [session.key for session in manager.sessionList] == [first] and not manager.SessionIsActive(second, server.username)


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_tasks_are_waited_for(server: Server, si: Any) -> None:
    host = container(si, vim.HostSystem).view[0]
    if host.vm:  # nobody else stops what runs there
        server.control("/act", {"do": "vm_power", "vm": "*", "on": False})
    progress: list[Any] = []
    task = host.EnterMaintenanceMode_Task(0, False)
    assert WaitForTask(task, si=si, maxWaitTime=10, onProgressUpdate=lambda _task, done: progress.append(done)) == "success"
    assert progress[0] == "created" and progress[-1] == "completed"
    info = task.info
    assert (info.state, info.entity, info.entityName, info.error) == ("success", host, host.name, None)
    assert info.descriptionId == "HostSystem.enterMaintenanceMode" and info.name.info.wsdlName == "EnterMaintenanceMode_Task"
    assert info.queueTime <= info.startTime <= info.completeTime
    assert host.runtime.inMaintenanceMode and server.control("/state")["hosts"][host.name]["maintenance"]
    with pytest.raises(vim.fault.InvalidState):
        WaitForTask(host.EnterMaintenanceMode_Task(0, False), si=si)
    assert WaitForTask(host.EnterMaintenanceMode_Task(0, False), raiseOnError=False, si=si) == "error"
    results: list[Any] = []
    WaitForTasks([host.ExitMaintenanceMode_Task(0)], si=si, results=results)
    assert results == [None] and not server.control("/state")["hosts"][host.name]["maintenance"]
    assert {one.info.key for one in si.content.taskManager.recentTask} >= {task.info.key}


# ---- reading --------------------------------------------------------------------------------------------------------


def test_the_samples_way_to_read(server: Server, si: Any) -> None:
    hosts = server.control("/state")["hosts"]
    view = container(si, vim.HostSystem)
    paths = [
        "name",
        "summary.hardware.uuid",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "config.dateTimeInfo",
        "config.service",
    ]
    rows = {row["name"]: row for row in collect(si, view, vim.HostSystem, paths)}
    view.Destroy()
    assert set(rows) == set(hosts)
    states = {"connected": "connected", "disconnected": "disconnected", "not_responding": "notResponding"}
    for name, host in hosts.items():
        row = rows[name]
        found = (row["obj"]._moId, row["summary.hardware.uuid"], row["runtime.connectionState"], row["runtime.inMaintenanceMode"])
        assert found == (host["moid"], host["uuid"], states[host["connection"]], host["maintenance"])
        time_info = row["config.dateTimeInfo"]
        assert list(time_info.ntpConfig.server) == host["time"]["servers"] and time_info.enabled == host["time"]["enabled"]
        services = {one.key: {"running": one.running, "policy": one.policy} for one in row["config.service"].service}
        assert services == host["services"]
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        view.view  # noqa: B018


def test_every_attribute_of_every_host(si: Any) -> None:
    """Read one by one (Fetch) all attributes come without an exception, with the declared type, and as the bulk read has them."""
    view = container(si, vim.HostSystem)
    bulk = {row["obj"]: row for row in collect(si, view, vim.HostSystem, [])}
    names = [info.name for info in vim.HostSystem._GetPropertyList() if VmomiSupport.IsChildVersion(si._stub.version, info.version)]
    assert len(names) > 25
    moving = {"config", "summary", "runtime"}
    for host in view.view:
        for name in names:
            value = getattr(host, name)
            info = vim.HostSystem._GetPropertyInfo(name)
            if value is None or (isinstance(value, list) and not value):
                assert not bulk[host].get(name), name
                continue
            assert isinstance(value, info.type), (name, type(value))
            if name not in moving:
                assert str(value) == str(bulk[host][name]), name
        assert {"name", "parent", "config", "summary", "runtime", "hardware", "capability", "configManager"} <= set(bulk[host])


def _reachable(si: Any) -> Iterator[Any]:
    """All managed objects that references lead to."""
    seen: set[str] = set()
    pending: list[Any] = [si]
    while pending:
        one = pending.pop()
        if str(one) in seen:
            continue
        seen.add(str(one))
        if isinstance(one, OFFERED) and one._moId not in BARE:
            yield one
            for info in one._GetPropertyList():
                if VmomiSupport.IsChildVersion(si._stub.version, info.version):
                    pending.extend(_references(getattr(one, info.name)))


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, PyManaged):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, (vim.ServiceInstanceContent, vim.host.ConfigManager)):
        for info in value._GetPropertyList():
            yield from _references(getattr(value, info.name))


def test_every_attribute_of_everything(server: Server, si: Any) -> None:
    """Following every reference from the service instance on, nothing that the simulator has refuses an attribute."""
    found = list(_reachable(si))
    hosts = server.control("/state")["hosts"]
    for kind, count in (
        (vim.HostSystem, len(hosts)),
        (vim.host.DateTimeSystem, len(hosts)),
        (vim.VirtualMachine, sum(host["vms"] for host in hosts.values())),
    ):
        assert sum(isinstance(one, kind) for one in found) == count, kind
    left = set(OFFERED) - {type(one) for one in found}
    missing = VCENTER_ONLY if server.control("/state")["kind"] == "esxi" else HOST_ONLY
    without_vms = set() if any(host["vms"] for host in hosts.values()) else {vim.VirtualMachine}
    assert left == MADE_BY_A_CALL | missing | without_vms
