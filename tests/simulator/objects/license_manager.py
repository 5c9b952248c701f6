# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LicenseManager and LicenseAssignmentManager (facts.md 1). A key that is refused comes back empty with the reason in its properties, and
no fault; an assignment that is refused is a fault that no method declares."""

from __future__ import annotations

import math
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

from ..errors import SoapFault
from ..license import (
    DECODE,
    DIAGNOSTIC,
    ESX,
    EVALUATION,
    FILE,
    HOLDER_OF,
    HOUR,
    LC_ERROR,
    NONE,
    VSAN,
    Entry,
    Holder,
    License,
    LicenseServer,
    Refusal,
    feature_name,
    masked,
)
from ..registry import Call, Managed, operation, prop
from ..xmlwrite import frozen

_Info = vim.LicenseManager.LicenseInfo
_Pair = vmodl.KeyAnyValue
_Assignment = vim.LicenseAssignmentManager.LicenseAssignment
_TEXTS = {
    "NotEnoughLicenses": "There are not enough licenses installed to perform the operation.",
    "LicenseKeyEntityMismatch": "The license key can not be assigned to the entity.",
    "InvalidEditionLicense": "The license edition is not valid for this entity.",
    "LicenseDowngradeDisallowed": "License downgrade is not permitted because some features are in use.",
    "LicenseExpired": "The license has expired.",
    "NotSupported": "The operation is not supported on the object.",
}


class LicenseObject(Managed):
    @property
    def server(self) -> LicenseServer:
        return self.world.licenses

    def opt(self, name: str) -> Any:
        return self.server.options[name]

    def fault(
        self, name: str, license: License | None, holder: Holder | None, lacking: tuple[str, ...] = (), argument: str = "licenseKey"
    ) -> SoapFault:
        """Any of the faults by name, with the fields that its class has. None of them is declared on the methods."""
        if name == "InvalidArgument":
            return SoapFault(name, f"A specified parameter was not correct: {argument}", invalidProperty=argument)
        edition = license.edition if license else None
        return SoapFault(
            name,
            _TEXTS.get(name, name),
            licenseKey=license.key if license else None,
            edition=edition,
            entityId=holder.id if holder else None,
            feature=lacking[0] if lacking else edition,
            features=[_Pair(key=one, value=feature_name(one)) for one in lacking] or None,
            count=license.total if license else None,
            expirationDate=self.world.date_at(license.ends or 0.0) if license else None,
            reason="downgradeDisallowed" if lacking else "keyEntityMismatch",
        )

    # ---- what goes over the wire ------------------------------------------------------------------------------------------------
    def whole(self, number: int) -> Any:
        """Numbers in KeyAnyValue carry their type; which one real servers use is unknown."""
        return VmomiSupport.long(number) if self.opt("number_type") == "long" else int(number)

    def _remaining(self, ends: float, forms: Any) -> list[tuple[str, Any]]:
        """expirationDate, expirationHours and expirationMinutes as far as they are wanted. Begun hours count; nothing goes below zero."""
        left = max(0.0, ends - self.world.virtual_now())
        out: list[tuple[str, Any]] = []
        if "date" in forms:
            out.append(("expirationDate", self.world.date_at(ends)))
        if "hours" in forms:
            out.append(("expirationHours", self.whole(math.ceil(left / HOUR))))
        if "minutes" in forms:
            rest = left % HOUR if self.opt("expiration_minutes") == "rest" else left
            out.append(("expirationMinutes", self.whole(math.ceil(rest / 60))))
        return out

    def _evaluation(self, holder: Holder) -> tuple[tuple[str, Any], ...]:
        now = self.world.virtual_now()
        return tuple(self._remaining(now + holder.left(now), self.opt("evaluation_as")))

    def evaluation_info(self, holder: Holder) -> Any:
        stamp = self._evaluation(holder)
        found = holder.views.get("evaluation")
        if found is None or found[0] != stamp:
            made = frozen(vim.LicenseManager.EvaluationInfo(properties=[_Pair(key=key, value=value) for key, value in stamp]))
            found = holder.views["evaluation"] = (stamp, made)
        return found[1]

    def info(self, entry: Entry) -> Any:
        """LicenseInfo of a key. One object for all that hold it, made anew when a number in it changes, so its text is written once."""
        license = entry.license
        now = tuple(self._remaining(license.ends, license.ends_as)) if license.ends is not None else ()
        used = entry.used if entry.ever_used or self.opt("never_used") == "zero" else None
        stamp = (license, used, entry.labels, now)
        views = self.server.views
        found = views.get(license.key)
        if found is None or found[0] != stamp:
            found = views[license.key] = (stamp, self._info(license, used, entry.labels, now))
        return found[1]

    def _info(self, license: License, used: int | None, labels: Any, expiry: Any) -> Any:
        rows: list[tuple[str, Any]] = []
        if license.product:
            rows += [("ProductName", license.product), ("ProductVersion", license.version)]
        rows += [("feature", vim.KeyValue(key=key, value=name)) for key, name in license.features]
        rows += expiry
        if license.count_disabled:
            rows.append(("count_disabled", "This license is unlimited"))
        return frozen(
            _Info(
                licenseKey=license.key,
                editionKey=license.edition,
                name=license.name,
                total=license.total,
                used=used,
                costUnit=license.unit,
                properties=[_Pair(key=key, value=value) for key, value in rows],
                labels=[vim.KeyValue(key=key, value=value) for key, value in labels],
            )
        )

    def evaluation_license(self, holder: Holder | None = None) -> Any:
        """The entry behind 00000-...: a host that is asked itself says how long, vCenter says it with each assignment."""
        if self.world.kind == "esxi":
            own = self.server.own()
            made = License(EVALUATION, "eval", "Evaluation Mode", ESX, own.version, "", 0, ())
            return self._info(made, None, (), self._evaluation(own))
        edition = self.opt("vcenter_evaluation_edition") if holder is not None and holder.kind == "vcenter" else "eval"
        views = self.server.views
        if edition not in views:
            views[edition] = self._info(License(EVALUATION, edition, "Product Evaluation", "", "", "", 0, ()), None, (), ())
        return views[edition]

    def file_license(self, holder: Holder) -> Any:
        """9.x: an edition without a key (facts.md 1.5); all its values are inferred."""
        views = self.server.views
        key = f"file {holder.kind} {holder.version}"
        if key not in views:
            made = License("", self.opt("file_edition"), "VMware Cloud Foundation", holder.product, holder.version, "cpuCore", 0, ())
            views[key] = self._info(made, None, (), ())
        return views[key]

    def refusal(self, said: Refusal, key: str) -> Any:
        """How a refused key comes back: empty, with the diagnostics."""
        rows: list[tuple[str, Any]] = []
        if said.lc_error is not None:
            rows.append(("lc_error", self.whole(said.lc_error)))
        if said.diagnostic is not None:
            rows.append(("diagnostic", said.diagnostic))
        if said.localized is not None:
            rows.append(("localizedDiagnostic", vmodl.LocalizableMessage(key=said.localized, message=said.diagnostic or DIAGNOSTIC)))
        return _Info(
            licenseKey=key if self.opt("refused_key_echoed") else "",
            editionKey="",
            name="",
            total=0,
            costUnit="",
            properties=[_Pair(key=name, value=value) for name, value in rows],
        )

    def decoded(self, text: str) -> License | Refusal:
        """What the decoder makes of a key. A key that the scenario has refused is refused in the scenario's words."""
        found = self.server.decode(text)
        return self.shaped() if found is None else (found.refused or found)

    def shaped(self) -> Refusal:
        """A refusal in the shape of the product that is asked: ESXi says one thing, vCenter all (facts.md 1.2)."""
        said = self.opt("refusal_properties")
        if said is None:
            said = ["diagnostic"] if self.world.kind == "esxi" else ["lc_error", "diagnostic", "localizedDiagnostic"]
        return Refusal(
            DIAGNOSTIC if "diagnostic" in said else None,
            LC_ERROR if "lc_error" in said else None,
            DECODE if "localizedDiagnostic" in said else None,
        )

    # ---- what is refused --------------------------------------------------------------------------------------------------------
    def needs_file(self, license: License) -> bool:
        """9.x takes no keys for the core products of its own generation (facts.md 1.5); a host of it takes none at all."""
        own = self.server.own()
        if not self.server.option("license_files", own) or license.product not in HOLDER_OF:
            return False
        return self.world.kind == "esxi" or int(license.major) >= 9

    def mismatch(self, license: License, holder: Holder) -> str | None:
        """The option that says how a key of another product or generation is refused."""
        if HOLDER_OF.get(license.product) != holder.kind:
            return "wrong_product"
        if holder.kind == "cluster":
            members = [one for one in self.server.holders.values() if one.host is not None and one.host.above.moid == holder.id]
            return None if any(one.major == license.major for one in members) else "wrong_generation"
        return None if license.major == holder.major else "wrong_generation"

    def no_room(self, entry: Entry, holder: Holder) -> bool:
        license = entry.license
        if not license.total:
            return False
        already = self.server.need(license, holder) if holder.key == license.key else 0
        return entry.used - already + self.server.need(license, holder) > license.total

    def check_room(self, entry: Entry, holder: Holder) -> None:
        """Faults that a key meets on its way to a holder it fits."""
        license = entry.license
        if self.no_room(entry, holder) and self.opt("no_room") != "taken":
            raise self.fault(self.opt("no_room"), license, holder)
        lacking = tuple(one for one in holder.in_use if not license.has(one))
        if lacking and self.opt("feature_in_use") != "taken":
            raise self.fault(self.opt("feature_in_use"), license, holder, lacking)

    def log(self, kind: str, text: str, entity: Any = None) -> None:
        if self.world.kind == "vcenter":
            fields = {"eventTypeId": f"com.vmware.license.{kind}", "severity": "info", "message": text}
            self.world.log_event(vim.event.EventEx, text, entity=entity, **fields)
        else:
            self.world.touch()


class LicenseManager(LicenseObject):
    TYPE = vim.LicenseManager

    def concerns(self, arguments: dict[str, Any]) -> Any:
        """A host by itself has its own."""
        return self.world.hosts[0] if self.world.kind == "esxi" else None

    # ---- properties -------------------------------------------------------------------------------------------------------------
    def value(self, call: Call, plan: Any, api: Any) -> Any:
        hides = self.opt("licenses_without_privilege") == "empty" and plan.path.partition(".")[0] == "licenses" and call.session is not None
        if hides and not self.world.allowed(call.who, "Global.Licenses", self):
            return VmomiSupport.GetVmodlType("vim.LicenseManager.LicenseInfo[]")([])
        return super().value(call, plan, api)

    @prop
    def licenses(self) -> Any:
        rows = self._of_host() if self.world.kind == "esxi" else self._of_vcenter()
        return VmomiSupport.GetVmodlType("vim.LicenseManager.LicenseInfo[]")(rows)

    def _of_vcenter(self) -> list[Any]:
        rows = [self.info(entry) for entry in self.server.listed()]
        if self.opt("evaluation_listed") == "always" or any(one.key == EVALUATION for one in self.server.holders.values()):
            rows.insert(0, self.evaluation_license())
        return rows

    def _of_host(self) -> list[Any]:
        own = self.server.own()
        rows = [self.info(entry) for entry in self.server.listed()]
        if own.key == EVALUATION:
            rows.append(self.evaluation_license())
        if own.key == FILE:
            rows.append(self.file_license(own))
        if self.server.option("automatic_licenses", own):
            # ESXi 8 makes these by itself (issue 125 of esxi_stats); where they stand among the others is unknown, so first and last.
            vsan = License(EVALUATION, "vsan.eval", "Evaluation Mode", VSAN, own.version, "", 0, ())
            forms = self._remaining(self.server.option("evaluation_days", own) * 24 * HOUR, self.opt("evaluation_as"))
            rows.insert(0, self._info(vsan, None, (), forms))
            rows.append(self._info(License(EVALUATION, "eval", "Product Evaluation", "", "", "", 0, ()), None, (), ()))
        return rows

    @prop
    def evaluation(self) -> Any:
        """Of the server itself; how much is left of it while a key is in force is told as well."""
        return self.evaluation_info(self.server.own())

    @prop
    def licensedEdition(self) -> str:
        own = self.server.own()
        entry = self.server.inventory.get(own.key)
        return entry.license.edition if entry else {EVALUATION: "eval", FILE: self.opt("file_edition")}.get(own.key, "")

    @prop
    def licenseAssignmentManager(self) -> Any:
        return None if self.world.kind == "esxi" else vim.LicenseAssignmentManager("LicenseAssignmentManager")

    @prop
    def sourceAvailable(self) -> bool:
        return True  # dead since 4.0, but not optional

    @prop
    def source(self) -> Any:
        return vim.LicenseManager.EvaluationLicense()

    # ---- keys -------------------------------------------------------------------------------------------------------------------
    def _entity(self) -> Any:
        return self.world.hosts[0] if self.world.kind == "esxi" else None

    @operation(privilege="Global.Licenses")
    def DecodeLicense(self, call: Call, licenseKey: str) -> Any:
        found = self.decoded(licenseKey)
        if isinstance(found, Refusal):
            return self.refusal(found, licenseKey)
        return self.info(self.server.entry(found.key) or Entry(found))

    @operation(privilege="Global.Licenses", writes=True)
    def AddLicense(self, call: Call, licenseKey: str, labels: Any = None) -> Any:
        return self._taken(licenseKey, labels, replaces=False)

    @operation(privilege="Global.Licenses", writes=True)
    def UpdateLicense(self, call: Call, licenseKey: str, labels: Any = None) -> Any:
        """Removes all keys, then adds this one: how a host is given its key. A refused key removes nothing (inferred)."""
        return self._taken(licenseKey, labels, replaces=True)

    def _taken(self, text: str, labels: Any, *, replaces: bool) -> Any:
        own = self.server.own()
        if text == EVALUATION and self.world.kind == "esxi":
            self._remove_all(None)
            self.server.put(own, EVALUATION if own.left(self.world.virtual_now()) > 0 else NONE)
            self.log("", "")
            return self.evaluation_license()
        found = self.decoded(text)
        if isinstance(found, License) and self.needs_file(found):
            if self.opt("file_refusal") == "NotSupported":
                raise self.fault("NotSupported", found, None)
            found = self.shaped()
        if isinstance(found, License) and self.world.kind == "esxi":
            wrong = self.mismatch(found, own)
            if wrong is not None or (self.server.expired(found) and self.opt("expired_key") != "taken"):
                found = self.shaped()
        if isinstance(found, Refusal):
            return self.refusal(found, text)
        if self.world.kind == "esxi":
            self.check_room(self.server.inventory.get(found.key) or Entry(found), own)
            if self.server.behaves(found, "silently_ignored"):
                return self._info(found, None, (), self._remaining(found.ends, found.ends_as) if found.ends is not None else ())
        if replaces:
            self._remove_all(found.key)
        entry = self.server.add(found, tuple((str(one.key), str(one.value)) for one in labels or ()))
        if self.world.kind == "esxi":
            self.server.put_later(own, found)
        self.log("AddLicenseEvent", f"License {masked(found.key)} added to VirtualCenter")
        return self.info(entry)

    def _remove_all(self, but: str | None) -> None:
        for key in [key for key in self.server.inventory if key != but]:
            self._remove(self.server.inventory[key])

    def _remove(self, entry: Entry) -> None:
        """A key that vCenter's entities hold stays without a word; on a host it goes and the host is without."""
        license = entry.license
        if self.server.behaves(license, "keeps_removed"):
            return
        held = any(holder.key == license.key for holder in self.server.holders.values())
        if held and self.world.kind == "vcenter":
            if self.opt("remove_in_use") == "kept":
                return
            if self.opt("remove_in_use") != "removed":
                raise self.fault(self.opt("remove_in_use"), license, None)
        self.server.discard(license.key)

    @operation(privilege="Global.Licenses", writes=True)
    def RemoveLicense(self, call: Call, licenseKey: str) -> None:
        entry = self.server.entry(licenseKey)
        if entry is None:
            if self.opt("unlisted_removed") != "ignored" and licenseKey != EVALUATION:
                raise self.fault(self.opt("unlisted_removed"), None, None)
            return
        self._remove(entry)
        self.log("RemoveLicenseEvent", f"License {masked(licenseKey)} removed from VirtualCenter")

    def _labelled(self, key: str) -> Entry:
        entry = self.server.entry(key)
        if entry is None:
            raise self.fault("InvalidArgument", None, None)
        if self.world.kind == "esxi":
            raise self.fault("NotSupported", None, None)
        return entry

    @operation(privilege="Global.Licenses", writes=True)
    def UpdateLicenseLabel(self, call: Call, licenseKey: str, labelKey: str, labelValue: str) -> None:
        entry = self._labelled(licenseKey)
        entry.labels = tuple({**dict(entry.labels), str(labelKey): str(labelValue)}.items())
        self.world.touch()

    @operation(privilege="Global.Licenses", writes=True)
    def RemoveLicenseLabel(self, call: Call, licenseKey: str, labelKey: str) -> None:
        entry = self._labelled(licenseKey)
        entry.labels = tuple(pair for pair in entry.labels if pair[0] != labelKey)
        self.world.touch()


class LicenseAssignmentManager(LicenseObject):
    TYPE = vim.LicenseAssignmentManager

    def concerns(self, arguments: dict[str, Any]) -> Any:
        """The journal and scripted faults know an assignment by its host."""
        found = self.server.holders.get(str(arguments.get("entity") or arguments.get("entityId")))
        return found.host if found is not None else None

    def _holder(self, entity: str) -> Holder:
        found = self.server.holders.get(entity)
        if found is None:
            raise SoapFault("LicenseEntityNotFound", "The license entity was not found.", entityId=entity)
        return found

    def _held(self, holder: Holder) -> Any:
        """LicenseInfo of what an entity has, None for nothing."""
        if holder.key == EVALUATION:
            return self.evaluation_license(holder)
        if holder.key == FILE:
            return self.file_license(holder)
        entry = self.server.inventory.get(holder.key)
        if entry is not None:
            return self.info(entry)
        if self.opt("unlicensed") == "absent" or holder.kind == "cluster":
            return None
        views = self.server.views
        return views.setdefault(NONE, self._info(License("", "", "", "", "", "", 0, ()), None, (), ()))

    def _assignment(self, holder: Holder) -> Any:
        held = self._held(holder)
        if held is None:
            return None
        stamp = (held, self.evaluation_info(holder) if holder.key == EVALUATION else None, holder.in_use)
        found = holder.views.get("assignment")
        if found is None or any(one is not two for one, two in zip(found[0], stamp, strict=True)):
            found = holder.views["assignment"] = (stamp, self._made(holder, *stamp))
        return found[1]

    def _made(self, holder: Holder, held: Any, evaluation: Any, in_use: tuple[str, ...]) -> Any:
        rows = [("ProductName", holder.product), ("ProductVersion", holder.version)]
        pairs: Any = [vim.KeyValue(key=one, value=feature_name(one)) for one in in_use]
        if self.opt("in_use_features") == "each":
            rows += [("inUseFeatures", pair) for pair in pairs]
        elif pairs:
            rows.append(("inUseFeatures", VmomiSupport.GetVmodlType("vim.KeyValue[]")(pairs)))
        if evaluation is not None:
            rows.append(("Evaluation", evaluation))
        made = _Assignment(
            entityId=holder.id,
            scope=self.world.instance_uuid,
            entityDisplayName=holder.name,
            assignedLicense=held,
            properties=[_Pair(key=key, value=value) for key, value in rows],
        )
        return frozen(made)

    @operation(privilege="System.View")
    def QueryAssignedLicenses(self, call: Call, entityId: str | None = None) -> Any:
        self.server.settle()
        if entityId:
            if entityId not in self.server.holders and self.opt("unknown_entity_queried") != "empty":
                self._holder(entityId)
            chosen = [one for one in [self.server.holders.get(entityId)] if one is not None]
        else:
            chosen = list(self.server.holders.values())
        rows = [made for made in map(self._assignment, chosen) if made is not None]
        return VmomiSupport.GetVmodlType("vim.LicenseAssignmentManager.LicenseAssignment[]")(rows)

    @operation(privilege="Global.Licenses", writes=True)
    def UpdateAssignedLicense(self, call: Call, entity: str, licenseKey: str, entityDisplayName: str | None = None) -> Any:
        self.server.settle()
        holder = self._holder(entity)
        host = holder.host
        if host is not None and self.opt("lost_host") != "taken":
            refused = self.world.unreachable(host)
            if refused is not None:
                raise refused
        if licenseKey == EVALUATION:
            if holder.left(self.world.virtual_now()) <= 0 or holder.kind == "cluster":
                raise self.fault("LicenseExpired", License(EVALUATION, "eval", ""), holder)
            self.server.put(holder, EVALUATION)
            self._logged(holder, "eval")
            return self.evaluation_license(holder)
        entry = self.server.entry(licenseKey)
        if entry is None and self.opt("unlisted_assigned") == "added":
            found = self.decoded(licenseKey)
            entry = self.server.add(found) if isinstance(found, License) and not self.needs_file(found) else None
        if entry is None:
            argument = self.opt("unlisted_assigned")
            raise self.fault("InvalidArgument", None, None, argument="licenseKey" if argument == "added" else argument)
        self._check(entry, holder)
        if self.server.behaves(entry.license, "silently_ignored"):
            return self.info(entry)
        self.server.put_later(holder, entry.license)
        if entityDisplayName and host is None:
            holder.name = entityDisplayName
            holder.views.clear()
        self._logged(holder, masked(licenseKey))
        return self.info(entry)

    def _check(self, entry: Entry, holder: Holder) -> None:
        license = entry.license
        wrong = self.mismatch(license, holder)
        if wrong is not None and self.opt(wrong) != "taken":
            raise self.fault(self.opt(wrong), license, holder)
        if holder.kind != "cluster" and self.server.option("license_files", holder) and self.opt("file_assigned") != "taken":
            raise self.fault(self.opt("file_assigned"), license, holder)
        if self.server.expired(license) and self.opt("expired_key") != "taken":
            raise self.fault(self.opt("expired_key"), license, holder)
        self.check_room(entry, holder)

    def _logged(self, holder: Holder, what: str) -> None:
        self.log("AssignLicenseEvent", f"License {what} assigned to asset {holder.name}", holder.host)

    @operation(privilege="Global.Licenses", writes=True)
    def RemoveAssignedLicense(self, call: Call, entityId: str) -> None:
        self.server.settle()
        holder = self._holder(entityId)
        if holder.key not in (EVALUATION, NONE, FILE):
            self.server.release(holder)
            self._logged(holder, "eval" if holder.key == EVALUATION else "none")
