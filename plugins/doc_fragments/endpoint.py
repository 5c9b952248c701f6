# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module: where to connect."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Name or IP address of the vCenter or of the stand-alone ESXi host.
      - Required; E(VMWARE_HOST) or E(VMWARE_SERVER) in the environment is used where it is left out.
    type: str
  username:
    description: User to log in as. Required; E(VMWARE_USER) or E(VMWARE_USERNAME) is used where it is left out.
    type: str
    aliases: [user, admin]
  password:
    description: The user's password. Required; E(VMWARE_PASSWORD) is used where it is left out.
    type: str
    aliases: [pass, pwd]
  port:
    description: TCP port of the endpoint. E(VMWARE_PORT) is used where it is left out.
    type: int
    default: 443
  validate_certs:
    description:
      - Whether the endpoint's certificate has to be signed by a known authority and bear the right name.
      - E(VMWARE_VALIDATE_CERTS) is used where it is left out.
    type: bool
    default: true
  ca_file:
    description:
      - PEM file with the authorities to trust instead of the system's, on the machine that runs the module.
      - E(VMWARE_CA_FILE) is used where it is left out.
    type: path
  thumbprint:
    description:
      - SHA-256 thumbprint of the endpoint's certificate, as 64 hexadecimal digits, with or without colons.
      - Exactly this certificate is accepted then, whoever signed it.
      - E(VMWARE_THUMBPRINT) is used where it is left out.
    type: str
  proxy_host:
    description: HTTP proxy to go through. E(VMWARE_PROXY_HOST) is used where it is left out.
    type: str
  proxy_port:
    description: Port of the proxy. E(VMWARE_PROXY_PORT) is used where it is left out.
    type: int
  connect_timeout:
    description: Seconds until a connection, with its TLS handshake, has to stand.
    type: float
    default: 10
  read_timeout:
    description: Seconds of silence after which a call is given up.
    type: float
    default: 60
  session:
    description:
      - V(keep) reuses the session that an earlier task left for the same endpoint and user, and leaves its own for the
        next. The cookie, bound to the server's certificate, lies in a file of mode 0600 under C(~/.cache/fleetcare.esxi); a session that was reused is not
        asked for its password again.
      - V(single) logs in and out within the task.
      - V(end) is as V(keep), and logs out and deletes the file at the end.
      - A password that was refused is not tried again for ten minutes, so that a play over many hosts does not lock
        the account.
      - E(VMWARE_SESSION) is used where it is left out.
    type: str
    choices: [keep, single, end]
    default: keep
"""
