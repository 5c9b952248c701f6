# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a job can cost, and what a loop of single commands costs: scripts with nothing but Python's standard library.

``python bare.py least JOB`` reads all targets in one retrieval with just the properties that the job is about, compares, writes only where it has to,
sixteen at a time, and looks at nothing again. It explains nothing, checks no precondition and stops at the first error: a floor, not a tool.

``python bare.py loop JOB`` does what a shell loop over ``govc`` does, by the nine calls a host that were counted of it (five of them to find the host
by its path, whose bytes grow with the cluster): one host after the other, a connection each, one login, because govc keeps its session in a file.
It starts no process a host, which a real loop does, so it is faster than one. It is not govc, which could not be had on the machine of these figures.

The server comes from VMWARE_HOST, VMWARE_PORT, VMWARE_USER, VMWARE_PASSWORD and VMWARE_CA_FILE. The last line tells how many were looked at and written.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import ssl
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.sax.saxutils import escape

THREADS = 16
ENVELOPE = '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>{}</Body></Envelope>'
RULESET, LEVEL = "syslog", "community"
SERVERS = {"check": ["192.0.2.1", "192.0.2.2"], "change": ["192.0.2.77"]}
ADDRESSES = {"check": ["192.0.2.10", "192.0.2.11"], "change": ["192.0.2.10", "203.0.113.9"]}
NETWORK = {"check": ("198.51.100.0", "24"), "change": ("198.51.100.0", "25")}
KEYS = {"check": "FAKE0-KEPT0-V8000-CPUPK-0000A", "change": "FAKE0-NEXT0-V8000-CPUPK-0000C"}
FIREWALL, TIME, IMAGE = "configManager.firewallSystem", "configManager.dateTimeSystem", "configManager.imageConfigManager"
NTP = "config.dateTimeInfo.ntpConfig.server"
KEYED = f'config.firewall.ruleset["{RULESET}"]'
HARDWARE = (
    *(f"summary.hardware.{name}" for name in ("vendor", "model", "cpuModel", "numCpuPkgs", "numCpuCores", "numCpuThreads", "memorySize")),
    *(
        "config.product.version",
        "capability.uefiSecureBoot",
        "hardware.cpuFeature",
        "hardware.biosInfo",
        "hardware.pciDevice",
        "config.network.pnic",
    ),
    *("config.pciPassthruInfo", "config.graphicsInfo", "config.storageDevice.hostBusAdapter"),
)
Found = list[tuple[str, dict[str, Any]]]


def plain(element: ET.Element) -> ET.Element:
    for each in element.iter():
        each.tag = each.tag.rpartition("}")[2]
    return element


class Server:
    """A connection a thread; the cookie is shared."""

    def __init__(self) -> None:
        self.context = ssl.create_default_context(cafile=os.environ["VMWARE_CA_FILE"])
        self.cookie = ""
        self.own = threading.local()

    def connect(self) -> None:
        self.own.connection = http.client.HTTPSConnection(
            os.environ["VMWARE_HOST"], int(os.environ["VMWARE_PORT"]), context=self.context, timeout=60
        )

    def call(self, method: str, kind: str, moid: str, inner: str = "") -> ET.Element:
        if not hasattr(self.own, "connection"):
            self.connect()
        body = ENVELOPE.format(f'<{method} xmlns="urn:vim25"><_this type="{kind}">{moid}</_this>{inner}</{method}>')
        headers = {"Content-Type": "text/xml", "SOAPAction": '"urn:vim25/8.0.3.0"', "Accept-Encoding": "gzip", "Cookie": self.cookie}
        self.own.connection.request("POST", "/sdk", body.encode(), headers)
        reply = self.own.connection.getresponse()
        data = reply.read()
        self.cookie = (reply.getheader("Set-Cookie") or self.cookie).partition(";")[0]
        if reply.getheader("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        if reply.status != 200:
            raise SystemExit(f"{method}: {plain(ET.fromstring(data)).findtext('.//faultstring')}")
        return plain(ET.fromstring(data)[0][0])

    def __enter__(self) -> Server:
        self.content = self.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")
        who = f"<userName>{escape(os.environ['VMWARE_USER'])}</userName><password>{escape(os.environ['VMWARE_PASSWORD'])}</password>"
        self.call("Login", "SessionManager", self.manager("sessionManager"), who)
        return self

    def __exit__(self, *_error: object) -> None:
        self.call("Logout", "SessionManager", self.manager("sessionManager"))

    def manager(self, name: str) -> str:
        return self.content.findtext(f"returnval/{name}") or ""

    def every(self, kind: str, paths: Iterable[str]) -> Found:
        """All objects of a kind in one retrieval, page by page where the server insists."""
        root = f'<container type="Folder">{self.manager("rootFolder")}</container><type>{kind}</type><recursive>true</recursive>'
        view = self.call("CreateContainerView", "ViewManager", self.manager("viewManager"), root).findtext("returnval")
        select = '<selectSet xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="TraversalSpec">'
        select += "<type>ContainerView</type><path>view</path><skip>false</skip></selectSet>"
        return self.retrieved(kind, paths, f'<obj type="ContainerView">{view}</obj><skip>true</skip>{select}')

    def retrieved(self, kind: str, paths: Iterable[str], *objects: str) -> Found:
        asked = "".join(f"<pathSet>{escape(path)}</pathSet>" for path in paths)
        spec = f"<specSet><propSet><type>{kind}</type>{asked}</propSet>"
        spec += "".join(f"<objectSet>{each}</objectSet>" for each in objects) + "</specSet><options/>"
        collector, found = self.manager("propertyCollector"), []
        page = self.call("RetrievePropertiesEx", "PropertyCollector", collector, spec)
        while True:
            for each in page.iterfind("returnval/objects"):
                values = {one.findtext("name", ""): one.find("val") for one in each.iterfind("propSet")}
                found.append((each.findtext("obj", ""), values))
            token = page.findtext("returnval/token")
            if token is None:
                return found
            page = self.call("ContinueRetrievePropertiesEx", "PropertyCollector", collector, f"<token>{token}</token>")


def texts(value: ET.Element | None) -> list[str]:
    return [] if value is None else [each.text or "" for each in value]


def same_rule(rule: ET.Element, job: str) -> bool:
    told = (
        rule.findtext("enabled"),
        rule.findtext("allowedHosts/allIp"),
        sorted(each.text or "" for each in rule.iterfind("allowedHosts/ipAddress")),
    )
    network = (rule.findtext("allowedHosts/ipNetwork/network"), rule.findtext("allowedHosts/ipNetwork/prefixLength"))
    return (*told, network) == ("true", "false", sorted(ADDRESSES[job]), NETWORK[job])


def set_time(server: Server, moid: str, job: str) -> None:
    servers = "".join(f"<server>{each}</server>" for each in SERVERS[job])
    server.call("UpdateDateTimeConfig", "HostDateTimeSystem", moid, f"<config><ntpConfig>{servers}</ntpConfig></config>")


def set_rule(server: Server, moid: str, job: str) -> None:
    network, length = NETWORK[job]
    hosts = "".join(f"<ipAddress>{each}</ipAddress>" for each in ADDRESSES[job])
    hosts += f"<ipNetwork><network>{network}</network><prefixLength>{length}</prefixLength></ipNetwork><allIp>false</allIp>"
    server.call("UpdateRuleset", "HostFirewallSystem", moid, f"<id>{RULESET}</id><spec><allowedHosts>{hosts}</allowedHosts></spec>")


def set_key(server: Server, assigner: str, moid: str, job: str) -> None:
    server.call(
        "UpdateAssignedLicense", "LicenseAssignmentManager", assigner, f"<entity>{moid}</entity><licenseKey>{KEYS[job]}</licenseKey>"
    )


def fanned(each: Callable[[str], object], over: Iterable[str]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(each, over))


# ---- the least ------------------------------------------------------------------------------------------------------


def ntp(server: Server, job: str) -> tuple[int, int]:
    hosts = server.every("HostSystem", ["name", NTP, *([TIME] if job == "change" else [])])
    wrong = [values[TIME].text for _moid, values in hosts if texts(values.get(NTP)) != SERVERS[job]]
    fanned(lambda moid: set_time(server, moid, job), wrong)
    return len(hosts), len(wrong)


def clocks(server: Server, job: str) -> tuple[int, int]:
    hosts = server.every("HostSystem", ["name", NTP, TIME])
    fanned(lambda moid: server.call("QueryDateTime", "HostDateTimeSystem", moid), (values[TIME].text for _moid, values in hosts))
    return len(hosts), 0


def firewall(server: Server, job: str) -> tuple[int, int]:
    if job == "info":
        return len(server.every("HostSystem", ["name", "config.firewall.ruleset"])), 0
    hosts = server.every("HostSystem", ["name", KEYED, *([FIREWALL] if job == "change" else [])])
    wrong = [values[FIREWALL].text for _moid, values in hosts if not same_rule(values[KEYED], job)]
    fanned(lambda moid: set_rule(server, moid, job), wrong)
    return len(hosts), len(wrong)


def license(server: Server, job: str) -> tuple[int, int]:
    manager = server.manager("licenseManager")
    spec = f'<obj type="LicenseManager">{manager}</obj>'
    assigner = server.retrieved("LicenseManager", ["licenseAssignmentManager"], spec)[0][1]["licenseAssignmentManager"].text
    every = server.call("QueryAssignedLicenses", "LicenseAssignmentManager", assigner).findall("returnval")
    hosts = [each for each in every if each.findtext("entityId", "").startswith("host-")]
    wanted = KEYS.get(job)
    wrong = [each.findtext("entityId", "") for each in hosts if wanted and each.findtext("assignedLicense/licenseKey") != wanted]
    fanned(lambda moid: set_key(server, assigner, moid, job), wrong)
    return len(hosts), len(wrong)


def acceptance(server: Server, job: str) -> tuple[int, int]:
    hosts = [values[IMAGE].text for _moid, values in server.every("HostSystem", ["name", IMAGE])]
    levels = fanned(lambda moid: server.call("HostImageConfigGetAcceptance", "HostImageConfigManager", moid).findtext("returnval"), hosts)
    wrong = [moid for moid, level in zip(hosts, levels, strict=True) if job == "change" and level != LEVEL]
    level = f"<newAcceptanceLevel>{LEVEL}</newAcceptanceLevel>"
    fanned(lambda moid: server.call("UpdateHostImageAcceptanceLevel", "HostImageConfigManager", moid, level), wrong)
    return len(hosts), len(wrong)


def hardware(server: Server, job: str) -> tuple[int, int]:
    return len(server.every("HostSystem", ["name", *HARDWARE])), 0


def crypto(server: Server, job: str) -> tuple[int, int]:
    """All that are locked are tried, as whether one can be opened is nothing that it looks at."""
    machines = server.every("VirtualMachine", ["name", "runtime.cryptoState"])
    locked = [
        moid
        for moid, values in machines
        if values.get("runtime.cryptoState") is not None and values["runtime.cryptoState"].text == "locked"
    ]
    if job != "change" or not locked:
        return len(machines), 0
    tasks = fanned(lambda moid: server.call("CryptoUnlock_Task", "VirtualMachine", moid).findtext("returnval"), locked)
    asked = [f'<obj type="Task">{task}</obj>' for task in tasks]
    while any(values["info.state"].text in ("queued", "running") for _moid, values in server.retrieved("Task", ["info.state"], *asked)):
        time.sleep(0.05)
    return len(machines), len(locked)


def audit(server: Server, job: str) -> tuple[int, int]:
    """Everything that the features look at in one retrieval of hosts and one of machines; two calls a host for what no property tells."""
    hosts = server.every("HostSystem", ["name", NTP, KEYED, TIME, IMAGE, *HARDWARE])
    license(server, "check_nothing")
    fanned(lambda moid: server.call("QueryDateTime", "HostDateTimeSystem", moid), (values[TIME].text for _moid, values in hosts))
    acceptance(server, "check")
    machines = server.every("VirtualMachine", ["name", "runtime.cryptoState"])
    return len(hosts) + len(machines), 0


# ---- a loop of single commands --------------------------------------------------------------------------------------


def loop(server: Server, feature: str, job: str) -> tuple[int, int]:
    """Eight calls to find a host and its manager by path, then one that reads and one that writes where that is asked for."""

    def below(kind: str, moid: str, path: str) -> str:
        return (
            f'<obj type="{kind}">{moid}</obj><skip>true</skip><selectSet xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            f'xsi:type="TraversalSpec"><type>{kind}</type><path>{path}</path><skip>false</skip></selectSet>'
        )

    def one(kind: str, moid: str, *paths: str) -> dict[str, Any]:
        return server.retrieved(kind, paths, f'<obj type="{kind}">{moid}</obj>')[0][1]

    root, manager = server.manager("rootFolder"), server.manager("sessionManager")
    names = [values["name"].text for _moid, values in server.every("HostSystem", ["name"])]
    written = 0
    for name in names:
        server.connect()
        one("SessionManager", manager, "currentSession")
        center = server.retrieved("ManagedEntity", ["name"], below("Folder", root, "childEntity"))[0][0]
        one("Datacenter", center, "name", "parent")
        folder = one("Datacenter", center, "vmFolder", "hostFolder", "datastoreFolder", "networkFolder")["hostFolder"].text
        one("Folder", folder, "name", "parent")
        cluster = server.retrieved("ManagedEntity", ["name"], below("Folder", folder, "childEntity"))[0][0]
        members = server.retrieved("HostSystem", ["name", "runtime.connectionState"], below("ClusterComputeResource", cluster, "host"))
        host = next(moid for moid, values in members if values["name"].text == name)
        if feature == "license":
            assigner = one("LicenseManager", server.manager("licenseManager"), "licenseAssignmentManager")["licenseAssignmentManager"].text
            if job == "change":
                set_key(server, assigner, host, job)
            else:
                server.call("QueryAssignedLicenses", "LicenseAssignmentManager", assigner, f"<entityId>{host}</entityId>")
        else:
            path, kind, value = {
                "ntp": (TIME, "HostDateTimeSystem", "dateTimeInfo"),
                "firewall": (FIREWALL, "HostFirewallSystem", "firewallInfo"),
            }[feature]
            moid = one("HostSystem", host, path)[path].text
            if job == "change":
                (set_time if feature == "ntp" else set_rule)(server, moid, job)
            else:
                one(kind, moid, value)
        written += job == "change"
        server.own.connection.close()
    return len(names), written


FEATURES = {
    "ntp": ntp,
    "clocks": clocks,
    "firewall": firewall,
    "license": license,
    "acceptance": acceptance,
    "hardware": hardware,
    "crypto": crypto,
    "audit": audit,
}


def main() -> None:
    how, feature, job = sys.argv[1], *re.split(":", sys.argv[2])
    with Server() as server:
        seen, written = loop(server, feature, job) if how == "loop" else FEATURES[feature](server, job)
    print(f"{seen} looked at, {written} written")


if __name__ == "__main__":
    main()
