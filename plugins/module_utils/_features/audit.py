# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of all features: which there are, and what esxi_audit does with them. Private to this collection."""

from __future__ import annotations

import datetime
import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.module_utils.common.yaml import HAS_YAML, yaml_load

from .._client import local_files, vmomi
from .._domain import audit as audit_domain
from .._domain import audit_profile
from .._domain import license as license_domain
from .._domain import ntp as ntp_domain
from .._domain.errors import BadInput, FleetcareError, listed
from .._domain.report_model import FINE, VERDICT_NAMES, WORDS, summary_of
from .._module import audit, texts
from .._module.arguments import ENDPOINT, HOSTS, RUN
from .._module.audit import Part
from .._vim import firewall as firewall_translation
from . import acceptance, crypto, firewall, hardware, license, ntp, vib

VERSION = "0.1.0"
MISSING = ("pyvmomi", vmomi.IMPORT_ERROR) if vmomi.IMPORT_ERROR else None
OPTIONS: dict[str, dict[str, Any]] = {
    "profile": {"type": "raw", "required": True},
    "slice": {"type": "str"},
    "dest": {"type": "path"},
    **ENDPOINT,
    **HOSTS,
    **{name: spec for name, spec in RUN.items() if name != "fail_on"},
}


def _clock(state: Any, wanted: Any, seen: Any, value: Callable[[str], Any]) -> dict[str, Any]:
    measured = ntp_domain.clock(state, wanted, seen)
    return {"clock": measured} if measured else {}


def _exposure(state: Any, wanted: Any, seen: Any, value: Callable[[str], Any]) -> dict[str, Any]:
    if not state.incoming_blocked:
        return {"exposure": {"*": "all"}}
    told = value(firewall_translation.RULESETS)
    return {} if told is None else {"exposure": told}


def _licenses(seen: Any, wanted: Any) -> dict[str, Any]:
    return {"licenses": license_domain.capacity(seen)}


# In the order in which reports show them; the words are those of profiles.
_PARTS = {
    # Two reads of each clock bound the error well enough for a report; whoever wants more says so in the profile.
    "ntp": Part(title="Time", module="esxi_ntp_align", feature=ntp.FEATURE, defaults={"clock_samples": 2}, facts=_clock),
    "license": Part(title="Licences", module="esxi_license_validate", feature=license.FEATURE, endpoint_facts=_licenses),
    "firewall": Part(
        title="Firewall",
        module="esxi_firewall_ports",
        feature=firewall.FEATURE,
        tell={firewall_translation.RULESETS: firewall_translation.exposure},
        facts=_exposure,
    ),
    "acceptance": Part(title="Acceptance level", module="esxi_acceptance_level", feature=acceptance.FEATURE),
    "custom_ports": Part(title="Custom ports", module="esxi_firewall_vib", feature=vib.FEATURE),
    "hardware": Part(title="Hardware", module="esxi_hardware_info", feature=hardware.FEATURE),
    "crypto": Part(title="Encrypted VMs", module="vm_crypto_unlock", feature=crypto.FEATURE),
}
PARTS: Mapping[str, Part] = {word: _PARTS[word] for word in WORDS}
CODES = (*audit_domain.MEANINGS, *(code for part in PARTS.values() for code in getattr(part.feature.domain, "MEANINGS", {})))


def work(params: Mapping[str, Any], check: bool, *, in_process: bool = False) -> dict[str, Any]:
    """Judge, write the report where a file is named, and tell. No server is changed; in a check run no file is written."""
    name, data = _profile(params["profile"])
    profile = audit_profile.parse(data, tuple(PARTS), CODES)
    dest = params["dest"] and os.path.abspath(os.path.expanduser(params["dest"]))
    if dest and not os.path.isdir(os.path.dirname(dest)):
        raise BadInput(f"dest {dest}: there is no folder {os.path.dirname(dest)}", hint="Make the folder first, or name another.")
    clocks = (profile.features.get("ntp"), *(group.features.get("ntp") for group in profile.groups))
    if params["slice"] and any((options or {}).get("reference") == "fleet" for options in clocks):
        raise BadInput(
            "profile: ntp.reference is fleet, which compares the clocks of all hosts, and a slice has some of them only",
            hint="Set it to control_node or vcenter, or audit without slices.",
        )
    began = datetime.datetime.now(datetime.timezone.utc)
    found = audit.judge(profile, PARTS, params, in_process=in_process)
    report = audit.report_of(found, profile, PARTS, name=name, version=VERSION, began=began)
    report["summary"] = summary_of(report)
    result: dict[str, Any] = {"changed": False, "summary": report["summary"], "secrets": found.secrets}
    if dest and not check:
        local_files.put(dest, (json.dumps(report, ensure_ascii=False, separators=(",", ":")) + "\n").encode(), 0o640)
        result["report_file"] = dest
    else:
        result["report"] = report
    failure = found.endpoint.get("failure")
    if failure:
        result.update(failed=True, failure=failure)
        # What it says is in the message already, and a role puts the report elsewhere.
        return {**result, "msg": failure["message"]}
    where = f" The report is in {dest}." if "report_file" in result else ""
    return {**result, "msg": _told(report, profile) + where}


def secrets(params: Mapping[str, Any]) -> list[str]:
    """What stands in a profile under the name of an option that holds a secret, keys for one."""
    known = [each for part in PARTS.values() for each in _names(part.feature.options)]
    names = sorted({name for name, secret in known if secret})
    plain = {*(name for name, _secret in known), *PARTS}
    found: list[str] = []

    def look(data: Any, hidden: bool) -> None:
        if isinstance(data, Mapping):
            for name, value in data.items():
                # A misspelt one ends the run, and its value is no less secret.
                near = name not in plain and difflib.get_close_matches(str(name), names, n=1, cutoff=0.7)
                look(value, hidden or name in names or bool(near))
        elif isinstance(data, (list, tuple)):
            for value in data:
                look(value, hidden)
        elif hidden and isinstance(data, (str, int)) and not isinstance(data, bool) and str(data):
            found.append(str(data))

    try:
        look(_profile(params.get("profile"))[1], False)
    except FleetcareError:
        # work() tells it. A text that is not understood may have a secret anywhere.
        if texts.is_text(str(params["profile"])):
            found.append(str(params["profile"]))
    return found


def _names(options: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Of options and of what is in them, and whether they are secret."""
    for name, spec in options.items():
        for each in (name, *spec.get("aliases", ())):
            yield each, bool(spec.get("no_log"))
        yield from _names(spec.get("options", {}))


def _profile(given: Any) -> tuple[str, Any]:
    """Its name and its data. Raises BadInput."""
    if not isinstance(given, str):
        return "given in the task", given
    name, text = texts.read({"profile": given}, ["profile"])["profile"]
    name = os.path.basename(name)
    if text.lstrip().startswith("{"):
        try:
            return name, json.loads(text)
        except ValueError as problem:
            raise BadInput(f"profile: {name} is not understood: {problem}", hint="Write it as YAML or as JSON.") from None
    if not HAS_YAML:
        raise BadInput(f"profile: {name} is no JSON, and there is no PyYAML to read it with", hint="Install PyYAML, or hand over the data.")
    try:
        return name, yaml_load(text)
    except Exception as problem:  # PyYAML's own errors; importing their class would need PyYAML
        # Without the line itself, in which a secret may stand.
        mark = getattr(problem, "problem_mark", None)
        said = str(getattr(problem, "problem", "")) if type(problem).__name__ in ("ScannerError", "ParserError") else "it cannot be read"
        said += f" in line {mark.line + 1}" if mark else ""
        raise BadInput(f"profile: {name} is no YAML: {said}", hint="Mind the indentation, and put texts with a colon in quotes.") from None


def _told(report: Mapping[str, Any], profile: audit_profile.Profile) -> str:
    """The outcome in a sentence or two: how many are right, and what is not, feature by feature."""
    summary = report["summary"]
    counted = [
        f"{summary[kind]} {noun}{'' if summary[kind] == 1 else 's'}" for kind, noun in (("hosts", "host"), ("vms", "VM")) if summary[kind]
    ]
    total = summary["hosts"] + summary["vms"]
    text = f"{' and '.join(counted) or 'Nothing'} audited: {summary['compliant_targets']} of {total} right or excused"
    wrong = []
    for word, verdicts in summary["verdicts"].items():
        bad = [f"{count} {VERDICT_NAMES[verdict]}" for verdict, count in verdicts.items() if verdict not in FINE]
        if bad:
            wrong.append(f"{word}: {', '.join(bad)}")
    expired = [each["id"] for each in report["exceptions"] if each["status"] == "expired"]
    # A slice holds some targets only; of a whole audit, a misspelt pattern would go unseen.
    held = {name for target in report["targets"] for name in target["groups"]}
    empty = [group.name for group in profile.groups if group.name not in held] if report["slices"] is None else []
    nobody = [f"groups of the profile that hold none of these: {listed(empty, 5)}"] if empty and report["targets"] else []
    parts = [text, *wrong, *nobody, *([f"exceptions that have expired: {listed(expired, 5)}"] if expired else [])]
    return "; ".join(parts) + "."
