# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get wrong, typed as they type it: one sentence with cause and cure, and nothing is changed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from tests.bench.measure import Server, ansible_environment, module_command, served
from tests.integration import servers
from tests.integration.driver import run

MODULE = "fleetcare.esxi.esxi_ntp_align"
ALL: dict[str, Any] = {"esxi_hostname": ["*"], "session": "single", "ntp_servers": ["192.0.2.1"]}
FLEET: dict[str, Any] = {
    "name": "stumbling",
    "kind": "vcenter",
    "users": {
        "administrator@vsphere.local": {"password": "right-password"},
        "reader@vsphere.local": {"password": "reader-password", "privileges": ["System.*"]},
    },
    "hosts": [
        {"count": 1, "name": "esx-01.example.com", "profile": "8.0.3", "datacenter": "dc1", "cluster": "prod"},
        {"count": 1, "name": "esx-02.example.com", "profile": "8.0.3", "datacenter": "dc2", "cluster": "prod"},
        {"count": 1, "name": "esx-03.example.com", "profile": "8.0.3", "datacenter": "dc1", "cluster": "lab", "state": "disconnected"},
    ],
}

# id: options on top of ALL, words of the cause, words of the cure.
INPUT: dict[str, tuple[dict[str, Any], str, str]] = {
    "port is a word": ({"port": "many"}, "port", "int"),
    "option mistyped": ({"ntp_server": ["192.0.2.1"]}, "ntp_server", "Supported parameters"),
    "choice mistyped": ({"service_state": "running"}, "service_state", "started"),
    "no password": ({"password": ""}, "password is missing", "VMWARE_PASSWORD"),
    "hostname is an address line": ({"hostname": "https://vcenter.example.com/ui"}, "is not a host name", "bare name"),
    "port out of range": ({"port": 70000}, "70000 is not a port", "1 to 65535"),
    "thumbprint too short": ({"thumbprint": "AB:CD"}, "not a SHA-256 digest", "openssl"),
    "ca_file missing": ({"ca_file": "/nonexistent/ca.pem"}, "does not exist", "PEM file"),
    "half a proxy": ({"proxy_host": "proxy.example.com"}, "belong together", "both or none"),
    "no time at all": ({"read_timeout": -1}, "read_timeout -1", "above 0"),
    "empty server list": ({"ntp_servers": []}, "empty list", "absent"),
    "server is nonsense": ({"ntp_servers": ["not a server!", "192.0.2.1"]}, "no ntp.conf option", "one server an entry"),
    "server is no address": ({"ntp_servers": ["999.1.1.1"]}, "neither an IP address nor a host name", "192.0.2.1"),
    "server named twice": ({"ntp_servers": ["NTP.example.com", "ntp.example.com."]}, "twice", "Keep one"),
    "negative limit": ({"max_skew": -1}, "max_skew -1", "0.5"),
    "negative wait": ({"wait_for_sync": -5}, "wait_for_sync -5", "do not wait"),
    "step without limit": ({"step": "guarded"}, "needs max_skew", "max_skew: 1"),
    "ptp without protocol": ({"ptp": {"domain": 1}}, "protocol is not ptp", "protocol: ptp"),
    "ptp domain too high": ({"protocol": "ptp", "ptp": {"domain": 300}}, "between 0 and 255", "default"),
    "no workers": ({"parallel": 0}, "parallel 0", "default"),
    "selection with a hole": ({"esxi_hostname": ["esx-01.example.com", ""]}, "empty name", "variable"),
}

FIREWALL: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such address": ({"rules": [{"name": "syslog", "allowed_hosts": {"ip_address": ["999.1.1.1"]}}]}, "'999.1.1.1'", "192.0.2.10"),
    "a host name": ({"rules": [{"name": "syslog", "allowed_hosts": {"ip_address": ["log.example.com"]}}]}, "no IP address", "Host names"),
    "no mask": ({"rules": [{"name": "syslog", "allowed_hosts": {"ip_network": ["192.0.2.0"]}}]}, "without a mask", "192.0.2.0/24"),
    "odd mask": ({"rules": [{"name": "syslog", "allowed_hosts": {"ip_network": ["192.0.2.0/33"]}}]}, "mask '33'", "prefix length"),
    "everybody as a network": ({"rules": [{"name": "x", "allowed_hosts": {"ip_network": ["0.0.0.0/0"]}}]}, "every address", "all_ip"),
    "two in one": ({"rules": [{"name": "x", "allowed_hosts": {"ip_address": ["192.0.2.1, 192.0.2.2"]}}]}, "more than one", "one entry"),
    "all and a list": (
        {"rules": [{"name": "x", "allowed_hosts": {"all_ip": True, "ip_address": ["192.0.2.1"]}}]},
        "all_ip: true and a list",
        "one of the two",
    ),
    "rule without a name": ({"rules": [{"enabled": True}]}, "name", "missing required arguments"),
    "rule named twice": ({"rules": [{"name": "syslog"}, {"name": "Syslog"}]}, "twice", "one entry"),
    "port zero": ({"ports": [{"port": 0, "protocol": "tcp", "direction": "inbound"}]}, "port '0'", "514"),
    "two ports": ({"ports": [{"port": "80,443", "protocol": "tcp", "direction": "inbound"}]}, "port '80,443'", "8301-8302"),
    "no direction": ({"ports": [{"port": 514, "protocol": "udp"}]}, "direction", "missing required arguments"),
    "unknown service": ({"services": [{"name": "vmotions"}]}, "no service of the catalogue", "vmotion"),
    "exclusive of nothing": ({"exclusive": True}, "close everything", "List in rules"),
    "nothing to merge": ({"rules": [{"name": "syslog", "allowed_hosts_mode": "merge"}]}, "no allowed_hosts", "Name the hosts"),
    "odd wave": ({"rules": [{"name": "syslog"}], "waves": [1, "most"]}, "waves entry 2, 'most'", r"\[1, 10%, 100%\]"),
    "no wave": ({"rules": [{"name": "syslog"}], "waves": [0]}, "waves entry 1, '0'", "10%"),
    "negative failures": ({"rules": [{"name": "syslog"}], "max_failures": -1}, "max_failures -1", "first host"),
    "long patience": ({"rules": [{"name": "syslog"}], "verify_reachable": 1e9}, "verify_reachable", "3600"),
    "progress nowhere": ({"rules": [{"name": "syslog"}], "progress_file": "/nonexistent/x"}, "cannot be written", "another"),
    "record missing": ({"restore": "/nonexistent/record.json"}, "cannot be read", "backup: true"),
    "record and wishes": ({"restore": "/dev/null", "rules": [{"name": "syslog"}]}, "no JSON", "backup: true"),
}

# None of them is told with a key in it; test_secrets.py reads all that is written besides.
KEY, OTHER_KEY = "FAKE0-MARKR-M1DD1-E0000-0000A", "FAKE0-THERE-M1DD2-E0000-0000C"
LICENSE: dict[str, tuple[dict[str, Any], str, str]] = {
    "option misspelt": ({"license_kee": KEY}, "license_kee", "Supported parameters.*license_keys"),
    "state misspelt": ({"license_key": KEY, "state": "assign"}, "state", "assigned"),
    "both options": ({"license_key": KEY, "license_keys": [OTHER_KEY]}, "both given", "more than one key"),
    "labels are a word": ({"license_key": KEY, "state": "assigned", "labels": "owner"}, "labels", "dict"),
    "empty key": ({"license_key": "", "state": "assigned"}, "no letter and no digit", "variable is empty"),
    "a letter that none has": (
        {"license_key": KEY.replace("MARKR", "MARK8B"[1:]), "state": "assigned"},
        "group 2.* is B",
        "8 was probably meant",
    ),
    "two keys in one": ({"license_key": f"{KEY} {OTHER_KEY}", "state": "assigned"}, "2 different keys", "license_keys with one entry"),
    "bad entry of many": ({"license_keys": [KEY, OTHER_KEY[:-1]], "state": "assigned"}, "license_keys entry 2: group 5 has 4", "five"),
    "a key as it is shown": ({"license_key": "FAKE0-*****-*****-*****-0000A", "state": "assigned"}, "middle masked", "whole key"),
    "absent without keys": ({"state": "absent"}, "needs license_key", "Name the keys"),
    "absent of everything": ({"state": "absent", "from_inventory": True, "license_key": KEY}, "needs license_key", "Name the keys"),
    "assigned without keys": ({"state": "assigned"}, "needs keys", "from_inventory: true"),
    "labels to judge": ({"license_key": KEY, "labels": {"a": "b"}}, "labels are for keys that are added", "state: assigned"),
    "unlicensed to judge": ({"license_key": KEY, "allow_unlicensed": True}, "for keys that are taken away", "state: absent"),
    "negative days": ({"license_key": KEY, "warn_days": -1}, "warn_days -1 is not between 0 and 3650", "30"),
    "no edition": ({"license_key": KEY, "state": "assigned", "edition": " "}, "edition is empty", "esx.enterprisePlus"),
    "hosts without an endpoint": ({"license_key": KEY, "hostname": None, "esxi_hostname": ["*"]}, "hostname is missing", "VMWARE_HOST"),
}

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PRIVATE = "-----BEGIN {}PRIVATE KEY-----\nMARKPRIVATE\n-----END {}PRIVATE KEY-----\n"


def provider(**more: Any) -> dict[str, Any]:
    return {"key_provider": {"name": "kms-a", "servers": [{"address": "kms-a.example.com"}], **more}}


CRYPTO: dict[str, tuple[dict[str, Any], str, str]] = {
    "option misspelt": ({"wait_for_kms": 5}, "wait_for_kms", "Supported parameters.*wait_for_provider"),
    "provider without a name": ({"key_provider": {"servers": [{"address": "kms-a"}]}}, "name", "missing required arguments"),
    "server without an address": ({"key_provider": {"name": "a", "servers": [{"port": 5696}]}}, "address", "missing required arguments"),
    "wait is a word": ({"wait_for_provider": "long"}, "wait_for_provider", "float"),
    "record missing": ({"restore": "/nonexistent/record.json"}, "cannot be read", "backup: true"),
    "record is no record": ({"restore": "/dev/null"}, "no JSON", "backup: true"),
    "negative wait": ({"wait_for_provider": -1}, "wait_for_provider -1 is not between 0 and 86400", "do not wait"),
    "endless wait": ({"wait_for_provider": 1e9}, "wait_for_provider 1e.09 is not between 0 and 86400", "do not wait"),
    "wait beyond the deadline": ({"wait_for_provider": 600, "deadline": 600}, "before the deadline of 600 s", "Raise deadline"),
    "anew without a record": ({"reregister": True}, "reregister: true is given without backup: true", "backup: true"),
    "nameless provider": (provider(name="  "), "key_provider has no name", "exactly the name"),
    "address is an URL": (provider(servers=[{"address": "https://kms-a:5696/x"}]), "'https://kms-a:5696/x' of server 1", "without scheme"),
    "address is empty": (provider(servers=[{"address": "kms"}, {"address": ""}]), "address '' of server 2", "without scheme"),
    "port out of range": (provider(servers=[{"address": "kms", "port": 70000}]), "port 70000 of server kms", "5696"),
    "server named twice": (provider(servers=[{"address": "kms"}, {"address": "kms"}]), "two servers of the name kms", "name of its own"),
    "fingerprint too short": (
        provider(servers=[{"address": "kms", "fingerprint": "AB:CD"}]),
        "server kms is no SHA-256",
        "64 hexa.*openssl",
    ),
    "an SHA-1 fingerprint": (provider(servers=[{"address": "kms", "fingerprint": "ab" * 20}]), "no SHA-256 fingerprint", "64 hexadecimal"),
    "key without certificate": (provider(private_key=PRIVATE.format("", "")), "private_key without certificate", "belongs to it"),
    "certificate is a path": (provider(certificate="/etc/ssl/kms.crt"), "no certificate in PEM form", "lookup"),
    "certificate is a request": (
        provider(certificate=PEM.replace("CERTIFICATE", "CERTIFICATE REQUEST")),
        "no certificate in PEM",
        "lookup",
    ),
    "key is a path": (provider(certificate=PEM, private_key="/etc/ssl/kms.key"), "private_key is no PEM text", "lookup"),
    "key with a passphrase": (provider(certificate=PEM, private_key=PRIVATE.format("ENCRYPTED ", "ENCRYPTED ")), "is encrypted", "vault"),
    "an old key with a passphrase": (
        provider(certificate=PEM, private_key=PRIVATE.format("RSA ", "RSA ").replace("\nM", "\nProc-Type: 4,ENCRYPTED\n\nM")),
        "private_key is encrypted",
        "vault",
    ),
    "request and its answer": (provider(certificate=PEM, request=True), "both request and certificate", "Drop request"),
    "odd wave": ({"waves": [1, "most"]}, "waves entry 2, 'most'", "10%"),
    "selection with a hole": ({"vm_name": ["app-01", ""]}, "empty name", "variable"),
}

ACCEPTANCE: dict[str, tuple[dict[str, Any], str, str]] = {
    "option misspelt": ({"acceptance": "partner"}, r"parameters.*acceptance", "Supported parameters.*acceptance_level"),
    "flag is a word": ({"acceptance_level": "partner", "allow_unknown_secure_boot": "perhaps"}, "allow_unknown_secure_boot", "boolean"),
    "level misspelt": (
        {"acceptance_level": "PartnerSuported"},
        "'PartnerSuported' is no acceptance level",
        r"mean partner\?.*vmware_certified \(VMwareCertified\).*community \(CommunitySupported\)",
    ),
    "another level": ({"acceptance_level": "gold"}, "'gold' is no acceptance level", r"partner \(PartnerSupported\)"),
    "at least nothing": ({"at_least": True}, "at_least: true is given without acceptance_level", "lowest level"),
    "empty level": ({"acceptance_level": " "}, "acceptance_level is empty", "variable is empty"),
    "record missing": ({"restore": "/nonexistent/record.json"}, "cannot be read", "backup: true"),
    "record and level": ({"restore": "/dev/null", "acceptance_level": "partner"}, "no JSON", "backup: true"),
    "odd wave": ({"acceptance_level": "partner", "waves": [1, "most"]}, "waves entry 2, 'most'", "10%"),
}

POWER: dict[str, tuple[dict[str, Any], str, str]] = {
    "option misspelt": ({"timeout": 5}, r"parameters.*timeout", "Supported parameters.*power_timeout"),
    "state misspelt": ({"state": "reboot"}, "state", "rebooted"),
    "no time": ({"unless_booted_since": "yesterday"}, "'yesterday' is no point in time", "2026-11-22T06:00:00Z"),
    "no time zone": ({"unless_booted_since": "2026-11-22T06:00:00"}, "has no time zone", "Z for UTC"),
    "required and shut down": (
        {"state": "shutdown", "only_if_required": True},
        "only_if_required is given and state is shutdown",
        "leave it out",
    ),
    "force for maintenance": ({"state": "maintenance", "force": True}, "force is true and state is maintenance", "shutdown and rebooted"),
    "vSAN and back": ({"state": "normal", "vsan_mode": "evacuate_all"}, "vsan_mode is given and state is normal", "leave it out"),
    "no patience": ({"power_timeout": 0}, "power_timeout 0 is not between 1 and 86400", "1200 is the default"),
    "more patience than time": ({"maintenance_timeout": 4000}, "4000 does not end before the deadline of 3600 s", "Raise deadline"),
    "odd wave": ({"waves": ["half"]}, "waves entry 1, 'half'", "10%"),
}

HARDWARE: dict[str, tuple[dict[str, Any], str, str]] = {
    "option misspelt": ({"release": "8.0"}, r"parameters.*release", "Supported parameters.*target_release"),
    "flag is a word": ({"nvme": "perhaps"}, "nvme", "boolean"),
    "file missing": (
        {"target_release": "8.0", "compatibility_list": "/nonexistent/list.csv"},
        "compatibility_list: /nonexistent/list.csv cannot be read: No such file",
        "machine that runs the task",
    ),
    "supported by nobody": (
        {"target_release": "8.0", "compatibility_list": [{"pci": "8086:1572", "verdict": "supported"}]},
        "entry 1 says supported and does not say who says so",
        "Fill source",
    ),
    "release of the past": ({"target_release": "6.7"}, "target_release '6.7' is none of 7.0, 8.0, 9.0", "8.0 U3"),
    "release is a word": ({"target_release": "latest"}, "target_release 'latest'", "8.0.3"),
    "list for no release": ({"compatibility_list": [{"pci": "8086", "verdict": "advice"}]}, "without target_release", "for which release"),
    "empty list": ({"target_release": "8.0", "compatibility_list": []}, "has no row", "Leave it out"),
    "one row without its list": (
        {"target_release": "8.0", "compatibility_list": {"pci": "8086:1572", "verdict": "advice"}},
        "neither a path nor a list",
        "JSON or CSV",
    ),
    "path of nonsense": (
        {"target_release": "8.0", "compatibility_list": "a\0b"},
        "cannot be read: embedded null byte",
        "machine that runs",
    ),
    "list is a number": ({"target_release": "8.0", "compatibility_list": 7}, "neither a path nor a list", "JSON or CSV"),
    "odd id": (
        {"target_release": "8.0", "compatibility_list": [{"pci": "0x80861572", "verdict": "advice"}]},
        "pci '0x80861572'",
        "8086:1572",
    ),
    "odd column": (
        {"target_release": "8.0", "compatibility_list": [{"pci": "8086", "verdict": "advice", "relase": "8.0"}]},
        "column 'relase'",
        "Did you mean release",
    ),
    "no plain file": ({"target_release": "8.0", "compatibility_list": "/"}, "/ cannot be read", "machine that runs the task"),
}

_PORT = {"direction": "inbound", "protocol": "tcp", "port": "8080"}
_AGENT = {"name": "agent", "rules": [_PORT]}
VIB: dict[str, tuple[dict[str, Any], str, str]] = {
    "ruleset without rules": ({"rulesets": [{"name": "agent"}]}, "missing required arguments: rules", "rulesets"),
    "protocol misspelt": ({"rulesets": [{**_AGENT, "rules": [{**_PORT, "protocol": "tpc"}]}]}, "protocol.*must be one of: tcp, udp", "tpc"),
    "port is a word": ({"rulesets": [{**_AGENT, "rules": [{**_PORT, "port": "http"}]}]}, r"\(agent\), rule 1 has port 'http'", "8000-8100"),
    "a folder that is a file": ({"rulesets": [_AGENT], "dest": "/dev/null"}, "dest /dev/null cannot be a folder", "Name another"),
    "nothing to build": ({"state": "built", "esxi_hostname": None}, "state built needs rulesets", "Say which ports"),
    "nowhere to build": ({"state": "built", "rulesets": [_AGENT]}, "state built needs dest", "folder on the control node"),
    "built for hosts": (
        {"state": "built", "rulesets": [_AGENT], "dest": "/tmp"},
        "looks at no host, and esxi_hostname is given",
        "state: present",
    ),
    "port zero": ({"rulesets": [{**_AGENT, "rules": [{**_PORT, "port": "0"}]}]}, "has port '0', which is neither", "8000-8100"),
    "range turned round": (
        {"rulesets": [{**_AGENT, "rules": [{**_PORT, "port": "9-8"}]}]},
        "has port '9-8', which is neither",
        "8000-8100",
    ),
    "name too long": ({"rulesets": [{**_AGENT, "name": "a" * 51}]}, "entry 1 has the name 'aaa", "50 at most"),
    "name with a slash": ({"rulesets": [{**_AGENT, "name": "a/b"}]}, "entry 1 has the name 'a/b'", "letters, digits"),
    "two of a name": ({"rulesets": [_AGENT, _AGENT]}, "names 'agent' twice", "one entry"),
    "nothing in it": ({"rulesets": [{**_AGENT, "rules": []}]}, r"entry 1 \(agent\) has no rules", "direction, protocol and port"),
    "closed for good": ({"rulesets": [{**_AGENT, "required": True}]}, "is required and not enabled", "enabled: true"),
    "package name with a blank": (
        {"rulesets": [_AGENT], "name": "my package"},
        "name 'my package' cannot be",
        "letters, digits and dashes",
    ),
    "version of letters": ({"rulesets": [_AGENT], "version": "one"}, "version 'one' cannot be", "1.0.0"),
    "no date": ({"rulesets": [_AGENT], "release_date": "soon"}, "release_date 'soon' is no date", "2026-01-31"),
    "forced by the wrong one": (
        {"rulesets": [_AGENT], "force": True, "installer": "patch_manager"},
        "force is an option of esxcli",
        "Leave one",
    ),
}

# id: options on top of ALL, words of the cause, words of the cure; asked of a real simulator.
SERVED: dict[str, tuple[dict[str, Any], str, str]] = {
    "wrong password": ({"password": "wrong-password"}, "user name or password is wrong", "one attempt"),
    "wrong thumbprint": ({"thumbprint": "00" * 32}, "thumbprint is", "renewed"),
    "unknown authority": ({"ca_file": None}, "not trusted", "ca_file"),
    "nothing selected": ({"esxi_hostname": []}, "no host is selected", r"\['\*'\]"),
    "unknown host": ({"esxi_hostname": ["esx-1.example.com"]}, "matches no host", "Did you mean .*esx-01.example.com"),
    "unknown cluster": ({"cluster_name": ["production"]}, "matches nothing", "prod"),
    "ambiguous cluster": ({"cluster_name": ["prod"]}, "stands for 2 places", "dc1/prod, dc2/prod"),
    "nothing left": ({"exclude": ["*"]}, "holds no host", "exclude"),
    "disconnected host": ({"esxi_hostname": ["esx-03.example.com"]}, "is disconnected", "Reconnect"),
    "no permission": (
        {"username": "reader@vsphere.local", "password": "reader-password", "ntp_servers": ["192.0.2.77"], "exclude": ["esx-03*"]},
        "privilege Host.Config.DateTime",
        "Grant it",
    ),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scenario = tmp_path_factory.mktemp("scenario") / "stumbling.yml"
    scenario.write_text(json.dumps(FLEET))
    with served(str(scenario)) as server:
        yield server


def told(folder: pathlib.Path, server: Server | None, options: dict[str, Any], *flags: str, module: str = MODULE) -> str:
    """Run the module as people do; the sentence that it fails with."""
    wish = ALL if module == MODULE else {name: value for name, value in ALL.items() if name != "ntp_servers"}
    done = subprocess.run(
        module_command(module, {**wish, **options}, *flags),
        env=ansible_environment(folder, server),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert "Traceback" not in output, output
    return str(json.loads(done.stdout[done.stdout.index("=> {") + 3 :])["msg"])


def check_sentence(sentence: str, cause: str, cure: str) -> None:
    assert re.search(cause, sentence), sentence
    assert re.search(cure, sentence), sentence
    assert len(sentence) < 1200, sentence


def cases(table: dict[str, Any], typed: tuple[str, ...], everywhere: tuple[str, ...] = ()) -> dict[str, Any]:
    """What goes through the real command: all of it on the newest ansible-core, some of it on the oldest as well."""
    chosen = [
        pytest.param(*table[name], id=name, marks=() if name in everywhere or not everywhere else pytest.mark.newest_only) for name in typed
    ]
    return {"argnames": ("options", "cause", "cure"), "argvalues": chosen}


def others(table: dict[str, Any], typed: tuple[str, ...]) -> dict[str, Any]:
    left = {name: case for name, case in table.items() if name not in typed}
    return {"argnames": ("options", "cause", "cure"), "argvalues": list(left.values()), "ids": list(left)}


# The first of each are refused by ansible-core, or need it: it turns words into numbers, paths and secrets.
TYPED = ("port is a word", "option mistyped", "choice mistyped", "no password", "ca_file missing", "server is nonsense")
TYPED_ACCEPTANCE = ("option misspelt", "flag is a word", "level misspelt")
TYPED_POWER = ("option misspelt", "state misspelt", "no time")
TYPED_HARDWARE = ("option misspelt", "flag is a word", "file missing", "supported by nobody")
TYPED_VIB = ("ruleset without rules", "protocol misspelt", "port is a word", "a folder that is a file")
TYPED_LICENSE = ("option misspelt", "state misspelt", "labels are a word", "a letter that none has")
TYPED_CRYPTO = ("option misspelt", "provider without a name", "server without an address", "wait is a word", "record missing")
TYPED_FIREWALL = ("rule without a name", "no direction", "no such address", "port zero", "odd wave", "record missing", "progress nowhere")


@pytest.mark.parametrize(**cases(INPUT, TYPED))
def test_bad_input_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    check_sentence(told(tmp_path, fleet, options), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**cases(FIREWALL, TYPED_FIREWALL, TYPED_FIREWALL[:3]))
def test_bad_input_about_firewalls_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    check_sentence(told(tmp_path, fleet, options, module="fleetcare.esxi.esxi_firewall_ports"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


def refused(server: Server, module: str, options: dict[str, Any], cause: str, cure: str) -> None:
    """The same in this process: the exception carries what the task would say."""
    server.control("/clear_journal", {})
    with pytest.raises(BadInput) as caught:
        run(server, module, **options)
    assert caught.value.hint and no_key_in(caught.value.sentence), caught.value.sentence
    check_sentence(caught.value.sentence, cause, cure)
    assert server.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(INPUT, TYPED))
def test_other_bad_input_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_ntp_align", {**ALL, **options}, cause, cure)


@pytest.mark.parametrize(**others(FIREWALL, TYPED_FIREWALL))
def test_other_bad_input_about_firewalls_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_firewall_ports", {"esxi_hostname": ["*"], **options}, cause, cure)


def no_key_in(sentence: str) -> bool:
    return not any(group in sentence for key in (KEY, OTHER_KEY) for group in key.split("-")[1:4])


@pytest.mark.parametrize(**cases(LICENSE, TYPED_LICENSE, TYPED_LICENSE[:1]))
def test_bad_input_about_licences_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    sentence = told(tmp_path, fleet, options, module="fleetcare.esxi.esxi_license_validate")
    check_sentence(sentence, cause, cure)
    assert no_key_in(sentence)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(LICENSE, TYPED_LICENSE))
def test_other_bad_input_about_licences_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_license_validate", {"esxi_hostname": ["*"], **options}, cause, cure)


@pytest.mark.parametrize(**cases(ACCEPTANCE, TYPED_ACCEPTANCE, TYPED_ACCEPTANCE[:1]))
def test_bad_input_about_acceptance_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    check_sentence(told(tmp_path, fleet, options, module="fleetcare.esxi.esxi_acceptance_level"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(ACCEPTANCE, TYPED_ACCEPTANCE))
def test_other_bad_input_about_acceptance_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_acceptance_level", {"esxi_hostname": ["*"], **options}, cause, cure)


@pytest.mark.parametrize(**cases(HARDWARE, TYPED_HARDWARE, TYPED_HARDWARE[:1]))
def test_bad_input_about_hardware_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    check_sentence(told(tmp_path, fleet, options, module="fleetcare.esxi.esxi_hardware_info"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(HARDWARE, TYPED_HARDWARE))
def test_other_bad_input_about_hardware_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_hardware_info", {"esxi_hostname": ["*"], **options}, cause, cure)


@pytest.mark.parametrize(**cases(VIB, TYPED_VIB, TYPED_VIB[:1]))
def test_bad_input_about_packages_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    check_sentence(told(tmp_path, fleet, options, module="fleetcare.esxi.esxi_firewall_vib"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(VIB, TYPED_VIB))
def test_other_bad_input_about_packages_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_firewall_vib", {"esxi_hostname": ["*"], **options}, cause, cure)


@pytest.mark.parametrize(**cases(POWER, TYPED_POWER, TYPED_POWER[:1]))
def test_bad_input_about_power_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    wish = {"state": "rebooted", **options}
    check_sentence(told(tmp_path, fleet, wish, module="fleetcare.esxi.esxi_power"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(POWER, TYPED_POWER))
def test_other_bad_input_about_power_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "esxi_power", {"esxi_hostname": ["*"], "state": "rebooted", **options}, cause, cure)


@pytest.mark.parametrize(**cases(CRYPTO, TYPED_CRYPTO, TYPED_CRYPTO[:1]))
def test_bad_input_about_encryption_ends_before_any_connection(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/clear_journal", {})
    wish = {"esxi_hostname": None, "vm_name": ["*"], **options}
    check_sentence(told(tmp_path, fleet, wish, module="fleetcare.esxi.vm_crypto_unlock"), cause, cure)
    assert fleet.control("/summary")["calls"] == 0


@pytest.mark.parametrize(**others(CRYPTO, TYPED_CRYPTO))
def test_other_bad_input_about_encryption_ends_before_any_connection(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    refused(fleet, "vm_crypto_unlock", {"vm_name": ["*"], **options}, cause, cure)


@pytest.mark.parametrize(
    ("options", "cause", "cure"),
    [({"without_provider": " "}, "without_provider is empty", "name a key provider"), ({"vm_name": []}, "no VM is selected", r"\['\*'\]")],
)
def test_bad_input_about_reading_encryption(fleet: Server, options: dict[str, Any], cause: str, cure: str) -> None:
    with pytest.raises(FleetcareError) as caught:
        run(fleet, "vm_crypto_info", **{"vm_name": ["*"], **options})
    check_sentence(caught.value.sentence, cause, cure)


@pytest.mark.parametrize(
    ("text", "verdict", "words"),
    [
        (f"  {KEY.lower()} # bought in May", "well_formed", ""),
        (KEY.replace("MARKR", "MARKB"), "key_malformed", "group 2"),
        (f"{KEY} {OTHER_KEY}", "key_ambiguous", "2 different keys"),
        ("", "key_malformed", "no letter"),
    ],
)
def test_one_key_is_judged_without_an_endpoint(fleet: Server, text: str, verdict: str, words: str) -> None:
    nobody: dict[str, Any] = dict.fromkeys(("hostname", "username", "password", "ca_file"))
    result = run(fleet, "esxi_license_validate", license_key=text, **nobody)
    (key,) = result["licenses"]
    assert key["verdict"] == verdict and words in (key.get("text") or "") and no_key_in(str(result))
    assert not result["changed"] and result["hosts"] == {}
    assert result["endpoint"]["status"] == ("compliant" if verdict == "well_formed" else "failed")


@pytest.mark.parametrize(("options", "cause", "cure"), SERVED.values(), ids=SERVED)
def test_what_the_server_refuses_changes_nothing(
    fleet: Server, tmp_path: pathlib.Path, options: dict[str, Any], cause: str, cure: str
) -> None:
    fleet.control("/reset", {})
    before = fleet.control("/state")["hosts"]
    sentence = told(tmp_path, fleet, options)
    check_sentence(sentence, cause, cure)
    changed = [entry for entry in fleet.control("/journal") if entry["write"] and entry["status"] == "ok"]
    assert changed == []
    assert {name: host["time"]["servers"] for name, host in before.items()} == {
        name: host["time"]["servers"] for name, host in fleet.control("/state")["hosts"].items()
    }
    assert fleet.control("/summary")["sessions"] == []


ENDPOINTS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[int]], str, str]] = {
    "closed port": (servers.closed_port, "no connection: Connection refused", "Check hostname and port"),
    "silent TLS": (servers.silent, "no answer within 1 s", "connect_timeout"),
    "black hole": (servers.black_hole, "no answer within 1 s", "firewalls in between"),
    "no TLS": (lambda: servers.talking(b"SSH-2.0-OpenSSH_9.2\r\n"), "no TLS there", "443"),
}


@pytest.mark.parametrize(("server", "cause", "cure"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_wrong_endpoints(tmp_path: pathlib.Path, server: Any, cause: str, cure: str) -> None:
    with server() as port:
        options = {"hostname": "127.0.0.1", "port": port, "username": "u", "password": "never-sent", "connect_timeout": 1}
        check_sentence(told(tmp_path, None, options), cause, cure)


@pytest.mark.parametrize(
    ("expired", "cause", "cure"),
    [(True, "certificate has expired", "thumbprint"), (False, "no SOAP", "hostname and port belong to vSphere")],
    ids=["expired certificate", "a web server"],
)
def test_web_servers(tmp_path: pathlib.Path, expired: bool, cause: str, cure: str) -> None:
    with servers.web_server(tmp_path, expired=expired) as (port, ca_file):
        options = {"hostname": "localhost", "port": port, "username": "u", "password": "never-sent", "ca_file": ca_file}
        check_sentence(told(tmp_path, None, options), cause, cure)


def test_unknown_name(tmp_path: pathlib.Path) -> None:
    options = {"hostname": "vcenter.invalid", "username": "u", "password": "never-sent"}
    check_sentence(told(tmp_path, None, options), "not known to the resolver", "IP address")


def test_ca_file_without_a_certificate(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate in here\n")
    options = {"hostname": "127.0.0.1", "username": "u", "password": "never-sent", "ca_file": str(tmp_path / "ca.pem")}
    check_sentence(told(tmp_path, None, options), "cannot be used", "PEM certificates")


def test_a_host_that_hangs_costs_only_itself(fleet: Server, tmp_path: pathlib.Path) -> None:
    """The first host's write never gets an answer: the other one is done, and the sentence names the silent one."""
    fleet.control("/reset", {})
    fleet.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-01*", "hang": True})
    sentence = told(tmp_path, fleet, {"ntp_servers": ["192.0.2.88"], "exclude": ["esx-03*"], "read_timeout": 1})
    check_sentence(sentence, "esx-01.example.com: no answer within 1 s; the host may still be at it .while configure time", "read_timeout")
    hosts = fleet.control("/state")["hosts"]
    assert hosts["esx-02.example.com"]["time"]["servers"] == ["192.0.2.88"]
