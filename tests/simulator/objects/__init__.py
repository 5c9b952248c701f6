# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed objects, one file a family; methods are named exactly as the SOAP operation."""
