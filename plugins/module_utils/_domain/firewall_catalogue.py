# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of firewall rulesets before any host was asked: which release had which, who drives it, and which
service of the usual port tables it stands for. Data. Private to this collection.

A host is always judged by what it has itself; this says why it lacks something, and what the names mean.
"""

from __future__ import annotations

from dataclasses import dataclass

# Hosts whose rulesets were read whole; other releases are known from listings of names.
BOTH = "captures of ESXi 6.5.0 (govmomi simulator/esx) and 8.0.3 (test_json_host_explode of pyVmomi)"
OLD = "capture of ESXi 6.5.0 (govmomi simulator/esx); absent from listings of later releases"
NEW = "capture of ESXi 8.0.3 (test_json_host_explode of pyVmomi); absent from the capture of 6.5.0"
LISTING = "the vSphere port table that people work from, held against both captures"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A ruleset by name. ``rules`` as ``out udp 514``; ``first`` and ``last`` are releases that had it, ``last`` empty
    while the newest known one has it, both empty where no host with it was seen; ``owner``: the service behind it."""

    key: str
    rules: tuple[str, ...]
    first: str
    last: str
    owner: str
    source: str

    @property
    def releases(self) -> str:
        if not self.first:
            return "not known"
        if not self.last:
            return f"{self.first} and later"
        return f"{self.first} only" if self.last == self.first else f"{self.first} to {self.last}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A row of the port table. ``parts``: rulesets with the rules that the row is about; ``without``: ports of the row
    that no ruleset of any release has; ``note``: where the table itself misleads."""

    name: str
    title: str
    row: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    without: tuple[str, ...]
    note: str
    source: str


def _known(key: str, rules: str, first: str, last: str = "", owner: str = "", source: str = "") -> Known:
    return Known(key=key, rules=tuple(rules.split(", ")) if rules else (), first=first, last=last, owner=owner, source=source)


def _service(name: str, title: str, row: str, parts: str, *, without: str = "", note: str = "") -> Service:
    """``parts``: ``ruleset: rule, rule; ruleset: rule``."""
    found = []
    for part in filter(None, parts.split("; ")):
        key, _colon, rules = part.partition(": ")
        found.append((key, tuple(rules.split(", "))))
    ports = tuple(without.split(", ")) if without else ()
    return Service(name=name, title=title, row=row, parts=tuple(found), without=ports, note=note, source=LISTING)


_RULESETS = (
    _known(
        "activeDirectoryAll",
        "out udp 88, out tcp 88, out udp 123, out udp 137, out tcp 139, out tcp 389, "
        "out udp 389, out tcp 445, out udp 464, out tcp 464, out tcp 3268, out tcp 7476, in tcp 2020",
        "6.5",
        source=BOTH,
    ),
    _known("CIMHttpServer", "in tcp 5988", "6.5", owner="sfcbd-watchdog", source=BOTH),
    _known("CIMHttpsServer", "in tcp 5989", "6.5", owner="sfcbd-watchdog", source=BOTH),
    _known("CIMSLP", "in udp 427, out udp 427, in tcp 427, out tcp 427", "6.5", owner="slpd", source=BOTH),
    _known(
        "cmmds",
        "in udp 12345, in udp 23451, out udp 12345, out udp 23451, in udp 12321, out udp 12321",
        "6.5",
        source=BOTH,
    ),
    _known("dhcp", "in udp 68, out udp src 68", "6.5", source=BOTH),
    _known("DHCPv6", "out tcp 547, in tcp 546, out udp 547, in udp 546", "6.5", source=BOTH),
    _known("dns", "out udp 53, out tcp 53", "6.5", source=BOTH),
    _known("dpd", "out tcp 443", "8.0", owner="dpd", source=NEW),
    _known("DVFilter", "in tcp 2222", "6.5", source=BOTH),
    _known("DVSSync", "out udp 8302, in udp 8301, out udp 8301, in udp 8302", "6.5", source=BOTH),
    _known("esxio-orchestrator", "in tcp 8084", "8.0", source=NEW),
    _known(
        "esxioComm",
        "in tcp 9197, out tcp 9197, in tcp 5000, out tcp 5000, in tcp 2480, out tcp 2480, in tcp 8848, "
        "out tcp 8848, in tcp 8514, out tcp 8514, in udp 162, out udp 162, in udp 8586, out udp 8586",
        "8.0",
        source=NEW,
    ),
    _known("esxupdate", "out tcp 443", "6.5", source=BOTH),
    _known("etcdClientComm", "in tcp 2379, out tcp 2379", "8.0", source=NEW),
    _known("etcdPeerComm", "in tcp 2380, out tcp 2380", "8.0", source=NEW),
    _known("faultTolerance", "out tcp 80, in tcp 8300, out tcp 8300", "6.5", source=BOTH),
    _known("ftpClient", "out tcp 21, in tcp src 20", "6.5", source=BOTH),
    _known("gdbserver", "in tcp 1000-9999, in tcp 50000-50999", "6.5", source=BOTH),
    _known("gstored", "out tcp 443", "8.0", source=NEW),
    _known("HBR", "out tcp 31031, out tcp 44046", "6.5", source=BOTH),
    _known("httpClient", "out tcp 80, out tcp 443", "6.5", source=BOTH),
    _known("iofiltervp", "in tcp 9080", "6.5", source=BOTH),
    _known("ipfam", "in udp 6999, out udp 6999", "6.5", source=BOTH),
    _known("iSCSI", "out tcp 3260", "6.5", source=BOTH),
    _known("iwarp-pm", "in udp 3935, out udp 3935", "8.0", source=NEW),
    _known("NFC", "in tcp 902, out tcp 902", "6.5", source=BOTH),
    _known("nfs41Client", "out tcp 0-65535", "6.5", source=BOTH),
    _known("nfsClient", "out tcp 0-65535", "6.5", source=BOTH),
    _known("ntpClient", "out udp 123", "6.5", owner="ntpd", source=BOTH),
    _known("nvmemdns", "out udp 5353, in udp 5353", "8.0", source=NEW),
    _known("nvmetcp", "out tcp 8009, out tcp 4420", "8.0", source=NEW),
    _known("proxy", "in tcp 1443", "8.0", source=NEW),
    _known("ptpd", "in udp 319-320, out udp 319-320", "7.0", owner="ptpd", source=NEW),
    _known("pvrdma", "out tcp 28250-28761, in tcp 28250-28761", "6.5", source=BOTH),
    _known("rabbitmqproxy", "out tcp 5671", "6.5", last="6.7", source=OLD),
    _known("rdt", "in tcp 2233, out tcp 2233, in tcp 12443, out tcp 12443", "6.5", source=BOTH),
    _known("remoteSerialPort", "out tcp 0-65535, in tcp 23, in tcp 1024-65535", "6.5", source=BOTH),
    _known("settingsd", "in tcp 8083, out tcp 8083", "8.0", source=NEW),
    _known("snmp", "in udp 161", "6.5", owner="snmpd", source=BOTH),
    _known("sshClient", "out tcp 22", "6.5", source=BOTH),
    _known("sshServer", "in tcp 22", "6.5", owner="TSM-SSH", source=BOTH),
    _known("syslog", "out udp 514, out tcp 514, out tcp 1514", "6.5", source=BOTH),
    _known("trusted-infrastructure-kmxa", "out tcp 0-65535", "8.0", source=NEW),
    _known("trusted-infrastructure-kmxd", "out tcp 0-65535", "8.0", source=NEW),
    _known("updateManager", "out tcp 80, out tcp 9000-9100", "6.5", source=BOTH),
    _known("vdfs", "in tcp 1564, out tcp 1564", "8.0", source=NEW),
    _known("vic-engine", "out tcp 2377", "8.0", source=NEW),
    _known("vltd", "out tcp 1492, out tcp 443", "8.0", owner="vltd", source=NEW),
    _known("vMotion", "in tcp 8000, out tcp 8000", "6.5", source=BOTH),
    _known("vpxHeartbeats", "out udp 902", "6.5", owner="vpxa", source=BOTH),
    _known("vsanEncryption", "out tcp 0-65535", "6.5", source=BOTH),
    _known("vsanhealth-multicasttest", "out udp 5001, in udp 5001", "6.5", last="6.5", source=OLD),
    _known("vsanhealth-unicasttest", "out udp 5201, in udp 5201, out tcp 5201, in tcp 5201", "6.7", source=NEW),
    _known("vsanmgmt-https-tunnel", "out tcp 443", "8.0", source=NEW),
    _known("vsanvp", "in tcp 8080, out tcp 8080", "6.5", last="6.5", source=OLD),
    _known("vSPC", "out tcp 0-65535", "6.5", source=BOTH),
    _known("vSphereClient", "in tcp 902, in tcp 443", "6.5", source=BOTH),
    _known("vvold", "out tcp 0-65535", "6.5", last="7.0", source=OLD),
    _known("webAccess", "in tcp 80", "6.5", source=BOTH),
    _known("WOL", "out udp 9", "6.5", source=BOTH),
    _known(
        "fdm",
        "",
        first="",
        owner="vmware-fdm",
        source="by name only: 6.7 and 7.0 scripts; service unsure",
    ),
    _known("vit", "", first="", source="by name only: 6.0, 6.7, 7.0 listings"),
    _known("IKED", "", first="", source="by name only: 6.0 listing"),
    _known("vprobeServer", "", first="", source="by name only: 6.0 listing"),
    _known("autodeploy", "", first="", source="by name only: 6.x script"),
    _known("dynamicruleset", "", first="", source="by name only: 7.0 script"),
    _known("bfdDP", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("bridgeHA", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("dfwipfix6", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("hyperbus", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("netopa", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("netCP", "", first="", source="by name only: 6.x with NSX-V"),
    _known("nsx-mpa", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("nsx-opsagent", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("nsxMPAPI", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("nsxOverlay", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("nsxProxyRule", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("nsxRMQ", "", first="", source="by name only: 7.0 with NSX-T"),
    _known("vSFW-UW", "", first="", source="by name only: 6.x with NSX-V"),
    _known("vShield-Endpoint-Mux", "", first="", source="by name only: 7.0 with guest introspection"),
    _known("vShield-Endpoint-Mux-Partners", "", first="", source="by name only: 7.0 with guest introspection"),
)
RULESETS = {known.key: known for known in _RULESETS}

_SERVICES = (
    _service("wake_on_lan", "Wake-on-LAN", "9 UDP", "WOL: out udp 9", note="the host sends the packet, so the port opens outbound"),
    _service("ssh", "SSH server", "22 TCP", "sshServer: in tcp 22", note="8.0 Update 2 as first shipped cannot toggle it, 8.0 U2b can"),
    _service("dns", "DNS client", "53 UDP", "dns: out udp 53", note="the ruleset also opens tcp/53 outbound"),
    _service("dhcp", "DHCP client", "68 UDP", "dhcp: in udp 68"),
    _service("web", "Welcome page, redirects to HTTPS", "80 TCP", "webAccess: in tcp 80"),
    _service("snmp", "SNMP server", "161 UDP", "snmp: in udp 161", note="from 8.0 Update 2 on it follows the service snmpd"),
    _service("slp", "Service location (CIM)", "427 TCP/UDP", "CIMSLP: in udp 427, out udp 427, in tcp 427, out tcp 427"),
    _service("dhcpv6", "DHCPv6 client", "546, 547 TCP/UDP", "DHCPv6: in tcp 546, in udp 546, out tcp 547, out udp 547"),
    _service(
        "vcenter_agent",
        "vCenter agent, heartbeat and file copy",
        "902 TCP/UDP",
        "vpxHeartbeats: out udp 902; vSphereClient: in tcp 902; NFC: in tcp 902, out tcp 902",
        note="the heartbeat goes from the host to vCenter",
    ),
    _service("vsan_transport", "vSAN transport", "2233 TCP", "rdt: in tcp 2233, out tcp 2233", note="8.0.3 has tcp/12443 in it too"),
    _service("iscsi", "Software iSCSI client", "3260 TCP", "iSCSI: out tcp 3260"),
    _service("amqp_proxy", "AMQP proxy", "5671 TCP", "rabbitmqproxy: out tcp 5671", note="gone from 7.0 on"),
    _service("cim", "CIM server", "5988 TCP", "CIMHttpServer: in tcp 5988"),
    _service("cim_secure", "CIM server over TLS", "5989 TCP", "CIMHttpsServer: in tcp 5989"),
    _service("ws_man", "WS-Management", "8889 TCP", "", without="tcp/8889 inbound", note="no ruleset in any capture or listing"),
    _service("nsx_vdr", "NSX distributed logical router", "6999 UDP", "ipfam: in udp 6999, out udp 6999"),
    _service("vmotion", "vMotion", "8000 TCP", "vMotion: in tcp 8000, out tcp 8000"),
    _service("vasa", "vSAN VASA vendor provider", "8080 TCP", "vsanvp: in tcp 8080, out tcp 8080", note="gone from 6.7 on"),
    _service(
        "fault_tolerance",
        "Fault tolerance",
        "8100, 8200, 8300 TCP/UDP",
        "faultTolerance: in tcp 8300, out tcp 8300",
        without="tcp/8100 inbound, tcp/8200 inbound, udp/8100 inbound, udp/8200 inbound, udp/8300 inbound",
        note="8100, 8200 and UDP belonged to record and replay, which vSphere no longer has",
    ),
    _service(
        "dvs_sync", "Distributed switch synchronisation", "8301, 8302 UDP", "DVSSync: in udp 8301, out udp 8301, in udp 8302, out udp 8302"
    ),
    _service("vsan_clustering", "vSAN clustering", "12345, 23451 UDP", "cmmds: in udp 12345, out udp 12345, in udp 23451, out udp 23451"),
    _service("hbr", "Host based replication", "31031, 44046 TCP", "HBR: out tcp 31031, out tcp 44046"),
    _service("lifecycle_manager", "Life-cycle manager", "80, 9000 TCP", "updateManager: out tcp 80, out tcp 9000"),
)
SERVICES = {service.name: service for service in _SERVICES}
