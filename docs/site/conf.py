# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx builds the site; tools/docs_site.py puts the pages together and calls it.

MyST reads the Markdown of docs/ as it is, Furo shows it: both are kept by people who keep other well-used packages, and are MIT-licensed. Furo
fetches nothing from elsewhere, is light and dark, and works on a narrow screen. The reference pages are antsibull-docs' own.
"""

from __future__ import annotations

project = "fleetcare.esxi"
author = "fleetcare.esxi contributors"
copyright = "fleetcare.esxi contributors, GPL-3.0-or-later"
html_title = "fleetcare.esxi"

extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
nitpicky = True
default_role = "any"
highlight_language = "yaml"
# Words in double hyphens are options of commands.
smartquotes = False

# Pages link to headings as the repository's viewer names them.
myst_heading_anchors = 4

# antsibull-docs refers to three pages of Ansible; the inventory that holds them is written by tools/docs_site.py, so that nothing is fetched.
intersphinx_mapping = {"ansible_devel": ("https://docs.ansible.com/projects/ansible/devel/", "ansible.inv")}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
antsibull_ext_color_scheme = "none"
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
