# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_audit_mail against a real mail server with TLS and logins: what arrives, and what is said where nothing does."""

from __future__ import annotations

import base64
import json
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import smtp
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import mail
from ansible_collections.fleetcare.esxi.plugins.modules.esxi_audit_mail import OPTIONS
from tests.integration.mail_server import PASSWORD, USER, Mailbox, running
from tests.integration.playbooks import ansible_playbook, on_localhost
from tests.reports.samples import sample


@pytest.fixture
def report(tmp_path: pathlib.Path) -> str:
    data = sample(4, 2, seed=2)
    data["site"] = "Köln-Mülheim 東京"
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    return str(path)


@pytest.fixture
def page(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "report.html"
    # Long lines, lines that begin with a dot, every byte, and no newline at the end.
    path.write_bytes(b"<!DOCTYPE html>\n.\r\n..\n" + b"x" * 5000 + bytes(range(256)) + "Köln".encode())
    return path


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Iterator[Mailbox]:
    with running(tmp_path / "server") as found:
        yield found


def options(box: Any, **more: Any) -> dict[str, Any]:
    specs: dict[str, Any] = OPTIONS
    given: dict[str, Any] = {name: spec.get("default") for name, spec in specs.items()}
    given.update(host=box.host, port=box.port, ca_file=box.ca_file, username=USER, password=PASSWORD)
    given.update(sender="Fleet audit <audit@example.com>", to=["ops@example.com"], subject="S", body="B", timeout=10.0)
    return {**given, **more}


def refusal(box: Any, **more: Any) -> str:
    """The sentence, which no secret is in."""
    given = options(box, **more)
    with pytest.raises(FleetcareError) as refused:
        mail.work(given, False)
    told = json.dumps(refused.value.as_failure())
    assert PASSWORD not in told and (given["password"] or PASSWORD) not in told and "\n" not in refused.value.sentence
    return refused.value.sentence.replace(f"127.0.0.1:{box.port}", "SERVER")


def test_the_page_arrives_byte_for_byte(box: Mailbox, report: str, page: pathlib.Path) -> None:
    given = options(
        box, report=report, subject=None, body=None, attachments=[str(page)], to=["ops@example.com", "Prüfung <sec@example.com>"]
    )
    result = mail.work({**given, "cc": ["boss@example.com"]}, False)
    assert result["msg"] == f"Sent to ops@example.com, sec@example.com, boss@example.com by 127.0.0.1:{box.port}."
    found = box.mail()
    assert box.got[0].rcpt_tos == ["ops@example.com", "sec@example.com", "boss@example.com"] and box.got[0].mail_from == "audit@example.com"
    assert found["Subject"] == result["subject"] == "Audit of Köln-Mülheim 東京: 1 of 6 hosts and VMs not right"
    assert found["From"] == "Fleet audit <audit@example.com>"
    assert found["To"].addresses[1].display_name == "Prüfung"
    assert found["Cc"] == "boss@example.com" and found["Auto-Submitted"] == "auto-generated"
    assert found["Message-ID"] == result["message_id"] and found["Message-ID"].endswith("@example.com>")
    assert found["Date"].datetime is not None
    body = found.get_body()
    assert body is not None and body.get_content().startswith("Köln-Mülheim 東京: 1 of 6 hosts and VMs not")
    (attached,) = found.iter_attachments()
    assert attached.get_payload(decode=True) == page.read_bytes()
    assert (attached.get_filename(), attached.get_content_type()) == ("report.html", "text/html")
    assert box.said == [(USER, PASSWORD, True)]
    assert max(map(len, (box.got[0].original_content or b"").splitlines())) < 998
    assert PASSWORD not in json.dumps(result)


def test_a_check_run_sends_nothing_and_looks_at_everything(box: Mailbox, report: str, page: pathlib.Path) -> None:
    given = options(box, report=report, attachments=[str(page)])
    result = mail.work(given, True)
    assert (
        result["changed"]
        and result["msg"] == f"A mail with {result['size']} bytes would be sent to ops@example.com by 127.0.0.1:{box.port}."
    )
    with pytest.raises(FleetcareError, match="cannot be read"):
        mail.work({**given, "attachments": ["/nowhere/report.html"]}, True)
    assert box.got == [] and box.said == []


def test_tls_from_the_first_byte(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "tls", security="tls") as box:
        mail.work(options(box, security="tls"), False)
        assert box.mail().get_body().get_content().strip() == "B"  # type: ignore[union-attr]
        assert refusal(box, security="starttls", timeout=0.5).startswith(
            "SERVER: the mail server was silent for 0.5 s. Check port and security"
        )


def test_a_relay_without_tls_and_without_a_login(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "plain", security="none", login=False) as box:
        mail.work(options(box, security="none", username=None, password=None, ca_file=None), False)
        assert box.mail()["Subject"] == "S"
        assert refusal(box, security="starttls") == (
            "SERVER: the mail server does not offer STARTTLS. Set security to tls, with the port for it (465), or to none where nobody can "
            "listen on the way."
        )
        assert refusal(box, security="tls", ca_file=None).startswith("SERVER: no TLS there: ")
        assert refusal(box, security="none", login_in_clear=True).startswith("SERVER: the mail server takes no login. Leave out username")


def test_a_password_in_clear_text_only_where_that_is_meant(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "plain", security="none") as box:
        assert refusal(box, security="none") == (
            "security none would send the password in clear text. Set security to starttls or tls, or login_in_clear to true where nobody can "
            "listen on the way."
        )
        assert box.said == []
        mail.work(options(box, security="none", login_in_clear=True), False)
        assert box.said == [(USER, PASSWORD, False)]


def test_a_refused_login_is_one_sentence(box: Mailbox) -> None:
    assert refusal(box, password="wrong") == (
        "SERVER: the mail server refuses the login of audit: 535 5.7.8 Authentication credentials invalid. Check username and password; some "
        "servers want a password made for applications."
    )
    assert refusal(box, username=None, password=None) == (
        "SERVER: the mail server refuses the sender audit@example.com: 530 5.7.0 Authentication required. Check sender, and whether the server "
        "wants a login."
    )
    assert box.got == []


def test_a_login_beyond_ascii(box: Mailbox) -> None:
    mail.work(options(box, username="prüfer", password="pässword"), False)
    assert box.said == [("prüfer", "pässword", True)] and len(box.got) == 1
    assert "refuses the login of prüfer: 535" in refusal(box, username="prüfer", password="fälsch")


def test_a_login_beyond_ascii_where_the_server_would_rather_ask(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "server", challenges=True) as box:
        mail.work(options(box, username="prüfer", password="pässword"), False)
        assert box.said == [("prüfer", "pässword", True)] and len(box.got) == 1


def test_a_server_that_repeats_the_login_shows_no_password() -> None:
    server = smtp.MailServer("mail.example.com", 587, "starttls", USER, PASSWORD, True, "", 9)
    for sent in (f"\0{USER}\0{PASSWORD}", PASSWORD):
        encoded = base64.b64encode(sent.encode()).decode()
        assert encoded not in smtp._clean(f"500 unrecognized: AUTH PLAIN {encoded}", server)


@pytest.mark.parametrize(
    ("kind", "more", "cause"),
    (
        ("valid", {"ca_file": None}, "unable to get local issuer certificate"),
        ("expired", {}, "certificate has expired"),
        ("wrong_name", {}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ),
)
@pytest.mark.parametrize("security", ("starttls", "tls"))
def test_a_certificate_that_is_not_trusted(tmp_path: pathlib.Path, kind: str, more: dict[str, Any], cause: str, security: str) -> None:
    with running(tmp_path / "server", kind=kind, security=security) as box:
        sentence = refusal(box, security=security, **more)
        assert sentence.startswith(f"SERVER: the mail server's certificate is not trusted: {cause}"), sentence
        assert sentence.endswith("Give the authority's certificate as ca_file; validate_certs: false trusts anybody who answers.")
        assert box.said == [] and box.got == []
        mail.work(options(box, security=security, validate_certs=False, **more), False)
        assert len(box.got) == 1


def test_some_recipients_or_all_refused(tmp_path: pathlib.Path) -> None:
    with running(tmp_path / "server", refused=frozenset({"gone@example.com", "left@example.com"})) as box:
        result = mail.work(options(box, to=["gone@example.com", "ops@example.com"]), False)
        assert result["failed"] and result["changed"] and result["refused"] == {"gone@example.com": "550 no such mailbox"}
        assert result["msg"] == (
            f"127.0.0.1:{box.port}: the mail went to ops@example.com, and the mail server refuses gone@example.com (550 no such mailbox). "
            "Check to and cc; a second run sends it to all again."
        )
        assert box.got[0].rcpt_tos == ["ops@example.com"]
        assert refusal(box, to=["gone@example.com"], cc=["left@example.com"]) == (
            "SERVER: the mail server refuses every recipient: gone@example.com (550 no such mailbox), left@example.com (550 no such mailbox). "
            "Check to and cc, and whether it wants a login."
        )


def test_a_mail_that_is_too_large_or_not_wanted(tmp_path: pathlib.Path, page: pathlib.Path) -> None:
    with running(tmp_path / "server", size=3000) as box:
        sentence = refusal(box, attachments=[str(page)])
        assert sentence.startswith("SERVER: the mail has ") and "bytes, and the mail server takes 3000. Attach less" in sentence
        box.answer = f"554 {PASSWORD} looks like spam"
        assert refusal(box) == "SERVER: the mail server refuses the mail: 554 ******** looks like spam. Its own log says more."


def test_a_server_that_hangs_up_or_is_not_there(box: Mailbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        box.port = listener.getsockname()[1]

        def close() -> None:
            listener.accept()[0].close()

        hang_up = threading.Thread(target=close)
        hang_up.start()
        assert refusal(box).startswith("SERVER: the mail server broke off the conversation: Connection unexpectedly closed")
        hang_up.join(10)
    assert refusal(box) == "SERVER: no mail server answers: Connection refused. Check host and port."
    assert "no mail server of that name" in refusal(box, host="nowhere.invalid")


INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to say": ({"body": None}, "there is nothing to say. Give report, or body and subject."),
    "no recipient": ({"to": []}, "to is empty. Name at least one address."),
    "a word": ({"to": ["ops"]}, "to: 'ops' is no mail address. Write ops@example.com, or Operations <ops@example.com>."),
    "a header put in": ({"to": ["a@example.com\nBcc: b@example.com"]}, "to: 'a@example.com Bcc: b@example.com' is no mail address."),
    "two in one": ({"to": ["a@example.com, b@example.com"]}, "to: 'a@example.com, b@example.com' is no mail address."),
    "a bad sender": ({"sender": "<>"}, "sender: '<>' is no mail address."),
    "a bad copy": ({"cc": ["x@"]}, "cc: 'x@' is no mail address."),
    "half a login": ({"password": None}, "username is given without password. Give both, or none where the server wants no login."),
    "the other half": ({"username": None}, "password is given without username."),
    "no port": ({"port": 70000}, "port 70000 is none. Leave it out, or give one from 1 to 65535."),
    "no time": ({"timeout": 0.0}, "timeout 0 is no time."),
    "no file": ({"attachments": ["/nowhere/a.html"]}, "/nowhere/a.html cannot be read: No such file or directory."),
    "twins": ({"attachments": ["/a/x.html", "/b/x.html"]}, "attachments holds two files of the name x.html. Rename one;"),
    "no report": ({"report": "/etc/passwd"}, "/etc/passwd is no JSON. Name a file that esxi_audit"),
    "another JSON": (
        {"report": __file__.replace("test_audit_mail.py", "../../docs/audit_report.schema.json")},
        "is no report of an audit.",
    ),
    "no authorities": ({"ca_file": "/etc/passwd"}, "ca_file /etc/passwd cannot be used: "),
    "authorities nowhere": ({"ca_file": "/nowhere.pem"}, "ca_file /nowhere.pem cannot be used: No such file or directory."),
}


@pytest.mark.parametrize("name", INPUTS)
def test_bad_input_is_a_sentence(box: Mailbox, name: str) -> None:
    more, sentence = INPUTS[name]
    assert sentence in refusal(box, **more)
    assert box.said == [] and box.got == []


def test_a_subject_with_a_line_end_is_one_line(box: Mailbox) -> None:
    mail.work(options(box, subject="Audit\r\nBcc: b@example.com", body="a\x00b"), False)
    assert box.mail()["Subject"] == "Audit Bcc: b@example.com" and box.mail()["Bcc"] is None


def test_as_people_run_it(box: Mailbox, report: str, page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Through Ansible, as loud as it gets: the password is nowhere."""
    base = {
        "host": box.host,
        "port": box.port,
        "ca_file": box.ca_file,
        "username": USER,
        "sender": "a@example.com",
        "to": ["ops@example.com"],
    }
    task = {"fleetcare.esxi.esxi_audit_mail": {**base, "report": report, "attachments": [str(page)], "password": PASSWORD}}
    wrong = {"fleetcare.esxi.esxi_audit_mail": {**base, "report": report, "password": "never right"}, "ignore_errors": True}
    (tmp_path / "play.yml").write_text(json.dumps([on_localhost(task, wrong)]))
    done = ansible_playbook(tmp_path, "-vvv", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refuses the login of audit: 535" in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr and "never right" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (attached,) = box.mail().iter_attachments()
    assert attached.get_payload(decode=True) == page.read_bytes()
