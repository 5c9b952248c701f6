# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of datastores over HTTPS (/folder/PATH?dcPath=...&dsName=...): only the .vmx of machines, which names the key of an encrypted one."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote

if TYPE_CHECKING:
    from ..crypto import MachineFile
    from ..session import Session
    from ..world import World


def datastore_file(world: World, session: Session | None, path: str, query: str) -> tuple[int, str]:
    """HTTP status and content."""
    if session is None:
        return 401, ""
    given = parse_qs(query)
    store, center = given.get("dsName", [""])[0], given.get("dcPath", [""])[0]
    with world.lock:
        found = next((one for item in world.hosts for one in item.stores if one.title == store), None)
        if found is None or (world.kind == "vcenter" and found.datacenter.title != center):
            return 404, ""
        if not world.allowed(session, "Datastore.Browse", found):
            return 403, ""
        file = world.crypto.files.get(f"[{store}] {unquote(path.removeprefix('/folder/'))}")
        return (404, "") if file is None else (200, vmx(file))


def vmx(file: MachineFile) -> str:
    """The lines that matter. keySafe is a key locator: the provider and the key in clear, then the machine's own key, wrapped (govmomi's
    crypto package parses it; there is nothing behind the wrapped part here)."""
    lines = ['.encoding = "UTF-8"', f'displayName = "{file.name}"', f'uuid.bios = "{file.uuid}"']
    if file.home is not None:
        wrapped = base64.b64encode(hashlib.sha512(file.path.encode()).digest()).decode()
        provider, key, kind, data = (_escaped(text) for text in (*file.home, "HMAC-SHA-256", wrapped))
        lines.append(f'encryption.keySafe = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/{provider}/{key},{kind},{data}))"')
    elif file.annotation:
        lines.append(f'annotation = "{file.annotation}"')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Key locators escape all but letters and digits, with small hexadecimal digits."""
    out = quote(text, safe="").replace("-", "%2D").replace(".", "%2E").replace("_", "%5F")
    return "".join(part if number == 0 else "%" + part[:2].lower() + part[2:] for number, part in enumerate(out.split("%")))
