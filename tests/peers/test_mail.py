# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why there is a module of our own for mails: what community.general.mail does with a certificate that nobody has signed."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests.integration.mail_server import PASSWORD, USER, running
from tests.integration.playbooks import ansible_playbook, on_localhost


def mailed(folder: pathlib.Path, module: str, **options: Any) -> tuple[bool, str]:
    task = {module: {**options, "subject": "S", "body": "B", "to": ["ops@example.com"], "sender": "a@example.com"}}
    (folder / "play.yml").write_text(json.dumps([on_localhost(task)]))
    done = ansible_playbook(folder, "play.yml")
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ("valid", "expired", "wrong_name"))
def test_the_peer_tells_anybody_the_password(tmp_path: pathlib.Path, kind: str) -> None:
    """None of these certificates is of an authority that this machine knows. Its users are not asked."""
    with running(tmp_path / "server", kind=kind) as box:
        login = {"host": box.host, "port": box.port, "username": USER, "password": PASSWORD}
        done, shown = mailed(tmp_path, "community.general.mail", **login, secure="starttls")
        assert done, shown
        assert box.said == [(USER, PASSWORD, True)] and len(box.got) == 1
        done, shown = mailed(tmp_path, "fleetcare.esxi.esxi_audit_mail", **login)
        assert not done and "certificate is not trusted" in shown
        assert len(box.said) == 1 and len(box.got) == 1


def test_the_peer_sends_the_password_in_clear_text_unless_told_not_to(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "server", security="none") as box:
        login = {"host": box.host, "port": box.port, "username": USER, "password": PASSWORD}
        done, shown = mailed(tmp_path, "community.general.mail", **login)
        assert done, shown
        assert box.said == [(USER, PASSWORD, False)]
        for security in ("starttls", "none"):
            done, shown = mailed(tmp_path, "fleetcare.esxi.esxi_audit_mail", **login, security=security)
            assert not done and len(box.said) == 1
