# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AuthorizationManager: what a session may do. The users of a scenario hold privileges; denials take them away again."""

from __future__ import annotations

import functools
from typing import Any

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..plain import data
from ..registry import Call, Managed, coverage, operation, prop
from .virtual_machine import VirtualMachine

_SYSTEM = ("System.Anonymous", "System.Read", "System.View")
# Names of the requirement's features that no simulated operation carries yet (facts.md 1.1, 4.1, 5).
_MORE = (
    "Global.Licenses", "Host.Config.Image", "Host.Config.Patch", "Certificate.Manage", "Resource.AssignVMToPool", "Datastore.Browse",
    *(f"Cryptographer.{name}" for name in (
        "Access", "AddDisk", "Clone", "Decrypt", "Encrypt", "EncryptNew", "ManageEncryptionPolicy", "ManageKeyServers", "ManageKeys", "Migrate",
        "ReadKeyServersInfo", "Recrypt", "RegisterHost", "RegisterVM",
    )),
)  # fmt: skip


@functools.cache
def privileges() -> tuple[str, ...]:
    used = {row[2] for row in coverage() if "." in row[2]}
    return tuple(sorted(used | set(_SYSTEM) | set(_MORE)))


class AuthorizationManager(Managed):
    TYPE = vim.AuthorizationManager

    @prop
    def privilegeList(self) -> Any:
        kind = vim.AuthorizationManager.Privilege
        rows = [
            kind(privId=name, onParent=False, name=name.rpartition(".")[2], privGroupName=name.rpartition(".")[0]) for name in privileges()
        ]
        return VmomiSupport.GetVmodlType("vim.AuthorizationManager.Privilege[]")(rows)

    @prop
    def roleList(self) -> Any:
        kind = vim.AuthorizationManager.Role
        rows = [
            (-1, "Admin", "Administrator", privileges()),
            (-2, "ReadOnly", "Read-only", _SYSTEM),
            (-3, "View", "View", ("System.Anonymous", "System.View")),
            (-4, "Anonymous", "Anonymous", ("System.Anonymous",)),
            (-5, "NoAccess", "No access", ()),
            # Its number is from memory; that it lacks all of Cryptographer is govmomi's (facts.md 4.2).
            (-6, "NoCryptoAdmin", "No cryptography administrator", tuple(p for p in privileges() if not p.startswith("Cryptographer."))),
        ]
        made = [kind(roleId=i, system=True, name=n, info=vim.Description(label=t, summary=t), privilege=list(p)) for i, n, t, p in rows]
        return VmomiSupport.GetVmodlType("vim.AuthorizationManager.Role[]")(made)

    @prop
    def description(self) -> Any:
        groups = sorted({name.rpartition(".")[0] for name in privileges()})
        values = {
            "privilege": [{"key": name, "label": name, "summary": name} for name in privileges()],
            "privilegeGroup": [{"key": name, "label": name, "summary": name} for name in groups],
        }
        return data("vim.AuthorizationDescription", values)

    def _entity(self, reference: Any) -> Managed:
        found = self.world.find(reference._moId)
        if found is None:
            raise SoapFault(
                "ManagedObjectNotFound", "The object has already been deleted or has not been completely created", obj=reference
            )
        return found

    def _session(self, session_id: str) -> Any:
        found = self.world.sessions.by_key(session_id)
        if found is None:
            raise SoapFault("InvalidArgument", "A specified parameter was not correct: sessionId", invalidProperty="sessionId")
        return found

    @operation(privilege="System.View")
    def HasPrivilegeOnEntity(self, call: Call, entity: Any, sessionId: str, privId: Any = None) -> Any:
        session, target = self._session(sessionId), self._entity(entity)
        return VmomiSupport.GetVmodlType("boolean[]")([self.world.allowed(session, name, target) for name in privId or ()])

    @operation(privilege="System.View")
    def HasPrivilegeOnEntities(self, call: Call, entity: Any, sessionId: str, privId: Any = None) -> Any:
        session = self._session(sessionId)
        kind = vim.AuthorizationManager.EntityPrivilege
        answer = vim.AuthorizationManager.PrivilegeAvailability
        rows = []
        for reference in entity:
            target = self._entity(reference)
            held = [answer(privId=name, isGranted=self.world.allowed(session, name, target)) for name in privId or ()]
            rows.append(kind(entity=reference, privAvailability=held))
        return rows

    @operation(privilege="System.View")
    def HasUserPrivilegeOnEntities(self, call: Call, entities: Any, userName: str, privId: Any = None) -> Any:
        user = self.world.users.get(userName)
        if user is None:
            raise SoapFault("UserNotFound", f"User {userName} was not found.", principal=userName, unresolved=False)
        kind = vim.AuthorizationManager.EntityPrivilege
        answer = vim.AuthorizationManager.PrivilegeAvailability
        rows = []
        for reference in entities:
            names = self._entity(reference).path_names
            rows.append(kind(entity=reference, privAvailability=[answer(privId=p, isGranted=user.has(p, names)) for p in privId or ()]))
        return rows

    @operation(privilege="System.View")
    def FetchUserPrivilegeOnEntities(self, call: Call, entities: Any, userName: str) -> Any:
        user = self.world.users.get(userName)
        if user is None:
            raise SoapFault("UserNotFound", f"User {userName} was not found.", principal=userName, unresolved=False)
        kind = vim.AuthorizationManager.UserPrivilegeResult
        rows = []
        for reference in entities:
            names = self._entity(reference).path_names
            rows.append(kind(entity=reference, privileges=[name for name in privileges() if user.has(name, names)]))
        return rows

    # Permissions of machines are kept and lost as data; what a session may do comes from the scenario's users.
    def _machine(self, reference: Any) -> Any:
        target = self._entity(reference)
        return target if isinstance(target, VirtualMachine) else None

    @operation(privilege="System.View")
    def RetrieveEntityPermissions(self, call: Call, entity: Any, inherited: bool) -> Any:
        target = self._machine(entity)
        return target.permission() if target is not None else VmomiSupport.GetVmodlType("vim.AuthorizationManager.Permission[]")([])

    @operation(privilege="Authorization.ModifyPermissions", writes=True)
    def SetEntityPermissions(self, call: Call, entity: Any, permission: Any = None) -> None:
        target = self._machine(entity)
        if target is None:
            raise SoapFault("NotSupported", "The operation is not supported on the object.")
        for one in permission or ():
            target.permissions = [row for row in target.permissions if row["principal"] != one.principal]
            target.permissions.append({"principal": one.principal, "group": one.group, "role": one.roleId, "propagate": one.propagate})
        target.touch()

    @operation(privilege="Authorization.ModifyPermissions", writes=True)
    def RemoveEntityPermission(self, call: Call, entity: Any, user: str, isGroup: bool) -> None:
        target = self._machine(entity)
        kept = [row for row in target.permissions if row["principal"] != user] if target is not None else []
        if target is None or len(kept) == len(target.permissions):
            raise SoapFault("NotFound", "The object or item referred to could not be found.")
        target.permissions = kept
        target.touch()
