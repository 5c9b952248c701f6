# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli over SOAP as govc speaks it: envelopes by hand, answers read with an XML parser, as govmomi's cli/esx reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

from tests.simulator import Simulator
from tests.simulator.objects import esxcli
from tests.unit.simulator import vibs
from tests.unit.simulator.conftest import Raw, Reply

NEW, OLD, GONE = "esx-01.example.com", "esx-02.example.com", "esx-03.example.com"
STORE = "datastore-DC1"
PORTS, BUNDLE = f"/vmfs/volumes/{STORE}/ports.vib", f"/vmfs/volumes/{STORE}/ports.zip"
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"


@pytest.fixture(scope="module")
def scenario() -> Any:
    return {
        "users": {"administrator@vsphere.local": {}, "looker@vsphere.local": {"privileges": []}},
        "hosts": [
            {"name": NEW, "acceptance": "community", "secure_boot": False, "tpm": {"version": "2.0"}},
            {"name": OLD, "profile": "6.7", "acceptance": "community"},
            {"name": GONE, "state": "disconnected"},
        ],
    }


@dataclass
class Told:
    """What govc makes of an answer: rows of fields, or a text, or a fault's lines."""

    kind: str = ""
    rows: list[dict[str, list[str]]] = field(default_factory=list)
    text: str = ""
    faults: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def row(self) -> dict[str, list[str]]:
        assert len(self.rows) == 1, self
        return self.rows[0]


class Govc:
    def __init__(self, raw: Raw, sim: Simulator) -> None:
        self.raw = raw
        self.sim = sim
        self.cookie = f'vmware_soap_session="{raw.login(sim).cookie}"'

    def post(self, inner: str) -> Reply:
        return self.raw.post(inner, cookie=self.cookie)

    def executer(self, host: str) -> str:
        moid = next(item.moid for item in self.sim.world.hosts if item.state.name == host)
        ask = '<{0} xmlns="urn:vim25"><_this type="HostSystem">{1}</_this></{0}>'
        assert 'type="DynamicTypeManager"' in self.post(ask.format("RetrieveDynamicTypeManager", moid)).body
        reply = ElementTree.fromstring(self.post(ask.format("RetrieveManagedMethodExecuter", moid)).body)
        found = next(row for row in reply.iter("{urn:vim25}returnval"))
        assert found.get("type") == "ManagedMethodExecuter" and found.text
        return found.text

    def soap(self, host: str, moid: str, method: str, **arguments: Any) -> Reply:
        rows = []
        for name, given in arguments.items():
            listed = given if isinstance(given, list) else [given]
            value = "".join(f"<{name}>{escape(str(one))}</{name}>" for one in listed)
            rows.append(f"<argument><name>{name}</name><val>{escape(value)}</val></argument>")
        return self.post(
            f'<ExecuteSoap xmlns="urn:vim25"><_this type="ManagedMethodExecuter">{self.executer(host)}</_this><moid>{moid}</moid>'
            f"<version>urn:vim25/5.0</version><method>{method}</method>{''.join(rows)}</ExecuteSoap>"
        )

    def __call__(self, command: str, host: str = NEW, **arguments: Any) -> Told:
        namespace = command.rpartition(".")[0].replace(".", "-")
        reply = self.soap(host, f"ha-cli-handler-{namespace}", f"vim.EsxCLI.{command}", **arguments)
        assert reply.status == 200, reply.body
        return told(reply)

    def upload(self, name: str, content: bytes) -> None:
        self.sim.world.hosts[0].stores[0].files[name] = content


def told(reply: Reply) -> Told:
    result = next(row for row in ElementTree.fromstring(reply.body).iter("{urn:vim25}returnval"))
    response, fault = result.findtext("{urn:vim25}response"), result.find("{urn:vim25}fault")
    if fault is not None:
        detail = ElementTree.fromstring(fault.findtext("{urn:vim25}faultDetail") or "")
        assert detail.get(_XSI) == "LocalizedMethodFault"
        inner = detail.find("{urn:vim25}fault")
        assert inner is not None
        lines = [row.text or "" for row in inner.iter("{urn:vim25}errMsg")]
        return Told(kind=inner.get(_XSI, ""), faults=lines, message=fault.findtext("{urn:vim25}faultMsg") or "")
    if not response:
        return Told()
    root = ElementTree.fromstring(response)
    kind = root.get(_XSI, "")
    if kind.startswith("xsd:"):
        return Told(kind, text=root.text or "")
    rows = []
    for row in root.findall("{urn:vim25}DataObject") if kind == "ArrayOfDataObject" else [root]:
        fields: dict[str, list[str]] = {}
        for part in row:
            fields.setdefault(part.tag.rpartition("}")[2], []).append(part.text or "")
        rows.append(fields)
        kind = row.get(_XSI, kind)
    return Told(kind, rows)


@pytest.fixture
def govc(sim: Simulator) -> Iterator[Govc]:
    with Raw(sim) as raw:
        yield Govc(raw, sim)


# ---- the wire ------------------------------------------------------------------------------------------------------------------------
def test_rows_objects_and_plain_values(govc: Govc) -> None:
    listed = govc("software.vib.list")
    assert listed.kind == "VimEsxCLIsoftwareviblistVIBSummaryExt"
    assert {"Name", "Version", "Vendor", "AcceptanceLevel", "InstallDate", "ID", "Platforms"} <= set(listed.rows[0])
    names = {row["Name"][0]: row for row in listed.rows}
    assert names["amsv"]["AcceptanceLevel"] == ["PartnerSupported"] and names["esx-base"]["Vendor"] == ["VMware"]
    old = govc("software.vib.list", OLD)
    assert old.kind == "VimEsxCLIsoftwareviblistVIBSummary" and "Platforms" not in old.rows[0]
    assert govc("software.acceptance.get") == Told("xsd:string", text="CommunitySupported")
    assert govc("system.version.get").row["Version"] == ["8.0.3"]
    assert govc("system.hostname.get").row["HostName"] == ["esx-01"]
    assert govc("hardware.trustedboot.get").row["TpmPresent"] == ["true"]
    assert govc("software.profile.get").row["Name"] == ["ESXi-8.0.3-24022510-standard"]


def test_what_stands_for_a_vib(govc: Govc) -> None:
    row = govc("software.vib.get", vibname=["VMware:esx-ui"]).row
    assert row["LiveInstallAllowed"] == ["True"] and row["MaintenanceModeRequired"] == ["False"] and row["Type"] == ["bootbank"]
    missing = govc("software.vib.get", vibname=["nothing"])
    assert missing.kind == "VimEsxCLICLIFault" and missing.message == "EsxCLI.CLIFault.summary" and missing.faults[0] == "[NoMatchError]"


def test_govc_asks_which_parameters_a_command_has(govc: Govc) -> None:
    reply = govc.soap(NEW, "ha-dynamic-type-manager-local-cli-cliinfo", "vim.CLIInfo.FetchCLIInfo", typeName="vim.EsxCLI.software.vib")
    text = next(row for row in ElementTree.fromstring(reply.body).iter("{urn:vim25}response")).text or ""
    root = ElementTree.fromstring(text)
    assert root.findtext("{urn:vim25}name") == "software.vib" and root.findtext("{urn:vim25}displayName") == "vib"
    methods = {row.findtext("{urn:vim25}name"): row for row in root.findall("{urn:vim25}method")}
    assert sorted(str(name) for name in methods) == ["get", "install", "list", "remove", "update"]
    install = {row.findtext("{urn:vim25}name"): row for row in methods["install"].findall("{urn:vim25}param")}
    assert [row.text for row in install["viburl"].findall("{urn:vim25}aliases")] == ["-v", "--viburl"]
    assert install["viburl"].findtext("{urn:vim25}flag") == "false" and install["dryrun"].findtext("{urn:vim25}flag") == "true"
    hints = {row.findtext("{urn:vim25}key"): row.findtext("{urn:vim25}value") for row in methods["list"].findall("{urn:vim25}hints")}
    assert hints["formatter"] == "simple"
    nothing = govc.soap(NEW, "ha-dynamic-type-manager-local-cli-cliinfo", "vim.CLIInfo.FetchCLIInfo", typeName="vim.EsxCLI.no.such")
    assert told(nothing).kind == "NotFound"
    assert not any(entry.write for entry in govc.sim.journal if entry.method == "ExecuteSoap")


def test_commands_that_a_host_lacks(govc: Govc) -> None:
    assert govc("no.such.thing").kind == "NotFound"
    assert govc("system.settings.encryption.get", OLD).kind == "NotFound"
    assert govc("system.settings.encryption.get").row == {
        "Mode": ["TPM"],
        "RequireExecutablesOnlyFromInstalledVIBs": ["false"],
        "RequireSecureBoot": ["false"],
    }
    info = ("ha-dynamic-type-manager-local-cli-cliinfo", "vim.CLIInfo.FetchCLIInfo")
    assert told(govc.soap(OLD, *info, typeName="vim.EsxCLI.system.settings.encryption")).kind == "NotFound"
    assert told(govc.soap(NEW, *info, typeName="vim.EsxCLI.system.settings.encryption")).kind != "NotFound"
    wrong = govc.soap(NEW, "ha-cli-handler-software-acceptance", "vim.EsxCLI.software.vib.list")
    assert told(wrong).kind == "NotFound", "the moid names the namespace"
    assert told(govc.soap(NEW, "ha-cli-handler-software-vib", "vim.EsxCLI.software.vib.List")).rows


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("software.vib.list", {"colour": "red"}, "Unknown parameter 'colour'"),
        ("software.vib.install", {"dryrun": "maybe"}, "Invalid data constraint for parameter 'dryrun'."),
        ("software.acceptance.set", {"level": "community"}, "Invalid data constraint for parameter 'level'."),
        ("software.acceptance.set", {}, "Missing required parameter --level"),
        ("software.vib.remove", {}, "Missing required parameter -n|--vibname"),
        ("software.vib.install", {}, "No VIBs to install"),
        ("network.firewall.ruleset.rule.list", {"rulesetid": "nothing"}, "Invalid Ruleset Id nothing"),
        ("system.settings.kernel.list", {"option": "nothing"}, "Unable to find kernel setting"),
    ],
)
def test_bad_arguments(govc: Govc, command: str, arguments: dict[str, Any], words: str) -> None:
    refused = govc(command, **arguments)
    assert refused.kind == "VimEsxCLICLIFault" and any(words in line for line in refused.faults), refused


def test_arguments_that_are_no_xml(govc: Govc) -> None:
    body = (
        f'<ExecuteSoap xmlns="urn:vim25"><_this type="ManagedMethodExecuter">{govc.executer(NEW)}</_this>'
        "<moid>ha-cli-handler-software-vib</moid><version>urn:vim25/5.0</version><method>vim.EsxCLI.software.vib.get</method>{}</ExecuteSoap>"
    )
    assert "InvalidArgument" in govc.post(body.format("<argument><name>vibname</name><val>&lt;vibname&gt;x</val></argument>")).body
    for odd in ("esx-base", "&lt;viburl&gt;esx-base&lt;/viburl&gt;", "&lt;vibname&gt;&lt;string&gt;x&lt;/string&gt;&lt;/vibname&gt;"):
        assert "InvalidArgument" in govc.post(body.format(f"<argument><name>vibname</name><val>{odd}</val></argument>")).body
    assert "Unexpected element colour" in govc.post(body.format("<colour>red</colour>")).body
    assert "Required parameter moid" in govc.post(body.format("").replace("<moid>ha-cli-handler-software-vib</moid>", "")).body


def test_who_may_and_which_host_answers(govc: Govc, sim: Simulator) -> None:
    moid = next(item.moid for item in sim.world.hosts if item.state.name == GONE)
    ask = f'<RetrieveManagedMethodExecuter xmlns="urn:vim25"><_this type="HostSystem">{moid}</_this></RetrieveManagedMethodExecuter>'
    assert "HostNotConnected" in govc.post(ask).body
    assert "NotAuthenticated" in govc.raw.post(ask).body
    executer = govc.executer(NEW)
    user = sim.world.users["looker@vsphere.local"]
    login = govc.raw.post(
        f'<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this><userName>{user.name}</userName>'
        f"<password>{user.password}</password></Login>"
    )
    body = (
        f'<ExecuteSoap xmlns="urn:vim25"><_this type="ManagedMethodExecuter">{executer}</_this><moid>ha-cli-handler-software-vib</moid>'
        "<version>urn:vim25/5.0</version><method>vim.EsxCLI.software.vib.list</method></ExecuteSoap>"
    )
    refused = govc.raw.post(body, cookie=f'vmware_soap_session="{login.cookie}"').body
    assert "NoPermission" in refused and "Host.Config.Settings" in refused
    sim.act("option", host=NEW, name="esxcli_privilege", value="")
    assert "VIBSummaryExt" in govc.raw.post(body, cookie=f'vmware_soap_session="{login.cookie}"').body


# ---- what it does --------------------------------------------------------------------------------------------------------------------
def test_a_vib_goes_in_and_out(govc: Govc, sim: Simulator) -> None:
    govc.upload("ports.vib", vibs.vib())
    dry = govc("software.vib.install", viburl=[PORTS], dryrun="true")
    assert dry.row["Message"][0].startswith("Dryrun only, host not changed.") and dry.row["VIBsInstalled"] == [
        "Example_bootbank_ports_1.0.0-1"
    ]
    assert (
        len(govc("software.vib.list").rows) == len(sim.world.hosts[0].state.software) and "ports" not in sim.world.hosts[0].state.software
    )
    done = govc("software.vib.install", viburl=[PORTS])
    assert done.kind == "VimEsxCLIsoftwarevibinstallInstallationResult"
    assert done.row == {
        "Message": ["Operation finished successfully."],
        "RebootRequired": ["false"],
        "VIBsInstalled": ["Example_bootbank_ports_1.0.0-1"],
    }
    again = govc("software.vib.install", viburl=[PORTS]).row
    assert again["Message"] == ["Host is not changed."] and again["VIBsSkipped"] == ["Example_bootbank_ports_1.0.0-1"]
    assert govc("network.firewall.ruleset.list", rulesetid="appPorts").faults == ["Invalid Ruleset Id appPorts"]
    assert govc("network.firewall.refresh") == Told("xsd:boolean", text="true")
    assert govc("network.firewall.ruleset.list", rulesetid="appPorts").row["Enabled"] == ["true"]
    rule = govc("network.firewall.ruleset.rule.list", rulesetid="appPorts").row
    assert (rule["Direction"], rule["PortBegin"], rule["PortEnd"], rule["Protocol"]) == (["Inbound"], ["8080"], ["8080"], ["TCP"])
    assert govc("network.firewall.ruleset.set", rulesetid="appPorts", enabled="false").text == "true"
    assert sim.world.hosts[0].state.rulesets["appPorts"].enabled is False
    assert govc("software.vib.remove", vibname=["ports"]).row["VIBsRemoved"] == ["Example_bootbank_ports_1.0.0-1"]
    govc("network.firewall.refresh")
    assert "appPorts" not in sim.world.hosts[0].state.rulesets
    writes = [entry.args["esxcli"] for entry in sim.journal if entry.write and entry.method == "ExecuteSoap"]
    assert writes == [
        "software.vib.install", "software.vib.install", "network.firewall.refresh", "network.firewall.ruleset.set",
        "software.vib.remove", "network.firewall.refresh",
    ]  # fmt: skip


def test_updates_touch_only_what_is_there(govc: Govc) -> None:
    govc.upload("ports.vib", vibs.vib())
    assert govc("software.vib.update", viburl=[PORTS]).row["VIBsSkipped"] == ["Example_bootbank_ports_1.0.0-1"]
    govc("software.vib.install", viburl=[PORTS])
    govc.upload("ports.vib", vibs.vib(version="1.0.0-10"))
    newer = govc("software.vib.update", viburl=[PORTS]).row
    assert (newer["VIBsInstalled"], newer["VIBsRemoved"]) == (["Example_bootbank_ports_1.0.0-10"], ["Example_bootbank_ports_1.0.0-1"])
    govc.upload("ports.vib", vibs.vib(version="1.0.0-9"))
    assert "VIBsSkipped" in govc("software.vib.update", viburl=[PORTS]).row
    assert govc("software.vib.install", viburl=[PORTS]).row["VIBsInstalled"] == ["Example_bootbank_ports_1.0.0-9"], (
        "install downgrades, too"
    )


def test_an_offline_bundle(govc: Govc) -> None:
    other = vibs.vib({"etc/vmware/firewall/other.xml": vibs.firewall("otherPorts")}, name="other")
    govc.upload("ports.zip", vibs.bundle(vibs.vib(), other))
    assert govc("software.vib.install", depot=[BUNDLE], vibname=["other"]).row["VIBsInstalled"] == ["Example_bootbank_other_1.0.0-1"]
    assert govc("software.vib.install", depot=[BUNDLE]).row["VIBsInstalled"] == ["Example_bootbank_ports_1.0.0-1"]
    assert govc("software.vib.install", depot=[BUNDLE], vibname=["nothing"]).faults[0] == "[NoMatchError]"
    assert govc("software.vib.install", depot=["ports.zip"]).faults[:2] == [
        "[ValueError]",
        "Only server local file path is supported for offline bundles.",
    ]
    missing = govc("software.vib.install", depot=["/vmfs/volumes/x/y.zip"]).faults
    assert missing[0] == "[MetadataDownloadError]" and "zip:/vmfs/volumes/x/y.zip?index.xml" in missing[1]


@pytest.mark.parametrize(
    "replaced",
    [
        {"index": b"<vendorList>"},
        {"index": b"<vendorList><vendor><indexfile>none.xml</indexfile></vendor></vendorList>"},
        {"vendor": b"<metaList><metadata><url>none.zip</url></metadata></metaList>"},
        {"metadata": b"no zip"},
    ],
)
def test_a_bundle_that_is_broken(govc: Govc, replaced: dict[str, bytes]) -> None:
    govc.upload("ports.zip", vibs.bundle(vibs.vib(), **replaced))
    assert govc("software.vib.install", depot=[BUNDLE]).faults[0] == "[MetadataDownloadError]"


def test_words_of_real_hosts(govc: Govc, sim: Simulator) -> None:
    """Where somebody quoted a host (see image.py), the words are the same."""
    govc.upload("ports.vib", vibs.vib())
    govc("software.acceptance.set", level="PartnerSupported")
    assert govc("software.vib.install", viburl=[PORTS], force="true").faults == [
        "[AcceptanceConfigError]",
        "VIB Example_bootbank_ports_1.0.0-1's acceptance level is community, which is not compliant with the ImageProfile acceptance level partner",
        "To change the host acceptance level, use the 'esxcli software acceptance set' command.",
        "Please refer to the log file for more details.",
    ]
    assert govc("software.acceptance.set", level="CommunitySupported").text == "Host acceptance level changed to 'CommunitySupported'."
    govc("software.vib.install", viburl=[PORTS])
    raised = govc("software.acceptance.set", level="PartnerSupported").faults
    assert raised[1] == (
        "Unable to set acceptance level of partner due to installed VIBs Example_bootbank_ports_1.0.0-1 having a lower acceptance level."
    )
    govc("software.vib.remove", vibname=["ports"])
    govc.upload("ports.vib", vibs.vib(checksums=["sha-256"]))
    assert "does not have sha-256 gunzip checksum" in govc("software.vib.install", viburl=[PORTS]).faults[1]
    assert govc("software.vib.install", OLD, viburl=[PORTS]).row["VIBsInstalled"], "6.7 does not ask for it"
    sim.act("option", host=NEW, name="extensibility_rules", value=True)
    govc.upload("ports.vib", vibs.vib())
    refused = govc("software.vib.install", viburl=[PORTS]).faults
    assert refused[:1] == ["[VibValidationError]"] and "violates extensibility rule checks" in refused[1]
    assert govc("software.vib.install", viburl=[PORTS], force="true").row["VIBsInstalled"]


def test_options_for_what_nobody_knows(govc: Govc, sim: Simulator) -> None:
    govc.upload("ports.vib", vibs.vib())
    sim.act("option", host=NEW, name="esxcli_errors", value="joined")
    assert govc("software.vib.get", vibname=["x"]).faults[0].startswith(" [NoMatchError]\n ")
    sim.act("image_managed", host=NEW)
    sim.act("option", host=NEW, name="image_managed_install", value="refused")
    assert "managed by a single image" in govc("software.vib.install", viburl=[PORTS]).faults[0]
    sim.act("option", host=NEW, name="image_managed_install", value="taken")
    sim.act("option", host=NEW, name="refresh_after_install", value=True)
    sim.act("option", host=NEW, name="custom_ruleset_controllable", value=False)
    assert govc("software.vib.install", viburl=[PORTS]).row["VIBsInstalled"]
    assert govc("network.firewall.ruleset.list", rulesetid="appPorts").row["EnableDisableconfigurable"] == ["false"]
    assert "owned by system service" in govc("network.firewall.ruleset.set", rulesetid="appPorts", enabled="false").faults[0]
    # On 6.x --force helped against the level.
    sim.act("acceptance", host=OLD, level="partner")
    assert govc("software.vib.install", OLD, viburl=[PORTS], force="true").row["VIBsInstalled"]


@pytest.mark.parametrize("remembered", [False, True])
def test_a_ruleset_that_comes_back(govc: Govc, sim: Simulator, remembered: bool) -> None:
    sim.act("option", host=NEW, name="custom_ruleset_remembered", value=remembered)
    govc.upload("ports.vib", vibs.vib())
    for _round in range(2):
        govc("software.vib.install", viburl=[PORTS])
        govc("network.firewall.refresh")
        enabled = sim.world.hosts[0].state.rulesets["appPorts"].enabled
        govc("network.firewall.ruleset.set", rulesetid="appPorts", enabled="false")
        govc("software.vib.remove", vibname=["ports"])
        govc("network.firewall.refresh")
    assert enabled is not remembered


def test_settings_of_the_boot(govc: Govc, sim: Simulator) -> None:
    assert govc("system.settings.kernel.list", option="execinstalledonly").row["Runtime"] == ["FALSE"]
    assert govc("system.settings.encryption.set", requiresecureboot="true").text == "true"
    assert sim.world.hosts[0].state.require_secure_boot is True
    sim.act("reboot_host", host=NEW)
    assert sim.world.hosts[0].state.powered_on is False, "Secure Boot is demanded and off"


def test_settings_of_the_boot_need_a_tpm(govc: Govc, sim: Simulator) -> None:
    sim.world.hosts[0].state.tpm = {}
    assert "A TPM is not present" in govc("system.settings.encryption.set", mode="TPM").faults[0]
    assert govc("system.settings.encryption.get").row["Mode"] == ["NONE"]


# ---- faults and the journal ----------------------------------------------------------------------------------------------------------
def test_faults_name_the_command_or_the_call(govc: Govc, sim: Simulator) -> None:
    sim.fault(method="esxcli software.vib.*", fault="VimEsxCLICLIFault", text="The host is busy.")
    assert govc("software.acceptance.get").text == "CommunitySupported"
    busy = govc("software.vib.list")
    assert busy.kind == "VimEsxCLICLIFault" and busy.faults == ["The host is busy."]
    sim.fault(method="esxcli software.acceptance.get", fault="SystemError", text="no")
    sim.fault(method="ExecuteSoap", fault="HostNotReachable", after=1)
    assert "SystemErrorFault" in govc.soap(NEW, "ha-cli-handler-software-acceptance", "vim.EsxCLI.software.acceptance.get").body
    assert govc("software.acceptance.get").text
    assert "HostNotReachable" in govc.soap(NEW, "ha-cli-handler-software-acceptance", "vim.EsxCLI.software.acceptance.get").body


def test_an_install_that_is_not_kept(govc: Govc, sim: Simulator) -> None:
    govc.upload("ports.vib", vibs.vib())
    sim.fault(method="esxcli software.vib.install", ignore=True)
    assert govc("software.vib.install", viburl=[PORTS]) == Told()
    assert "ports" not in sim.world.hosts[0].state.software and sim.journal[-1].status == "ignored"
    assert govc("software.vib.install", viburl=[PORTS]).row["VIBsInstalled"]


def test_the_journal_says_what_was_asked(govc: Govc, sim: Simulator) -> None:
    govc("software.vib.install", viburl=[PORTS], dryrun="true")
    entry = sim.journal[-1]
    assert (entry.method, entry.host, entry.write, entry.status) == ("ExecuteSoap", NEW, False, "VimEsxCLICLIFault")
    assert entry.args == {"esxcli": "software.vib.install", "arguments": {"viburl": [PORTS], "dryrun": ["true"]}}
    govc("system.account.set", id="root", password="Secret-1")
    assert "Secret-1" not in str(sim.journal)
    govc("software.vib.install", viburl=[PORTS])
    assert sim.journal[-1].write is True and sim.journal[-1].object.startswith("ManagedMethodExecuter:")


def test_every_command_is_whole() -> None:
    assert esxcli.find("vim.EsxCLI.software.vib.list") is not None
    for path, found in esxcli.COMMANDS.items():
        assert found.help and path == found.path and found.namespace in esxcli.NAMESPACES, path
        assert len({one.name for one in found.parameters}) == len(found.parameters), path
        assert not any(one.flag and (one.many or one.choices) for one in found.parameters), path


_VALUES = (
    "",
    "true",
    "maybe",
    "x",
    "<",
    PORTS,
    "file:///",
    "http://192.0.2.1/x.vib",
    "/vmfs/volumes",
    "appPorts",
    "NONE",
    "CommunitySupported",
    "ports",
)


@pytest.mark.parametrize("seed", range(2))
def test_no_command_makes_the_simulator_stumble(govc: Govc, seed: int) -> None:
    """Every command with any argument: an answer or a fault, never an internal error (see the sim fixture)."""
    dice = random.Random(seed)
    govc.upload("ports.vib", vibs.vib())
    commands = sorted(esxcli.COMMANDS.values(), key=lambda one: one.path)
    executer = govc.executer(NEW)
    for _index in range(150):
        found = dice.choice(commands)
        rows = ""
        for name in dice.sample([one.name for one in found.parameters] or ["x"], dice.randint(0, min(3, len(found.parameters) or 1))):
            value = "".join(f"<{name}>{escape(dice.choice(_VALUES))}</{name}>" for _one in range(dice.randint(0, 2)))
            rows += f"<argument><name>{name}</name><val>{escape(value)}</val></argument>"
        reply = govc.post(
            f'<ExecuteSoap xmlns="urn:vim25"><_this type="ManagedMethodExecuter">{executer}</_this>'
            f"<moid>ha-cli-handler-{found.namespace.replace('.', '-')}</moid><version>urn:vim25/5.0</version>"
            f"<method>vim.EsxCLI.{found.path}</method>{rows}</ExecuteSoap>"
        )
        assert reply.status in (200, 500) and "internal error" not in reply.body
        ElementTree.fromstring(reply.body)
