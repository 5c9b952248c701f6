# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords, cookies and licence keys appear in no output, no log and no file but a session's own."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import ssl
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from tests.bench.measure import Server, served
from tests.integration.playbooks import on_localhost, play, task

ROOT = pathlib.Path(__file__).resolve().parents[2]

PASSWORD = "marker-Pa55word-7f3a"
FLEET: dict[str, Any] = {
    "name": "secrets",
    "kind": "vcenter",
    "users": {"administrator@vsphere.local": {"password": PASSWORD}},
    "hosts": [{"count": 3, "name": "esx-0{n}.example.com", "profile": "8.0.3", "cluster": "prod"}],
}
WISH: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["192.0.2.77"]}
# Modules without a secret of their own, what each is asked for, and the call that one host refuses with the password in its words.
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("esxi_power", {"state": "maintenance"}, "EnterMaintenanceMode_Task"),
    ("esxi_acceptance_level", {"acceptance_level": "community", "allow_unknown_secure_boot": True}, "UpdateHostImageAcceptanceLevel"),
    ("esxi_hardware_info", {"target_release": "8.0", "nvme": True, "boot_device": True, "csv": True}, "ExecuteSoap"),
    (
        "esxi_firewall_vib",
        {"rulesets": [{"name": "agent", "rules": [{"direction": "inbound", "protocol": "tcp", "port": "8080"}]}]},
        "fetchSoftwarePackages",
    ),
]


@pytest.fixture
def fleet(tmp_path: pathlib.Path) -> Iterator[Server]:
    scenario = tmp_path / "secrets.yml"
    scenario.write_text(json.dumps(FLEET))
    with served(str(scenario)) as server:
        scenario.unlink()
        yield server


@pytest.mark.parametrize("given", ["option", "environment"])
def test_nothing_leaks(fleet: Server, tmp_path: pathlib.Path, given: str) -> None:
    options = {**WISH, **({"password": "{{ secret }}"} if given == "option" else {})}
    fleet.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-02*", "fault": "HostConfigFault", "text": f"no: {PASSWORD}"})
    tasks = [task(options, ignore_errors=True)]
    for name, wish, method in OTHERS:
        fleet.control("/fault", {"method": method, "host": "esx-02*", "fault": "HostConfigFault", "text": f"no: {PASSWORD}"})
        place = {option: value for option, value in options.items() if option not in WISH or option == "esxi_hostname"}
        tasks.append({f"fleetcare.esxi.{name}": {**place, **wish}, "ignore_errors": True})
    tasks.append(task({**options, "password": PASSWORD + "-wrong"}, ignore_errors=True))
    done = play(
        tmp_path,
        fleet,
        [on_localhost(*tasks)],
        "-vvvv",
        "--diff",
        "--extra-vars=@" + str(extra(tmp_path)),
        ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"),
        ANSIBLE_KEEP_REMOTE_FILES="false",
    )
    assert "esx-02.example.com" in done.stdout
    refused = {entry["method"] for entry in fleet.control("/journal") if entry["status"] == "HostConfigFault"}
    assert refused == {"UpdateDateTimeConfig", *(method for _name, _wish, method in OTHERS)}
    (tmp_path / "extra.json").unlink()
    (tmp_path / "play.yml").unlink()
    (cookie,) = {json.loads(path.read_text())["cookie"] for path in tmp_path.rglob("*.session")}
    assert len(cookie) > 20
    assert fleet.control("/summary")["sessions"], "the session that the cookie belongs to is alive"
    for marker in (PASSWORD, cookie.strip('"')):
        assert marker not in done.stdout + done.stderr
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.suffix != ".session":
                assert marker.encode() not in path.read_bytes(), path
    for path in tmp_path.rglob("*.session"):
        assert sorted(json.loads(path.read_text())) == ["certificate", "cookie"]
        assert PASSWORD not in path.read_text()


def extra(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "extra.json"
    path.write_text(json.dumps({"secret": PASSWORD}))
    return path


# ---- licence keys -----------------------------------------------------------------------------------------------------------------

SCENARIO = yaml.safe_load((ROOT / "tests/simulator/scenarios/licensing.yml").read_text())
# The middle of each is told apart from every other text: the scenario's own keys are no markers for whoever searches.
KEYS = {row["key"]: f"MARK0-{n:02d}X7Q-{n:02d}ZK4-{n:02d}WY9-{row['key'][-5:]}" for n, row in enumerate(SCENARIO["licenses"], 10)}
NUMBERED = {old[-5:]: new for old, new in KEYS.items()}
UNHEARD = "MARK0-77X7Q-77ZK4-77WY9-00077"
PIECES = re.compile(r"\d\d(X7Q|ZK4|WY9)")


def wide(key: str) -> str:
    """As it comes out of some office programs."""
    return "\N{LEFT DOUBLE QUOTATION MARK}" + "".join(chr(ord(c) + 0xFEE0) for c in key.replace("-", "\N{EN DASH}") if ord(c) < 128) + " "


def pasted(key: str) -> list[str]:
    return [wide(key), key.lower(), key.replace("-", ""), key.replace("-", "\N{EN DASH}"), f"Key: {key.replace('-', ' - ')} # note"]


def findings_in(text: str) -> list[str]:
    """Each middle group, in whatever letters it is written, and with whatever between."""
    plain = unicodedata.normalize("NFKC", text).upper()
    return [f"{found[0]} in ...{plain[max(0, found.start() - 300) : found.end() + 40]!r}" for found in PIECES.finditer(plain)]


def files_with_keys(folder: pathlib.Path) -> list[str]:
    return [
        f"{path}: {found[0]}" for path in folder.rglob("*") if path.is_file() and (found := findings_in(path.read_text(errors="replace")))
    ]


def of_licences(name: str, options: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {f"fleetcare.esxi.esxi_license_{name}": {"esxi_hostname": ["*"], **options}, "ignore_errors": True, **keywords}


@pytest.fixture
def licensing(tmp_path: pathlib.Path) -> Iterator[Server]:
    text = (ROOT / "tests/simulator/scenarios/licensing.yml").read_text()
    for old, new in KEYS.items():
        text = text.replace(old, new)
    (tmp_path / "licensing.yml").write_text(text)
    with served(str(tmp_path / "licensing.yml")) as server:
        (tmp_path / "licensing.yml").unlink()
        yield server


def by_the_role(**options: Any) -> dict[str, Any]:
    name = "esxi_license_validate"
    given = {f"{name}_{option}": value for option, value in {"esxi_hostname": ["*"], **options}.items()}
    return {
        "ansible.builtin.include_role": {"name": f"fleetcare.esxi.{name}", "apply": {"ignore_errors": True}},
        "vars": given,
        "ignore_errors": True,
    }


# Stands for python3-systemd: what modules tell the journal of the machine that they run on.
JOURNAL = {
    "__init__.py": "",
    "daemon.py": "def booted():\n    return True\n",
    "journal.py": (
        "import os\n\n\ndef sendv(*fields):\n    with open(os.environ['JOURNAL_OF_THIS_MACHINE'], 'a') as file:\n"
        "        file.write(repr(fields) + '\\n')\n\n\ndef send(*words, **fields):\n    sendv(words, fields)\n"
    ),
}


def play_in_full(server: Server, folder: pathlib.Path, tasks: Iterable[dict[str, Any]], short: str, *flags: str) -> tuple[str, str]:
    """At the highest verbosity, with the journal of this machine; what was said, to the user and by programs."""
    journal = folder / "modules" / "systemd"
    journal.mkdir(parents=True)
    for name, text in JOURNAL.items():
        (journal / name).write_text(text)
    done = play(
        folder,
        server,
        [on_localhost(*tasks)],
        "-vvvv",
        "--diff",
        f"--extra-vars=@{folder / 'extra.json'}",
        *flags,
        TMPDIR=short,
        PYTHONPATH=str(journal.parent),
        JOURNAL_OF_THIS_MACHINE=str(folder / "journal.txt"),
        ANSIBLE_LOG_PATH=str(folder / "ansible.log"),
        ANSIBLE_KEEP_REMOTE_FILES="false",
    )
    return done.stdout, done.stderr


def keep_no_key(server: Server, folder: pathlib.Path, tasks: Iterable[dict[str, Any]], *flags: str) -> str:
    """Play the tasks at the highest verbosity and search whatever comes out of it. The keys come as a vault's would."""
    given = {f"key_{number}": key for number, key in NUMBERED.items()}
    (folder / "extra.json").write_text(json.dumps({**given, "unheard": UNHEARD, "pasted": pasted(NUMBERED["00022"])}))
    with tempfile.TemporaryDirectory() as short:  # a socket's path may not be long
        stdout, stderr = play_in_full(server, folder, tasks, short, *flags)
        assert files_with_keys(pathlib.Path(short)) == []
    (folder / "extra.json").unlink()
    (folder / "play.yml").unlink()
    assert "unreachable=0" in stdout, stdout[-3000:]
    assert (folder / "ansible.log").stat().st_size > 1000
    assert findings_in(stdout + stderr) == []
    assert files_with_keys(folder) == []
    assert findings_in(json.dumps(server.control("/journal"), ensure_ascii=False)) == []
    assert findings_in(json.dumps(server.control("/state"), ensure_ascii=False)) == []
    return stdout


POOL = ["{{ key_00022 }}", "{{ key_00002 }}", "{{ key_00003 }}", "{{ key_00013 }}", "{{ key_00004 }}", "{{ unheard }}"]


def test_no_key_is_seen_anywhere(licensing: Server, tmp_path: pathlib.Path) -> None:
    """The whole scenario: judged, added, assigned, taken away, refused in every shape, and with faults that repeat the key."""
    key = NUMBERED["00022"]
    words = {"text": f"no: {key} or {key.lower()} or {key.replace('-', '')} or {key.replace('-', ' ')}, licenseKey={key}."}
    for method in ("UpdateAssignedLicense", "RemoveAssignedLicense", "RemoveLicense", "UpdateLicenseLabel"):
        licensing.control("/fault", {"method": method, "fault": "NotEnoughLicenses", **words})
    licensing.control("/fault", {"method": "AddLicense", "fault": "InvalidArgument", "args": {"invalidProperty": "licenseKey"}, **words})
    licensing.control("/fault", {"method": "DecodeLicense", "fault": "SystemError", "args": {"reason": words["text"]}, **words, "count": 2})
    assigned = {"license_keys": POOL, "state": "assigned", "labels": {"owner": "platform"}}
    absent = {"license_key": "{{ key_00022 }}", "state": "absent", "allow_unlicensed": True}
    out = keep_no_key(
        licensing,
        tmp_path,
        [
            of_licences("validate", {"license_keys": POOL}),
            by_the_role(license_keys="{{ pasted }}"),
            of_licences("validate", assigned),
            of_licences("validate", assigned, check_mode=True),
            of_licences("validate", assigned),
            of_licences("validate", {"from_inventory": True, "state": "assigned"}),
            of_licences("validate", absent, check_mode=True),
            of_licences("validate", absent),
            of_licences("validate", absent),
            of_licences("validate", {"license_keys": ["{{ key_00019 }}", "{{ key_00020 }}"], "state": "absent"}),
            of_licences("info", {"csv": True}, register="told"),
            {"ansible.builtin.debug": {"var": "told"}},
        ],
    )
    assert (tmp_path / "journal.txt").read_text().count("Invoked with") >= 10, "the journal, too"
    assert list(tmp_path.rglob("*.session")), "the store of sessions is among what is searched"
    for code in ("key_not_for_esxi", "key_unknown", "key_units_short", "key_kept", "key_expired"):
        assert code in out, "what was to be provoked is not there"
    assert "MARK0-*****-*****-*****-00022" in out


def test_no_key_is_seen_where_a_task_is_written_wrongly(licensing: Server, tmp_path: pathlib.Path) -> None:
    """Each of these fails before the module begins its work, some before its arguments are read."""
    key = "{{ key_00022 }}"
    wrong: list[dict[str, Any]] = [
        {"license_key": key, "license_keys": [key]},
        {"license_key": [key, "{{ unheard }}"]},
        {"license_keys": {"first": key}},
        {"license_key": key, "state": "present"},
        {"license_key": key, "labels": key},
        {"license_key": f"{key} {{{{ unheard }}}}"},
        {"license_keys": [f"{key}8", "{{ pasted[0] }}"], "state": "assigned"},
        {"license_key": "{{ key_00022 | replace('X', 'B') }}", "state": "assigned"},
        {"license_key": f"the key is {key} as I said", "warn_days": "many"},
    ]
    tasks = [of_licences("validate", options) for options in wrong]
    out = keep_no_key(licensing, tmp_path, [*tasks, by_the_role(license_key=key, labels=key), by_the_role(license_keys={"one": key})])
    assert out.count("fatal: [localhost]: FAILED!") >= len(wrong) + 2 and "Traceback" not in out


def test_no_key_is_seen_in_a_misspelt_option(licensing: Server, tmp_path: pathlib.Path) -> None:
    key = "{{ key_00022 }}"
    wrong: list[dict[str, Any]] = [{"license_kee": key, "licensekeys": [key]}, {"license_key": key, "old_key": "{{ unheard }}"}]
    out = keep_no_key(licensing, tmp_path, [of_licences("validate", options) for options in wrong])
    assert out.count("Unsupported parameters") >= len(wrong)


def test_the_search_finds_what_it_looks_for(tmp_path: pathlib.Path) -> None:
    for text in (UNHEARD, *pasted(UNHEARD), wide(UNHEARD.lower())):
        assert findings_in(f"it is {text}!"), text
        (tmp_path / "file").write_text(text)
        assert files_with_keys(tmp_path)
    assert findings_in("MARK0-*****-*****-*****-00022") == []


# ---- key servers ------------------------------------------------------------------------------------------------------------------

KMS_PASSWORD = "marker-Kms-Pa55word-91c2"


@pytest.fixture
def encrypted(tmp_path: pathlib.Path) -> Iterator[Server]:
    pytest.importorskip("kmip", reason="PyKMIP is not installed")
    scenario = yaml.safe_load((ROOT / "tests/simulator/scenarios/encrypted.yml").read_text())
    scenario["users"]["administrator@vsphere.local"]["password"] = PASSWORD
    (tmp_path / "encrypted.yml").write_text(json.dumps(scenario))
    with served(str(tmp_path / "encrypted.yml")) as server:
        (tmp_path / "encrypted.yml").unlink()
        yield server


def keep_no_secret(server: Server, folder: pathlib.Path, tasks: Iterable[dict[str, Any]]) -> str:
    """The same for passwords of both kinds, the private key for vCenter's certificate, and cookies of sessions."""
    told = server.control("/key_servers")["kms-a.example.com"]
    key = pathlib.Path(told["key"]).read_text()
    lines = [line[:40] for line in key.splitlines() if "-----" not in line]
    assert len(lines) >= 2 and all(len(line) > 20 for line in lines)
    given = {"kms_password": KMS_PASSWORD, "kms_key": key, "kms_certificate": pathlib.Path(told["certificate"]).read_text()}
    (folder / "extra.json").write_text(json.dumps({**given, "vcenter_password": PASSWORD}))
    with tempfile.TemporaryDirectory() as short:
        stdout, stderr = play_in_full(server, folder, tasks, short)
        left = [path for path in pathlib.Path(short).rglob("*") if path.is_file()]
    assert left == []
    for name in ("extra.json", "play.yml"):
        (folder / name).unlink()
    cookies = [json.loads(path.read_text())["cookie"].strip('"') for path in folder.rglob("*.session")]
    assert cookies and "unreachable=0" in stdout, stdout[-3000:]
    texts = {"what was said": stdout + stderr, "the simulator's journal": json.dumps(server.control("/journal"))}
    texts |= {str(path): path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and path.suffix != ".session"}
    found = [
        f"{what} in {where}: ...{text[max(0, at - 200) : at + 80]!r}"
        for where, text in texts.items()
        for what in (PASSWORD, KMS_PASSWORD, *lines, *cookies)
        if (at := text.find(what)) >= 0
    ]
    assert not found, "\n".join(found)
    return stdout


def of_crypto(server: Server, **options: Any) -> dict[str, Any]:
    told = server.control("/key_servers")["kms-a.example.com"]
    pem = told["server_certificate"].strip()
    own = {
        "name": "kms-a.example.com",
        "address": told["address"],
        "port": told["port"],
        "fingerprint": hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(),
        "username": "somebody",
        "password": "{{ kms_password }}",
    }
    provider = {"name": "kms-a", "servers": [own], "certificate": "{{ kms_certificate }}", "private_key": "{{ kms_key }}", "default": True}
    return {"vm_name": ["app-*"], "password": "{{ vcenter_password }}", "key_provider": provider, **options}


def crypto_task(options: dict[str, Any], name: str = "unlock", **keywords: Any) -> dict[str, Any]:
    return {f"fleetcare.esxi.vm_crypto_{name}": options, "ignore_errors": True, **keywords}


def test_no_secret_of_a_key_server_is_seen_anywhere(encrypted: Server, tmp_path: pathlib.Path) -> None:
    """A provider is set up on a new vCenter, and machines are registered anew: with faults that repeat what they were given."""
    for action in ({"do": "replace_vcenter"}, {"do": "reboot_host", "host": "esx-0[12]*"}):
        encrypted.control("/act", action)
    key = pathlib.Path(encrypted.control("/key_servers")["kms-a.example.com"]["key"]).read_text()
    # Of several refusals the first one is told: each has a run in which it is the first.
    for count, method, words in ((1, "RegisterKmipServer", KMS_PASSWORD), (2, "UploadClientCert", key), (3, "MarkDefault", PASSWORD)):
        encrypted.control("/fault", {"method": method, "count": count, "fault": "InvalidArgument", "text": f"no: {words}"})
    encrypted.control("/fault", {"method": "CryptoUnlock_Task", "count": None, "fault": "InvalidState", "text": f"no: {KMS_PASSWORD}"})
    anew = of_crypto(encrypted, reregister=True, backup=True, backup_dir=str(tmp_path / "backup"))
    role = {
        "ansible.builtin.include_role": {"name": "fleetcare.esxi.vm_crypto_unlock", "apply": {"ignore_errors": True}},
        "vars": {f"vm_crypto_unlock_{name}": value for name, value in of_crypto(encrypted).items()},
        "ignore_errors": True,
    }
    out = keep_no_secret(
        encrypted,
        tmp_path,
        [
            crypto_task(of_crypto(encrypted), check_mode=True),
            *(crypto_task(of_crypto(encrypted)) for _time in range(4)),
            crypto_task(anew),
            role,
            crypto_task({"vm_name": ["*"], "password": "{{ vcenter_password }}", "csv": True}, name="info", register="told"),
            {"ansible.builtin.debug": {"var": "told"}},
        ],
    )
    assert (tmp_path / "journal.txt").read_text().count("Invoked with") >= 7
    assert list((tmp_path / "backup").glob("*.json")), "the records are among what is searched"
    for words in ("register_server", "present_certificate", '"change": "reregister"', "no: ****"):
        assert words in out, "what was to be provoked is not there"


def test_no_secret_of_a_key_server_is_seen_where_a_task_is_written_wrongly(encrypted: Server, tmp_path: pathlib.Path) -> None:
    right = of_crypto(encrypted)
    provider, (server,) = right["key_provider"], right["key_provider"]["servers"]

    def wrong(**change: Any) -> dict[str, Any]:
        return {**right, "key_provider": {**provider, **change}}

    out = keep_no_secret(
        encrypted,
        tmp_path,
        [
            crypto_task({"vm_name": ["app-01"], "password": "{{ vcenter_password }}"}),  # leaves a session to look for
            crypto_task(wrong(private_kee="{{ kms_key }}")),
            crypto_task(wrong(servers=[{**server, "passwort": "{{ kms_password }}"}])),
            crypto_task(wrong(servers=[{**server, "port": "{{ kms_password }}"}])),
            crypto_task(wrong(servers="{{ kms_password }}")),
            crypto_task(wrong(private_key=["{{ kms_key }}"])),
            crypto_task(wrong(certificate="{{ kms_key }}")),
            crypto_task(wrong(request=True)),
            crypto_task({**right, "key_provider": "{{ kms_password }}"}),
            crypto_task({**right, "private_key": "{{ kms_key }}"}),
        ],
    )
    assert out.count("fatal: [localhost]: FAILED!") >= 8 and "Traceback" not in out
