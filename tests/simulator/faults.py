# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripted faults: by method, object, count and probability, in any place where a real call can go wrong."""

from __future__ import annotations

import fnmatch
import random
import re
import threading
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import ScenarioError
from .profile import near

CONNECTION_STATES = ("connected", "disconnected", "not_responding")


@dataclass
class ScriptedFault:
    """One rule. What is left out matches everything or does nothing; several effects may be combined (delay + fault, drop + then_state)."""

    method: str | None = None  # glob over the operation name; also "esxcli software.vib.*", "PUT /folder/*"
    host: str | None = None  # glob over the host's name
    object: str | None = None  # glob over "HostDateTimeSystem:dateTimeSystem-14"
    user: str | None = None
    count: int | None = 1  # how many calls are hit; None = all
    after: int = 0  # so many matches pass first
    probability: float = 1.0
    fault: str | None = None  # any vim/vmodl fault name; one that nobody declared is sent as it is
    args: dict[str, Any] = field(default_factory=dict)  # fields of the fault
    text: str = ""
    http: int | None = None
    drop: str | None = None  # before | after executing
    delay: float = 0.0
    hang: bool = False
    ignore: bool = False  # answers a void operation as if it were done, and does nothing: a change that is not kept
    expire_session: bool = False
    then_state: str | None = None  # the host's connection state after the call
    id: int = 0
    seen: int = 0
    hits: int = 0

    def matches(self, method: str, label: str, host: str | None, user: str | None) -> bool:
        if self.method is not None and not fnmatch.fnmatchcase(method, self.method):
            return False
        if self.object is not None and not fnmatch.fnmatchcase(label, self.object):
            return False
        if self.user is not None and not fnmatch.fnmatchcase(user or "", self.user):
            return False
        return self.host is None or (host is not None and fnmatch.fnmatchcase(host, self.host))


_NAMES = {item.name for item in fields(ScriptedFault)} - {"id", "seen", "hits"}
_EFFECTS = ("fault", "http", "drop", "delay", "hang", "ignore", "expire_session", "then_state")
_WIRE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


def make(spec: dict[str, Any], where: str) -> ScriptedFault:
    """A rule from plain data; a misspelt key or value is one clear sentence."""
    for key in spec:
        if key not in _NAMES:
            raise ScenarioError(f"{where}: unknown key '{key}': {near(key, _NAMES)}")
    rule = ScriptedFault(**spec)
    if not any(spec.get(effect) for effect in _EFFECTS):
        raise ScenarioError(f"{where}: a fault needs one of {', '.join(_EFFECTS)}")
    if rule.drop not in (None, "before", "after"):
        raise ScenarioError(f"{where}: drop is '{rule.drop}', it must be before or after")
    if rule.then_state not in (None, *CONNECTION_STATES):
        raise ScenarioError(f"{where}: then_state is '{rule.then_state}': {near(rule.then_state or '', CONNECTION_STATES)}")
    if rule.fault is not None and not (isinstance(rule.fault, str) and _WIRE_NAME.match(rule.fault)):
        raise ScenarioError(f"{where}: fault '{rule.fault}' is no class name")
    if rule.http is not None and not (isinstance(rule.http, int) and 100 <= rule.http <= 599):
        raise ScenarioError(f"{where}: http is '{rule.http}', it must be a status code")
    for name in ("count", "after"):
        value = getattr(rule, name)
        if not (isinstance(value, int) and value >= 0) and not (name == "count" and value is None):
            raise ScenarioError(f"{where}: {name} is '{value}', it must be a whole number")
    for name in ("probability", "delay"):
        if not isinstance(getattr(rule, name), (int, float)):
            raise ScenarioError(f"{where}: {name} is '{getattr(rule, name)}', it must be a number")
    return rule


class FaultScript:
    """The rules in force. The first one that hits decides; random choices come from the seed."""

    def __init__(self, seed: Any) -> None:
        self._lock = threading.Lock()
        self._rules: list[ScriptedFault] = []
        self._next = 1
        self._random = random.Random(f"faults:{seed}")

    def add(self, spec: dict[str, Any], where: str = "fault") -> int:
        rule = make(spec, where)
        with self._lock:
            rule.id = self._next
            self._next += 1
            self._rules.append(rule)
        return rule.id

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def pick(self, method: str, label: str, host: str | None, user: str | None, alias: str | None = None) -> ScriptedFault | None:
        """`alias` is what else a call is known by: "esxcli software.vib.install" for an ExecuteSoap."""
        with self._lock:
            for rule in self._rules:
                if not rule.matches(method, label, host, user) and not (alias is not None and rule.matches(alias, label, host, user)):
                    continue
                rule.seen += 1
                if rule.seen <= rule.after or (rule.count is not None and rule.hits >= rule.count):
                    continue
                if rule.probability < 1.0 and self._random.random() >= rule.probability:
                    continue
                rule.hits += 1
                return rule
        return None
