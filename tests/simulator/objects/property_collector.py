# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PropertyCollector: bulk reads, paging, and waiting for changes.

Replies are put together from text: the value of a property comes from the fragment cache (xmlwrite.py), only the few bytes around it are
new for each host. Bulk reads are what a fleet tool does most, and the simulator must not be what limits it.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vmodl

from .. import paths
from ..errors import SoapFault
from ..registry import Call, Managed, Raw, operation, prop
from ..xmlwrite import any_element, body, escape, wsdl_name

if TYPE_CHECKING:
    from ..world import World

_COLLECTOR = vmodl.query.PropertyCollector
_TICK = 1.0  # seconds between two looks at values that change by themselves (clocks)


@dataclass
class _State:
    """One property collector of one session."""

    filters: dict[str, PropertyFilter] = field(default_factory=dict)
    version: int = 0
    pages: dict[str, tuple[list[Any], Any]] = field(default_factory=dict)  # token -> what is left
    pending: list[Any] = field(default_factory=list)  # updates that did not fit into the last answer
    cancelled: int = 0


def _applies(kind: Any, wanted: Any) -> bool:
    return wanted is None or issubclass(kind, wanted)


class _Reader:
    """One filter spec at work in one call."""

    def __init__(self, world: World, call: Call, spec: Any) -> None:
        self.world = world
        self.call = call
        self.spec = spec
        self._plans: dict[Any, list[paths.Plan]] = {}
        for wanted in spec.propSet:
            # Real servers refuse an unknown path at once, also when no object has it.
            family = _family(wanted.type)
            if family is not None:
                for path in wanted.pathSet:
                    paths.compile_path(family, str(path), call.api)

    def plans(self, family: Any) -> list[paths.Plan]:
        found = self._plans.get(family)
        if found is None:
            chosen: dict[str, None] = {}
            for wanted in self.spec.propSet:
                if not issubclass(family.TYPE, wanted.type):
                    continue
                if wanted.all:
                    chosen.update((info.name, None) for info in family.TYPE._GetPropertyList() if self.call.api.has(info.version))
                chosen.update((str(path), None) for path in wanted.pathSet)
            found = [paths.compile_path(family, path, self.call.api) for path in chosen]
            self._plans[family] = found
        return found

    def objects(self, report_missing: bool) -> list[Any]:
        """All objects the spec selects, each once, in the order they are reached."""
        named: dict[str, Any] = {}
        for one in self.spec.objectSet:
            _collect_names(one.selectSet, named)
        found: dict[str, Any] = {}
        walked: set[tuple[str, int]] = set()
        for one in self.spec.objectSet:
            start = self.world.find(one.obj._moId, self.call.session)
            if start is None:
                if report_missing:
                    continue
                raise SoapFault(
                    "ManagedObjectNotFound", "The object has already been deleted or has not been completely created", obj=one.obj
                )
            if not start.visible_to(self.call):
                continue
            if not one.skip:
                found.setdefault(start.moid, start)
            self._walk(start, one.selectSet, named, found, walked)
        return [one for one in found.values() if self._wanted(one)]

    def _wanted(self, target: Any) -> bool:
        return any(issubclass(target.TYPE, wanted.type) for wanted in self.spec.propSet)

    def _walk(self, start: Any, selections: Any, named: dict[str, Any], found: dict[str, Any], walked: set[tuple[str, int]]) -> None:
        pending = [(start, selections)]
        while pending:
            target, chosen = pending.pop()
            onward = []
            for selection in chosen:
                traversal = selection
                if not isinstance(selection, _COLLECTOR.TraversalSpec):
                    traversal = named.get(selection.name)
                    if traversal is None:
                        raise SoapFault(
                            "InvalidArgument",
                            f"A specified parameter was not correct: selectSet.name {selection.name}",
                            invalidProperty="selectSet",
                        )
                if not _applies(target.TYPE, traversal.type) or (target.moid, id(traversal)) in walked:
                    continue
                walked.add((target.moid, id(traversal)))
                for child in self._children(target, traversal):
                    if not traversal.skip:
                        found.setdefault(child.moid, child)
                    onward.append((child, traversal.selectSet))
            pending.extend(reversed(onward))

    def _children(self, target: Any, traversal: Any) -> Iterator[Any]:
        path = str(traversal.path)
        members = getattr(target, "members", None)
        if path == "view" and callable(members):
            yield from members()  # the objects themselves: 1,000 references need not be made and looked up again
            return
        plan = paths.compile_path(type(target), path, self.call.api)
        value = target.value(self.call, plan, target.api_of(self.call.api))
        for reference in value if isinstance(value, list) else ([] if value is None else [value]):
            child = self.world.find(reference._moId, self.call.session)
            # A reference to an object that is not simulated is a value, but leads nowhere.
            if child is not None and child.visible_to(self.call):
                yield child

    def properties(self, target: Any) -> tuple[list[tuple[str, str]], list[str]]:
        """(path, <val>) of every set property, and <missingSet> entries for what the user may not read."""
        call, api = self.call, target.api_of(self.call.api)
        user = call.who.user
        values, missing = [], []
        for plan in self.plans(type(target)):
            if not user.unlimited and not user.has(plan.privilege, target.entity.path_names):
                missing.append(_missing(plan.path, plan.privilege, target, api))
                continue
            value = target.value(call, plan, api)
            if value is not None:
                values.append((plan.path, any_element("val", value, plan.declared, api)))
        return values, missing

    def content(self, target: Any, tag: str) -> str:
        values, missing = self.properties(target)
        sets = "".join([f"<propSet><name>{escape(path)}</name>{text}</propSet>" for path, text in values])
        return f'<{tag}><obj type="{wsdl_name(target.TYPE)}">{target.moid}</obj>{sets}{"".join(missing)}</{tag}>'


def _missing(path: str, privilege: str, target: Any, api: Any) -> str:
    fault = SoapFault("NoPermission", object=target.entity.ref, privilegeId=privilege).data()
    text = "Permission to perform this operation was denied."
    return (
        f'<missingSet><path>{escape(path)}</path><fault><fault xsi:type="NoPermission">{body(fault, api, ("msg",))}</fault>'
        f"<localizedMessage>{text}</localizedMessage></fault></missingSet>"
    )


def _collect_names(selections: Any, named: dict[str, Any]) -> None:
    for selection in selections:
        if isinstance(selection, _COLLECTOR.TraversalSpec):
            if selection.name:
                named[selection.name] = selection
            _collect_names(selection.selectSet, named)


@functools.cache
def _family(kind: Any) -> Any:
    """A simulated class of that type, or one below it whose tables contain the same properties."""
    exact = next((family for family in Managed.FAMILIES if family.TYPE is kind), None)
    if exact is not None:
        return exact
    # An abstract type (ManagedEntity): check paths against the type's own tables.
    return type(f"_{kind.__name__}", (_Abstract,), {"PROPERTIES": {}, "OPERATIONS": {}, "TYPE": kind}) if _known(kind) else None


def _known(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, VmomiSupport.ManagedObject)


class _Abstract:
    """Stands for a managed type that is only named in a property spec."""


class PropertyFilter(Managed):
    TYPE = vmodl.query.PropertyCollector.Filter

    def __init__(self, world: World, call: Call, spec: Any, partial: bool, state: _State) -> None:
        super().__init__(world, f"session[{call.who.key}]{uuid.uuid4()}")
        self.wanted = spec
        self.partial = partial
        self.state = state
        self.last: dict[str, dict[str, str]] = {}
        self.kinds: dict[str, Any] = {}
        _Reader(world, call, spec)
        state.filters[self.moid] = self
        call.who.objects[self.moid] = self

    @prop
    def spec(self) -> Any:
        return self.wanted

    @prop
    def partialUpdates(self) -> bool:
        return self.partial

    @operation(privilege="System.View")
    def DestroyPropertyFilter(self, call: Call) -> None:
        self.state.filters.pop(self.moid, None)
        call.who.objects.pop(self.moid, None)

    def updates(self, call: Call) -> list[tuple[str, str]]:
        """(filter id, <objectSet>) for everything that differs from what was reported last."""
        reader = _Reader(self.world, call, self.wanted)
        out, now = [], {}
        for target in reader.objects(bool(self.wanted.reportMissingObjectsInResults)):
            values, missing = reader.properties(target)
            now[target.moid] = dict(values)
            self.kinds[target.moid] = target.TYPE
            before = self.last.get(target.moid)
            if before is None:
                out.append(_update("enter", target.TYPE, target.moid, [("assign", path, text) for path, text in values], missing))
                continue
            changes = [("assign", path, text) for path, text in values if before.get(path) != text]
            changes += [("remove", path, "") for path in before if path not in now[target.moid]]
            if changes:
                out.append(_update("modify", target.TYPE, target.moid, changes, missing))
        out += [_update("leave", self.kinds[moid], moid, [], []) for moid in self.last if moid not in now]
        self.last = now
        return [(self.moid, text) for text in out]


def _update(kind: str, managed: Any, moid: str, changes: list[tuple[str, str, str]], missing: list[str]) -> str:
    sets = "".join([f"<changeSet><name>{escape(path)}</name><op>{op}</op>{text}</changeSet>" for op, path, text in changes])
    return f'<objectSet><kind>{kind}</kind><obj type="{wsdl_name(managed)}">{moid}</obj>{sets}{"".join(missing)}</objectSet>'


class PropertyCollector(Managed):
    TYPE = vmodl.query.PropertyCollector

    def _state(self, call: Call) -> _State:
        return call.who.collectors.setdefault(self.moid, _State())

    @prop
    def filter(self) -> Any:
        return None

    def value(self, call: Call, plan: paths.Plan, api: Any) -> Any:
        if plan.path == "filter":
            return VmomiSupport.GetVmodlType("vmodl.query.PropertyCollector.Filter[]")(
                [one.ref for one in self._state(call).filters.values()]
            )
        return super().value(call, plan, api)

    # ---- reading at once ------------------------------------------------------------------------------------------------------
    def _read(self, call: Call, specs: Any) -> list[tuple[_Reader, Any]]:
        found = []
        for spec in specs:
            reader = _Reader(self.world, call, spec)
            found += [(reader, target) for target in reader.objects(bool(spec.reportMissingObjectsInResults))]
        return found

    @operation(privilege="System.Anonymous")
    def RetrieveProperties(self, call: Call, specSet: Any) -> Raw:
        return Raw("".join([reader.content(target, "returnval") for reader, target in self._read(call, specSet)]))

    @operation(privilege="System.Anonymous")
    def RetrievePropertiesEx(self, call: Call, specSet: Any, options: Any) -> Raw:
        wanted = options.maxObjects if options is not None else None
        if wanted is not None and wanted <= 0:
            raise SoapFault(
                "InvalidArgument", "A specified parameter was not correct: options.maxObjects", invalidProperty="options.maxObjects"
            )
        # A server may give less than was asked for: clients must follow the token whatever they asked.
        limit = min([size for size in (wanted, self.world.options.get("max_objects")) if size], default=None)
        return self._page(call, self._read(call, specSet), limit)

    def _page(self, call: Call, found: list[tuple[_Reader, Any]], limit: int | None) -> Raw:
        now, rest = (found, []) if limit is None else (found[:limit], found[limit:])
        if not now:
            return Raw("")
        token = ""
        if rest:
            name = uuid.uuid4().hex
            self._state(call).pages[name] = (rest, limit)
            token = f"<token>{name}</token>"
        parts = []
        for reader, target in now:
            reader.call = call
            parts.append(reader.content(target, "objects"))
        return Raw(f"<returnval>{token}{''.join(parts)}</returnval>")

    def _token(self, call: Call, token: str) -> tuple[list[Any], Any]:
        page = self._state(call).pages.pop(token, None)
        if page is None:
            raise SoapFault("InvalidArgument", "A specified parameter was not correct: token", invalidProperty="token")
        return page

    @operation(privilege="System.View")
    def ContinueRetrievePropertiesEx(self, call: Call, token: str) -> Raw:
        rest, limit = self._token(call, token)
        return self._page(call, rest, limit)

    @operation(privilege="System.View")
    def CancelRetrievePropertiesEx(self, call: Call, token: str) -> None:
        self._token(call, token)

    # ---- waiting for changes --------------------------------------------------------------------------------------------------
    @operation(privilege="System.View")
    def CreateFilter(self, call: Call, spec: Any, partialUpdates: bool) -> Any:
        made = PropertyFilter(self.world, call, spec, bool(partialUpdates), self._state(call))
        self.world.touch()
        return made.ref

    @operation(privilege="System.View")
    def CreatePropertyCollector(self, call: Call) -> Any:
        made = PropertyCollector(self.world, f"session[{call.who.key}]{uuid.uuid4()}")
        call.who.objects[made.moid] = made
        return made.ref

    @operation(privilege="System.View")
    def DestroyPropertyCollector(self, call: Call) -> None:
        state = self._state(call)
        for moid in state.filters:
            call.who.objects.pop(moid, None)
        state.filters.clear()
        state.cancelled += 1
        call.who.objects.pop(self.moid, None)
        self.world.touch()

    @operation(privilege="System.View")
    def CancelWaitForUpdates(self, call: Call) -> None:
        self._state(call).cancelled += 1
        self.world.touch()

    @operation(privilege="System.View", waits=True)
    def WaitForUpdates(self, call: Call, version: str | None = None) -> Raw:
        return self._wait(call, version, None, None)

    @operation(privilege="System.View", waits=True)
    def WaitForUpdatesEx(self, call: Call, version: str | None = None, options: Any = None) -> Raw:
        seconds = options.maxWaitSeconds if options is not None else None
        limit = options.maxObjectUpdates if options is not None else None
        return self._wait(call, version, seconds, limit)

    @operation(privilege="System.View")
    def CheckForUpdates(self, call: Call, version: str | None = None) -> Raw:
        return self._wait(call, version, 0, None)

    def _wait(self, call: Call, version: str | None, seconds: int | None, limit: int | None) -> Raw:
        world = self.world
        deadline = None if seconds is None else time.monotonic() + seconds
        with world.lock:
            state = self._state(call)
            if version and version != str(state.version):
                raise SoapFault("InvalidCollectorVersion", "The version is not valid for this collector.")
            if not version:
                state.pending = []
                for one in state.filters.values():
                    one.last = {}
            cancelled = state.cancelled
            while True:
                world.ways.tick()
                updates = state.pending or [update for one in list(state.filters.values()) for update in one.updates(call)]
                state.pending = []
                if updates:
                    return self._answer(state, updates, limit)
                if deadline is not None and time.monotonic() >= deadline:
                    return Raw("")
                left = _TICK if deadline is None else min(_TICK, max(0.0, deadline - time.monotonic()))
                call.who.last_active = time.monotonic()
                world.changed.wait(left)
                if state.cancelled != cancelled or world.stopping.is_set():
                    raise SoapFault("RequestCanceled", "The request was canceled.")
                if call.who.closed:
                    raise SoapFault("NotAuthenticated", "The session is not authenticated.", object=self.ref, privilegeId="System.View")

    @staticmethod
    def _answer(state: _State, updates: list[tuple[str, str]], limit: int | None) -> Raw:
        truncated = ""
        if limit is not None and len(updates) > limit:
            updates, state.pending = updates[:limit], updates[limit:]
            truncated = "<truncated>true</truncated>"
        state.version += 1
        sets: dict[str, list[str]] = {}
        for moid, text in updates:
            sets.setdefault(moid, []).append(text)
        filters = "".join(
            [f'<filterSet><filter type="PropertyFilter">{moid}</filter>{"".join(texts)}</filterSet>' for moid, texts in sets.items()]
        )
        return Raw(f"<returnval><version>{state.version}</version>{filters}{truncated}</returnval>")
