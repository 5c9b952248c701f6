# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on a key server: which are asked for, what is wrong with them, which are activated. Pure. Private to this collection.

Who talks to the server is handed in (``Connect``), so that the order of events can be seen and tested without one.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import BadInput, FleetcareError, NotCompliant, NotConverged, PermissionMissing, ServerFault, listed
from .plan import Finding, Meaning

DATES = ("initial", "activation", "deactivation", "destroy", "compromise_occurrence", "compromise", "last_change")
STATES = ("pre_active", "active", "deactivated", "compromised", "destroyed", "destroyed_compromised")
_NO_WAY_BACK = (
    "KMIP has no operation that leads back to active: look whether the key server's own console can, or restore the key from a "
    "backup of the key server."
)
_STATES_SOURCE = "GetAttributes, State; the states and their transitions of the KMIP specification"
# Result reasons of KMIP; the second of each, and the last, came with 2.0.
_NOT_FOUND = ("ITEM_NOT_FOUND", "OBJECT_NOT_FOUND")
_DENIED = ("PERMISSION_DENIED", "NOT_AUTHORISED")
_GONE = ("OBJECT_DESTROYED",)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

MEANINGS: dict[str, Meaning] = {
    "kms_key_not_found": Meaning(
        "error",
        "The key server says that it has no key of this id; it may also hide one from this client.",
        "Check that this is a key server of the key's provider and that the client certificate belongs to the owner of the key; then "
        "restore the key from a backup of the key server.",
        "GetAttributes: ITEM_NOT_FOUND, OBJECT_NOT_FOUND",
    ),
    "kms_key_pre_active": Meaning(
        "error",
        "The key is there and has never been activated, so it is not handed out for use.",
        "Activate it with state: active.",
        _STATES_SOURCE,
    ),
    "kms_key_deactivated": Meaning(
        "error", "The key has been taken out of use on the key server, by somebody or by its date.", _NO_WAY_BACK, _STATES_SOURCE
    ),
    "kms_key_compromised": Meaning("error", "The key has been declared compromised on the key server.", _NO_WAY_BACK, _STATES_SOURCE),
    "kms_key_destroyed": Meaning(
        "error",
        "The key has been destroyed: the key server knows its id and has no key material any more.",
        "Only a backup of the key server brings the key back; without one, only a backup of the virtual machine brings its data back.",
        f"{_STATES_SOURCE}; OBJECT_DESTROYED",
    ),
    "kms_key_no_permission": Meaning(
        "error",
        "The key server refuses this client a look at the key, or a change of it.",
        "Use a client certificate of the key's owner, that of the vCenter's trust for example, or have the key server's policy allow it.",
        "GetAttributes and Activate: PERMISSION_DENIED, NOT_AUTHORISED",
    ),
    "kms_key_state_unknown": Meaning(
        "error",
        "The key server tells no state of this key.",
        "Look at the key in the key server's own console.",
        "GetAttributes, State is not among the attributes",
    ),
    "kms_not_a_key": Meaning(
        "error",
        "The id belongs to something that is no symmetric key, and vSphere encrypts with symmetric keys only.",
        "Check the id, and that this is a key server of the key's provider.",
        "GetAttributes, Object Type",
    ),
}


def _found(code: str, text: str, *, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


# ---- what is asked for ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    ids: tuple[str, ...]
    activate: bool


def parse(params: Mapping[str, Any]) -> Wanted:
    """Options as a wish. Raises BadInput, before any connection."""
    own = [_id(f"key_ids, entry {number}", one) for number, one in enumerate(params.get("key_ids") or (), 1)]
    twice = [one for one, count in Counter(own).items() if count > 1]
    if twice:
        raise BadInput(f"key_ids names {listed(twice, 5)} more than once", hint="Name each key once.")
    rows = []
    for number, row in enumerate(params.get("worksheet") or (), 1):
        if "key_id" not in row:
            has = listed(sorted(map(str, row)), 8) or "nothing"
            raise BadInput(f"worksheet, entry {number} has no key_id, only {has}", hint="Give the list as vm_crypto_unlock returns it.")
        rows.append(_id(f"worksheet, entry {number}, key_id", row["key_id"]))
    ids = tuple(dict.fromkeys([*own, *rows]))  # a worksheet may name a key once for each machine that it locks
    if not ids:
        raise BadInput(
            "neither key_ids nor worksheet names a key",
            hint="Name at least one; where the list may be empty, skip the task then with when.",
        )
    return Wanted(ids, params.get("state") == "active")


def _id(where: str, given: Any) -> str:
    text = "" if given is None else str(given).strip()
    if not text:
        raise BadInput(f"{where} is empty", hint="Give the id of a key as vSphere names it, or leave the entry out.")
    if not text.isprintable():
        raise BadInput(f"{where} {ascii(text)} holds characters that cannot be seen", hint="Copy the id again, without line breaks.")
    return text


# ---- what is there ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Key:
    """``refused``: the server's reason and words where it told nothing about the key; ``problem``: what else kept it from being read."""

    state: str | None = None
    object_type: str | None = None
    algorithm: str | None = None
    length: int | None = None
    names: tuple[str, ...] = ()
    dates: Mapping[str, str | None]
    refused: tuple[str, str] | None = None
    problem: FleetcareError | None = None

    @property
    def is_there(self) -> bool:
        return self.refused is None and self.problem is None

    @property
    def can_be_activated(self) -> bool:
        return self.is_there and self.state == "pre_active" and self.object_type in (None, "symmetric_key")


def observe(answer: Mapping[str, Any]) -> Key:
    """What a server answered about one key: attributes by KMIP's names in small letters, or ``refused``, or ``problem``."""
    dates = answer.get("dates") or {}
    return Key(
        state=answer.get("state"),
        object_type=answer.get("object_type"),
        algorithm=answer.get("algorithm"),
        length=answer.get("length"),
        names=tuple(answer.get("names") or ()),
        dates={name: moment(dates.get(name)) for name in DATES},
        refused=answer.get("refused"),
        problem=answer.get("problem"),
    )


def moment(seconds: Any) -> str | None:
    """A date of KMIP, seconds since 1970 in UTC; None for none, and for one that no calendar has."""
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return None
    try:
        return (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None


def judge(key: Key) -> Finding | None:
    """What is wrong with a key; None where nothing is, or where it could not be read."""
    if key.problem is not None:
        return None
    if key.refused is not None:
        reason, words = key.refused
        said = f"the key server says {reason}{': ' if words else ''}{words}"
        if reason in _NOT_FOUND:
            return _found("kms_key_not_found", f"the key server does not have it ({reason})")
        if reason in _DENIED:
            return _found("kms_key_no_permission", said)
        return _found("kms_key_destroyed", said) if reason in _GONE else None
    if key.object_type not in (None, "symmetric_key"):
        return _found("kms_not_a_key", f"its object type is {key.object_type}")
    if key.state == "active":
        return None
    if key.state == "pre_active":
        planned = key.dates.get("activation")
        return _found("kms_key_pre_active", f"pre_active{_since('made', key, 'initial')}{f', due at {planned}' if planned else ''}")
    if key.state == "deactivated":
        return _found("kms_key_deactivated", f"deactivated{_since('since', key, 'deactivation')}")
    if key.state == "compromised":
        return _found("kms_key_compromised", f"compromised{_since('since', key, 'compromise')}")
    if key.state in ("destroyed", "destroyed_compromised"):
        return _found("kms_key_destroyed", f"{key.state}{_since('since', key, 'destroy')}")
    return _found("kms_key_state_unknown", "the answer holds no state" if key.state is None else f"the state is {key.state!r}")


def _since(word: str, key: Key, date: str) -> str:
    """With what the server tells of it: many keep no dates but the first."""
    told = key.dates.get(date)
    return f" {word} {told}" if told else ""


# ---- what is done -----------------------------------------------------------------------------------------------------------------


class Server(Protocol):
    """One key server, connected as long as its with statement lasts."""

    def __enter__(self) -> Server: ...

    def __exit__(self, *_exc: object) -> None: ...

    def look(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """An answer for each id, see ``observe``. Raises FleetcareError where nothing can be asked any more."""

    def activate(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each id that was sent: empty, or ``refused``, or ``problem`` where what came of it is not known."""

    def describe(self) -> dict[str, Any]:
        """Address, port, fingerprint of the certificate, version."""


Connect = Callable[[Mapping[str, Any], bool], Server]


def task(connect: Connect) -> Callable[[Mapping[str, Any], bool], dict[str, Any]]:
    """What the module does, given who talks to the server. ``connect`` is told whether this is a check run."""

    def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
        wanted = parse(params)
        with connect(params, check) as server:
            keys = {one: observe(answer) for one, answer in server.look(wanted.ids).items()}
            todo = [one for one in wanted.ids if keys[one].can_be_activated] if wanted.activate else []
            sent = server.activate(todo) if todo and not check else {}
            after = _read_back(server, sent)
            entries = {one: _entry(keys[one], after.get(one), sent.get(one), one in todo, wanted, check) for one in wanted.ids}
            return _result(entries, server.describe(), check)

    return work


def _read_back(server: Server, sent: Mapping[str, Any]) -> dict[str, Key]:
    """What was written is told in any case, also where it cannot be read any more."""
    if not sent:
        return {}
    try:
        return {one: observe(answer) for one, answer in server.look(list(sent)).items()}
    except FleetcareError as problem:
        return {one: Key(dates={}, problem=problem) for one in sent}


@dataclass(frozen=True, kw_only=True)
class Entry:
    key: Key
    status: str
    changed: bool = False
    finding: Finding | None = None
    became: str = "open"
    failure: FleetcareError | None = None

    def describe(self) -> dict[str, Any]:
        key = self.key
        return {
            "status": self.status,
            "changed": self.changed,
            "found": key.is_there,
            "state": key.state,
            "object_type": key.object_type,
            "algorithm": key.algorithm,
            "length": key.length,
            "names": list(key.names),
            "dates": dict(key.dates),
            "findings": [self.finding.describe(self.became)] if self.finding else [],
            "failure": self.failure.as_failure() if self.failure else None,
        }


def _entry(key: Key, after: Key | None, sent: Mapping[str, Any] | None, meant: bool, wanted: Wanted, check: bool) -> Entry:
    """``meant``: it is to be activated; ``sent``: what came of that, None where it was not sent; ``after``: the key read again."""
    finding = judge(key)
    if key.problem is not None:
        return Entry(key=key, status="failed", failure=key.problem)
    if not meant:
        if finding is None and key.refused is not None:
            return Entry(key=key, status="failed", failure=_refusal(key.refused, "reading the key"))
        if finding is None:
            return Entry(key=key, status="compliant")
        if wanted.activate:
            return Entry(key=key, status="failed", finding=finding, failure=NotCompliant(str(finding), hint=finding.hint))
        return Entry(key=key, status="not_compliant", finding=finding)
    mended = _found("kms_key_pre_active", finding.text if finding else "", level="warning")
    if check:
        return Entry(key=key, status="would_change", changed=True, finding=mended, became="would_repair")
    if sent is None or after is None:
        problem = NotConverged("the connection ended before the key's turn", doing="activating the key", hint="Run the task again.")
        return Entry(key=key, status="failed", finding=finding, failure=problem)
    return _activated(key, after, sent, finding, mended)


def _activated(before: Key, after: Key, sent: Mapping[str, Any], finding: Finding | None, mended: Finding) -> Entry:
    refused = sent.get("refused")
    if after.is_there and after.state == "active":
        # Refused and active all the same: somebody else was quicker.
        return Entry(key=after, status="compliant" if refused else "changed", changed=not refused, finding=mended, became="repaired")
    if refused:
        if refused[0] in _DENIED:
            denied = _found("kms_key_no_permission", f"activating it: the key server says {refused[0]}: {refused[1]}".rstrip(": "))
            return Entry(key=before, status="failed", finding=denied, failure=PermissionMissing(str(denied), hint=denied.hint))
        return Entry(key=before, status="failed", finding=finding, failure=_refusal(refused, "activating the key"))
    if not after.is_there:
        lost = sent.get("problem") or after.problem
        cause = "it was told to become active, and whether it did could not be read"
        failure = NotConverged(f"{cause}{f': {lost.cause}' if lost else ''}", hint="Run the task again without state, to see it.")
        return Entry(key=before, status="failed", changed=True, finding=finding, failure=failure)
    lost = sent.get("problem")
    failure = NotConverged(
        f"it was told to become active and is {after.state}{f': {lost.cause}' if lost else ''}",
        hint="Look at the key in the key server's own console, and at the server's log.",
    )
    return Entry(key=after, status="failed", changed=after.state != before.state, finding=judge(after), failure=failure)


def _refusal(refused: tuple[str, str], doing: str) -> ServerFault:
    return ServerFault(
        f"the key server refuses: {refused[1] or 'without a word of its own'}",
        fault=refused[0],
        doing=doing,
        hint="The key server's own log says more.",
    )


# ---- what is told -----------------------------------------------------------------------------------------------------------------


def _result(entries: Mapping[str, Entry], endpoint: dict[str, Any], check: bool) -> dict[str, Any]:
    message = _message(entries)
    bad = any(entry.status == "failed" for entry in entries.values())
    return {
        "changed": any(entry.changed for entry in entries.values()),
        "failed": bad and not check,
        "msg": message,
        "endpoint": endpoint,
        "summary": dict(sorted(Counter(entry.status for entry in entries.values()).items())),
        "crypto_keys": {one: entry.describe() for one, entry in entries.items()},
        "hints": {entry.finding.code: entry.finding.hint for entry in entries.values() if entry.finding},
        # As with every module, a check run fails for nothing that it found.
        **({"warnings": [message]} if bad and check else {}),
    }


def _message(entries: Mapping[str, Entry]) -> str:
    """One sentence that counts; then each distinct trouble of those that failed, once, with the keys that have it."""
    counts = Counter(entry.status for entry in entries.values())
    shown = []
    for status, count in counts.most_common():
        codes = Counter(_open_codes(entry for entry in entries.values() if entry.status == status))
        why = ", ".join(f"{number} {code}" for code, number in codes.most_common())
        shown.append(f"{count} {status.replace('_', ' ')}{f' ({why})' if why else ''}")
    text = f"{len(entries)} key{'s' if len(entries) != 1 else ''}: {', '.join(shown)}"
    troubles: dict[tuple[str, str], list[str]] = {}
    for one, entry in entries.items():
        if entry.status == "failed" and entry.failure:
            # What the code stands for, without the dates, in which keys of one trouble differ.
            told = isinstance(entry.failure, NotCompliant) and entry.finding
            cause = MEANINGS[told.code].means if told else entry.failure.cause
            troubles.setdefault((cause, entry.failure.hint), []).append(one)
    for (cause, hint), ids in list(troubles.items())[:10]:
        text += f". {listed(ids, 5)}: {cause.rstrip('.')}. {hint}".rstrip(". ")
    return text + "."


def _open_codes(entries: Iterable[Entry]) -> list[str]:
    return [entry.finding.code for entry in entries if entry.finding and entry.became == "open"]
