# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over the wire: discovery, sessions, faults, versions, as facts.md 5.1 and 6 have it."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import ssl
import time
import uuid
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from tests.simulator import Simulator, soap
from tests.simulator.registry import Managed
from tests.unit.simulator.conftest import Raw, client, read, tls


def test_pyvmomi_negotiates_connects_and_reads(sim: Simulator, si: Any) -> None:
    assert si._stub.version == VmomiSupport.versionMap["vim25/8.0.3.0"]
    about = si.content.about
    assert (about.apiType, about.productLineId, about.version) == ("VirtualCenter", "vpx", "8.0.3")
    assert about.instanceUuid and about.licenseProductName == "VMware VirtualCenter Server"
    view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.HostSystem], True)
    assert [host.name for host in view.view] == ["esx-01.example.com", "esx-02.example.com", "esx-03.example.com"]
    host = view.view[0]
    for name in ("config", "summary", "runtime", "hardware", "capability", "configManager", "parent", "datastore", "network", "vm"):
        assert getattr(host, name), name
    assert host.configManager.dateTimeSystem._moId == f"dateTimeSystem-{host._moId.rpartition('-')[2]}"
    assert isinstance(host.parent, vim.ClusterComputeResource)


def test_every_required_property_of_every_object_has_a_value(sim: Simulator, si: Any) -> None:
    content = si.content
    objects = [content.rootFolder, content.sessionManager, content.eventManager, content.taskManager, content.authorizationManager, si]
    view = content.viewManager.CreateContainerView(content.rootFolder, [], True)
    objects += list(view.view) + [view]
    host = next(one for one in view.view if isinstance(one, vim.HostSystem))
    manager = host.configManager
    objects += [
        manager.dateTimeSystem,
        manager.serviceSystem,
        manager.firewallSystem,
        manager.networkSystem,
        manager.virtualNicManager,
        manager.advancedOption,
        manager.storageSystem,
        manager.vsanSystem,
    ]
    kinds = {type(one).__name__ for one in objects}
    assert {
        "vim.Folder",
        "vim.Datacenter",
        "vim.ClusterComputeResource",
        "vim.ResourcePool",
        "vim.Datastore",
        "vim.Network",
        "vim.VirtualMachine",
    } <= kinds
    for one in objects:
        for info in type(one)._GetPropertyList():
            if not VmomiSupport.IsChildVersion(si._stub.version, info.version):
                continue
            value = getattr(one, info.name)
            if not info.flags & VmomiSupport.F_OPTIONAL:
                assert value is not None, f"{type(one).__name__}.{info.name}"


def test_versions_file_lists_the_product_and_what_is_older(sim: Simulator) -> None:
    with Raw(sim) as raw:
        reply = raw.get("/sdk/vimServiceVersions.xml")
        assert reply.status == 200
        assert re.findall("<version>(.*?)</version>", reply.body)[:4] == ["8.0.3.0", "8.0.2.0", "8.0.1.0", "8.0.0.2"]
        assert raw.get("/sdk/vimService.wsdl").status == 404
        assert raw.get("/").status == 404
        assert raw.post("<x/>", path="/other").status == 404


def test_a_hand_written_login_gets_its_cookie_and_its_response(sim: Simulator) -> None:
    with Raw(sim) as raw:
        reply = raw.login(sim)
        assert reply.status == 200
        assert re.fullmatch(r'vmware_soap_session="[0-9a-f]{40}"; Path=/; HttpOnly; Secure;\s*', reply.headers["set-cookie"])
        key = re.search('<LoginResponse xmlns="urn:vim25"><returnval><key>(.*?)</key>', reply.body)
        assert key and uuid.UUID(key.group(1)) and key.group(1) != reply.cookie
        ask = '<Fetch xmlns="urn:vim25"><_this type="Folder">group-d1</_this><prop>name</prop></Fetch>'
        # Clients echo the cookie with its attributes; a header of that name alone is no part of the protocol.
        assert "Datacenters" in raw.post(ask, cookie=reply.headers["set-cookie"]).body
        assert "Datacenters" in raw.post(ask, cookie=f"vmware_soap_session={reply.cookie}").body
        refused = raw.post(ask, more={"vmware_soap_session": key.group(1)})
        assert refused.status == 500 and "NotAuthenticatedFault" in refused.body and "System." in refused.body


def test_login_works_with_chunks_and_without_soapaction(sim: Simulator) -> None:
    with Raw(sim) as raw:
        envelope = (
            f'<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this><userName>{sim.username}</userName>'
            f"<password>{sim.password}</password></Login>"
        )
        assert raw.post(envelope, chunked=True).status == 200
        assert raw.post(envelope, action=None).status == 200


def test_a_wrong_password_is_a_fault_with_a_worthless_cookie(sim: Simulator) -> None:
    with Raw(sim) as raw:
        reply = raw.login(sim, password="wrong")
        assert reply.status == 500 and "InvalidLoginFault" in reply.body and "vmware_soap_session" in reply.headers["set-cookie"]
        assert "Cannot complete login due to an incorrect user name or password." in reply.body
        assert "wrong" not in str(sim.journal[-1])
    with pytest.raises(vim.fault.InvalidLogin):
        SmartConnect(host=sim.hostname, port=sim.port, user="nobody", pwd="x", sslContext=tls(sim))
    assert (sim.summary()["failed_logins"], sim.summary()["logins"]) == (2, 0)


def test_anonymous_calls_and_nothing_else(sim: Simulator) -> None:
    with Raw(sim) as raw:
        for method in ("RetrieveServiceContent", "CurrentTime"):
            assert raw.post(f'<{method} xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></{method}>').status == 200
        reply = raw.post('<QueryDateTime xmlns="urn:vim25"><_this type="HostDateTimeSystem">dateTimeSystem-11</_this></QueryDateTime>')
        assert reply.status == 500 and "NotAuthenticatedFault" in reply.body


def test_unknown_objects_methods_and_broken_requests(sim: Simulator) -> None:
    with Raw(sim) as raw:
        cookie = raw.login(sim).headers["set-cookie"]

        def fault(inner: str) -> str:
            reply = raw.post(inner, cookie=cookie)
            assert reply.status == 500
            return re.search(r"<detail><(\w+)Fault", reply.body).group(1)  # type: ignore[union-attr]

        assert (
            fault('<Fetch xmlns="urn:vim25"><_this type="HostSystem">host-999</_this><prop>name</prop></Fetch>') == "ManagedObjectNotFound"
        )
        assert fault('<Explode xmlns="urn:vim25"><_this type="HostSystem">host-11</_this></Explode>') == "MethodNotFound"
        assert (
            fault('<CryptoUnlock_Task xmlns="urn:vim25"><_this type="HostSystem">host-11</_this></CryptoUnlock_Task>') == "MethodNotFound"
        )
        assert (
            fault('<EnableRuleset xmlns="urn:vim25"><_this type="HostFirewallSystem">firewallSystem-11</_this></EnableRuleset>')
            == "InvalidRequest"
        )
        assert (
            fault('<EnableRuleset xmlns="urn:vim25"><_this type="HostFirewallSystem">firewallSystem-11</_this><idd>x</idd></EnableRuleset>')
            == "InvalidRequest"
        )
        assert fault('<Fetch xmlns="urn:vim25"><_this type="HostSystem">host-11</_this><prop>nmae</prop></Fetch>') == "InvalidProperty"
        assert fault("<broken") == "InvalidRequest"


SCRAPS = (
    "", "x", "true", "-1", "99999", "2026-01-01T00:00:00Z", "&lt;", "sshServer", "ntpd", "<a/>", "<config/>", "<protocol>ptp</protocol>",
    "<server>ntp1.example.com</server>", "<enabled>true</enabled>", "<allowedHosts><allIp>true</allIp></allowedHosts>",
    "<ntpConfig><server/></ntpConfig>", "<maxObjects>0</maxObjects>", "<propSet><type>Foo</type></propSet>",
    "<propSet><type>HostSystem</type><pathSet>config</pathSet></propSet><objectSet><obj type=\"HostSystem\">host-11</obj></objectSet>",
    "<propSet><type>ManagedEntity</type><all>true</all></propSet><objectSet><obj type=\"Folder\">group-d1</obj><selectSet "
    "xsi:type=\"TraversalSpec\"><type>Folder</type><path>childEntity</path><selectSet><name>b</name></selectSet></selectSet></objectSet>",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_no_request_makes_the_simulator_stumble(sim: Simulator, seed: int) -> None:
    """Every operation with arguments of any kind on any object: an answer or a fault, never an internal error (see the sim fixture)."""
    dice = random.Random(seed)
    skipped = {*soap.UNLISTED, "Logout", "WaitForUpdates", "TerminateSession", "DisconnectHost_Task", "WaitForUpdatesEx"}
    operations = [(family, name) for family in Managed.FAMILIES for name in family.OPERATIONS if name not in skipped]
    managers = (
        "dateTimeSystem",
        "serviceSystem",
        "firewallSystem",
        "networkSystem",
        "virtualNicManager",
        "EsxHostAdvSettings",
        "vsanSystem",
        "CryptoManagerHost",
        "imageConfigManager",
        "patchManager",
    )
    moids = [*sim.world.objects, *(f"{name}-11" for name in managers)]
    with Raw(sim) as raw:
        cookie = raw.login(sim).headers["set-cookie"]
        for _index in range(250):
            family, name = dice.choice(operations)
            fitting = [moid for moid in moids if isinstance(sim.world.find(moid), family)]
            arguments = []
            for parameter in VmomiSupport.GetWsdlMethod("urn:vim25", name).info.params:
                kind = parameter.type.Item if issubclass(parameter.type, list) else parameter.type
                value, attribute = dice.choice(SCRAPS), ""
                if issubclass(kind, VmomiSupport.ManagedObject):
                    # Some calls take objects away.
                    value = dice.choice([moid for moid in moids if sim.world.find(moid) is not None])
                    target = sim.world.find(value)
                    assert target is not None
                    attribute = f' type="{target.label.partition(":")[0]}"'
                if dice.random() < 0.9:
                    arguments.append(f"<{parameter.name}{attribute}>{value}</{parameter.name}>")
            this = f'<_this type="{VmomiSupport.GetWsdlName(family.TYPE)}">{dice.choice(fitting or moids)}</_this>'
            action = dice.choice([None, "urn:vim25/6.7", "urn:vim25/8.0.3.0"])
            assert raw.post(f'<{name} xmlns="urn:vim25">{this}{"".join(arguments)}</{name}>', cookie=cookie, action=action).status in (
                200,
                500,
            )


def test_an_answer_is_one_write_and_fast(sim: Simulator, si: Any) -> None:
    folder = si.content.rootFolder
    assert folder.name == "Datacenters"
    started = time.monotonic()
    for _index in range(100):
        assert folder.name
    assert time.monotonic() - started < 2.0  # 4.5 s with Nagle and delayed ACK


@pytest.mark.parametrize(("accept", "gzipped"), [("gzip, deflate", True), ("", False)])
def test_large_replies_are_compressed_for_who_asks(sim: Simulator, accept: str, gzipped: bool) -> None:
    with Raw(sim) as raw:
        cookie = raw.login(sim).headers["set-cookie"]
        ask = '<Fetch xmlns="urn:vim25"><_this type="HostSystem">host-11</_this><prop>config</prop></Fetch>'
        reply = raw.post(ask, cookie=cookie, more={"Accept-Encoding": accept or "identity"})
        assert (reply.headers.get("content-encoding") == "gzip") is gzipped
        assert sim.journal[-1].bytes_out == int(reply.headers["content-length"])
        assert len(reply.body) > 20_000


@pytest.mark.parametrize(
    ("profile", "option", "expected"), [("8.0.2", None, False), ("8.0.3", None, True), ("8.0.3", False, False), ("8.0.2", True, True)]
)
def test_compression_depends_on_the_release(profile: str, option: bool | None, expected: bool) -> None:
    settings: dict[str, Any] = {"profile": profile, "options": {} if option is None else {"gzip": option}}
    with Simulator({"vcenter": settings, "hosts": [{}]}) as sim, Raw(sim) as raw:
        reply = raw.post(
            '<RetrieveServiceContent xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent>',
            more={"Accept-Encoding": "gzip"},
        )
        assert (reply.headers.get("content-encoding") == "gzip") is expected


def test_service_content_of_a_stand_alone_host() -> None:
    with Simulator("standalone") as sim, client(sim) as si:
        content = si.content
        assert (content.rootFolder._moId, content.propertyCollector._moId) == ("ha-folder-root", "ha-property-collector")
        assert (content.sessionManager._moId, content.searchIndex._moId) == ("ha-sessionmgr", "ha-searchindex")
        assert content.alarmManager is None and content.about.apiType == "HostAgent" and content.about.instanceUuid is None
        (moid, values), *rest = read(si, ["name", "configManager.dateTimeSystem", "parent"]).items()
        assert not rest and moid == "ha-host"
        assert values["configManager.dateTimeSystem"]._moId == "dateTimeSystem"
        assert values["parent"]._moId == "ha-compute-res"
        # The anonymous CurrentTime is the host's own clock there.
        assert abs((si.CurrentTime() - values["configManager.dateTimeSystem"].QueryDateTime()).total_seconds()) < 1
        assert sim.errors == []


def test_newer_properties_are_hidden_from_older_clients(sim: Simulator) -> None:
    with client(sim, version="vim25/7.0.3.0") as si:
        host = si.content.searchIndex.FindByDnsName(None, "esx-01.example.com", False)
        rows = host.config.firewall.ruleset
        assert {row.userControllable for row in rows} == {None}
        assert host.config.dateTimeInfo.enabled is True
    with client(sim, version="vim25/6.7") as si:
        host = si.content.searchIndex.FindByDnsName(None, "esx-01.example.com", False)
        assert host.config.dateTimeInfo.enabled is None
    with Raw(sim) as raw:
        cookie = raw.login(sim).headers["set-cookie"]
        test = '<TestTimeService xmlns="urn:vim25"><_this type="HostDateTimeSystem">dateTimeSystem-11</_this></TestTimeService>'
        assert "MethodNotFoundFault" in raw.post(test, cookie=cookie, action="urn:vim25/6.7").body
        assert "TestTimeServiceResponse" in raw.post(test, cookie=cookie, action='"urn:vim25/9.9.0.0"').body


def test_older_products_do_not_have_newer_properties() -> None:
    hosts = [{"name": f"h-{profile}", "profile": profile} for profile in ("6.7", "7.0.0", "7.0.3", "8.0.3")]
    with Simulator({"vcenter": {"profile": "9.0"}, "hosts": hosts}) as sim, client(sim) as si:
        found = {
            row["name"]: row
            for row in read(
                si, ["name", "config.dateTimeInfo", "capability", "config.firewall.ruleset", "config.product.apiVersion"]
            ).values()
        }
        assert {name: row["config.dateTimeInfo"].enabled for name, row in found.items()} == {
            "h-6.7": None,
            "h-7.0.0": None,
            "h-7.0.3": True,
            "h-8.0.3": True,
        }
        assert {name: row["config.dateTimeInfo"].systemClockProtocol for name, row in found.items()} == {
            "h-6.7": None,
            "h-7.0.0": "ntp",
            "h-7.0.3": "ntp",
            "h-8.0.3": "ntp",
        }
        assert {name: row["capability"].timeConfigSupported for name, row in found.items()} == {
            "h-6.7": None,
            "h-7.0.0": None,
            "h-7.0.3": True,
            "h-8.0.3": True,
        }
        assert {name: row["config.firewall.ruleset"][0].userControllable is None for name, row in found.items()} == {
            "h-6.7": True,
            "h-7.0.0": True,
            "h-7.0.3": True,
            "h-8.0.3": False,
        }
        assert found["h-6.7"]["config.product.apiVersion"] == "6.7"
        # A path that the client's API has and the host's has not is left out, no fault.
        assert [row.get("config.dateTimeInfo.enabled") for row in read(si, ["config.dateTimeInfo.enabled"]).values()] == [
            None,
            None,
            True,
            True,
        ]
        assert sim.errors == []


def test_sessions_are_listed_idle_out_and_end(sim: Simulator) -> None:
    with client(sim) as one, client(sim) as two:
        manager = one.content.sessionManager
        mine, other = manager.currentSession, two.content.sessionManager.currentSession
        assert {item.key for item in manager.sessionList} == {mine.key, other.key}
        assert mine.userName == sim.username and mine.callCount > 0
        assert manager.SessionIsActive(other.key, sim.username) is True
        manager.TerminateSession([other.key])
        assert manager.SessionIsActive(other.key, sim.username) is False
        with pytest.raises(vim.fault.NotAuthenticated):
            print(two.content.rootFolder.name)
        with pytest.raises(vim.fault.NotFound):
            manager.TerminateSession([other.key])
        assert [item["user"] for item in sim.summary()["sessions"]] == [sim.username]
    assert sim.summary()["sessions"] == []


def test_idle_sessions_expire_and_their_number_is_limited() -> None:
    options = {"session_idle_timeout": 0.2, "max_sessions": 2}
    with Simulator({"vcenter": {"options": options}, "hosts": [{}]}) as sim, client(sim) as si:
        time.sleep(0.3)
        with pytest.raises(vim.fault.NotAuthenticated):
            print(si.content.rootFolder.name)
        with client(sim), client(sim), Raw(sim) as raw:
            assert raw.login(sim).status == 500


def test_the_serialiser_is_pyvmomis_twin() -> None:
    from tests.simulator import versions, xmlwrite
    from tests.simulator.plain import data

    api = versions.APIS["8.0.3.0"]
    array = VmomiSupport.GetVmodlType
    values = [
        data("vim.host.Service", key="a<&", label="l", required=False, uninstallable=False, running=True, policy="on", ruleset=["x", "y"]),
        True, 5, VmomiSupport.long(5), "a&b", VmomiSupport.short(-32634), VmomiSupport.double(1.5), VmomiSupport.binary(b"abc"),
        array("vim.HostSystem[]")([vim.HostSystem("h")]), array("vim.host.Service[]")([]), array("string[]")(["a", "<"]), array("int[]")([1, 2]),
        vim.HostSystem.ConnectionState.connected, vmodl.KeyAnyValue(key="a", value=3),
        vim.Folder._GetPropertyInfo("childType").type([vim.HostSystem]),
        vim.TaskInfo(
            key="k", task=vim.Task("t"), descriptionId="x", state="error", cancelled=False, cancelable=False, eventChainId=1,
            reason=vim.TaskReasonUser(userName="u"), queueTime=SoapAdapter.Iso8601.ParseISO8601("2026-01-02T03:04:05.678901Z"),
            error=vim.fault.NotFound(msg="nf"),
        ),
    ]  # fmt: skip
    for value in values:
        info = VmomiSupport.Object(name="val", type=object, version="vim.version.version1", flags=VmomiSupport.F_OPTIONAL)
        theirs = SoapAdapter.SerializeToStr(value, info, api.version, {**SoapAdapter.SOAP_NSMAP, "urn:vim25": ""})
        assert xmlwrite.any_element("val", value, None, api) == re.sub(' versionId="[^"]*"', "", theirs)


@pytest.mark.parametrize(("kind", "message"), [("expired", "expired"), ("wrong_name", "match|IP address")])
def test_bad_certificates_are_refused_by_clients(kind: str, message: str) -> None:
    refused = pytest.raises(ssl.SSLCertVerificationError, match=message)
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(Simulator({"tls": {"certificate": kind}, "hosts": [{}]}))
        stack.enter_context(refused)
        stack.enter_context(Raw(sim)).get("/sdk/vimServiceVersions.xml")


def test_silent_tls_never_answers_and_stops_cleanly() -> None:
    with Simulator({"tls": {"handshake": "silent"}, "hosts": [{}]}) as sim:
        with socket.create_connection((sim.hostname, sim.port)) as plain, pytest.raises(TimeoutError):
            plain.settimeout(0.3)
            tls(sim).wrap_socket(plain, server_hostname=sim.hostname)
        started = time.monotonic()
    assert time.monotonic() - started < 1


def test_the_thumbprint_is_the_certificates(sim: Simulator) -> None:
    import hashlib

    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((sim.hostname, sim.port)))
    assert hashlib.sha256(der).hexdigest().upper() == sim.thumbprint.replace(":", "")


def test_garbage_on_the_port_disturbs_nobody(sim: Simulator, si: Any) -> None:
    with tls(sim).wrap_socket(socket.create_connection((sim.hostname, sim.port)), server_hostname=sim.hostname) as raw:
        raw.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b"400" in raw.recv(100)
    with socket.create_connection((sim.hostname, sim.port)) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
    connection = http.client.HTTPSConnection(sim.hostname, sim.port, context=tls(sim))
    connection.request("POST", "/sdk", body=b"x", headers={"Content-Length": "nonsense"})
    assert connection.getresponse().status == 400
    assert si.content.rootFolder.name == "Datacenters"
