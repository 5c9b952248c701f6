# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Out of the result of a module over many hosts, that of one: as if the module had run for it alone. Pure.

Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_BAD = ("failed", "unreachable", "skipped")
# What Ansible tells of a run itself, once: not of each host that had a part in it.
_NOISE = ("warnings", "deprecations", "exception", "invocation", "failed", "unreachable", "changed")
_OF_ALL = ("hosts", "summary", "hints", "diff", "msg", "waves", "at_risk")


def without_noise(result: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
    """A result that is about no host in particular, for one of those that share it; the first tells what is told once."""
    kept = {name: value for name, value in result.items() if name not in _NOISE and not name.startswith("_ansible")}
    if not first:
        kept.pop("diff", None)
    elif result.get("warnings"):
        # In a check run the only sign of hosts that could not be looked at.
        kept["warnings"] = result["warnings"]
    return {**kept, "changed": bool(result.get("changed")), **({"failed": True} if result.get("failed") else {})}


def own_result(result: Mapping[str, Any], name: str, options: Mapping[str, Any], *, check: bool, first: bool) -> dict[str, Any]:
    """``name``: what the host is called, empty where it is the endpoint itself. ``first``: the one among those that share the
    run that also tells what was changed of the endpoint, which nobody else would."""
    hosts = result.get("hosts")
    if not isinstance(hosts, Mapping):
        return _of_nobody(result)
    endpoint = result.get("endpoint") or {}
    found = _entry(hosts, "" if endpoint.get("type") == "HostAgent" and len(hosts) == 1 else name)
    kept = {key: value for key, value in without_noise(result, first=False).items() if key not in _OF_ALL}
    kept.pop("failed", None)
    if found is None:
        if not options.get("exclude"):
            return {**kept, "failed": True, "changed": False, "msg": f"{name}: the run for this and other hosts has nothing to say of it."}
        left_out = f"{name} is left out by exclude."
        # Where everybody is, somebody has to tell what became of the endpoint.
        if hosts or not (_is_bad(endpoint) or (first and endpoint.get("changed"))):
            return {"skipped": True, "changed": False, "msg": left_out}
        found = name, {"status": "skipped", "changed": False, "failure": {"kind": "held_back", "message": left_out}}
    key, entry = found
    of_endpoint = endpoint if "status" in endpoint else {}
    bad = _is_bad(entry)
    # A run that failed although no part of it did: its files could not be written.
    all_failed = bool(result.get("failed")) and not any(_is_bad(each) for each in (*hosts.values(), of_endpoint))
    own = {
        **kept,
        "changed": bool(entry.get("changed")) or (first and bool(of_endpoint.get("changed"))),
        "summary": {entry["status"]: 1},
        "hosts": {key: dict(entry)},
        "hints": _hints(result, entry, of_endpoint),
        "msg": _message(key, entry, endpoint, result if all_failed else {}),
    }
    diff = _own_diff(result.get("diff"), {key, *([str(endpoint.get("name"))] if first and of_endpoint else ())})
    if diff is not None:
        own["diff"] = diff
    if "backup_file" in result:
        own["msg"] += f" The state before is in {result['backup_file']}."
    fail_on = options.get("fail_on") or ("none" if check else "any")
    if all_failed or ((bad or _is_bad(of_endpoint)) and fail_on != "none"):
        unreachable = entry["status"] == "unreachable" and not all_failed and not _is_bad(of_endpoint)
        own["unreachable" if unreachable else "failed"] = True
    elif bad or _is_bad(of_endpoint):
        own["warnings"] = [own["msg"]]
    return own


def composed(modules: Sequence[str], jobs: Sequence[Mapping[str, Any]], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One result for one host of several modules, an entry each, as esxi_remediate has it."""
    results = {job["module"]: part for job, part in zip(jobs, parts, strict=True)}
    entries: dict[str, Any] = {}
    for module in modules:
        if module not in results:
            entries[module] = {"status": "skipped", "changed": False, "summary": {}, "msg": f"skipped, no variable {module}_... is set"}
            continue
        part = results[module]
        bad = part.get("failed") or part.get("unreachable")
        entries[module] = {
            "status": "failed" if bad else "skipped" if part.get("skipped") else "ok",
            "changed": bool(part.get("changed")),
            "msg": part.get("msg", ""),
            "summary": part.get("summary", {}),
            **({"trouble": part.get("msg", "")} if bad else {}),
            "result": {name: value for name, value in part.items() if name not in ("diff", "warnings")},
        }
    failed = {name: entry for name, entry in entries.items() if entry["status"] == "failed"}
    told = "; ".join(f"{name}: {entry['msg'].rstrip('.')}" for name, entry in entries.items() if entry["status"] != "skipped") + "."
    whole: dict[str, Any] = {**entries, "changed": any(entry["changed"] for entry in entries.values()), "msg": told}
    if not results:
        names = ", ".join(f"{module}_..." for module in modules)
        whole.update(
            failed=True, msg=f"Nothing is asked for. Set variables of at least one feature ({names}); the README of its role lists them."
        )
    elif all(part.get("skipped") for part in parts):
        whole.update(skipped=True, msg=parts[0]["msg"])
    elif failed:
        whole["msg"] = (
            f"{len(failed)} of {len(results)} features failed. "
            + "; ".join(f"{n}: {e['trouble'].rstrip('.')}" for n, e in failed.items())
            + "."
        )
        away = all(results[name].get("unreachable") for name in failed)
        whole["unreachable" if away else "failed"] = True
    diffs = [part["diff"] for part in parts if part.get("diff")]
    if diffs:
        whole["diff"] = [one for diff in diffs for one in (diff if isinstance(diff, list) else [diff])]
    warnings = [text for part in parts for text in part.get("warnings", ())]
    return {**whole, **({"warnings": warnings} if warnings else {})}


def _of_nobody(result: Mapping[str, Any]) -> dict[str, Any]:
    """The run ended before it came to any host: what it says holds for each of them."""
    kept = without_noise(result, first=False)
    kept.pop("failed", None)
    failure = result.get("failure")
    away = isinstance(failure, Mapping) and failure.get("kind") == "endpoint_unreachable"
    return {
        **kept,
        "changed": False,
        "msg": result.get("msg", "The module has ended without a result."),
        "unreachable" if away else "failed": True,
    }


def _entry(hosts: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]] | None:
    if not name:
        return next(iter(hosts.items()), None) if len(hosts) == 1 else None
    # What is called exactly so goes first: esx-1 may be one that vCenter has, and ESX-1 one that it has twice.
    if name in hosts:
        return name, hosts[name]
    by_id = ((key, entry) for key, entry in hosts.items() if entry.get("moid") == name)
    by_name = ((key, entry) for key, entry in hosts.items() if key.lower() == name.lower())
    return next(by_id, None) or next(by_name, None)


def _is_bad(part: Mapping[str, Any]) -> bool:
    """One that no wave has room for is left out because that was asked for."""
    return part.get("status") in _BAD and (part.get("failure") or {}).get("kind") != "held_back"


def _message(name: str, entry: Mapping[str, Any], endpoint: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    if whole:
        return str(whole.get("msg", ""))
    failure = entry.get("failure") or {}
    if failure.get("kind") == "target_unknown":
        hint = f" {failure['hint']}" if failure.get("hint") else ""
        return (
            f"{name} is not one host in the inventory of {endpoint.get('name')}: {str(failure.get('cause')).rstrip('.')}.{hint} "
            "The variable esxi_hostname of an inventory host says what it is called there."
        )
    text = f"1 host: 1 {str(entry['status']).replace('_', ' ')}."
    if entry["status"] in _BAD and failure:
        text += f" {failure.get('message') or failure.get('cause')}"
    if _is_bad(endpoint) and endpoint.get("failure"):
        text += f" {endpoint['failure'].get('message') or endpoint['failure'].get('cause')}"
    return text


def _hints(result: Mapping[str, Any], *parts: Mapping[str, Any]) -> dict[str, str]:
    codes = {finding.get("code") for part in parts for finding in part.get("findings") or ()}
    return {code: text for code, text in (result.get("hints") or {}).items() if code in codes}


def _own_diff(diff: Any, names: set[str]) -> dict[str, Any] | None:
    if not isinstance(diff, Mapping) or not all(isinstance(diff.get(side), Mapping) for side in ("before", "after")):
        return None
    return {side: {name: value for name, value in diff[side].items() if name in names} for side in ("before", "after")}
