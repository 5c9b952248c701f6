# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkout keeps the house rules, and each rule really notices when it is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.unit import house

ROOT = Path(__file__).resolve().parents[2]
HEADER = "# SPDX-FileCopyrightText: fleetcare.esxi contributors\n# SPDX-License-Identifier: GPL-3.0-or-later\n"
UTILS = "plugins/module_utils/"
FULL = "ansible_collections.fleetcare.esxi.plugins.module_utils."

Edit = Callable[[str], str]
Edits = Mapping[str, "str | Edit | None"]


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    return house.read(ROOT)


@pytest.mark.parametrize("name", house.RULES)
def test_this_checkout_keeps_the_rule(name: str, tree: dict[str, str]) -> None:
    problems = list(house.RULES[name](tree))
    assert not problems, "\n".join(problems)


def test_the_rules_see_every_layer_and_both_kinds_of_modules(tree: dict[str, str]) -> None:
    """A rule that looks at nothing passes everything."""
    seen = {house.layer_of(path) for path in tree}
    assert {"_domain", "_client", "_vim", "_module", "_features", "modules", "doc_fragments", "action", "plugin_utils"} <= seen
    kinds = {house.writes(tree, path) for path in house.modules(tree).values()}
    assert kinds == {True, False}
    assert "ntp" in house.feature_words(tree)
    assert len(house.meanings(tree[UTILS + "_domain/ntp.py"])) > 10
    assert {"meta/runtime.yml", "galaxy.yml", "REUSE.toml", "requirements.txt", "pyproject.toml"} <= set(tree)
    assert "tests/unit/test_house_rules.py" in tree and any(path.startswith("tests/simulator/") for path in tree)


# ---- planted violations -------------------------------------------------------------------------------------------------


def append(code: str) -> Edit:
    return lambda text: f"{text}\n\n{code}\n"


def after_future(code: str) -> Edit:
    """Puts a line where imports stand."""
    mark = "from __future__ import annotations\n"
    return lambda text: text.replace(mark, f"{mark}\n{code}\n", 1)


def swap(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, f"nothing to plant in: {old!r} is gone"
        return text.replace(old, new)

    return edit


def python(code: str, doc: str = "Planted. Private to this collection.") -> str:
    return f'{HEADER}"""{doc}"""\n\nfrom __future__ import annotations\n\n{code}\n'


MODULE = python(
    f"""from {FULL}_module.feature import Feature
from {FULL}_module.run import run

FEATURE = Feature(domain=None, translation=None, options={{}})


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()"""
)
SHOWN = python("from ansible_collections.fleetcare.esxi.plugins.plugin_utils.waves import X\n\n\nclass ActionModule(X):\n    pass").replace(
    "    pass\n", '    """As any other."""\n'
)
TASKS = HEADER + "- name: Time\n  fleetcare.esxi.esxi_ntp_align:\n    max_skew: 1\n"
PLAY = HEADER + "- name: Time\n  hosts: localhost\n  roles:\n    - role: fleetcare.esxi.esxi_ntp_align\n"
GROUPS = HEADER + "requires_ansible: '>=2.16.0'\naction_groups:\n  esxi:\n    - esxi_ntp_align\n    - esxi_ntp_info\n"
ROLE = {
    "roles/{}/tasks/main.yml": TASKS,
    "roles/{}/meta/argument_specs.yml": HEADER + "argument_specs: {}\n",
    "roles/{}/README.md": f"<!--\n{HEADER}-->\n",
}
NTP, STUB = UTILS + "_domain/ntp.py", UTILS + "_client/vmomi.py"
ALIGN = "plugins/modules/esxi_ntp_align.py"
FEATURE = "plugins/module_utils/_features/ntp.py"
WAVES, ACTION = "plugins/plugin_utils/waves.py", "plugins/action/esxi_ntp_align.py"

_TIDE = 'def _found(code):\n    return code\n\n\nMEANINGS = {"tide_high": 1}\nX = _found("tide_high")'

# What plants stand on; where the checkout has it already, the checkout's is taken.
GROUND = {
    **{path.format("esxi_ntp_align"): text for path, text in ROLE.items()},
    **{path.format("esxi_remediate"): text for path, text in ROLE.items()},
    "playbooks/esxi_ntp_align.yml": PLAY,
    "playbooks/esxi_remediate.yml": PLAY,
    "extensions/molecule/esxi_ntp_align/molecule.yml": HEADER,
    "extensions/molecule/esxi_remediate/molecule.yml": HEADER,
    "tests/integration/test_esxi_ntp_align.py": HEADER,
    "meta/runtime.yml": GROUPS,
    "tests/simulator/soap.py": python(""),
    # Named as if they wrote, so that a plant which makes a reader a writer breaks one rule only.
    **{path.format("esxi_ntp_info"): text for path, text in ROLE.items()},
    "playbooks/esxi_ntp_info.yml": PLAY,
    "extensions/molecule/esxi_ntp_info/molecule.yml": HEADER,
    "tests/integration/test_esxi_ntp_info.py": HEADER,
    "plugins/action/esxi_ntp_info.py": SHOWN,
}

PLANTS: list[tuple[str, str, Edits]] = [
    # the layer table, row by row
    ("layers", "domain takes a clock", {NTP: after_future("import time")}),
    ("layers", "domain takes os", {NTP: after_future("import os")}),
    ("layers", "domain takes os.environ", {NTP: after_future("from os import path")}),
    ("layers", "domain takes socket", {NTP: after_future("import socket")}),
    ("layers", "domain takes subprocess", {NTP: after_future("import subprocess")}),
    ("layers", "domain takes random", {NTP: after_future("import random")}),
    ("layers", "domain takes ansible", {NTP: after_future("from ansible.module_utils.basic import env_fallback")}),
    ("layers", "domain takes pyVmomi", {NTP: after_future("from pyVmomi import vim")}),
    ("layers", "domain takes requests", {NTP: after_future("import requests")}),
    ("layers", "domain takes the client", {NTP: after_future("from .._client.vmomi import Ref")}),
    ("layers", "domain takes the client by its full name", {NTP: after_future(f"from {FULL}_client import vmomi")}),
    ("layers", "domain takes it inside a function", {NTP: append("def late():\n    import time\n    return time")}),
    ("layers", "client takes ansible", {UTILS + "_client/guard.py": after_future("import ansible.module_utils.basic")}),
    ("layers", "client takes a feature", {UTILS + "_client/guard.py": after_future("from .._domain.ntp import State as _S")}),
    ("layers", "client takes plans", {UTILS + "_client/guard.py": after_future("from .._domain import plan")}),
    ("layers", "client takes a translation", {UTILS + "_client/guard.py": after_future("from .._vim import other")}),
    ("layers", "client takes the module layer", {UTILS + "_client/guard.py": after_future("from .._module import feature")}),
    ("layers", "a second file takes pyVmomi", {UTILS + "_client/guard.py": after_future("import pyVmomi")}),
    ("layers", "translation takes pyVmomi", {UTILS + "_vim/ntp.py": after_future("from pyVmomi import vim as other")}),
    ("layers", "translation takes ansible", {UTILS + "_vim/ntp.py": after_future("from ansible.module_utils import basic")}),
    ("layers", "translation takes another word", {UTILS + "_vim/ntp.py": after_future("from .._domain.firewall import State as Other")}),
    ("layers", "translation takes its neighbour", {UTILS + "_vim/ntp.py": after_future("from . import firewall")}),
    ("layers", "module layer takes a translation", {UTILS + "_module/pipeline.py": after_future("from .._vim import other")}),
    ("layers", "module layer takes a domain", {UTILS + "_module/pipeline.py": after_future("from .._domain.other import State as S")}),
    ("layers", "module layer takes pyVmomi", {UTILS + "_module/pipeline.py": after_future("import pyVmomi")}),
    ("layers", "a feature takes another one", {FEATURE: after_future("from .._domain import firewall")}),
    ("layers", "a feature takes the pipeline", {FEATURE: after_future("from .._module.pipeline import execute")}),
    ("layers", "a module takes another feature's FEATURE", {ALIGN: after_future(f"from {FULL}_features import firewall")}),
    ("layers", "module takes ssl", {ALIGN: after_future("import ssl")}),
    ("layers", "module takes requests", {ALIGN: after_future("import requests")}),
    ("layers", "module takes AnsibleModule's file", {ALIGN: after_future("from ansible.module_utils import basic")}),
    ("layers", "module takes the client", {ALIGN: after_future(f"from {FULL}_client import vmomi")}),
    ("layers", "module takes the pipeline", {ALIGN: after_future(f"from {FULL}_module.pipeline import execute")}),
    ("layers", "module takes a whole layer", {ALIGN: after_future(f"from {FULL[:-1]} import _domain")}),
    ("layers", "module takes another feature", {ALIGN: after_future(f"from {FULL}_domain import firewall")}),
    ("layers", "action plugin takes a module's layer", {ACTION: after_future(f"from {FULL}_module import waves")}),
    ("layers", "action plugin takes ansible", {ACTION: after_future("from ansible.plugins.action import ActionBase")}),
    ("layers", "action plugin takes os", {ACTION: after_future("from os import path")}),
    ("layers", "plugin utility takes the client", {WAVES: after_future(f"from {FULL}_client import vmomi")}),
    ("layers", "plugin utility takes the module layer", {WAVES: after_future("from ..module_utils._module.waves import Progress")}),
    ("layers", "plugin utility takes a domain", {WAVES: after_future(f"from {FULL}_domain import errors")}),
    ("layers", "plugin utility takes a module", {WAVES: after_future("from .. import modules")}),
    ("layers", "plugin utility takes pyVmomi", {WAVES: after_future("import pyVmomi")}),
    ("layers", "plugin utility takes what modules take of ansible", {WAVES: after_future("from ansible.module_utils import basic")}),
    ("layers", "plugin utility takes templates", {WAVES: after_future("from ansible.template import Templar")}),
    ("layers", "module takes a plugin utility", {ALIGN: after_future("from ..plugin_utils import waves")}),
    ("layers", "module layer takes a plugin utility", {UTILS + "_module/pipeline.py": after_future("from ...plugin_utils import waves")}),
    ("layers", "import by name", {UTILS + "_client/guard.py": append('OTHER = __import__("pyVmomi")')}),
    ("layers", "importlib", {UTILS + "_client/guard.py": after_future("import importlib.util")}),
    ("layers", "a file outside the layers", {UTILS + "helpers.py": python("")}),
    ("layers", "a new kind of plugin", {"plugins/lookup/esxi.py": python("")}),
    ("feature-free", "client names a feature", {UTILS + "_client/guard.py": append("NTP_PORT = 123")}),
    ("feature-free", "client names a feature in camel case", {UTILS + "_client/guard.py": append("class SkewOfNtp: ...")}),
    ("feature-free", "pipeline names a feature", {UTILS + "_module/pipeline.py": append("def is_ntp(): ...")}),
    ("feature-free", "plugin utility names a feature", {WAVES: append("def is_ntp(): ...")}),
    ("simulator-apart", "simulator takes plugins", {"tests/simulator/soap.py": after_future(f"from {FULL}_client import vmomi")}),
    ("simulator-apart", "simulator takes ansible", {"tests/simulator/soap.py": after_future("import ansible")}),
    ("simulator-apart", "simulator reaches by path", {"tests/simulator/soap.py": append('PATH = "plugins/module_utils"')}),
    ("simulator-apart", "simulator climbs out", {"tests/simulator/soap.py": after_future("from ... import plugins")}),
    # purity
    ("pure-domain", "reads a clock", {NTP: append("NOW = datetime.datetime.now(datetime.timezone.utc)")}),
    ("pure-domain", "reads a clock, old style", {NTP: append("NOW = datetime.datetime.utcnow()")}),
    ("pure-domain", "reads the date", {NTP: append("DAY = datetime.date.today()")}),
    ("pure-domain", "hands a clock on", {NTP: append("CLOCK = datetime.datetime.now")}),
    ("pure-domain", "local time zone", {NTP: append("def local(when):\n    return when.astimezone()")}),
    ("pure-domain", "opens a file", {NTP: append("def load(path):\n    return open(path)")}),
    ("pure-domain", "reads the environment", {NTP: append("def home(os):\n    return os.environ")}),
    ("pure-domain", "a value that can change", {NTP: append("@dataclass(kw_only=True)\nclass Loose:\n    x: int")}),
    # one door, one gate
    ("one-door", "check_mode elsewhere", {UTILS + "_module/pipeline.py": append("def f(module):\n    return module.check_mode")}),
    ("one-door", "check_mode by getattr", {UTILS + "_module/pipeline.py": append('def f(m):\n    return getattr(m, "check_mode")')}),
    ("one-door", "fail_json in a module", {ALIGN: append("BAD = FEATURE.fail_json")}),
    ("one-door", "exit_json in the client", {UTILS + "_client/guard.py": append("def f(m):\n    m.exit_json()")}),
    ("one-door", "_diff in the pipeline", {UTILS + "_module/pipeline.py": append("def f(m):\n    return m._diff")}),
    ("one-door", "AnsibleModule elsewhere", {UTILS + "_module/arguments.py": append("def f(AnsibleModule): ...")}),
    ("one-door", "fail_json in a plugin utility", {WAVES: append("def f(task):\n    task.fail_json()")}),
    ("pass-through", "an action plugin with a main of its own", {ACTION: append("def main():\n    print()")}),
    ("one-door", "a comment in the domain", {NTP: append("# unless check_mode is on")}),
    ("one-door", "the door is gone", {UTILS + "_module/run.py": lambda text: text.replace("_diff", "_difference")}),
    ("one-gate", "write in measure", {UTILS + "_vim/ntp.py": append("def measure2(session):\n    session.write('h', None, 'X')")}),
    ("one-gate", "upload in measure", {UTILS + "_vim/ntp.py": append("def measure2(session):\n    session.upload('h', '/folder/x', b'')")}),
    (
        "one-gate",
        "remove in the pipeline",
        {UTILS + "_module/pipeline.py": append("def f(session):\n    session.remove('h', '/folder/x')")},
    ),
    ("one-gate", "write in the pipeline", {UTILS + "_module/pipeline.py": append("def f(session):\n    session.write('h', None, 'X')")}),
    ("one-gate", "write through self", {UTILS + "_module/pipeline.py": append("def f(self):\n    self.session.write('h', None, 'X')")}),
    ("one-gate", "the gate forced", {UTILS + "_vim/ntp.py": append("def f(session):\n    session._may_write = True")}),
    ("one-gate", "around the gate", {UTILS + "_vim/ntp.py": append("def apply(session):\n    session._call(None, 'X', {})")}),
    ("lean-reads", "attribute reads let through", {STUB: swap("def InvokeAccessor(", "def InvokeAccessors(")}),
    ("lean-reads", "attribute reads answered", {STUB: swap('raise TypeError(f"{info.name}: read it in bulk")', "return None")}),
    # modules
    ("declarations", "a branch", {ALIGN: append("if PORT:\n    PORT = {}")}),
    ("declarations", "a choice", {ALIGN: append("CHOICE = 1 if PORT else 2")}),
    ("declarations", "a filter", {ALIGN: append("SOME = [key for key in PORT if key]")}),
    ("declarations", "a helper", {ALIGN: append("def helper():\n    return 1")}),
    ("declarations", "a main that does more", {ALIGN: swap("    run(FEATURE)", "    print()\n    run(FEATURE)")}),
    ("declarations", "work of somebody else", {ALIGN: swap("    run(FEATURE)", "    run_task(OPTIONS, other.work, missing=kms.MISSING)")}),
    ("declarations", "parameters", {ALIGN: append("X = FEATURE.params")}),
    ("declarations", "a reader not named _info", {FEATURE: swap("domain=domain,", "domain=domain, writes=False,")}),
    ("declarations", "a writer named _info", {"plugins/modules/esxi_ntp_info.py": swap("writes=False,", "")}),
    ("pass-through", "an action plugin that does something", {ACTION: append("class Other: ...")}),
    ("pass-through", "an action plugin with a function", {ACTION: append("def helper(): ...")}),
    ("pass-through", "an action plugin with a method", {ACTION: append("    def run(self, tmp=None, task_vars=None):\n        return {}")}),
    ("pass-through", "an action plugin with a setting", {ACTION: append("    _supports_async = False")}),
    ("pass-through", "an action plugin without its class", {ACTION: swap("class ActionModule", "class Action")}),
    ("pass-through", "a module run a second time", {WAVES: append("def f(self):\n    self._execute_module()")}),
    ("private", "a plugin utility does not say so", {"plugins/plugin_utils/x.py": python("", doc="Planted.")}),
    ("private", "does not say so", {UTILS + "_client/tasks2.py": python("", doc="Planted.")}),
    ("private", "annotations evaluated", {UTILS + "_client/t2.py": f'{HEADER}"""Planted. Private."""\n\nX = 1\n'}),
    # names
    ("names", "no role", dict.fromkeys(path.format("esxi_ntp_align") for path in ROLE)),
    ("names", "no playbook", {"playbooks/esxi_ntp_align.yml": None}),
    ("names", "no scenario", {"extensions/molecule/esxi_ntp_align/molecule.yml": None}),
    ("names", "no action plugin", {ACTION: None}),
    ("names", "an action plugin without a module", {"plugins/action/esxi_planted.py": SHOWN}),
    ("names", "no test", {"tests/**/test_esxi_ntp_align*.py": None}),
    ("names", "no action-group entry", {"meta/runtime.yml": GROUPS.replace("    - esxi_ntp_align\n", "")}),
    ("names", "no action-group entry of a reader", {"meta/runtime.yml": GROUPS.replace("    - esxi_ntp_info\n", "")}),
    ("names", "an entry of what connects to another server", {"meta/runtime.yml": GROUPS + "    - kms_key_info\n"}),
    ("names", "a writer of files without a role", {path.format("esxi_kickstart"): None for path in ROLE}),
    ("names", "a new writer alone", {"plugins/modules/esxi_ntp_planted.py": MODULE}),
    ("names", "a role without a module", {path.format("esxi_planted"): text for path, text in ROLE.items()}),
    ("names", "a role without its argument spec", {"roles/esxi_ntp_align/meta/argument_specs.yml": None}),
    ("names", "a role without a README", {"roles/esxi_ntp_align/README.md": None}),
    ("names", "a playbook without a module", {"playbooks/esxi_planted.yml": PLAY}),
    ("names", "a scenario without a module", {"extensions/molecule/esxi_planted/molecule.yml": HEADER}),
    ("names", "an action-group entry without a module", {"meta/runtime.yml": GROUPS + "    - esxi_planted\n"}),
    ("names", "esxi_remediate without playbook", {"playbooks/esxi_remediate.yml": None}),
    ("names", "esxi_remediate without scenario", {"extensions/molecule/esxi_remediate/molecule.yml": None}),
    # words and findings
    ("words", "judged and not translated", {UTILS + "_domain/tide.py": python(_TIDE)}),
    ("words", "translated and not judged", {UTILS + "_vim/tide.py": python("PROPERTIES = ()")}),
    ("words", "a word that no module has", {UTILS + "_domain/tide.py": python(_TIDE), UTILS + "_vim/tide.py": python("X = 1")}),
    (
        "findings",
        "a code that is never found",
        {NTP: swap('"clock_unmeasured": Meaning(', '"clock_lost": None,\n    "clock_unmeasured": Meaning(')},
    ),
    ("findings", "a code without meaning", {NTP: append('def f():\n    return _found("ntp_planted", "text")')}),
    ("findings", "a code misspelt in a comparison", {NTP: append('def f(finding):\n    return finding.code == "ntpd_mising"')}),
    ("findings", "a code misspelt in a set", {NTP: append('def f(all):\n    codes = {x.code for x in all}\n    return "ntp_x" in codes')}),
    # roles and playbooks
    ("roles", "another collection's module", {"roles/esxi_ntp_align/tasks/x.yml": TASKS + "- community.vmware.vmware_host_ntp: {}\n"}),
    ("roles", "a short name", {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- name: Time\n  esxi_ntp_align: {}\n"}),
    ("roles", "a short name in a block", {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- block:\n    - debug: {}\n"}),
    ("roles", "a short name in a handler", {"roles/esxi_ntp_align/handlers/main.yml": HEADER + "- name: Time\n  debug: {}\n"}),
    ("roles", "a module that is not there", {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- fleetcare.esxi.esxi_planted: {}\n"}),
    ("roles", "action hides a module", {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- action: command ls\n"}),
    ("roles", "local_action hides a module", {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- local_action: command ls\n"}),
    ("roles", "another collection's filter", {"roles/esxi_ntp_align/vars/x.yml": HEADER + 'x: "{{ y | ansible.utils.ipaddr }}"\n'}),
    (
        "roles",
        "another collection's role",
        {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- ansible.builtin.include_role:\n    name: a.b.c\n"},
    ),
    (
        "roles",
        "a role that is not there",
        {"roles/esxi_ntp_align/tasks/x.yml": HEADER + "- ansible.builtin.include_role: {name: fleetcare.esxi.no}\n"},
    ),
    ("roles", "a role that depends on another's", {"roles/esxi_ntp_align/meta/main.yml": HEADER + "dependencies: [a.b.c]\n"}),
    ("roles", "a search path of collections", {"roles/esxi_ntp_align/meta/main.yml": HEADER + "collections: [fleetcare.esxi]\n"}),
    ("playbooks", "a module in a playbook", {"playbooks/esxi_ntp_align.yml": PLAY + "  tasks:\n    - fleetcare.esxi.esxi_ntp_align: {}\n"}),
    ("playbooks", "a short role name", {"playbooks/esxi_ntp_align.yml": PLAY.replace("fleetcare.esxi.", "")}),
    ("playbooks", "another collection's role", {"playbooks/esxi_ntp_align.yml": PLAY + "    - other.collection.role\n"}),
    ("playbooks", "a role that is not there", {"playbooks/esxi_ntp_align.yml": PLAY + "    - fleetcare.esxi.esxi_planted\n"}),
    ("playbooks", "a playbook of others", {"playbooks/esxi_ntp_align.yml": PLAY + "- import_playbook: other.collection.play\n"}),
    (
        "playbooks",
        "another collection's lookup",
        {"playbooks/esxi_ntp_align.yml": PLAY + "  vars:\n    x: \"{{ lookup('community.general.x') }}\"\n"},
    ),
    # the whole tree
    (
        "no-tests-needed",
        "a playbook needs the simulator",
        {"playbooks/esxi_ntp_align.yml": PLAY + "  vars:\n    x: python -m tests.simulator\n"},
    ),
    ("no-tests-needed", "a role needs a file of the tests", {"roles/esxi_ntp_align/vars/x.yml": HEADER + "x: ../../tests/unit/house.py\n"}),
    ("no-tests-needed", "a plugin mentions them", {UTILS + "_client/guard.py": append("# see tests/unit for more")}),
    ("headers", "no header", {"docs/planted.md": "# Planted\n"}),
    ("headers", "no licence", {"tools/planted.sh": "#!/bin/sh\n" + HEADER.splitlines()[0] + "\n"}),
    ("headers", "no header on what is no text", {"docs/planted.png": "\0"}),
    ("headers", "a header far below", {"docs/planted.md": "\n" * 20 + HEADER}),
    ("dependencies", "a collection", {"galaxy.yml": swap("dependencies: {}", "dependencies: {community.vmware: '*'}")}),
    ("dependencies", "a third package", {"requirements.txt": append("jinja2")}),
    ("dependencies", "an exact pin", {"requirements.txt": append("pyvmomi==9.0.0.0")}),
]


def planted(tree: Mapping[str, str], edits: Edits) -> dict[str, str]:
    copy = dict(tree)
    for path, edit in edits.items():
        if "*" in path:
            start, end = path.split("*")[0], path.rpartition("/")[2].partition("*")[0]
            for name in [name for name in copy if name.startswith(start) and name.rpartition("/")[2].startswith(end)]:
                del copy[name]
        elif edit is None:
            del copy[path]
        elif isinstance(edit, str):
            copy[path] = edit
        else:
            copy[path] = edit(copy[path])
            assert copy[path] != tree[path], f"nothing was planted in {path}"
    return copy


@pytest.fixture(scope="module")
def ground(tree: dict[str, str]) -> dict[str, str]:
    return {**GROUND, **tree, "meta/runtime.yml": GROUPS}


@pytest.fixture(scope="module")
def known(ground: dict[str, str]) -> set[str]:
    """What is wrong before anything is planted, without line numbers."""
    return {_unplaced(problem) for problem in house.check_tree(ground)}


def _unplaced(problem: str) -> str:
    return ":".join(part for part in problem.split(":") if not part.split(" ")[0].isdigit()) if ".py:" in problem else problem


@pytest.mark.parametrize(("rule", "edits"), [pytest.param(r, e, id=f"{r}-{w}".replace(" ", "_")) for r, w, e in PLANTS])
def test_a_planted_violation_is_reported_by_its_rule_alone(rule: str, edits: Edits, ground: dict[str, str], known: set[str]) -> None:
    problems = {_unplaced(problem) for problem in house.check_tree(planted(ground, edits))} - known
    assert {problem.partition(":")[0] for problem in problems} == {rule}, "\n".join(sorted(problems))


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _what, _edits in PLANTS} == set(house.RULES)


def test_a_violation_in_a_real_copy_of_the_checkout_is_found(tree: dict[str, str], tmp_path: Path) -> None:
    """The reader finds what the rules are to see, in a folder as in this checkout."""
    for folder in ("plugins", "meta"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = house.check(tmp_path)
    with open(tmp_path / UTILS / "_domain" / "ntp.py", "a", encoding="utf-8") as file:
        file.write("\nimport time\n")
    new = set(house.check(tmp_path)) - set(before)
    assert len(new) == 1 and "imports time, which _domain may not" in new.pop()


def test_what_is_not_part_of_the_checkout_is_not_judged(tmp_path: Path) -> None:
    for place in (".venv/lib", "plugins/__pycache__", "tests/output", ".git", "dist"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x.py").write_text("import os\n")
    assert house.read(tmp_path) == {}
