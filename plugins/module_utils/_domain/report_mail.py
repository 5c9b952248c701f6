# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail: text, and files as they are. Private to this collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from .errors import BadInput

# What mail programs open by themselves; the rest is a file.
_TYPES = {
    "html": ("text", "html"),
    "csv": ("text", "csv"),
    "txt": ("text", "plain"),
    "xml": ("application", "xml"),
    "json": ("application", "json"),
    "pdf": ("application", "pdf"),
}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Mail:
    """``attachments``: content by the name of the file."""

    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    body: str
    attachments: Mapping[str, bytes]

    @property
    def recipients(self) -> list[str]:
        return list(dict.fromkeys(address(each, "to or cc").addr_spec for each in (*self.to, *self.cc)))


def message(mail: Mail, *, date: str, message_id: str) -> EmailMessage:
    """Raises BadInput, for an address that is none."""
    found = EmailMessage(policy=SMTP)
    found["Subject"] = _CONTROL.sub(" ", mail.subject)
    found["From"] = address(mail.sender, "sender")
    found["To"] = [address(each, "to") for each in mail.to]
    if mail.cc:
        found["Cc"] = [address(each, "cc") for each in mail.cc]
    found["Date"] = date
    found["Message-ID"] = message_id
    # So that nobody's holiday notice answers it, RFC 3834.
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(_NO_TEXT.sub("\ufffd", mail.body.replace("\r\n", "\n")), cte="base64" if not mail.body.isascii() else None)
    for name, content in mail.attachments.items():
        main, sub = _TYPES.get(name.rpartition(".")[2].lower(), ("application", "octet-stream"))
        found.add_attachment(content, maintype=main, subtype=sub, filename=_CONTROL.sub(" ", name))
    return found


def address(text: str, option: str) -> Address:
    """``ops@example.com``, or with a name, ``Operations <ops@example.com>``. Raises BadInput."""
    match = re.fullmatch(r"\s*(?:(?P<name>[^<>]*?)\s*<(?P<inner>[^<>\s]+)>|(?P<plain>[^<>\s,;]+))\s*", text)
    spec = (match["inner"] or match["plain"]) if match else ""
    try:
        if not match or _CONTROL.search(text) or not re.fullmatch(r"[^@]+@[^@]+", spec):
            raise ValueError
        user, _at, domain = spec.rpartition("@")
        return Address(display_name=(match["name"] or "").strip('"'), username=user, domain=domain)
    except (ValueError, IndexError):
        shown = _CONTROL.sub(" ", text)[:80]
        raise BadInput(f"{option}: {shown!r} is no mail address", hint="Write ops@example.com, or Operations <ops@example.com>.") from None


def unique_names(paths: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """Path -> name of the attachment. Raises BadInput where two files would be one."""
    found: dict[str, str] = {}
    for path, name in zip(paths, names, strict=True):
        if name in found.values():
            raise BadInput(f"attachments holds two files of the name {name}", hint="Rename one; a reader could not tell them apart.")
        found[path] = name
    return found
