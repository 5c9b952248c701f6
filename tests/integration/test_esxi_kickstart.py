# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_kickstart against a real folder, as a role in ansible-playbook, and the playbook that waits for fresh hosts."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import re
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import local_files
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import kickstart
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError, WriteRefused
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim.kickstart import work
from tests.integration.driver import MODULES
from tests.integration.playbooks import ansible_playbook
from tests.simulator import Simulator
from tests.unit.domain import kickstart_parser as second
from tests.unit.domain.kickstart_makers import BOOT, FIRST_BOOT, HASH, KEY, MEDIA, PASSWORD
from tests.unit.domain.kickstart_makers import options as made_up

FIRST = {"name": "esx-01", "fqdn": "esx-01.example.com", "mac": "00:50:56:00:00:01"}
NEXT = {"name": "esx-02", "fqdn": "esx-02.example.com", "mac": "00:50:56:00:00:02"}
SCRIPT, BOOT_CFG = "ks/esx-01.cfg", "01-00-50-56-00-00-01/boot.cfg"
OTHER_HASH = HASH[:-1] + "0"


@pytest.fixture
def dest(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "BOOT.CFG").write_text(BOOT)
    return tmp_path / "files"


def options(files: pathlib.Path, **given: Any) -> dict[str, Any]:
    fine = {"dest": str(files), "installer_boot_cfg": str(files.parent / "BOOT.CFG"), "hosts": [FIRST, NEXT], **FIRST_BOOT}
    return {**made_up(), **fine, **given}


def run(files: pathlib.Path, *, check: bool = False, **given: Any) -> dict[str, Any]:
    return work(options(files, **given), check)


def tree(folder: pathlib.Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file with its content, mode and time."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def states(result: dict[str, Any]) -> list[str]:
    return [file["state"] for host in result["hosts"].values() for file in host["files"]]


# ---- check, do, again -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", MEDIA)
def test_check_do_again(dest: pathlib.Path, medium: str) -> None:
    given = {**MEDIA[medium], "installer_boot_cfg": str(dest.parent / "BOOT.CFG"), "license_key": KEY}
    check = run(dest, check=True, **given)
    assert check["changed"] and check["summary"] == {"would_change": 2} and not dest.exists()
    done = run(dest, **given)
    assert done["changed"] and not done["failed"] and done["summary"] == {"changed": 2}
    assert done["diff"] == check["diff"] and states(done) == states(check) == ["created"] * {"http": 4, "pxe": 6, "usb": 6}[medium]
    there = tree(dest)
    assert sorted(there) == sorted(file["path"] for host in done["hosts"].values() for file in host["files"])
    for path, (content, mode, _time) in there.items():
        assert mode == 0o600
        if path.lower().endswith("boot.cfg"):
            host = "esx-01" if "esx-01" in path or "00-01" in path else "esx-02"
            assert second.parse_boot(content.decode())["kernelopt"] == done["hosts"][host]["kernelopt"]
        elif "pxelinux" not in path:
            assert second.parse(content.decode(), "8.0").how == "install"
    again = run(dest, **given)
    assert not again["changed"] and again["summary"] == {"compliant": 2} and again["diff"] == [] and tree(dest) == there
    assert set(states(again)) == {"unchanged"}


def test_scripts_alone_tell_what_the_boot_loader_has_to_say(dest: pathlib.Path) -> None:
    result = run(dest, installer_boot_cfg=None, prefix=None)
    assert sorted(tree(dest)) == ["ks/esx-01.cfg", "ks/esx-02.cfg"]
    assert result["hosts"]["esx-02"]["kernelopt"] == "ks=http://192.0.2.5/ks/esx-02.cfg netdevice=00:50:56:00:00:02"


def test_only_what_differs_is_written_and_the_mode_counts(dest: pathlib.Path) -> None:
    run(dest)
    before = tree(dest)
    changed = run(dest, hosts=[{**FIRST, "keyboard": "German"}, NEXT])
    assert {path for path, state in tree(dest).items() if state != before[path]} == {SCRIPT}
    assert states(changed) == ["changed", "unchanged", "unchanged", "unchanged"]
    (shown,) = changed["diff"]
    assert "keyboard German\n" in shown["after"] and "keyboard" not in shown["before"]
    assert set(states(run(dest, mode="0640"))) == {"changed"}
    assert {mode for _content, mode, _time in tree(dest).values()} == {0o640}
    (dest / SCRIPT).chmod(0o644)
    assert states(run(dest, mode="0640")) == ["changed", "unchanged", "unchanged", "unchanged"]


def test_what_others_have_written_is_put_right(dest: pathlib.Path) -> None:
    run(dest)
    whole = (dest / SCRIPT).read_bytes()
    (dest / SCRIPT).write_bytes(b"rootpw \xff" + PASSWORD.encode())
    result = run(dest)
    assert (dest / SCRIPT).read_bytes() == whole and states(result)[0] == "changed"
    assert PASSWORD not in json.dumps(result, default=str)


def test_absent_removes_the_files_of_these_hosts_and_no_others(dest: pathlib.Path) -> None:
    run(dest)
    (dest / "mine.txt").write_text("mine")
    gone: dict[str, Any] = {
        "state": "absent",
        "hosts": [FIRST],
        "accept_eula": None,
        "release": None,
        "root_password_hash": None,
        "disk": None,
    }
    check = run(dest, check=True, **gone)
    assert check["summary"] == {"would_change": 1} and len(tree(dest)) == 5
    done = run(dest, **gone)
    assert done["summary"] == {"changed": 1} and states(done) == states(check) == ["removed", "removed", "absent"]
    assert sorted(tree(dest)) == ["01-00-50-56-00-00-02/boot.cfg", "ks/esx-02.cfg", "mine.txt"]
    assert not (dest / BOOT_CFG).parent.exists()
    assert HASH not in json.dumps(done, default=str)
    assert not run(dest, **gone)["changed"]


# ---- what goes wrong --------------------------------------------------------------------------------------------------------------


def test_one_host_that_cannot_be_written_keeps_no_other_from_its_files(dest: pathlib.Path) -> None:
    (dest / "ks" / "esx-01.cfg").mkdir(parents=True)
    result = run(dest)
    assert result["failed"] and result["summary"] == {"changed": 1, "failed": 1}
    failure = result["hosts"]["esx-01"]["failure"]
    assert "esx-01.cfg cannot be read: Is a directory" in failure["message"] and failure["hint"]
    assert sorted(tree(dest)) == ["01-00-50-56-00-00-02/boot.cfg", "ks/esx-02.cfg"]
    assert "esx-01: " in result["msg"]
    check = run(dest, check=True)
    assert not check["failed"] and check["warnings"] == [check["msg"]]


def test_nothing_is_written_through_a_link(dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (dest / "ks").mkdir(parents=True)
    (dest / SCRIPT).symlink_to(tmp_path / "elsewhere")
    result = run(dest)
    assert result["hosts"]["esx-01"]["status"] == "failed" and (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("step", ["replace", "fsync", "fchmod", "makedirs"])
def test_a_disk_that_fails_leaves_the_old_file_whole(dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    run(dest)
    before = tree(dest)

    def fail(*_given: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    result = run(dest, keyboard="German")
    monkeypatch.undo()
    assert result["summary"] == {"failed": 2} and "No space left on device" in result["msg"] and tree(dest) == before


def test_what_does_not_hold_is_said(dest: pathlib.Path) -> None:
    class Spoiling(local_files.Folder):
        def write(self, path: str, content: bytes, mode: int) -> None:
            super().write(path, content.replace(b"vmaccepteula\n", b"").replace(b"timeout=5", b"timeout=9"), mode)

    result = kickstart.task(Spoiling, local_files.given)(options(dest), False)
    assert result["failed"] and result["summary"] == {"failed": 2} and result["hosts"]["esx-01"]["failure"]["kind"] == "not_converged"
    assert "read again it is not as it was written, the licence agreement is not accepted" in result["msg"]

    class Keeping(local_files.Folder):
        def remove(self, path: str) -> None: ...

    run(dest)
    result = kickstart.task(Keeping, local_files.given)(options(dest, state="absent"), False)
    assert result["failed"] and "still there" in result["msg"]


def test_a_check_run_cannot_write(dest: pathlib.Path) -> None:
    folder = local_files.Folder(str(dest), True)
    with pytest.raises(WriteRefused):
        folder.write("a", b"b", 0o600)
    with pytest.raises(WriteRefused):
        folder.remove("a")


INPUT: dict[str, tuple[dict[str, Any], str, str]] = {
    "second host is wrong": ({"hosts": [FIRST, {**NEXT, "vlan": 9999}]}, "esx-02: vlan 9999", "4094"),
    "no boot.cfg": (
        {"installer_boot_cfg": "/nonexistent/BOOT.CFG"},
        "installer_boot_cfg /nonexistent/BOOT.CFG cannot be read: No such file",
        "on the machine",
    ),
    "a folder for a boot.cfg": ({"installer_boot_cfg": "/"}, "installer_boot_cfg / cannot be read", "Name a file"),
    "endless boot.cfg": ({"installer_boot_cfg": "/dev/zero"}, "more than 262144 bytes", "right file"),
    "boot.cfg of another kind": ({"installer_boot_cfg": "/etc/passwd"}, "is no boot.cfg of an installer", "as it came"),
    "boot.cfg that would be lost": (
        {**MEDIA["usb"], "dest": "/mnt/", "installer_boot_cfg": "/mnt/esx-02/efi/boot/boot.cfg"},
        "installer_boot_cfg /mnt/esx-02/efi/boot/boot.cfg is one of the files that are written",
        "another place",
    ),
    "dest is a file": ({"dest": "/etc/passwd"}, "dest /etc/passwd cannot be a folder", "Name another"),
    "dest below a file": ({"dest": "/etc/passwd/below"}, "dest /etc/passwd/below cannot be a folder: /etc/passwd is none", "Name another"),
}


@pytest.mark.parametrize("name", INPUT)
def test_bad_input_ends_before_the_first_file(dest: pathlib.Path, name: str) -> None:
    given, cause, cure = INPUT[name]
    for check in (True, False):
        with pytest.raises(BadInput) as caught:
            run(dest, check=check, **given)
        assert cause in caught.value.cause and cure in caught.value.hint
    assert not dest.exists()


def test_a_folder_that_does_not_permit_it_is_told_in_a_check_run_too(dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "access", lambda path, _how: asked.append(path))  # whoever runs the tests may be root
    for check in (True, False):
        with pytest.raises(BadInput, match="does not permit it") as caught:
            run(dest, check=check)
        assert str(dest) in caught.value.cause and "owner" in caught.value.hint
    assert asked == [str(dest.parent)] * 2 and not dest.exists()


def test_a_folder_that_cannot_be_made_is_told_for_each_host(dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / "ks").write_text("")
    result = run(dest)
    assert result["summary"] == {"failed": 2} and "Not a directory" in result["msg"] and sorted(tree(dest)) == ["ks"]


# ---- secrets ----------------------------------------------------------------------------------------------------------------------


def test_nothing_secret_is_returned(dest: pathlib.Path) -> None:
    given: dict[str, Any] = {"license_key": KEY, "license_key_in_file": True}
    for result, secrets in (
        (run(dest, check=True, **given), {KEY}),
        (run(dest, **given), {KEY}),
        (run(dest, root_password_hash=OTHER_HASH), set()),
    ):
        assert result["secrets"] == secrets, "for whoever shows results to hide it wherever else it may stand"
        told = json.dumps({name: value for name, value in result.items() if name != "secrets"})
        assert HASH not in told and OTHER_HASH not in told and KEY not in told and "serialnum ********" in told
    change = next(each for each in run(dest)["diff"] if each["before_header"].endswith(f"{SCRIPT} (before)"))
    assert change["before"] != change["after"], "that a password changes is seen, and not what it is"


def ansible(folder: pathlib.Path, *arguments: str, **variables: Any) -> tuple[int, str]:
    (folder / "variables.json").write_text(json.dumps(variables))
    log = folder / "ansible.log"
    done = ansible_playbook(folder, *arguments, "-e", "@variables.json", environment={"ANSIBLE_LOG_PATH": str(log)})
    (folder / "variables.json").unlink()
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr + log.read_text()


def as_variables(role: str, given: dict[str, Any]) -> dict[str, Any]:
    return {f"{role}_{name}": value for name, value in given.items() if value is not None}


def test_nothing_secret_is_shown_by_the_playbook(dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    own = {**FIRST, "root_password_hash": OTHER_HASH, "license_key": "FAKE0-TW0PK-V8000-CPUPK-00023"}
    given = options(dest, license_key=KEY, license_key_in_file=True, hosts=[own, NEXT])
    code, text = ansible(tmp_path, "fleetcare.esxi.esxi_kickstart", "-vvvv", "--diff", **as_variables("esxi_kickstart", given))
    assert code == 0 and "rootpw ********" in text and "2 hosts: 2 changed" in text, text
    assert "FAKE0-TW0PK-V8000-CPUPK-00023" in (dest / SCRIPT).read_text() and HASH in (dest / "ks/esx-02.cfg").read_text()
    for secret in (HASH, OTHER_HASH, KEY, "FAKE0-TW0PK-V8000-CPUPK-00023"):
        assert secret not in text
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or path.is_relative_to(dest) or secret.encode() not in path.read_bytes(), path
    assert not [path for path in dest.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("where", ["task", "host", "misspelt"])
def test_a_plain_password_is_refused_and_not_shown(dest: pathlib.Path, tmp_path: pathlib.Path, where: str) -> None:
    given = options(dest)
    if where == "host":
        given["hosts"] = [{**FIRST, "root_password_hash": PASSWORD}]
    elif where == "misspelt":
        given["hosts"] = [{**FIRST, "root_password": PASSWORD}]
    else:
        given["root_password_hash"] = PASSWORD
    (tmp_path / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{"fleetcare.esxi.esxi_kickstart": "{{ given }}"}]}])
    )
    code, text = ansible(tmp_path, "play.yml", "-vvv", given={name: value for name, value in given.items() if value is not None})
    assert code != 0 and PASSWORD not in text and not dest.exists()
    assert ("root_password" if where == "misspelt" else "openssl passwd -6") in text


# ---- documentation ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_returned_that_is_not_documented(dest: pathlib.Path) -> None:
    documented = yaml.safe_load(importlib.import_module(f"{MODULES}.esxi_kickstart").RETURN)
    for result in (run(dest, check=True), run(dest), run(dest, state="absent")):
        assert set(result) - {"changed", "failed", "diff", "secrets", "warnings"} <= set(documented)
        for host in result["hosts"].values():
            assert set(host) == set(documented["hosts"]["contains"])


# ---- provisioning -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def stranger() -> Iterator[int]:
    """Something that listens and is no host."""
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                with listening.accept()[0] as peer:
                    peer.sendall(b"220 mail.example.com ESMTP\r\n")
            except OSError:
                return

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


@pytest.fixture
def leaving() -> Iterator[Callable[[int], int]]:
    """A way to a port that is closed for good after two connections: those by which the playbook waits for a host."""
    with contextlib.ExitStack() as open_ones:

        def way_to(port: int) -> int:
            listening = open_ones.enter_context(socket.create_server(("127.0.0.1", 0)))

            def carry(source: socket.socket, sink: socket.socket) -> None:
                with contextlib.suppress(OSError):
                    while data := source.recv(65536):
                        sink.sendall(data)
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)

            def lead() -> None:
                with listening:
                    for _turn in range(2):
                        near, far = listening.accept()[0], socket.create_connection(("127.0.0.1", port))
                        back = threading.Thread(target=carry, args=(far, near), daemon=True)
                        back.start()
                        carry(near, far)
                        back.join(5)
                        near.close()
                        far.close()

            threading.Thread(target=lead, daemon=True).start()
            return int(listening.getsockname()[1])

        yield way_to


def test_a_host_that_is_gone_again_keeps_no_other_from_its_state(
    simulator: Callable[..., Simulator], tmp_path: pathlib.Path, leaving: Callable[[int], int]
) -> None:
    sim = simulator("standalone")
    there = {"address": "127.0.0.1", "thumbprint": sim.thumbprint}
    gone = leaving(sim.port)
    code, text = ansible(
        tmp_path,
        "fleetcare.esxi.esxi_provision",
        esxi_provision_hosts=[{**there, "name": "esx-gone", "port": gone}, {**there, "name": "esx-there", "port": sim.port}],
        esxi_provision_deadline=5,
        esxi_provision_settle=1,
        esxi_provision_pause=1,
        esxi_remediate_username=sim.username,
        esxi_remediate_password=sim.password,
        esxi_remediate_connect_timeout=2,
        esxi_firewall_ports_rules=[{"name": "syslog", "enabled": True}],
    )
    assert code != 0 and "Not provisioned: 1 of 2." in text and re.search(rf"esx-gone: .*127\.0\.0\.1:{gone}", text), text
    (host,) = sim.state()["hosts"].values()
    assert host["rulesets"]["syslog"]["enabled"]


def test_fresh_hosts_come_to_the_desired_state_and_the_others_are_named(
    simulator: Callable[..., Simulator], tmp_path: pathlib.Path, silent: int, stranger: int
) -> None:
    sim = simulator("standalone")
    there = {"name": "esx-fresh", "address": "127.0.0.1", "port": sim.port, "thumbprint": sim.thumbprint}
    code, text = ansible(
        tmp_path,
        "fleetcare.esxi.esxi_provision",
        esxi_provision_hosts=[
            {"name": "esx-late", "address": "127.0.0.1", "port": silent},
            {"name": "mail", "address": "127.0.0.1", "port": stranger},
            there,
        ],
        esxi_provision_deadline=2,
        esxi_provision_settle=1,
        esxi_provision_pause=1,
        esxi_remediate_username=sim.username,
        esxi_remediate_password=sim.password,
        esxi_ntp_align_ntp_servers=["ntp1.example.com"],
        esxi_ntp_align_service_state="started",
        esxi_firewall_ports_rules=[{"name": "syslog", "enabled": True}],
    )
    assert code != 0
    assert "Not provisioned: 2 of 3." in text, text
    assert f"esx-late: After 2 s nothing answers at 127.0.0.1:{silent}. Look at the host's console" in text
    assert f"mail: 127.0.0.1:{stranger} answers, but not as a vSphere host that is ready" in text
    assert "There and as it should be" not in text
    (host,) = sim.state()["hosts"].values()
    assert host["time"]["servers"] == ["ntp1.example.com"] and host["services"]["ntpd"]["running"]
    assert host["rulesets"]["syslog"]["enabled"] and sim.password not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Name hosts in esxi_provision_hosts"),
        ({"esxi_provision_hosts": [{"name": "a"}, {"name": "a"}]}, "each with a name of its own"),
        ({"esxi_provision_hosts": [{"name": "localhost"}]}, "and none localhost"),
        ({"esxi_provision_hosts": [{"name": "a"}], "esxi_provision_deadline": "soon"}, "esxi_provision_deadline soon"),
        ({"esxi_provision_hosts": [{"name": "a", "port": "x"}]}, "port x"),
        ({"esxi_provision_hosts": [{"name": "a"}], "esxi_remediate_hostname": "vcenter.example.com"}, "esxi_remediate_hostname is set"),
    ],
    ids=["nobody", "twice", "ourselves", "no time", "no port", "one address for all"],
)
def test_provisioning_refuses_what_cannot_be_meant(tmp_path: pathlib.Path, given: dict[str, Any], words: str) -> None:
    code, text = ansible(tmp_path, "fleetcare.esxi.esxi_provision", **given)
    assert code != 0 and words in text, text


def test_provisioning_check_do_again(simulator: Callable[..., Simulator], tmp_path: pathlib.Path) -> None:
    sim = simulator("standalone")
    # No address, as in a list that is made by a template: the name given in full counts.
    there = {"name": "esx-fresh", "address": None, "fqdn": "127.0.0.1", "port": sim.port, "thumbprint": None}

    def provision(*arguments: str) -> str:
        code, text = ansible(
            tmp_path,
            "fleetcare.esxi.esxi_provision",
            *arguments,
            esxi_provision_hosts=[there],
            esxi_remediate_username=sim.username,
            esxi_remediate_password=sim.password,
            esxi_remediate_validate_certs=False,
            esxi_firewall_ports_rules=[{"name": "syslog", "enabled": True}],
        )
        (tmp_path / "ansible.log").unlink()
        assert code == 0, text
        return text

    checked = provision("--check")
    assert "There: esx-fresh. This was a check run" in checked and "There and as it should be" not in checked, checked
    assert sim.summary()["writes"] == 0
    done = provision()
    assert "There and as it should be: esx-fresh." in done and re.search(r"esx-fresh +: ok=\d+ +changed=1 ", done), done
    writes = sim.summary()["writes"]
    assert writes > 0 and re.search(r"esx-fresh +: ok=\d+ +changed=0 ", provision()) and sim.summary()["writes"] == writes


def test_an_old_system_that_never_goes_is_said(simulator: Callable[..., Simulator], tmp_path: pathlib.Path) -> None:
    sim = simulator("standalone")
    old = {"name": "esx-old", "address": "127.0.0.1", "port": sim.port}
    code, text = ansible(
        tmp_path,
        "fleetcare.esxi.esxi_provision",
        "--forks=1",
        esxi_kickstart_hosts=[old, {**old, "name": "esx-older"}],
        esxi_provision_deadline=1,
        esxi_provision_pause=1,
        esxi_provision_reinstall=True,
    )
    assert code != 0 and "so the old system still runs" in text and sim.summary()["logins"] == 0, text
    assert "2 hosts, and Ansible waits for 1 at once" in text and "--forks 2" in text


def test_a_failure_is_an_error_of_ours(dest: pathlib.Path) -> None:
    """Whatever stops the task as a whole is a sentence with a next step."""
    with pytest.raises(FleetcareError) as caught:
        run(dest, accept_eula=False)
    assert caught.value.hint
