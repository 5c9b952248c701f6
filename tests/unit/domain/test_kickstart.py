# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation files: what stands in them, judged by a second reader; what is refused, and that no secret gets out."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import kickstart, kickstart_file, kickstart_grammar
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.kickstart_wanted import parse
from tests.unit.domain import kickstart_parser as second
from tests.unit.domain.kickstart_makers import (
    BOOT,
    FIRST_BOOT,
    HASH,
    INSTALLER,
    KEY,
    MEDIA,
    OPTIONS,
    PASSWORD,
    STATIC,
    combinations,
    made,
    options,
    script_of,
    wanted,
)

ROOT = pathlib.Path(__file__).resolve().parents[3]
COMBINATIONS = {name: (host, task) for name, host, task in combinations()}
PLAIN = script_of(made(STATIC, license_key=KEY, license_key_in_file=True, keyboard="Swiss German", **FIRST_BOOT))


# ---- what stands in the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_second_reader_takes_every_file(name: str) -> None:
    host, task = COMBINATIONS[name]
    one = made(host, **task)
    script = second.parse(script_of(one), task["release"])
    assert script.how == task.get("installation", "install")
    network = script.commands.get("network", {})
    assert (network.get("ip") == "192.0.2.11") is bool(host.get("address"))
    assert network.get("vlanid") == (str(host["vlan"]) if host["vlan"] and network else None)
    boots = {path: second.parse_boot(text) for path, text in one.files.items() if text and path.lower().endswith("boot.cfg")}
    assert len(boots) == (2 if task["medium"] == "usb" else 1)
    for path, boot in boots.items():
        modules = [module.strip().lstrip("/") for module in boot["modules"].split("---")]
        assert modules == ["jumpstrt.gz", "useropts.gz", "features.gz", "k.b00", "uc_intel.b00", "vmx.v00"]
        assert [boot[name] for name in ("bootstate", "timeout", "build", "updated")] == ["0", "5", "8.0.3-0.0.24022510", "0"]
        options_ = boot["kernelopt"].split()
        assert options_[0] == "runweasel"
        if task["medium"] == "usb":
            assert "ks=usb:/KS.CFG" in options_ and boot["prefix"] == "" and boot["kernel"] == "/b.b00"
            continue
        assert path == "01-00-50-56-00-00-01/boot.cfg" and boot["prefix"] == task["prefix"] and boot["kernel"] == "b.b00"
        assert f"ks={task['ks_url'].rstrip('/')}/esx-01.cfg" in options_
        assert ("netdevice=00:50:56:00:00:01" in options_) is (task["boot_device"] == "netdevice")
        assert ("BOOTIF=01-00-50-56-00-00-01" in options_) is (task["boot_device"] == "bootif")
        assert ("ip=192.0.2.11" in options_) is (task["boot_network"] == "static")
    if task["medium"] == "pxe":
        assert "APPEND -c 01-00-50-56-00-00-01/boot.cfg\n" in str(one.files["pxelinux.cfg/01-00-50-56-00-00-01"])
    assert ("serialnum" in script.commands) is bool(task.get("license_key_in_file"))


def test_there_are_enough_of_them_and_they_differ() -> None:
    texts = {script_of(made(host, **task)) for host, task in COMBINATIONS.values()}
    assert len(COMBINATIONS) == 144 and len(texts) > 60  # the others differ in boot.cfg
    assert all(
        any(word in text for text in texts)
        for word in ("--dpupcislots=2,3", "clearpart", "--repartitionSystemDisk", "--noeject", "serialnum")
    )
    assert {line.split()[0] for text in texts for line in text.splitlines() if line.startswith("%")} == {"%pre", "%post", "%firstboot"}


def test_one_file_in_full() -> None:
    text = script_of(
        made({**STATIC, "vlan": 12, "serial": "CZ1234"}, disk={"first": ["DELLBOSS VD"], "overwrite_vmfs": True}, reboot=True, eject=False)
    )
    assert text == (
        "# esx-01.example.com, serial number CZ1234, ESXi 8.0; written by fleetcare.esxi.esxi_kickstart\n"
        "vmaccepteula\n"
        'install --firstdisk="DELLBOSS VD" --overwritevmfs\n'
        f"rootpw --iscrypted {HASH}\n"
        "network --bootproto=static --device=00:50:56:00:00:01 --ip=192.0.2.11 --netmask=255.255.255.0 --gateway=192.0.2.1 "
        "--nameserver=192.0.2.2 --hostname=esx-01.example.com --vlanid=12\n"
        "reboot --noeject\n"
    )


DATA = {"system_disk": "naa.9", "repartition_system_disk": True}
# Options, and the line that they make.
LINES: dict[str, tuple[dict[str, Any], str]] = {
    "whichever": ({"disk": {"first": []}}, "install --firstdisk"),
    "first of two kinds": ({"disk": {"first": ["localesx", "local"]}}, "install --firstdisk=localesx,local"),
    "by name": ({"disk": {"name": "naa.6000c2"}}, "install --disk=naa.6000c2"),
    "by path": ({"disk": {"name": "/vmfs/devices/disks/mpx.vmhba1:C0:T0:L0"}}, "install --disk=/vmfs/devices/disks/mpx.vmhba1:C0:T0:L0"),
    "no datastore": (
        {"disk": {"first": [], "overwrite_vmfs": True, "no_vmfs_on_disk": True}},
        "install --firstdisk --overwritevmfs --novmfsondisk",
    ),
    "kept, no SSD": ({"disk": {"first": [], "preserve_vmfs": True, "ignore_ssd": True}}, "install --firstdisk --ignoressd --preservevmfs"),
    "vSAN": ({"disk": {"name": "naa.1", "overwrite_vsan": True}}, "install --disk=naa.1 --overwritevsan"),
    "data": ({"disk": {"first": ["usb"], **DATA}}, "install --firstdisk=usb --systemDisk=naa.9 --repartitionSystemDisk"),
    "DPU": ({"disk": {"name": "naa.1", "dpu_pci_slots": [2, 3]}}, "install --disk=naa.1 --dpupcislots=2,3"),
    "old CPU": ({"disk": {"name": "naa.1", "force_unsupported_install": True}}, "install --disk=naa.1 --forceunsupportedinstall"),
    "upgrade": ({"installation": "upgrade", "disk": {"name": "naa.1"}}, "upgrade --disk=naa.1"),
    "either": (
        {"installation": "installorupgrade", "disk": {"first": [], "overwrite_vmfs": True}},
        "installorupgrade --firstdisk --overwritevmfs",
    ),
    "all cleared": ({"clear_partitions": {"all_drives": True}}, "clearpart --alldrives"),
    "two cleared": (
        {"clear_partitions": {"drives": ["naa.1", "naa.2"], "overwrite_vmfs": True}},
        "clearpart --drives=naa.1,naa.2 --overwritevmfs",
    ),
    "all but one cleared": ({"clear_partitions": {"except_drives": ["naa.1"]}}, "clearpart --ignoredrives=naa.1"),
    "adapter by number": ({"device": "vmnic4"}, "network --bootproto=dhcp --device=vmnic4 --hostname=esx-01.example.com"),
    "adapter by MAC": ({"device": "0050.56AB.0009"}, "network --bootproto=dhcp --device=00:50:56:ab:00:09 --hostname=esx-01.example.com"),
    "no port group": (
        {"vm_port_group": False},
        "network --bootproto=dhcp --device=00:50:56:00:00:01 --hostname=esx-01.example.com --addvmportgroup=0",
    ),
    "layout": ({"keyboard": "US Default"}, 'keyboard "US Default"'),
    "layout of one word": ({"keyboard": "German"}, "keyboard German"),
    "only checked": ({"dry_run": True}, "dryrun"),
    "stops at warnings": ({"paranoid": True}, "paranoid"),
    "key": ({"license_key": KEY.lower(), "license_key_in_file": True}, f"serialnum --esx={KEY}"),
    "script before": ({"pre": {"text": "x"}}, "%pre --interpreter=busybox"),
    "script behind": (
        {"post": {"text": "x", "interpreter": "python", "timeout": 90, "ignore_failure": False}},
        "%post --interpreter=python --timeout=90 --ignorefailure=false",
    ),
    "script behind, plainly": ({"post": {"text": "x"}}, "%post --interpreter=busybox"),
}


@pytest.mark.parametrize("name", LINES)
def test_an_option_makes_this_line(name: str) -> None:
    given_, line = LINES[name]
    rows = script_of(made(**given_)).splitlines()
    assert line in rows and sum(row.split()[:1] == line.split()[:1] for row in rows) == 1, rows


def test_no_reboot_and_no_network_where_they_are_not_asked_for() -> None:
    assert "reboot" not in script_of(made(reboot=False))
    assert "network" not in script_of(made(installation="upgrade"))
    assert "network --bootproto=dhcp" in script_of(made(installation="upgrade", bootproto="dhcp"))


def test_an_upgrade_touches_neither_network_nor_password() -> None:
    text = script_of(made(installation="upgrade", root_password_hash=None))
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["vmaccepteula", "upgrade", "reboot"]


def test_a_value_of_the_host_goes_before_the_one_for_all() -> None:
    one, other = parse(
        options(
            hosts=[
                {"name": "a", "mac": "00:50:56:00:00:01", "disk": {"name": "naa.1"}, "secure_boot": False},
                {"name": "b", "mac": "00:50:56:00:00:02"},
            ],
            disk={"first": ["local"], "overwrite_vmfs": True},
            secure_boot=True,
        )
    ).hosts
    assert (one.disk.name, one.disk.first, one.disk.overwrite_vmfs, one.secure_boot) == ("naa.1", None, False, False)
    assert (other.disk.name, other.disk.first, other.disk.overwrite_vmfs, other.secure_boot) == (None, ("local",), True, True)


def test_first_boot_word_for_word() -> None:
    steps = second.parse(PLAIN, "8.0").shell()
    assert steps[:7] == [
        "esxcli software acceptance set --level=PartnerSupported".split(),
        "esxcli system ntp set --server=ntp1.example.com --server=192.0.2.9 --enabled=true".split(),
        "esxcli network firewall ruleset set --ruleset-id=syslog --allowed-all=false".split(),
        "esxcli network firewall ruleset allowedip add --ruleset-id=syslog --ip-address=192.0.2.10".split(),
        "esxcli network firewall ruleset allowedip add --ruleset-id=syslog --ip-address=198.51.100.0/24".split(),
        "esxcli network firewall ruleset set --ruleset-id=syslog --enabled=true".split(),
        "esxcli network firewall ruleset set --ruleset-id=webAccess --enabled=false".split(),
    ]
    assert [step[1] for step in steps if step[0] == "vim-cmd"] == ["hostsvc/enable_ssh", "hostsvc/start_ssh"]
    assert ["vim-cmd", "hostsvc/disable_ssh"] in second.parse(script_of(made(ssh="disabled")), "8.0").shell()


@given(some.text())
@example("'; reboot #")
@example("$(reboot)`reboot`\\'\"")
def test_whatever_is_quoted_is_one_word_to_a_shell(text: str) -> None:
    assume("\0" not in text)
    assert shlex.split("echo " + kickstart_file.shell(text)) == ["echo", text]


HOSTILE = [
    "a'; reboot #",
    "$(reboot)",
    "`reboot`",
    "a b",
    "a\nreboot",
    "--help",
    "-x",
    "a;b",
    "a|b",
    "a&b",
    "a>b",
    "é",
    "",
    "a\\",
    '"',
    "%post",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_gets_into_a_line(text: str) -> None:
    """Each place that takes a free text, with what a shell or the installer would take for something else."""
    places: dict[str, Callable[[], Any]] = {
        "ntp_servers": lambda: made(ntp_servers=[text]),
        "rules": lambda: made(rules=[{"name": text, "enabled": True}]),
        "fqdn": lambda: made({"fqdn": text}),
        "name": lambda: made({"name": text}),
        "serial": lambda: made({"serial": text}),
        "device": lambda: made(device=text),
        "disk": lambda: made(disk={"name": text}),
        "system_disk": lambda: made(disk={"name": "naa.1", "system_disk": text}),
        "address": lambda: made({**STATIC, "address": text}),
        "netmask": lambda: made({**STATIC, "netmask": text}),
        "prefix": lambda: made(**{**MEDIA["pxe"], "prefix": text}),
        "ks_url": lambda: made(ks_url="http://192.0.2.5/" + text),
        "keyboard": lambda: made(keyboard=text),
        "license_key": lambda: made(license_key=text, license_key_in_file=True),
        "root_password_hash": lambda: made(root_password_hash=text),
    }
    for place, build in places.items():
        if place == "ks_url" and text in ("", "--help", "-x") or place == "prefix" and text.startswith("-"):
            continue  # a path may well be called that
        with pytest.raises(BadInput):
            build()
            pytest.fail(f"{place} took {text!r}")


@pytest.mark.parametrize("word", ["a,b", 'a"b', "a'b", "a  b", "a\tb", "a#\n", " a", ""])
def test_a_filter_is_words_and_single_spaces(word: str) -> None:
    with pytest.raises(BadInput):
        made(disk={"first": [word]})


# ---- spoilt files -----------------------------------------------------------------------------------------------------------------

SPOILT: dict[str, Callable[[str], str]] = {
    "a misspelt command": lambda text: text.replace("vmaccepteula", "vmaccepteulas"),
    "no licence agreement": lambda text: text.replace("vmaccepteula\n", ""),
    "accepted twice": lambda text: text.replace("vmaccepteula\n", "vmaccepteula\naccepteula\n"),
    "no disk": lambda text: text.replace(" --firstdisk=local", ""),
    "no installation": lambda text: re.sub(r"(?m)^install .*\n", "", text),
    "two of them": lambda text: text.replace("install ", "upgrade --firstdisk\ninstall ", 1),
    "the same twice": lambda text: text.replace("reboot\n", "reboot\nreboot\n", 1),
    "an option that is none": lambda text: text.replace("--firstdisk", "--firstdisc"),
    "a flag with a value": lambda text: text.replace("--iscrypted", "--iscrypted=yes"),
    "a value that is missing": lambda text: text.replace("--ip=192.0.2.11", "--ip"),
    "an option twice": lambda text: text.replace("--bootproto=static", "--bootproto=static --bootproto=static"),
    "a plain password": lambda text: re.sub(r"(?m)^rootpw .*$", f"rootpw {PASSWORD}", text),
    "a plain password said to be a hash": lambda text: text.replace(HASH, PASSWORD),
    "a hash cut short": lambda text: text.replace(HASH, HASH[:-1]),
    "no password": lambda text: re.sub(r"(?m)^rootpw .*\n", "", text),
    "no such layout": lambda text: text.replace("Swiss German", "Swiss"),
    "a layout without its quotes": lambda text: text.replace('"Swiss German"', "Swiss German"),
    "a quote that is never closed": lambda text: text.replace('"Swiss German"', '"Swiss German'),
    "another bootproto": lambda text: text.replace("static", "bootp"),
    "an address with dhcp": lambda text: text.replace("static", "dhcp"),
    "an address that is none": lambda text: text.replace("192.0.2.11", "192.0.2.311"),
    "a command of ESX 4": lambda text: "zerombr yes\n" + text,
    "partitions cleared in an upgrade": lambda text: text.replace("install ", "clearpart --alldrives\nupgrade ", 1),
    "nothing to clear": lambda text: text.replace("install ", "clearpart --overwritevmfs\ninstall ", 1),
    "both kept and overwritten": lambda text: text.replace("--firstdisk=local", "--firstdisk=local --overwritevmfs --preservevmfs"),
    "two ways to a disk": lambda text: text.replace("--firstdisk=local", "--firstdisk=local --disk=naa.1"),
    "an interpreter that is none": lambda text: text.replace("--interpreter=python", "--interpreter=perl"),
    "a section that is none": lambda text: text.replace("%post", "%packages"),
    "an empty section": lambda text: text + "\n%post --interpreter=python\n",
    "a key that is none": lambda text: text.replace(KEY, KEY[:-1]),
    "a character that is not ASCII": lambda text: text.replace("reboot\n", "reboot\N{NO-BREAK SPACE}\n", 1),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "a vlan beyond all": lambda text: text.replace("--hostname", "--vlanid=5000 --hostname"),
    "a device that is none": lambda text: text.replace("--device=00:50:56:00:00:01", "--device=eth0"),
    "a word too many": lambda text: text.replace("reboot\n", "reboot now\n", 1),
    "no SSD of a named disk": lambda text: text.replace("--firstdisk=local", "--disk=naa.1 --ignoressd"),
    "no disk to make partitions on": lambda text: text.replace("--firstdisk=local", "--firstdisk=local --repartitionSystemDisk"),
    "a time that is none": lambda text: text.replace("--ignorefailure=true", "--ignorefailure=true --timeout=soon"),
    "failure that is neither": lambda text: text.replace("--ignorefailure=true", "--ignorefailure=maybe"),
    "bootproto of Linux": lambda text: re.sub(r"(?m)^network .*$", "network --bootproto=bootp", text),
    "two port groups": lambda text: text.replace("--hostname", "--addvmportgroup=2 --hostname"),
    "a disk that is none": lambda text: text.replace("--firstdisk=local", "--disk=sda"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_both_readers_refuse_a_spoilt_file(name: str) -> None:
    text = SPOILT[name](PLAIN)
    assert text != PLAIN and not kickstart_file.problems(PLAIN, "8.0")
    second.parse(PLAIN, "8.0")
    found = kickstart_file.problems(text, "8.0")
    assert found and HASH not in str(found) and PASSWORD not in str(found) and KEY not in str(found)
    with pytest.raises(second.Refused):
        second.parse(text, "8.0")


def test_what_a_release_does_not_know_is_refused_by_both() -> None:
    dpu = script_of(made(disk={"first": [], "dpu_pci_slots": [2]}))
    for text, release in ((dpu, "7.0"), (PLAIN, "9.0"), (PLAIN, "9.1")):
        assert kickstart_file.problems(text, release)
        with pytest.raises(second.Refused):
            second.parse(text, release)


HEAD = PLAIN[: PLAIN.index("\n%")]
LETTERS = some.sampled_from("ab0./:-=\"' ,\n#%\t\\é\N{ZERO WIDTH SPACE}")


@settings(max_examples=200, deadline=None)
@given(some.integers(0, len(HEAD) - 1), LETTERS, some.sampled_from(["put", "swap", "cut"]))
def test_readers_agree_on_whatever_becomes_of_a_file(place: int, letter: str, how: str) -> None:
    """Neither crashes; what ours takes, the other takes, so nothing is written that a manual's reader would refuse."""
    text = HEAD[:place] + {"put": letter + HEAD[place], "swap": letter, "cut": ""}[how] + HEAD[place + 1 :] + "\n"
    found = kickstart_file.problems(text, "8.0")
    # Whether the gateway is on the network, and what a host may be called, is asked before a file is made, not of the file. A backslash is
    # no letter of any option, and a comment may hold it.
    if found or "\\" in text:
        return
    try:
        second.parse(text, "8.0")
    except second.Refused as why:
        assert any(word in str(why) for word in ("gateway", "--hostname", "--bootproto=static", "value ''")), (why, text)


@settings(max_examples=100, deadline=None)
@given(some.lists(some.sampled_from(PLAIN.splitlines(keepends=True)), max_size=12))
def test_lines_in_any_order_end_in_a_judgement(lines: list[str]) -> None:
    assert isinstance(kickstart_file.problems("".join(lines), "8.0"), list)


# ---- boot.cfg ---------------------------------------------------------------------------------------------------------------------

BAD_BOOT: dict[str, tuple[str, str]] = {
    "nothing": ("", "kernel"),
    "no kernel": (BOOT.replace("kernel=/b.b00\n", ""), "names no kernel"),
    "no modules": (re.sub(r"modules=.*\n", "", BOOT), "no modules"),
    "an empty module": (BOOT.replace("/k.b00", ""), "an empty one"),
    "kernelopt twice": (BOOT + "kernelopt=x\n", "kernelopt stands there twice"),
    "a line that is none": (BOOT + "hello\n", "line 10"),
    "not ASCII": (BOOT.replace("Loading", "Lädt"), "printable ASCII"),
}


@pytest.mark.parametrize("name", BAD_BOOT)
def test_what_is_no_boot_cfg_is_refused(name: str) -> None:
    text, why = BAD_BOOT[name]
    with pytest.raises(kickstart_file.Spoilt, match=why):
        kickstart_file.read_boot(text)


def test_lines_that_must_remain_do_and_comments_too() -> None:
    text = BOOT.replace("timeout=5\n", "timeout=5\n# of the vendor\nnobootif=1\n").replace("\n", "\r\n")
    boot, gone = kickstart_file.for_host(kickstart_file.read_boot(text), title="t", prefix="p", options=["ks=http://a/b"])
    assert boot.text.splitlines()[2:5] == ["timeout=5", "# of the vendor", "nobootif=1"] and not gone and "\r" not in boot.text


@pytest.mark.parametrize("lacks", ["title", "prefix", "kernelopt"])
def test_a_line_that_is_missing_is_put_where_it_belongs(lacks: str) -> None:
    text = re.sub(rf"(?m)^{lacks}=.*\n", "", BOOT)
    boot, _gone = kickstart_file.for_host(kickstart_file.read_boot(text), title="t", prefix="p", options=["ks=http://a/b"])
    found = second.parse_boot(boot.text)
    assert (found["title"], found["prefix"]) == ("t", "p") and "ks=http://a/b" in found["kernelopt"].split()


def test_boot_options_that_give_way_are_told() -> None:
    source = kickstart_file.read_boot(BOOT.replace("cdromBoot", "ks=http://old/ks netdevice=vmnic9 quiet"))
    asked = wanted()
    one = kickstart.make(asked.hosts[0], asked, source)
    assert one.kernelopt == "runweasel quiet ks=http://192.0.2.5/ks/esx-01.cfg netdevice=00:50:56:00:00:01"
    assert ("kickstart_boot_option_replaced", "ks, netdevice") in {(finding.code, finding.text) for finding in one.findings}


@pytest.mark.parametrize("spoil", ["title=", "prefix=", "kernelopt=", "timeout=", "modules=/"])
def test_a_boot_cfg_that_is_not_as_written_is_noticed(spoil: str) -> None:
    boot, _gone = kickstart_file.for_host(INSTALLER, title="t", prefix="p", options=["ks=http://a/b"])
    expected = {"title": "t", "prefix": "p", "kernelopt": "runweasel ks=http://a/b"}
    assert not kickstart_file.boot_problems(boot.text, INSTALLER, expected)
    text = boot.text.replace("modules=", "modules=x --- ") if "modules" in spoil else boot.text.replace(spoil, spoil + "9")
    assert text != boot.text and kickstart_file.boot_problems(text, INSTALLER, expected)


# ---- what is refused --------------------------------------------------------------------------------------------------------------

HOST = {"name": "esx-01", "mac": "00:50:56:00:00:01"}
OTHER = {"name": "esx-02", "mac": "00:50:56:00:00:02"}
# id: options, words of the cause, words of the cure. The host's own are under "host".
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no hosts": ({"hosts": []}, "hosts is empty", "Name at least one"),
    "agreement not accepted": ({"accept_eula": None}, "accept_eula", "accept_eula: true"),
    "agreement refused": ({"accept_eula": False}, "accept_eula", "accept_eula: true"),
    "no release": ({"release": None}, "release is missing", "8.0"),
    "dest is relative": ({"dest": "files"}, "no absolute path", "/srv/esxi"),
    "name with a slash": ({"host": {"name": "../esx"}}, "'../esx'", "letters"),
    "name too long": ({"host": {"name": "a" * 64}}, "no name for a file", "63"),
    "fqdn without a domain": ({"host": {"fqdn": "esx-01"}}, "esx-01: fqdn 'esx-01'", "esx-01.example.com"),
    "fqdn with an underscore": ({"host": {"fqdn": "esx_01.example.com"}}, "no full host name", "hyphens"),
    "fqdn with a long label": ({"host": {"fqdn": "a" * 64 + ".example.com"}}, "no full host name", "hyphens"),
    "mac cut short": ({"host": {"mac": "00:50:56:00:00"}}, "esx-01: mac '00:50:56:00:00'", "aa:bb"),
    "mac of a group": ({"host": {"mac": "01:00:5e:00:00:01"}}, "multicast", "card"),
    "mac of zeros": ({"host": {"mac": "00:00:00:00:00:00"}}, "all zero", "card"),
    "no mac to boot from": ({"hosts": [{"name": "esx-01"}]}, "esx-01 has no mac", "MAC address"),
    "serial with a space": ({"host": {"serial": "CZ 1"}}, "serial 'CZ 1'", "Letters"),
    "name twice": ({"hosts": [HOST, {**OTHER, "name": "ESX-01"}]}, "belongs to", "its own"),
    "fqdn twice": (
        {"hosts": [{**HOST, "fqdn": "a.example.com"}, {**OTHER, "fqdn": "A.example.com"}]},
        "esx-02: fqdn 'a.example.com' belongs to esx-01",
        "its own",
    ),
    "mac twice": ({"hosts": [HOST, {**OTHER, "mac": "0050.5600.0001"}]}, "esx-02: mac '00:50:56:00:00:01' belongs to esx-01", "its own"),
    "serial twice": ({"hosts": [{**HOST, "serial": "A1"}, {**OTHER, "serial": "a1"}]}, "serial 'a1' belongs to esx-01", "its own"),
    "address twice": ({"hosts": [{**HOST, **STATIC}, {**OTHER, **STATIC}]}, "address '192.0.2.11' belongs to esx-01", "its own"),
    "address is another's gateway": (
        {"hosts": [{**HOST, **STATIC}, {**OTHER, **STATIC, "address": "192.0.2.1", "gateway": "192.0.2.9"}]},
        "is the gateway of esx-01",
        "of its own",
    ),
    "address with zeros": ({"host": {**STATIC, "address": "192.0.2.011"}}, "esx-01: address '192.0.2.011' is no IPv4", "leading zeros"),
    "address of IPv6": ({"host": {**STATIC, "address": "2001:db8::1"}}, "no IPv4 address", "IPv4 only"),
    "address of the network": ({"host": {**STATIC, "address": "192.0.2.0"}}, "network's or the broadcast", "host's address"),
    "address of all": ({"host": {**STATIC, "address": "192.0.2.255"}}, "network's or the broadcast", "host's address"),
    "loopback": ({"host": {**STATIC, "address": "127.0.0.1"}}, "no address of a host", "one machine"),
    "netmask with a hole": ({"host": {**STATIC, "netmask": "255.0.255.0"}}, "ones have to come first", "255.255.255.0"),
    "netmask as a prefix": ({"host": {**STATIC, "netmask": "/24"}}, "netmask '/24'", "255.255.255.0"),
    "netmask of one": ({"host": {**STATIC, "netmask": "255.255.255.255"}}, "no netmask", "255.255.255.0"),
    "gateway elsewhere": (
        {"host": {**STATIC, "gateway": "198.51.100.1"}},
        "gateway '198.51.100.1' lies outside of 192.0.2.0/24",
        "Correct",
    ),
    "gateway is the host": ({"host": {**STATIC, "gateway": "192.0.2.11"}}, "the host's own address", "router"),
    "no gateway": ({"host": {"address": "192.0.2.11", "netmask": "255.255.255.0"}}, "gateway is missing", "dhcp"),
    "no netmask": ({"host": {"address": "192.0.2.11", "gateway": "192.0.2.1"}}, "netmask is missing", "dhcp"),
    "static without address": ({"bootproto": "static"}, "address is missing", "dhcp"),
    "dhcp with an address": ({"host": {**STATIC, "bootproto": "dhcp"}}, "bootproto is dhcp", "static"),
    "three name servers": ({"host": {**STATIC, "nameservers": ["192.0.2.2", "192.0.2.3", "192.0.2.4"]}}, "more than two", "two"),
    "a name server by name": ({"host": {**STATIC, "nameservers": ["ns1.example.com"]}}, "nameservers 'ns1.example.com'", "192.0.2.10"),
    "vlan too high": ({"vlan": 4096}, "vlan 4096", "4094"),
    "vlan below zero": ({"vlan": -1}, "vlan -1", "4094"),
    "device of Linux": ({"device": "eth0"}, "device 'eth0'", "aa:bb"),
    "no disk": ({"disk": None}, "disk has neither first nor name", "disk.name"),
    "two disks": ({"disk": {"first": [], "name": "naa.1"}}, "both first and name", "disk.first"),
    "disk of Linux": ({"disk": {"name": "/dev/sda"}}, "disk.name '/dev/sda'", "naa."),
    "kept and overwritten": ({"disk": {"first": [], "overwrite_vmfs": True, "preserve_vmfs": True}}, "exclude each other", "one of them"),
    "kept and not made": ({"disk": {"first": [], "no_vmfs_on_disk": True, "preserve_vmfs": True}}, "exclude each other", "one of them"),
    "no SSD of a name": ({"disk": {"name": "naa.1", "ignore_ssd": True}}, "ignore_ssd is for disk.first", "Leave it out"),
    "partitions of nothing": ({"disk": {"first": [], "repartition_system_disk": True}}, "without disk.system_disk", "Name the disk"),
    "slot below zero": ({"disk": {"first": [], "dpu_pci_slots": [-1]}}, "no slot number", "[2, 3]"),
    "DPU before 8.0": (
        {"release": "7.0", "disk": {"first": [], "dpu_pci_slots": [2]}},
        "disk.dpu_pci_slots is not known to 7.0",
        "came with 8.0",
    ),
    "upgrade that overwrites": (
        {"installation": "upgrade", "disk": {"first": [], "overwrite_vmfs": True}},
        "no disk.overwrite_vmfs",
        "install",
    ),
    "upgrade that keeps": (
        {"installation": "installorupgrade", "disk": {"first": [], "preserve_vmfs": True}},
        "no disk.preserve_vmfs",
        "install",
    ),
    "upgrade that clears": ({"installation": "upgrade", "clear_partitions": {"all_drives": True}}, "no clear_partitions", "leave it out"),
    "cleared nothing": ({"clear_partitions": {"overwrite_vmfs": True}}, "none of drives", "exactly one"),
    "cleared twice": ({"clear_partitions": {"all_drives": True, "drives": ["naa.1"]}}, "drives and all_drives", "exactly one"),
    "cleared by Linux": ({"clear_partitions": {"drives": ["sda"]}}, "clear_partitions.drives 'sda'", "naa."),
    "layout by code": ({"keyboard": "de"}, "keyboard 'de'", "Swiss German"),
    "no password": ({"root_password_hash": None}, "root_password_hash is missing", "openssl passwd -6"),
    "plain password": ({"root_password_hash": PASSWORD}, "plain passwords are not taken", "openssl passwd -6"),
    "hash of MD5": ({"root_password_hash": "$1$DKhzma$ZFEGEeAv3rNc8gqvhY2it1"}, "no whole one of SHA-512", "openssl passwd -6"),
    "hash cut short": ({"root_password_hash": HASH[:-1]}, "no whole one of SHA-512", "openssl passwd -6"),
    "hash with its line break": ({"root_password_hash": HASH + "\n"}, "white space around it", "openssl passwd -6"),
    "no key": ({"license_key_in_file": True}, "without license_key", "Give the key"),
    "key cut short": ({"license_key": KEY[:-6]}, "license_key", "."),
    "key from 9.0 on": ({"release": "9.0", "license_key": KEY, "license_key_in_file": True}, "not known to 9.0", "vCenter"),
    "time server with options": ({"ntp_servers": ["ntp1.example.com iburst"]}, "ntp_servers 'ntp1.example.com iburst'", "without options"),
    "time server twice": ({"ntp_servers": ["ntp1.example.com", "NTP1.example.com"]}, "name one twice", "Keep one"),
    "time server is no address": ({"ntp_servers": ["999.1.1.1"]}, "neither an IP address", "One server"),
    "ruleset with a quote": ({"rules": [{"name": "a'b", "enabled": True}]}, "no name of a ruleset", "ruleset list"),
    "ruleset without a wish": ({"rules": [{"name": "syslog"}]}, "asks for nothing", "enabled"),
    "ruleset twice": ({"rules": [{"name": "syslog", "enabled": True}, {"name": "Syslog", "enabled": True}]}, "name one twice", "one entry"),
    "ruleset for nobody": ({"rules": [{"name": "syslog", "allowed_hosts": {"all_ip": False}}]}, "shuts everybody out", "enabled: false"),
    "ruleset for both": (
        {"rules": [{"name": "syslog", "allowed_hosts": {"all_ip": True, "ip_address": ["192.0.2.1"]}}]},
        "all_ip: true and a list",
        "one of the two",
    ),
    "ruleset for a name": (
        {"rules": [{"name": "syslog", "allowed_hosts": {"ip_address": ["log.example.com"]}}]},
        "esx-01: rules has",
        "192.0.2.10",
    ),
    "step with a line break": ({"first_boot": ["reboot\nreboot"]}, "first_boot, entry 1 has a line break", "One command"),
    "step that ends the section": ({"first_boot": ["%post"]}, "begins with %", "Indent"),
    "step with no ASCII": ({"first_boot": ["echo ä"]}, "first_boot, entry 1", "ASCII"),
    "step that is empty": ({"first_boot": [" "]}, "first_boot, entry 1 is empty", "ASCII"),
    "step without an end": ({"first_boot": ["a" * 1001]}, "1001 characters", "1000"),
    "script that ends the section": ({"post": {"text": "x\n%firstboot\n"}}, "post.text: line 2 begins with %", "Indent"),
    "script of Windows": ({"pre": {"text": "x\r\ny"}}, "pre.text", "ASCII"),
    "script without time": ({"post": {"text": "x", "timeout": 0}}, "post.timeout 0", "above 0"),
    "two sizes": ({"system_media_size": "min", "os_data_size": 8192}, "size the same partition", "one of them"),
    "no size": ({"os_data_size": 0}, "os_data_size 0", "8192"),
    "no URL": ({"ks_url": None}, "ks_url is missing", "served"),
    "URL of TFTP": ({"ks_url": "tftp://192.0.2.5/ks"}, "no URL that the installer takes", "http or https"),
    "URL with a question": ({"ks_url": "http://192.0.2.5/ks?host=1"}, "no URL", "?"),
    "URL with a password": ({"ks_url": f"http://u:{PASSWORD}@192.0.2.5/ks"}, "a user or a password", "by address"),
    "URL beyond ports": ({"ks_url": "http://192.0.2.5:70000/ks"}, "no URL", "server"),
    "URL without an end": ({"ks_url": "http://192.0.2.5/" + "a" * 200}, "217 characters", "200"),
    "no prefix": ({"prefix": None}, "prefix is missing", "URL"),
    "prefix without installer": ({"installer_boot_cfg": None}, "prefix is given without", "leave prefix out"),
    "prefix of TFTP as URL": ({**MEDIA["pxe"], "prefix": "http://192.0.2.5/"}, "no relative path", "without a slash"),
    "prefix from the root": ({**MEDIA["pxe"], "prefix": "/ESXi"}, "no relative path", "without a slash"),
    "prefix of HTTP as path": ({"prefix": "ESXi-8"}, "no URL", "http"),
    "stick with a URL": ({"medium": "usb", "prefix": None}, "ks_url is given, and medium is usb", "leave it out"),
    "stick for a BIOS": ({**MEDIA["usb"], "bios": True}, "medium is usb", "medium: pxe"),
    "BIOS without installer": (
        {**MEDIA["pxe"], "installer_boot_cfg": None, "prefix": None},
        "installer_boot_cfg is missing",
        "leave it out",
    ),
    "title with a line break": ({"title": "a\nmodules=x"}, "title has a line break", "few words"),
    "title not ASCII": ({"title": "Lädt"}, "title", "ASCII"),
    "static boot by dhcp": ({"boot_network": "static"}, "esx-01 has no address", "boot_network: dhcp"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_names_host_option_value_and_cure(name: str) -> None:
    given_, cause, cure = BAD[name]
    task = dict(given_)
    with pytest.raises(BadInput) as caught:
        made(task.pop("host", None), **task)
    assert cause in caught.value.cause and cure in caught.value.hint, caught.value.sentence
    for secret in (PASSWORD, HASH, HASH[:-1], KEY, KEY[:-6]):
        assert secret not in caught.value.sentence
    if "host" in given_ and "name" not in given_["host"]:
        assert caught.value.cause.startswith("esx-01: ")


def test_the_table_is_long_enough() -> None:
    assert len(BAD) > 80


# ---- what somebody should know ----------------------------------------------------------------------------------------------------


def codes(host: dict[str, Any] | None = None, **given_: Any) -> set[str]:
    return {finding.code for finding in made(host, **given_).findings}


FINDINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "kickstart_firstboot_skipped": ({"ssh": "enabled", "secure_boot": True}, {"ssh": "enabled", "secure_boot": False}),
    "kickstart_firstboot_unless_secure": ({"ssh": "enabled"}, {"secure_boot": None}),
    "kickstart_license_later": ({"license_key": KEY}, {}),
    "kickstart_license_in_clear": ({"license_key": KEY, "license_key_in_file": True}, {"license_key": KEY}),
    "kickstart_readable_on_network": ({}, MEDIA["usb"]),
    "kickstart_installs_again": ({}, {"dry_run": True}),
    "kickstart_erases": ({"disk": {"first": [], "overwrite_vmfs": True}}, {"disk": {"first": []}}),
    "kickstart_any_disk": ({"disk": {"first": ["DELLBOSS VD", "local"]}}, {"disk": {"first": ["DELLBOSS VD", "vmw_ahci"]}}),
    "kickstart_usb_without_system_disk": ({"disk": {"first": ["usb"]}}, {"disk": {"first": ["usb"], "system_disk": "naa.1"}}),
    "kickstart_release_unsure": ({"os_data_size": 8192}, {"system_media_size": "min"}),
    "kickstart_unsupported_cpu": ({"allow_legacy_cpu": True}, {"allow_legacy_cpu": False}),
}


@pytest.mark.parametrize("code", FINDINGS)
def test_each_finding_where_it_belongs_and_nowhere_else(code: str) -> None:
    there, not_there = FINDINGS[code]
    assert code in codes(**there) and code not in codes(**not_there)


LOCAL = {"disk": {"first": ["local"]}}
# What is erased, in words: who reads "the first disk" must not lose the LUNs of a SAN.
ERASED: dict[str, tuple[dict[str, Any], str]] = {
    "all drives": (
        {**LOCAL, "clear_partitions": {"all_drives": True, "overwrite_vmfs": True}},
        "clear_partitions on all drives that the host",
    ),
    "all but one": ({**LOCAL, "clear_partitions": {"except_drives": ["naa.1"]}}, "clear_partitions on all drives but naa.1 that the host"),
    "all, their datastores too": (
        {**LOCAL, "clear_partitions": {"all_drives": True, "overwrite_vmfs": True}},
        "those of the network (SAN) included, with datastores",
    ),
    "two": ({**LOCAL, "clear_partitions": {"drives": ["naa.1", "naa.2"]}}, "clear_partitions on naa.1, naa.2"),
    "the one named": ({"disk": {"name": "naa.1", "overwrite_vmfs": True}}, "overwrite_vmfs on naa.1"),
    "whichever": (
        {"disk": {"first": [], "overwrite_vmfs": True}},
        "overwrite_vmfs on the first disk of any kind, those of the network (SAN)",
    ),
    "a group": ({"disk": {"name": "naa.1", "overwrite_vsan": True}}, "other disks of its vSAN disk group may go with it"),
    "data": (
        {"disk": {"first": ["usb"], "overwrite_vmfs": True, **DATA}},
        "overwrite_vmfs on the first disk of usb; repartition_system_disk on naa.9",
    ),
}


@pytest.mark.parametrize("name", ERASED)
def test_what_is_erased_is_named(name: str) -> None:
    given_, words = ERASED[name]
    (text,) = (finding.text for finding in made(**given_).findings if finding.code == "kickstart_erases")
    assert words in text
    assert ("SAN" in text) is ("SAN" in words or "the host" in words)


def test_every_finding_is_tried() -> None:
    assert set(FINDINGS) | {"kickstart_boot_option_replaced"} == set(kickstart.MEANINGS)


def test_steps_under_secure_boot_are_left_to_the_playbook() -> None:
    (finding,) = (finding for finding in made(ssh="enabled", secure_boot=True).findings if finding.code == "kickstart_firstboot_skipped")
    assert (
        finding.level == "warning"
        and "esxi_provision" in finding.hint
        and finding.text == "secure_boot is true, and the script has 2 such steps"
    )


# ---- secrets ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_secret_stands_where_it_was_not_told_to(name: str) -> None:
    host, task = COMBINATIONS[name]
    one = made(host, **task)
    for path, text in one.files.items():
        is_script = path.startswith("ks/") or path.endswith("KS.CFG")
        assert str(text).count(HASH) == int(is_script)
        assert str(text).count(KEY) == int(is_script and bool(task.get("license_key_in_file")))
        assert PASSWORD not in str(text)
        assert HASH not in kickstart_file.masked(str(text)) and KEY not in kickstart_file.masked(str(text))
    told = repr(one) + json.dumps([finding.describe("open") for finding in one.findings])
    assert HASH not in told and KEY not in told


def test_a_script_that_is_no_good_is_never_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kickstart, "script", lambda _host, _release: f"rootpw {PASSWORD}\n")
    with pytest.raises(FleetcareError, match="defect") as caught:
        made()
    assert PASSWORD not in caught.value.sentence


# ---- tables -----------------------------------------------------------------------------------------------------------------------


def test_every_row_has_its_source_and_each_option_is_one_of_the_module() -> None:
    for row in kickstart_grammar.ROWS.values():
        assert row.source and row.known | row.unsure <= kickstart_grammar.ALL and row.known | row.unsure
        for option in re.split(r", |: \w+$", row.option):
            top, _dot, below = option.partition(".")
            assert not top or top in OPTIONS and (not below or below in OPTIONS[top]["options"]), row.what
    assert OPTIONS["release"]["choices"] == list(kickstart_grammar.RELEASES)


def test_what_is_said_in_a_script_has_a_row() -> None:
    """So that nothing is written of which it is not known which release takes it."""
    said = set()
    for host, task in COMBINATIONS.values():
        for line in kickstart_file.read(script_of(made(host, **task))):
            said |= {line.name} | {f"{line.name} {option}" for option, _value in line.options if line.name == "install"}
    assert said - {"rootpw"} <= set(kickstart_grammar.ROWS)


def test_the_role_passes_every_option_on() -> None:
    (task,) = yaml.safe_load((ROOT / "roles/esxi_kickstart/tasks/main.yml").read_text())
    passed = task["fleetcare.esxi.esxi_kickstart"]
    assert list(passed) == list(OPTIONS)
    assert all(text == f"{{{{ esxi_kickstart_{name} | default(omit) }}}}" for name, text in passed.items())
