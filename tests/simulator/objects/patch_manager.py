# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostPatchManager: the other way to install a VIB. The same image code as esxcli; what it refuses is PlatformConfigFault.

The words "An error occurred during host configuration: /usr/sbin/esxupdate returned with exit status: 7." are those of w2c/letsencrypt-esxi#46
(8.0 U3, a path that does not exist). That `text` carries XML is the API's text; its elements are ours, after esxupdate's own reports.
"""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from .. import image
from ..errors import SoapFault
from ..plain import data
from ..registry import Call, operation
from ..software import ImageError
from ..xmlwrite import escape
from .host_part import HostPart
from .tasks import start

_STATUS = {"VibDownloadError": 7, "MetadataDownloadError": 4}
TEXT = "An error occurred during host configuration: /usr/sbin/esxupdate returned with exit status: {}."


def _report(kind: str, text: str) -> str:
    return (
        f'<?xml version="1.0"?>\n<esxupdate-response>\n<version>1.50</version>\n<error errorClass="{escape(kind)}">'
        f"<errorCode>{_STATUS.get(kind, 15)}</errorCode><errorDesc>{escape(text)}</errorDesc></error>\n</esxupdate-response>"
    )


class HostPatchManager(HostPart):
    TYPE = vim.host.PatchManager

    def _task(self, call: Call, name: str, work: Any) -> Any:
        for task in self.world.tasks:
            if task.target is self and not task.finished:
                raise SoapFault("TaskInProgress", "The operation is not allowed: another task is already in progress.", task=task.ref)

        def guarded() -> Any:
            refusal = self.world.unreachable(self.owner)
            if refusal is not None:
                raise refusal
            try:
                return work()
            except ImageError as exc:
                refused = SoapFault("PlatformConfigFault", TEXT.format(_STATUS.get(exc.kind, 15)))
                refused.fields["text"] = _report(exc.kind, str(exc))
                raise refused from None

        return start(self.world, call, f"vim.host.PatchManager.{name}", self, guarded, cancelable=False)

    def _result(self, rows: list[tuple[str, bool]], reboot: bool) -> Any:
        """(id, installed): what is known of each."""
        shown = [
            {
                "id": name,
                "applicable": True,
                "installed": installed,
                "restartRequired": reboot,
                "reconnectRequired": False,
                "vmOffRequired": False,
            }
            for name, installed in rows
        ]
        listed = "".join(f'<vib id="{escape(name)}"/>' for name, _installed in rows)
        xml = f'<?xml version="1.0"?>\n<esxupdate-response>\n<version>1.50</version>\n{listed}\n</esxupdate-response>'
        return data("vim.host.PatchManager.Result", {"version": "1.50", "status": shown, "xmlResult": xml})

    @operation(privilege="Host.Config.Patch", writes=True, needs_host=True)
    def InstallHostPatchV2_Task(self, call: Call, metaUrls: Any = (), bundleUrls: Any = (), vibUrls: Any = (), spec: Any = None) -> Any:
        if bundleUrls:
            # "bundleUrls: ... not supported since 5.0" (API text, facts.md 5.2)
            raise SoapFault("NotSupported", "The operation is not supported on the object.")
        words = (spec.cmdOption or "").split() if spec is not None else []
        how = image.How(dry_run="--dry-run" in words, force="--force" in words, no_signature="--no-sig-check" in words)
        urls, depots = [str(url) for url in vibUrls], [str(url) for url in metaUrls]

        def work() -> Any:
            result = image.install(self.owner, urls, depots, [], how)
            return self._result([(name, True) for name in result.installed], result.reboot_required)

        return self._task(call, "InstallV2", work)

    @operation(privilege="Host.Config.Patch", writes=True, needs_host=True)
    def UninstallHostPatch_Task(self, call: Call, bulletinIds: Any = (), spec: Any = None) -> Any:
        names = [str(name) for name in bulletinIds]

        def work() -> Any:
            # Bulletins are whole patches; the simulator takes names of packages and their ids.
            known = {row.id: row.name for row in self.state.software.values()}
            result = image.remove(self.owner, [known.get(name, name) for name in names], image.How())
            return self._result([(name, False) for name in result.removed], result.reboot_required)

        return self._task(call, "Uninstall", work)

    @operation(privilege="System.Read", needs_host=True)
    def QueryHostPatch_Task(self, call: Call, spec: Any = None) -> Any:
        return self._task(call, "Query", lambda: self._result([(row.id, True) for row in self.state.software.values()], False))
