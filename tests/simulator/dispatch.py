# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an HTTP body to an answer: version, session, scripted faults, permission, the operation itself, the journal."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import soap
from .errors import SoapFault
from .faults import FaultScript, ScriptedFault
from .journal import Journal, JournalEntry
from .objects import esxcli
from .paths import compile_path
from .plain import SECRET, hidden, plain
from .registry import Call, Managed, Raw
from .versions import negotiate

if TYPE_CHECKING:
    from .world import World


@dataclass
class Answer:
    """What the connection does with a request: a status and a body, or silence."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/xml; charset=utf-8"
    drop: bool = False  # close the connection without a word
    hang: bool = False  # never answer, until the other side goes away
    entry: JournalEntry | None = None
    head: bool = False  # the length of the body and not the body


class Dispatcher:
    def __init__(self, world: World, journal: Journal, faults: FaultScript) -> None:
        self.world = world
        self.journal = journal
        self.faults = faults

    def handle(
        self, payload: bytes, *, action: str | None, cookie: str | None, agent: str, peer: str, new_connection: bool, received: int
    ) -> Answer:
        """One POST /sdk."""
        world = self.world
        started = time.monotonic()
        api = negotiate(action, world.api)
        call = Call(world, world.sessions.find(cookie), api, "?", agent, world.client_address or peer)
        entry = self._entry(call, received, new_connection)
        answer = Answer(entry=entry)
        rule: ScriptedFault | None = None
        target: Managed | None = None
        try:
            request = soap.read(payload, api)
            call.method = entry.method = request.method
            target = world.find(request.target, call.session)
            self._describe(entry, request, target)
            command = entry.args.get("esxcli") if request.method == esxcli.EXECUTE else None
            rule = self.faults.pick(entry.method, entry.object, entry.host, entry.user, f"esxcli {command}" if command else None)
            if rule is not None and self._before(rule, call, answer):
                return answer
            ignored = rule is not None and rule.ignore
            nothing = "<returnval></returnval>" if request.method == esxcli.EXECUTE else ""
            text = soap.reply_text(request.method, nothing) if ignored else self._execute(call, request, target)
            entry.status = "ignored" if ignored else "ok"
        except SoapFault as fault:
            entry.status = fault.wire_name.rpartition(".")[2]
            if call.method == esxcli.EXECUTE and fault.wire_name == esxcli.CLI_FAULT:
                # esxcli's own faults travel inside an answer that is well (govmomi's ReflectManagedMethodExecuterSoapFault).
                text = soap.reply_text(call.method, esxcli.fault_result(fault))
            else:
                answer.status = 500
                text = soap.fault(fault, api)
        except Exception as exc:
            print(world.failed(exc), file=sys.stderr)
            answer.status = 500
            text = soap.fault(
                SoapFault("SystemError", f"internal error of the simulator: {type(exc).__name__}: {exc}", reason=str(exc)), api
            )
            entry.status = "SystemError"
        finally:
            if entry.session is None and call.session is not None:
                entry.session, entry.user = call.session.short, call.session.user.name
            if rule is not None:
                self._after(rule, target, answer)
            entry.ms = round((time.monotonic() - started) * 1000, 3)
        if call.set_cookie:
            answer.headers["Set-Cookie"] = call.set_cookie
        if answer.drop:
            entry.status = "dropped"
        answer.body = text.encode()
        return answer

    def _entry(self, call: Call, received: int, new_connection: bool) -> JournalEntry:
        session = call.session
        if session is not None:
            session.calls += 1
            session.last_active = time.monotonic()
        return self.journal.open(
            JournalEntry(
                seq=0,
                time=time.time(),
                session=session.short if session else None,
                user=session.user.name if session else None,
                method="?",
                object="",
                host=None,
                args={},
                write=False,
                bytes_in=received,
                bytes_out=0,
                status="pending",
                ms=0.0,
                new_connection=new_connection,
            )
        )

    @staticmethod
    def _describe(entry: JournalEntry, request: soap.Request, target: Managed | None) -> None:
        entry.object = target.label if target is not None else f"{request.target_type}:{request.target}"
        # What a view, filter or collector is called differs from run to run and says nothing.
        if entry.object.partition(":")[2].startswith("session["):
            entry.object = entry.object.partition(":")[0]
        concerned = target.concerns(request.arguments) if target is not None else None
        entry.host = concerned.state.name if concerned is not None else None
        entry.args = {name: hidden(name, value) if name in SECRET else plain(value) for name, value in request.arguments.items()}
        found = target.OPERATIONS.get(request.method) if target is not None else None
        entry.write = found.writes if found is not None else False
        if request.method == esxcli.EXECUTE and found is not None:
            entry.args, entry.write = esxcli.described(request.arguments)

    def _before(self, rule: ScriptedFault, call: Call, answer: Answer) -> bool:
        """The effects of a scripted fault that come before executing; True when the call ends here. Nothing here holds a lock."""
        world, entry = self.world, answer.entry
        assert entry is not None
        if rule.delay:
            world.stopping.wait(rule.delay)
        if rule.expire_session and call.session is not None:
            world.sessions.end(call.session)
            call.session = None
        if rule.hang:
            answer.hang, entry.status = True, "hanging"
            return True
        if rule.drop == "before":
            answer.drop, entry.status = True, "dropped"
            return True
        if rule.http is not None:
            answer.status, answer.body, answer.content_type = rule.http, rule.text.encode(), "text/plain"
            entry.status = f"http {rule.http}"
            return True
        if rule.fault is not None:
            raise SoapFault(rule.fault, rule.text or f"Scripted fault {rule.fault}", **rule.args)
        return False

    def _after(self, rule: ScriptedFault, target: Managed | None, answer: Answer) -> None:
        if rule.drop == "after":
            answer.drop = True
        if rule.then_state is not None and target is not None and target.host is not None:
            with self.world.lock:
                self.world.set_connection(target.host, rule.then_state)

    def _execute(self, call: Call, request: soap.Request, target: Managed | None) -> str:
        world = self.world
        found = target.OPERATIONS.get(request.method) if target is not None else None
        if call.session is None and not (found is not None and (found.anonymous or _anonymous_property(request, target, call))):
            reference = target.ref if target is not None else None
            raise SoapFault(
                "NotAuthenticated",
                "The session is not authenticated.",
                object=reference,
                privilegeId=found.privilege if found else "System.View",
            )
        if target is None:
            raise SoapFault(
                "ManagedObjectNotFound",
                f"The object '{request.target_type}:{request.target}' has already been deleted or has not been completely created",
                obj=_reference(request),
            )
        signature = soap.signature(request.method)
        if found is None or signature is None or not call.api.has(signature.since) or not world.api.has(signature.since):
            raise SoapFault(
                "MethodNotFound", f"Method {request.method} is not defined on {target.label}", receiver=target.ref, method=request.method
            )
        soap.check_arguments(request, signature)
        arguments = _arguments(request, signature)
        if not found.anonymous:
            world.check(call, found.privilege, target)
        if found.waits:
            return self._render(call, getattr(target, request.method)(call, **arguments), signature)
        with world.lock:
            world.ways.tick()
            if found.needs_host and target.host is not None:
                refusal = world.unreachable(target.host)
                if refusal is not None:
                    raise refusal
                if not target.host.state.profile.api.has(signature.since):
                    # The host's own API lacks it; a vCenter that knows it cannot pass it on.
                    raise SoapFault("NotSupported", "The operation is not supported on the object.")
            value = getattr(target, request.method)(call, **arguments)
            return self._render(call, value, signature, target)

    @staticmethod
    def _render(call: Call, value: Any, signature: soap.Signature, target: Managed | None = None) -> str:
        if isinstance(value, Raw):
            return soap.reply_text(call.method, value.xml)
        api = target.api_of(call.api) if target is not None else call.api
        return soap.reply(call.method, value, signature.result, api)


def _arguments(request: soap.Request, signature: soap.Signature) -> dict[str, Any]:
    """Lists that were left out arrive as empty ones; other optional arguments stay out and take the method's default."""
    out = dict(request.arguments)
    for parameter in signature.parameters.values():
        if parameter.name not in out and isinstance(parameter.type, type) and issubclass(parameter.type, list) and not parameter.optional:
            out[parameter.name] = parameter.type()
    return out


def _anonymous_property(request: soap.Request, target: Managed | None, call: Call) -> bool:
    """ServiceInstance.content and SessionManager.currentSession are System.Anonymous in pyVmomi's tables; pyVim's session-oriented stub
    reads them before it logs in."""
    path = request.arguments.get("prop")
    if request.method != "Fetch" or target is None or not isinstance(path, str):
        return False
    try:
        return compile_path(type(target), path, call.api).privilege == "System.Anonymous"
    except SoapFault:
        return False


def _reference(request: soap.Request) -> Any:
    from pyVmomi import VmomiSupport

    try:
        return VmomiSupport.GetWsdlType("urn:vim25", request.target_type)(request.target)
    except (KeyError, TypeError):
        return VmomiSupport.ManagedObject(request.target)
