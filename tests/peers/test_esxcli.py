# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Software of hosts as others reach it: the real curl with the envelopes of facts.md 5.2 (those that govc sends), and community.vmware's
modules for acceptance levels, packages, firewalls and files of datastores."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import pytest

from tests.bench.measure import Server
from tests.peers.clients import tell
from tests.peers.conftest import Servers
from tests.unit.simulator import vibs

VIM, SOAP, XSI = "{urn:vim25}", "{http://schemas.xmlsoap.org/soap/envelope/}", "{http://www.w3.org/2001/XMLSchema-instance}"
READY, PARTNER, SECURE = (f"port-{number:02d}.example.com" for number in (1, 2, 3))
STORE, CENTER = "datastore-DC1", "DC1"
PLACES = {  # scenario: manager of sessions, datacenter, datastore, a host
    "custom_ports": ("SessionManager", CENTER, STORE, READY),
    "standalone_custom_ports": ("ha-sessionmgr", "ha-datacenter", "datastore1", "esx-alone.example.com"),
}
LEVEL, PACKAGES = "community.vmware.vmware_host_acceptance", "community.vmware.vmware_host_package_info"
LEVELS, COPY, FILE = "community.vmware.vmware_host_acceptance_info", "community.vmware.vsphere_copy", "community.vmware.vsphere_file"
RULES, OPENED = "community.vmware.vmware_host_firewall_manager", "community.vmware.vmware_host_firewall_info"


class Shell:
    """Somebody with curl and an XML parser, and nothing else."""

    def __init__(self, folder: pathlib.Path, server: Server, scenario: str) -> None:
        self.folder, self.server = folder, server
        self.manager, self.center, self.store, self.host = PLACES[scenario]
        self.jar = str(folder / "jar")

    def curl(self, *options: str, url: str | None = None) -> tuple[int, str]:
        text = self.folder / "answer"
        text.write_bytes(b"")
        command = [
            "curl",
            "--disable",
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--cacert",
            self.server.ca_file,
            "--cookie",
            self.jar,
        ]
        command += ["--cookie-jar", self.jar, "--output", str(text), "--write-out", "%{http_code}", *options, url or self.server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return int(done.stdout), text.read_text()

    def soap(self, body: str) -> ET.Element:
        """What stands in the SOAP body of the answer."""
        sent = self.folder / "request.xml"
        sent.write_text(f'<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>{body}</Body></Envelope>')
        headers = ["--header", "Content-Type: text/xml", "--header", 'SOAPAction: "urn:vim25/8.0.3.0"']
        _status, text = self.curl("--data-binary", f"@{sent}", *headers)
        (content,) = ET.fromstring(text).find(f"{SOAP}Body")  # type: ignore[misc]
        return content

    def session(self, method: str, more: str = "") -> ET.Element:
        return self.soap(f'<{method} xmlns="urn:vim25"><_this type="SessionManager">{self.manager}</_this>{more}</{method}>')

    def login(self) -> None:
        more = f"<userName>{self.server.username}</userName><password>{self.server.password}</password>"
        assert self.session("Login", more).tag == f"{VIM}LoginResponse"

    @property
    def moid(self) -> str:
        return str(self.server.control("/state")["hosts"][self.host]["moid"])

    def executer(self) -> str:
        ask = (
            f'<RetrieveManagedMethodExecuter xmlns="urn:vim25"><_this type="HostSystem">{self.moid}</_this></RetrieveManagedMethodExecuter>'
        )
        found = self.soap(ask).findtext(f"{VIM}returnval")
        assert found
        return found

    def esxcli(self, command: str, **arguments: str) -> tuple[str, list[dict[str, list[str]]]]:
        """The kind of the answer and its rows; of a refusal the fault's kind and its lines."""
        namespace = command.rpartition(".")[0].replace(".", "-")
        rows = "".join(
            f"<argument><name>{name}</name><val>{escape(f'<{name}>{escape(value)}</{name}>')}</val></argument>"
            for name, value in arguments.items()
        )
        reply = self.soap(
            f'<ExecuteSoap xmlns="urn:vim25"><_this type="ManagedMethodExecuter">{self.executer()}</_this>'
            f"<moid>ha-cli-handler-{namespace}</moid><version>urn:vim25/5.0</version><method>vim.EsxCLI.{command}</method>{rows}</ExecuteSoap>"
        )
        assert reply.tag == f"{VIM}ExecuteSoapResponse", ET.tostring(reply)
        refused = reply.findtext(f"{VIM}returnval/{VIM}fault/{VIM}faultDetail")
        if refused is not None:
            fault = ET.fromstring(refused).find(f"{VIM}fault")
            assert fault is not None
            return fault.get(f"{XSI}type", ""), [{"errMsg": [row.text or "" for row in fault.iter(f"{VIM}errMsg")]}]
        root = ET.fromstring(reply.findtext(f"{VIM}returnval/{VIM}response") or "")
        many = root.get(f"{XSI}type") == "ArrayOfDataObject"
        found = []
        for row in root.findall(f"{VIM}DataObject") if many else [root]:
            fields: dict[str, list[str]] = {}
            for part in row:
                fields.setdefault(part.tag.removeprefix(VIM), []).append(part.text or "")
            found.append(fields if len(row) else {"": [row.text or ""]})
        return root.get(f"{XSI}type", ""), found

    def folder_url(self, path: str) -> str:
        base = self.server.url.removesuffix("/sdk")
        return f"{base}/folder/{path}?dcPath={self.center}&dsName={self.store}"


@pytest.fixture(params=sorted(PLACES))
def shell(request: pytest.FixtureRequest, serve: Servers, tmp_path: pathlib.Path) -> Iterator[Shell]:
    assert shutil.which("curl"), "curl is part of every machine that runs these tests"
    made = Shell(tmp_path, serve.fresh(request.param), request.param)
    made.login()
    yield made
    assert made.session("Logout").tag == f"{VIM}LogoutResponse"


def test_a_port_from_the_file_to_the_firewall(shell: Shell) -> None:
    """Upload, install, refresh, look; a boot; remove. Nothing but curl."""
    package = shell.folder / "ports.vib"
    package.write_bytes(vibs.vib())
    upload = shell.folder_url("vibs/ports.vib")
    assert shell.curl("--upload-file", str(package), url=upload)[0] == 201
    assert shell.curl("--head", url=upload)[0] == 200
    path = f"/vmfs/volumes/{shell.store}/vibs/ports.vib"
    kind, (result,) = shell.esxcli("software.vib.install", viburl=path)
    assert kind == "VimEsxCLIsoftwarevibinstallInstallationResult"
    assert (result["Message"], result["RebootRequired"]) == (["Operation finished successfully."], ["false"])
    assert result["VIBsInstalled"] == ["Example_bootbank_ports_1.0.0-1"]
    assert shell.esxcli("network.firewall.ruleset.rule.list", rulesetid="appPorts")[0] == "VimEsxCLICLIFault"
    assert shell.esxcli("network.firewall.refresh")[0] == "xsd:boolean"
    _kind, (rule,) = shell.esxcli("network.firewall.ruleset.rule.list", rulesetid="appPorts")
    assert (rule["PortBegin"], rule["PortEnd"], rule["Direction"]) == (["8080"], ["8080"], ["Inbound"])
    shell.server.control("/act", {"do": "reboot_host", "host": shell.host})
    until = time.monotonic() + 10
    while not shell.server.control("/state")["hosts"][shell.host]["powered_on"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    if shell.center == "ha-datacenter":
        shell.login()  # a host's boot has ended its sessions
    _kind, (still,) = shell.esxcli("network.firewall.ruleset.list", rulesetid="appPorts")
    assert still["Enabled"] == ["true"]
    _kind, (removed,) = shell.esxcli("software.vib.remove", vibname="ports")
    assert removed["VIBsRemoved"] == ["Example_bootbank_ports_1.0.0-1"]
    assert shell.curl("--request", "DELETE", url=upload)[0] == 204
    assert shell.curl("--request", "DELETE", url=upload)[0] == 404


def test_lists_and_refusals(shell: Shell) -> None:
    kind, rows = shell.esxcli("software.vib.list")
    assert kind == "ArrayOfDataObject" and {"esx-base", "vsan"} <= {row["Name"][0] for row in rows}
    assert shell.esxcli("software.acceptance.get") == ("xsd:string", [{"": ["CommunitySupported"]}])
    kind, (fault,) = shell.esxcli("software.acceptance.set", level="VMwareCertified")
    assert kind == "VimEsxCLICLIFault" and fault["errMsg"][0] == "[AcceptanceConfigError]"
    assert "having a lower acceptance level." in fault["errMsg"][1]
    assert shell.esxcli("software.vib.install", viburl="/vmfs/volumes/none/x.vib")[1][0]["errMsg"][0] == "[VibDownloadError]"


# ---- community.vmware ----------------------------------------------------------------------------------------------------------------
def test_acceptance_levels_and_packages(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("custom_ports")
    lower = {LEVEL: {"esxi_hostname": PARTNER, "state": "community"}}
    cluster, ready, checked, done, again, refused, packages = tell(
        tmp_path,
        server,
        {LEVELS: {"cluster_name": "Ports"}, "ignore_errors": True},
        {LEVELS: {"esxi_hostname": READY}},
        {**lower, "check_mode": True},
        lower,
        lower,
        {LEVEL: {"esxi_hostname": SECURE, "state": "community"}},
        {PACKAGES: {"esxi_hostname": READY}},
    )
    assert cluster.failed, "a disconnected host among the others ends theirs"
    assert ready.result["host_acceptance_info"][READY]["level"] == "community"
    assert (checked.changed, checked.writes) == (True, [])
    assert (done.changed, done.writes) == (True, [(PARTNER, "UpdateHostImageAcceptanceLevel")])
    assert not again.changed
    assert "Secure Boot" in refused.result["facts"][SECURE]["error"] and not refused.changed
    rows: dict[str, Any] = {row["name"]: row for row in packages.result["hosts_package_info"][READY]}
    assert rows["amsv"]["acceptance_level"] == "partner" and rows["esx-base"]["maintenance_mode_required"] is True
    assert rows["esx-base"]["creation_date"].startswith("2024-05-21")


def test_files_go_up_and_come_down(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("custom_ports")
    package = tmp_path / "ports.vib"
    package.write_bytes(vibs.vib())
    where = {"hostname": f"{server.hostname}:{server.port}", "datacenter": CENTER, "datastore": STORE}

    def copy(path: str, **more: str) -> dict[str, Any]:
        return {COPY: {**where, "src": str(package), "path": path, **more}}

    def file(path: str, state: str) -> dict[str, Any]:
        return {FILE: {**where, "path": path, "state": state}}

    new, over, found, touched, made, there, gone, absent, full = tell(
        tmp_path,
        server,
        copy("vibs/ports.vib"),
        copy("vibs/ports.vib"),
        file("vibs/ports.vib", "file"),
        file("vibs/new", "touch"),
        file("other", "directory"),
        file("other", "directory"),
        file("vibs/ports.vib", "absent"),
        file("vibs/ports.vib", "absent"),
        {**copy("x", datastore="full"), "ignore_errors": True},
    )
    assert (new.result["status"], over.result["status"], touched.result["status"]) == (201, 200, 201)
    assert found.result["size"] == package.stat().st_size
    assert made.changed and not there.changed
    assert (gone.changed, gone.result["status"], absent.changed) == (True, 204, False)
    assert full.failed


def test_a_ruleset_of_a_package_is_like_any_other(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("custom_ports")
    action = {"do": "install_software", "host": READY, "name": "agent", "acceptance": "community"}
    server.control("/act", {**action, "rulesets": [{"key": "agent", "rules": ["in tcp 9443"], "enabled": False}]})
    rule = {"name": "agent", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": ["192.0.2.7"], "ip_network": []}}
    change, look = {RULES: {"esxi_hostname": READY, "rules": [rule]}}, {OPENED: {"esxi_hostname": READY}}
    done, again, told = tell(tmp_path, server, change, change, look)
    assert done.changed and not again.changed
    (row,) = (row for row in told.result["hosts_firewall_info"][READY] if row["key"] == "agent")
    assert (row["enabled"], row["allowed_hosts"]["ip_address"]) == (True, ["192.0.2.7"])
    assert [(one["port"], one["direction"]) for one in row["rule"]] == [(9443, "inbound")]
