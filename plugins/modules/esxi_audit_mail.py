# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mail an audit report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_audit_mail
short_description: Mail an audit report, over TLS that is checked
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Sends the text of a report of M(fleetcare.esxi.esxi_audit_report), with files attached, such as its page.
  - The server's certificate is checked, and a password goes over TLS only, unless it is told otherwise. It needs nothing but Python.
options:
  host:
    description: Name or address of the mail server.
    type: str
    required: true
  port:
    description: Its port. Left out, it is 587 with O(security=starttls), 465 with V(tls), 25 with V(none).
    type: int
  security:
    description:
      - V(starttls) begins TLS before anything else is said, and fails where the server does not offer it. V(tls) is TLS from the first byte.
        V(none) is clear text.
    type: str
    choices: [starttls, tls, none]
    default: starttls
  username:
    description: Name for the login. Left out, there is none.
    type: str
  password:
    description: Password for the login.
    type: str
  login_in_clear:
    description: Log in also with O(security=none), which shows the password to everybody on the way.
    type: bool
    default: false
  validate_certs:
    description: Check the server's certificate. V(false) trusts anybody who answers.
    type: bool
    default: true
  ca_file:
    description: PEM file with the authorities to trust instead of the system's, on the machine that runs the module.
    type: path
  sender:
    description: Address of the sender, V(audit@example.com) or V(Fleet audit <audit@example.com>).
    type: str
    required: true
  to:
    description: Addresses of the recipients.
    type: list
    elements: str
    required: true
  cc:
    description: Addresses of those who get a copy.
    type: list
    elements: str
    default: []
  report:
    description: Path of a report in JSON. Subject and text are made of it where they are left out.
    type: path
  subject:
    description: The subject. Left out, it says how the report stands.
    type: str
  body:
    description: The text. Left out, it is the text form of the report. One of O(report) and O(body) is required.
    type: str
  attachments:
    description: Paths of files to attach.
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds of silence after which it is given up.
    type: float
    default: 30
extends_documentation_fragment:
  - fleetcare.esxi.attributes
attributes:
  check_mode:
    support: full
    details: Options and files are checked and the mail is made; no server is asked.
  diff_mode:
    support: none
    details: A mail has no state before.
  idempotent:
    support: none
    details: Each run sends a mail.
notes:
  - A mail that some recipients are refused for has been sent to the others; the task fails then and says so.
seealso:
  - module: fleetcare.esxi.esxi_audit_report
  - name: mail, of the collection community.general
    description: Mails of any kind. It does not check certificates, and sends a password in clear text where the server offers no TLS.
    link: https://docs.ansible.com/ansible/latest/collections/community/general/mail_module.html
"""

EXAMPLES = r"""
- name: The page of the weekly audit
  fleetcare.esxi.esxi_audit_mail:
    host: smtp.example.com
    username: audit
    password: "{{ vault_mail_password }}"
    sender: Fleet audit <audit@example.com>
    to: [ops@example.com, security@example.com]
    report: /srv/www/fleetcare/bonn/report.json
    attachments: [/srv/www/fleetcare/bonn/report.html]
  delegate_to: localhost

- name: A relay in the same rack, without TLS and without a login
  fleetcare.esxi.esxi_audit_mail:
    host: 192.0.2.25
    security: none
    sender: audit@example.com
    to: [ops@example.com]
    subject: The audit of Bonn did not run
    body: See the log of the job.
  delegate_to: localhost
"""

RETURN = r"""
recipients:
  description: Addresses that the mail was, or would be, sent to.
  returned: when the options are accepted
  type: list
  elements: str
refused:
  description: Recipients that the server refused, with its words, where it took the mail for others.
  returned: when the mail was sent
  type: dict
  sample: {nobody@example.com: 550 no such mailbox}
subject:
  description: Subject of the mail.
  returned: when the options are accepted
  type: str
size:
  description: Bytes of the mail.
  returned: when the options are accepted
  type: int
message_id:
  description: Its Message-ID, by which it is found in the server's log.
  returned: when the mail was sent
  type: str
msg:
  description: The outcome in a sentence.
  returned: always
  type: str
  sample: Sent to ops@example.com by smtp.example.com:587.
failure:
  description: Why it was not sent, with kind, fault, doing, cause, hint and message.
  returned: when the mail was not sent
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._module import mail
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task

OPTIONS = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "security": {"type": "str", "choices": ["starttls", "tls", "none"], "default": "starttls"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "login_in_clear": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_file": {"type": "path"},
    "sender": {"type": "str", "required": True},
    "to": {"type": "list", "elements": "str", "required": True},
    "cc": {"type": "list", "elements": "str", "default": []},
    "report": {"type": "path"},
    "subject": {"type": "str"},
    "body": {"type": "str"},
    "attachments": {"type": "list", "elements": "path", "default": []},
    "timeout": {"type": "float", "default": 30},
}


def main() -> None:
    run_task(OPTIONS, mail.work, missing=mail.MISSING)


if __name__ == "__main__":
    main()
