# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a fleet in every feature in one pass, without changing anything."""

from __future__ import annotations

DOCUMENTATION = """
module: esxi_audit
short_description: Judge hosts and VMs in every feature in one pass, and write one report
version_added: 0.1.0
description:
  - Judges time, licences, firewall, acceptance level, custom ports, hardware and encrypted VMs of all selected hosts, and of the VMs that
    run on them, with one login and one bulk read, by the same planners that the other modules repair with. What the report lists as a
    change is what the module named beside it would write.
  - No server is changed, in a check run or otherwise. The result is never V(changed).
  - The report is one JSON file, of the form that C(docs/audit_report.schema.json) of this collection describes.
    M(fleetcare.esxi.esxi_audit_report) merges such files, compares them with earlier ones, and makes a page, a table, JUnit and text of
    them; the role P(fleetcare.esxi.esxi_audit#role) does all of it.
options:
  profile:
    description:
      - The desired state of the site. The path of a YAML or JSON file on the machine that runs the task, its text, or the data itself.
      - C(features) holds a word for each feature that is judged, C(ntp), C(license), C(firewall), C(acceptance), C(custom_ports),
        C(hardware), C(crypto), with options of the module that repairs it, M(fleetcare.esxi.esxi_ntp_align),
        M(fleetcare.esxi.esxi_license_validate), M(fleetcare.esxi.esxi_firewall_ports), M(fleetcare.esxi.esxi_acceptance_level),
        M(fleetcare.esxi.esxi_firewall_vib), M(fleetcare.esxi.esxi_hardware_info), M(fleetcare.esxi.vm_crypto_unlock).
      - C(site) is its name, C(owners) says by feature who looks after what no role repairs.
      - C(groups) is a list of groups of hosts and VMs, each with a C(name), with who is in it (C(esxi_hostname), C(vm_name),
        C(cluster_name), C(datacenter), C(folder), lists of names or globs), and with C(features) whose options replace those of the site;
        a feature without a value is not judged there.
      - C(exceptions) is a list of what is excused, each with C(id), C(owner), C(reason), C(expires) (its last day), and with at least one of
        C(feature), C(codes) of findings, C(targets) (names, globs, object ids or paths) and C(groups).
      - C(controls) adds rules of your own guide, each with C(id), C(guide), C(title), C(source) and the C(codes) that break it.
      - With C(exposure) set to V(false), the ports that hosts open are not collected, which saves 19 KB a host.
    type: raw
    required: true
  slice:
    description:
      - Judge a part only, V(2/4) for the second of four parts. Which part a host or a VM is in depends on nothing but its managed object id.
    type: str
  dest:
    description:
      - Path of the report, on the machine that runs the task. Its folder has to be there. An older report there is replaced whole.
      - Without it, and in a check run, the report is in the result.
    type: path
  parallel:
    description: How many hosts are asked at the same time for what only they can tell, such as their clocks, from 1 to 64.
    type: int
    default: 16
  deadline:
    description: Seconds after which nothing more is asked; what was not judged by then is told as such.
    type: float
    default: 3600
requirements:
  - pyvmomi >= 8.0.3.0.1
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.attributes
attributes:
  check_mode:
    support: full
    details: A check run writes no report.
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
seealso:
  - module: fleetcare.esxi.esxi_audit_report
author:
  - fleetcare.esxi contributors (@fleetcare)
"""

EXAMPLES = """
- name: Judge every host and VM of a vCenter
  fleetcare.esxi.esxi_audit:
    hostname: vcenter.example.com
    esxi_hostname: ["*"]
    profile: bonn.yml
    dest: /var/lib/fleetcare/bonn/vcenter.json
  register: audit

- name: The profile as data
  fleetcare.esxi.esxi_audit:
    hostname: vcenter.example.com
    cluster_name: [edge]
    profile:
      site: Bonn
      features:
        ntp:
          ntp_servers: [192.0.2.1, 192.0.2.2]
          max_skew: 1
        firewall:
          rules:
            - name: sshServer
              enabled: false
        crypto: {}
      exceptions:
        - id: CHG-17
          owner: network team
          reason: The console of the old host needs SSH until it is replaced.
          expires: "2026-12-31"
          feature: firewall
          targets: ["esx-07.example.com"]
"""

RETURN = """
report_file:
  description: Path of the report.
  returned: where O(dest) is given and this is no check run
  type: str
  sample: /var/lib/fleetcare/bonn/vcenter.json
report:
  description: The report itself.
  returned: where it is in no file
  type: dict
summary:
  description: Counts of the report, of hosts, VMs, verdicts by feature, findings by level.
  returned: when the profile and the options are understood
  type: dict
  sample:
    hosts: 40
    vms: 300
    compliant_targets: 331
    verdicts: {ntp: {compliant: 38, repairable: 2}}
    findings: {error: 9, warning: 4, note: 0}
    new: 0
    resolved: 0
failure:
  description: Why nothing could be judged, with kind, fault, doing, cause, hint and message. The report tells it, too.
  returned: when the endpoint could not be asked
  type: dict
msg:
  description: The outcome in a sentence.
  returned: always
  type: str
  sample: "40 hosts and 300 VMs audited: 331 of 340 right or excused; ntp: 2 a role repairs; crypto: 7 need somebody."
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._features import audit
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task

OPTIONS = audit.OPTIONS


def main() -> None:
    run_task(OPTIONS, audit.work, missing=audit.MISSING, secrets=audit.secrets)


if __name__ == "__main__":
    main()
