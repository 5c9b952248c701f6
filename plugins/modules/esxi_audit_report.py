# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of an audit report: page, table, JUnit, text and JSON."""

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_audit_report
short_description: Make a page, a table, JUnit and text of what audits found
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads what M(fleetcare.esxi.esxi_audit) has written, and writes it in the forms that people and pipelines read, one file each, below
    one folder of the control node. It asks no vSphere server.
  - Several reports become one, slices of an audit or audits of several endpoints, equal to what a single run would have found. A slice
    that is missing, and an endpoint that could not be reached, is told first in every form.
  - Compared with an earlier report, it says what is new, since when, and what is gone.
options:
  reports:
    description:
      - Paths of the reports, on the control node. A relative path begins where the playbook is.
      - Slices may come in any order. Of two reports on the same host or VM, the newer one counts.
      - What M(fleetcare.esxi.esxi_audit_report) has written as JSON is a report, too.
    type: list
    elements: path
    required: true
  previous:
    description:
      - Path of an earlier report that this one is compared with, such as the JSON file of the run before.
      - A finding is known again by its endpoint, host or VM (by the managed object id, or by its name where that id is gone), feature and
        code. It is resolved when its host or VM was judged again for its feature, and it is not there any more.
      - Left out, nothing is told about earlier findings but what the reports tell themselves.
    type: path
  dest:
    description: Folder of the files, on the control node. It is made where it is missing.
    type: path
    required: true
  basename:
    description: Name of the files without their endings.
    type: str
    default: report
  formats:
    description:
      - Which files are made, V(html) with the ending C(.html), V(csv) with C(.csv), V(junit) with C(.xml), V(text) with C(.txt), V(json)
        with C(.json).
      - V(html) is one page that needs neither a network nor another file. V(csv) has a row a finding, and one for each host or VM and
        feature without one. V(json) is what a later run can be compared with.
    type: list
    elements: str
    choices: [html, csv, junit, text, json]
    default: [html, csv, junit, text, json]
  mode:
    description:
      - Mode of the files. They tell where a fleet is weak.
      - With V(0640) their group can read them; give the folder the group of the web server, and its set-group-id bit.
    type: str
    choices: ['0600', '0640']
    default: '0600'
  fail_levels:
    description:
      - Levels of findings that are failures in JUnit and for O(fail_on_findings), unless an exception covers them.
      - With V(error), whatever is not as the profile wants it is one, also what a role would repair.
      - What could not be judged, and what is missing, is an error at all levels.
    type: list
    elements: str
    choices: [error, warning, note]
    default: [error]
  fail_on_findings:
    description:
      - Fail the task where there is such a failure or error, once all files are written. This is the gate of a pipeline.
    type: bool
    default: false
  different_profiles:
    description:
      - Take reports that were made by different profiles, one for each endpoint. Without it they are refused, as slices of one audit have
        one profile.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.attributes
attributes:
  check_mode:
    support: full
    details: Everything is read, merged and compared; no file is written.
  diff_mode:
    support: none
    details: A page of thousands of lines has no difference that somebody reads.
  idempotent:
    support: full
    details: The same reports make the same files.
notes:
  - Its action plugin does the work, so it runs on the control node, wherever the task is delegated to.
seealso:
  - module: fleetcare.esxi.esxi_audit
  - module: fleetcare.esxi.esxi_audit_mail
"""

EXAMPLES = r"""
- name: Page, table, JUnit and text of one audit, compared with the last one
  fleetcare.esxi.esxi_audit_report:
    reports: [/var/lib/fleetcare/bonn/audit.json]
    previous: /var/lib/fleetcare/bonn/last.json
    dest: /srv/www/fleetcare/bonn
    mode: '0640'

- name: One page of four slices
  fleetcare.esxi.esxi_audit_report:
    reports: "{{ lookup('ansible.builtin.fileglob', '/var/lib/fleetcare/slices/*.json', wantlist=true) }}"
    dest: /srv/www/fleetcare/bonn

- name: The gate of a pipeline, which reads report.xml afterwards
  fleetcare.esxi.esxi_audit_report:
    reports: [audit.json]
    dest: results
    formats: [junit, html]
    fail_levels: [error, warning]
    fail_on_findings: true
"""

RETURN = r"""
files:
  description: Path of each file, by its format.
  returned: when the reports can be read
  type: dict
  sample: {html: /srv/www/fleetcare/bonn/report.html, json: /srv/www/fleetcare/bonn/report.json}
verdict:
  description: How it stands, in one line, as for the subject of a mail.
  returned: when the reports can be read
  type: str
  sample: "Bonn: 12 of 1000 hosts not right"
summary:
  description: The counts of the report.
  returned: when the reports can be read
  type: dict
  contains:
    hosts:
      description: Number of hosts.
      type: int
    vms:
      description: Number of VMs.
      type: int
    compliant_targets:
      description: Hosts and VMs that are as the profile wants them, or excused.
      type: int
    verdicts:
      description: Number of hosts, VMs and endpoints by feature and verdict.
      type: dict
    findings:
      description: Number of findings by level that no exception covers.
      type: dict
    new:
      description: Number of findings that the report before does not have.
      type: int
    resolved:
      description: Number of findings of the report before that are gone.
      type: int
gate:
  description: Whether a pipeline may go on.
  returned: when the reports can be read
  type: dict
  contains:
    passed:
      description: Whether nothing fails by O(fail_levels).
      type: bool
    reasons:
      description: What does, a sentence each.
      type: list
      elements: str
    holes:
      description: Those of them that tell of slices that are missing, and of endpoints and slices of which nothing was judged.
      type: list
      elements: str
msg:
  description: The report in at most forty lines, or what is wrong with the task.
  returned: always
  type: str
failure:
  description: What is wrong with the task, with kind, fault, doing, cause, hint and message.
  returned: when the reports cannot be read, or the files cannot be written
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._module import control_node
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task

OPTIONS = {
    "reports": {"type": "list", "elements": "path", "required": True},
    "previous": {"type": "path"},
    "dest": {"type": "path", "required": True},
    "basename": {"type": "str", "default": "report"},
    "formats": {
        "type": "list",
        "elements": "str",
        "choices": ["html", "csv", "junit", "text", "json"],
        "default": ["html", "csv", "junit", "text", "json"],
    },
    "mode": {"type": "str", "choices": ["0600", "0640"], "default": "0600"},
    "fail_levels": {"type": "list", "elements": "str", "choices": ["error", "warning", "note"], "default": ["error"]},
    "fail_on_findings": {"type": "bool", "default": False},
    "different_profiles": {"type": "bool", "default": False},
}


def main() -> None:
    run_task(OPTIONS, control_node.work, missing=control_node.MISSING)


if __name__ == "__main__":
    main()
