# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Property paths: "config.dateTimeInfo", "config.service.service[\"ntpd\"].running". Compiled once per (type, path, API version)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyVmomi import VmomiSupport
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, ManagedObject

from .errors import SoapFault
from .versions import Api

_STEP = re.compile(r'([A-Za-z_]\w*)(?:\[(?:"((?:[^"\\]|\\.)*)"|([^\]"]*))\])?(\.|\Z)')


@dataclass(frozen=True)
class Step:
    name: str
    key: str | None


@dataclass(frozen=True)
class Plan:
    """How to get at a property: the getter of the longest declared prefix, then the steps that are left."""

    path: str
    getter: Callable[[Any], Any] | None
    first_key: str | None  # a key that follows the getter's own property at once
    steps: tuple[Step, ...]
    declared: Any  # the type the tables give, None where only the value knows
    keyed: bool
    privilege: str
    required: bool


def invalid(path: str) -> SoapFault:
    """Real servers refuse the whole call for one unknown path."""
    return SoapFault("InvalidProperty", f"The property {path} is invalid.", name=path)


def parse(path: str) -> list[Step]:
    steps, position = [], 0
    while True:
        found = _STEP.match(path, position)
        if not found:
            raise invalid(path)
        name, quoted, bare, end = found.groups()
        steps.append(Step(name, quoted if quoted is not None else bare))
        position = found.end()
        if end == "":
            return steps
        if position >= len(path):
            raise invalid(path)


_plans: dict[tuple[Any, str, Api], Plan] = {}


def compile_path(family: Any, path: str, api: Api) -> Plan:
    """The plan for a path on a managed object's class; InvalidProperty for what its type does not have in this API version."""
    key = (family, path, api)
    found = _plans.get(key)
    if found is None:
        found = _plans[key] = _compiled(family, path, api)
    return found


def _compiled(family: Any, path: str, api: Api) -> Plan:
    steps = parse(path)
    declared: Any = family.TYPE
    privilege, required = "System.Read", False
    for index, step in enumerate(steps):
        if declared is None:
            break
        info = _info(declared, step.name)
        if info is None:
            # A field of a subclass (device[4000].backing.fileName): only the value can tell.
            if index == 0 or not _in_subclass(declared, step.name):
                raise invalid(path)
            declared = None
            break
        if not api.has(info.version):
            raise invalid(path)
        if index == 0:
            privilege = getattr(info, "privId", None) or "System.Read"
            required = not info.flags & F_OPTIONAL
        declared = info.type
        if step.key is not None:
            if not issubclass(declared, list) or not issubclass(declared.Item, DataObject):
                raise invalid(path)
            declared = declared.Item
        last = index == len(steps) - 1
        if not last:
            if declared is object:
                declared = None
            elif issubclass(declared, (list, ManagedObject)) or not issubclass(declared, DataObject):
                # Nothing is read through a list or a reference: that is what traversal specs are for.
                raise invalid(path)
    getter, used = None, 1
    for length in range(len(steps), 0, -1):
        if any(step.key is not None for step in steps[: length - 1]):
            continue
        found = family.PROPERTIES.get(".".join(step.name for step in steps[:length]))
        if found is not None:
            getter, used = found, length
            break
    keyed = any(step.key is not None for step in steps)
    return Plan(path, getter, steps[used - 1].key, tuple(steps[used:]), declared, keyed, privilege, required)


def _info(kind: Any, name: str) -> Any:
    try:
        return kind._GetPropertyInfo(name)
    except (AttributeError, KeyError):
        return None


@functools.cache
def _in_subclass(kind: Any, name: str) -> bool:
    pending = list(kind.__subclasses__())
    while pending:
        one = pending.pop()
        if _info(one, name) is not None:
            return True
        pending.extend(one.__subclasses__())
    # pyVmomi creates types lazily: a subclass nobody has touched yet is unknown here, so an abstract base gets the benefit of the doubt.
    return not kind._GetPropertyList() or kind.__name__.rsplit(".", 1)[-1] in ("BackingInfo", "VirtualDevice")


_fields: dict[tuple[Any, str, Api], bool | None] = {}


def _readable(kind: Any, name: str, api: Api) -> bool | None:
    """Whether a value of this type has the field in this version; None when it has no such field at all."""
    key = (kind, name, api)
    if key not in _fields:
        info = _info(kind, name)
        _fields[key] = None if info is None else api.has(info.version)
    return _fields[key]


def _element(values: Any, key: str) -> Any:
    for one in values or ():
        if str(getattr(one, "key", None)) == key:
            return one
    return None


def resolve(target: Any, plan: Plan, api: Api) -> Any:
    """The value at a path, None when it is unset. `api` is already capped by the host's own version."""
    if plan.keyed:
        mode = target.option("keyed_paths")
        if mode == "false":
            raise invalid(plan.path)
        if mode == "missing":
            return None
    if plan.getter is None:
        if plan.required:
            raise NotImplementedError(f"{VmomiSupport.GetWsdlName(target.TYPE)}.{plan.path} must have a value and has no getter")
        return None
    value = plan.getter(target)
    if plan.first_key is not None:
        value = _element(value, plan.first_key)
    for step in plan.steps:
        if value is None:
            return None
        readable = _readable(type(value), step.name, api)
        if readable is None:
            raise invalid(plan.path)
        if not readable:
            return None
        value = value.__dict__[step.name]
        if step.key is not None:
            value = _element(value, step.key)
    return None if isinstance(value, list) and not value and plan.steps else value
