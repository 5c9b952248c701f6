# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail with a report: files are read, the clock is asked, the server gets it. Private to this collection."""

from __future__ import annotations

import os
from email.utils import formatdate, make_msgid
from typing import Any

from .._client import smtp
from .._client.local_files import given
from .._domain import report_mail, report_text
from .._domain.errors import BadInput
from .._domain.report import read

MISSING = None
# Far beyond what mail servers take; a disk image named by mistake is not read into memory.
_LARGEST = 256 << 20


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The result of the task. Raises FleetcareError."""
    server = _server(params)
    report = read(given(params["report"], _LARGEST), params["report"]) if params["report"] else None
    if report is None and not params["body"]:
        raise BadInput("there is nothing to say", hint="Give report, or body and subject.")
    names = report_mail.unique_names(params["attachments"], map(os.path.basename, params["attachments"]))
    mail = report_mail.Mail(
        sender=params["sender"],
        to=tuple(params["to"]),
        cc=tuple(params["cc"]),
        subject=params["subject"] or (f"Audit of {report_text.verdict(report)}" if report else "Audit"),
        body=params["body"] or (report_text.text(report) if report else ""),
        attachments={name: given(path, _LARGEST) for path, name in names.items()},
    )
    if not mail.to:
        raise BadInput("to is empty", hint="Name at least one address.")
    domain = report_mail.address(mail.sender, "sender").domain
    message = report_mail.message(mail, date=formatdate(localtime=True), message_id=make_msgid(domain=domain if domain.isascii() else None))
    result: dict[str, Any] = {
        "changed": True,
        "subject": str(message["Subject"]),
        "recipients": mail.recipients,
        "refused": {},
        "size": len(message.as_bytes()),
    }
    who = ", ".join(mail.recipients)
    if check:
        return {**result, "msg": f"A mail with {result['size']} bytes would be sent to {who} by {server.place}."}
    refused = smtp.send(server, message, report_mail.address(mail.sender, "sender").addr_spec, mail.recipients)
    result.update(message_id=str(message["Message-ID"]), refused=refused)
    if not refused:
        return {**result, "msg": f"Sent to {who} by {server.place}."}
    taken = ", ".join(each for each in mail.recipients if each not in refused)
    said = ", ".join(f"{name} ({words})" for name, words in refused.items())
    return {
        **result,
        "failed": True,
        "msg": f"{server.place}: the mail went to {taken}, and the mail server refuses {said}. Check to and cc; a second run sends it to all again.",
    }


def _server(params: dict[str, Any]) -> smtp.MailServer:
    security, username, password = params["security"], params["username"] or "", params["password"] or ""
    if bool(username) != bool(password):
        there, missing = ("username", "password") if username else ("password", "username")
        raise BadInput(f"{there} is given without {missing}", hint="Give both, or none where the server wants no login.")
    if username and security == "none" and not params["login_in_clear"]:
        raise BadInput(
            "security none would send the password in clear text",
            hint="Set security to starttls or tls, or login_in_clear to true where nobody can listen on the way.",
        )
    port = params["port"] or smtp.PORTS[security]
    if not 0 < port < 65536:
        raise BadInput(f"port {port} is none", hint="Leave it out, or give one from 1 to 65535.")
    if not params["timeout"] > 0:
        raise BadInput(f"timeout {params['timeout']:g} is no time", hint="Give a number of seconds above 0.")
    return smtp.MailServer(
        host=params["host"].strip(),
        port=port,
        security=security,
        username=username,
        password=password,
        validate_certs=params["validate_certs"],
        ca_file=params["ca_file"] or "",
        timeout=params["timeout"],
    )
