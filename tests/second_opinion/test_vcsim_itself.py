# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The neighbour's simulator is what the other tests take it for; asked with pyVmomi alone, none of our code."""

from __future__ import annotations

import ssl

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from tests.second_opinion.vcsim import LONE_HOST, Vcsim


def connect(server: Vcsim, password: str) -> vim.ServiceInstance:
    context = ssl.create_default_context(cafile=server.ca_file)
    return SmartConnect(host=server.hostname, port=server.port, user=server.username, pwd=password, sslContext=context)


def test_answers_verified_tls_and_has_its_hosts(vcsim_server: Vcsim) -> None:
    service = connect(vcsim_server, vcsim_server.password)
    try:
        content = service.RetrieveContent()
        assert content.viewManager
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        names = [host.name for host in view.view]
    finally:
        Disconnect(service)
    assert content.about.apiType == {"vcenter": "VirtualCenter", "esxi": "HostAgent"}[vcsim_server.kind]
    assert len(names) == vcsim_server.hosts
    assert vcsim_server.kind == "esxi" or LONE_HOST in names


def test_refuses_a_wrong_password(vcsim_server: Vcsim) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        connect(vcsim_server, "wrong")
