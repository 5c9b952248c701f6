# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role esxi_audit as a new user runs it: two vCenters, a mail, a week later, and everything that can be typed wrong."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from tests.integration.mail_server import PASSWORD, USER, running
from tests.integration.playbooks import ansible_playbook
from tests.reports.samples import SCHEMA, summary
from tests.simulator import Simulator

PROFILE = {"site": "Köln {{ 'wrongly' ~ 'done' }}", "features": {"ntp": {"ntp_servers": ["192.0.2.1"]}, "crypto": {}}}


@pytest.fixture
def short() -> Iterator[str]:
    """A temporary folder with a short name: ansible-core 2.21 makes a socket in it, whose path may have a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="f-", dir="/tmp") as folder:
        yield folder


def play(folder: pathlib.Path, short: str, variables: dict[str, Any], *flags: str) -> tuple[int, str]:
    """Exit code, and all that was shown."""
    (folder / "variables.json").write_text(json.dumps(variables))
    done = ansible_playbook(folder, "fleetcare.esxi.esxi_audit", "-e", "@variables.json", *flags, environment={"TMPDIR": short})
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown and "wronglydone" not in shown, shown
    return done.returncode, shown


def reach(simulator: Simulator, **more: Any) -> dict[str, Any]:
    given = {name: getattr(simulator, name) for name in ("hostname", "port", "username", "password")}
    return {**given, "ca_file": str(simulator.ca_file), "session": "single", **more}


def report_in(folder: pathlib.Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert found["summary"] == summary(found)
    return found


def test_two_endpoints_and_the_week_after(short: str, tmp_path: pathlib.Path, simulator: Callable[..., Simulator]) -> None:
    """First one of them refuses the login; then both answer. Paths are relative to where the command is given."""
    one, two = simulator("drifting"), simulator("standalone")
    (tmp_path / "bonn.yml").write_text(json.dumps(PROFILE))
    with running(tmp_path / "server") as box:
        letter = {"host": box.host, "port": box.port, "ca_file": "server/ca.pem", "username": USER, "password": PASSWORD}
        variables: dict[str, Any] = {
            "esxi_audit_profile": "bonn.yml",
            "esxi_audit_dest": "out",
            "esxi_audit_esxi_hostname": ["*"],
            "esxi_audit_endpoints": [reach(one), reach(two, password="not the password")],
            "esxi_audit_mail": {**letter, "sender": "audit@example.com", "to": ["ops@example.com"]},
        }
        code, shown = play(tmp_path, short, variables, "--check")
        assert code == 2 and not (tmp_path / "out").exists() and box.got == [] and f"The report is in {tmp_path}/out" not in shown
        assert f"{two.hostname}:{two.port}: user name or password is wrong" in shown
        code, shown = play(tmp_path, short, variables, "-vvv")
        # The password was refused a moment ago, and is not tried again at once.
        assert code == 2 and f"{two.hostname}:{two.port}: " in shown
        assert f"The report is in {tmp_path}/out." in shown
        for secret in (PASSWORD, "not the password", one.password):
            assert secret not in shown
        first = report_in(tmp_path / "out")
        assert [each["name"] for each in first["endpoints"] if "failure" in each] == [f"{two.hostname}:{two.port}"]
        assert first["summary"]["hosts"] > 5 and first["since"] is None
        mail = box.mail()
        assert mail["Subject"].startswith(f"Audit of {PROFILE['site']}: 1 of 2 endpoints not judged, ")
        (page,) = mail.iter_attachments()
        assert page.get_payload(decode=True) == (tmp_path / "out/report.html").read_bytes()
        # A week later: the login is right, and what is found is not new, but for the endpoint that was not judged before.
        variables["esxi_audit_endpoints"][1] = reach(two)
        variables["esxi_audit_mail"]["password"] = "wrong for the mail"
        variables["esxi_audit_fail_on_findings"] = True
        code, shown = play(tmp_path, short, variables)
        assert code == 2 and "the mail server refuses the login of audit: 535" in shown and "wrong for the mail" not in shown
        assert "The mail was not sent." in shown and f"The report is in {tmp_path}/out. Audit of {PROFILE['site']}: " in shown
        second = report_in(tmp_path / "out")
        assert second["since"] == first["generated"] and second["summary"]["hosts"] == first["summary"]["hosts"] + 1
        assert {
            target["endpoint"]
            for target in second["targets"]
            for judged in target["judgements"].values()
            for each in judged.get("findings", ())
            if each.get("new")
        } <= {f"{two.hostname}:{two.port}"}
        del variables["esxi_audit_mail"]
        code, shown = play(tmp_path, short, variables)
        assert code == 2 and "ntp: " in shown and "not right" in shown
    assert [entry.method for simulated in (one, two) for entry in simulated.journal if entry.write] == []
    assert os.listdir(short) == []


def test_what_can_be_typed_wrong_is_one_sentence(short: str, tmp_path: pathlib.Path, simulator: Callable[..., Simulator]) -> None:
    sim = simulator("standalone")
    good = {"esxi_audit_profile": PROFILE, "esxi_audit_dest": "out", **{f"esxi_audit_{name}": value for name, value in reach(sim).items()}}
    cases: list[tuple[dict[str, Any], str]] = [
        # As it was meant, not below the folder of the playbook.
        ({"esxi_audit_profile": "nowhere.yml"}, f"profile: {tmp_path}/nowhere.yml cannot be read"),
        ({"esxi_audit_endpoints": []}, "Nothing was audited: esxi_audit_endpoints is empty."),
        (
            {"esxi_audit_mail": {"host": "x", "sender": "a@example.com", "to": ["b@example.com"], "attach": []}},
            "attach. Supported parameters include",
        ),
        ({"esxi_audit_dest": "variables.json"}, f"dest {tmp_path}/variables.json cannot be a folder: {tmp_path}/variables.json is none."),
        ({"esxi_audit_previous": "nowhere.json"}, f"{tmp_path}/nowhere.json cannot be read: No such file or directory."),
    ]
    for more, sentence in cases:
        code, shown = play(tmp_path, short, {**good, **more})
        assert code == 2 and sentence in shown, shown
        assert sim.password not in shown
    assert not (tmp_path / "out").exists() and os.listdir(short) == []
