# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house rules, as functions over a tree of files. ``test_house_rules.py`` holds this checkout to them.

Each rule takes the tree (path from the root -> text) and yields one sentence a violation. Nothing is imported or run:
syntax trees, YAML and file names are enough.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Tree = Mapping[str, str]
Rule = Callable[[Tree], Iterable[str]]

RULES: dict[str, Rule] = {}

COLLECTION = "fleetcare.esxi"
UTILS = "plugins.module_utils"
PLUGIN_UTILS = "plugins.plugin_utils"
# Roles and playbooks that compose features and so belong to no module of their own.
COMPOSED = {"esxi_remediate", "esxi_provision"}
# Modules that write files on the machine that runs them and to no server: no Feature, a role and a playbook written by hand.
LOCAL = {"esxi_kickstart", "esxi_audit"}
# Tasks that roles are made of, and the scenario that shows them at work: no feature, no server, no role of their own.
STEPS = {"esxi_audit_mail", "esxi_audit_report", "esxi_share"}
STEPS_AT_WORK = {"esxi_inventory"}
# Names only: which variables of a role are options of its module. Generated.
OPTION_NAMES = "plugins/plugin_utils/option_names.py"
# What judges all features: it has findings of its own and no managed objects.
WHOLE = "audit"
# The only file that knows Ansible's module interface.
DOOR = "plugins/module_utils/_module/run.py"
DOOR_WORDS = {"check_mode", "_diff", "fail_json", "exit_json", "AnsibleModule"}

# What of the standard library neither reads a clock nor the environment nor does I/O. To use more, add it here and say why.
PURE = frozenset(
    {
        *("__future__", "abc", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal"),
        *("difflib", "enum", "fnmatch", "fractions", "functools", "graphlib", "hashlib", "heapq", "hmac", "ipaddress"),
        *("itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "textwrap", "types", "typing"),
        # Bytes in, bytes or a tree out: a package that somebody hands over is unpacked and read, see _domain/vib_package.
        *("unicodedata", "xml", "zlib"),
        # Text in, cells out: a compatibility list is read from text, see _domain/hardware_list.
        "csv",
        # Text and bytes in, a message out: see _domain/report_mail.
        "email",
    }
)
# sqlalchemy is what PyKMIP keeps its keys with.
SIMULATOR_MAY = frozenset({"pyVmomi", "pyVim", "yaml", "cryptography", "kmip", "sqlalchemy", "tests.simulator"})

TASK_KEYWORDS = frozenset(
    {
        *("any_errors_fatal", "args", "async", "become", "become_exe", "become_flags", "become_method", "become_user"),
        *("changed_when", "check_mode", "connection", "debugger", "delay", "delegate_facts", "delegate_to", "diff"),
        *("environment", "failed_when", "ignore_errors", "ignore_unreachable", "listen", "loop", "loop_control"),
        *("module_defaults", "name", "no_log", "notify", "poll", "port", "register", "remote_user", "retries", "run_once"),
        *("tags", "throttle", "timeout", "until", "vars", "when"),
    }
)

_NOT_OURS = {".git", ".venv", ".ansible", ".hypothesis", "__pycache__", "dist", "node_modules"}


def read(root: Path) -> dict[str, str]:
    """Every file of the checkout as text; what is no text is there with a NUL."""
    tree: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        place = Path(folder).relative_to(root).as_posix()
        folders[:] = [name for name in folders if name not in _NOT_OURS and not name.startswith(".") or name in (".ci", ".config")]
        if place == "tests" and "output" in folders:
            folders.remove("output")
        for name in files:
            path = Path(folder, name)
            if path.is_symlink() or name.endswith(".pyc"):
                continue
            try:
                tree[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                tree[path.relative_to(root).as_posix()] = "\0"
            except FileNotFoundError:
                continue
    return tree


def check(root: Path) -> list[str]:
    """All violations below ``root``, each ``rule: sentence``."""
    return check_tree(read(root))


def check_tree(tree: Tree) -> list[str]:
    return [f"{name}: {problem}" for name, rule in RULES.items() for problem in rule(tree)]


def rule(name: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return add


# ---- reading ------------------------------------------------------------------------------------------------------------


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


@functools.cache
def loaded(text: str) -> Any:
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Takes Ansible's own tags (!unsafe, !vault) as plain values."""


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_object(_untagged(node), deep=True))


def _untagged(node: Any) -> Any:
    kind = {"ScalarNode": "str", "SequenceNode": "seq", "MappingNode": "map"}[type(node).__name__]
    return type(node)(f"tag:yaml.org,2002:{kind}", node.value)


def python_files(tree: Tree, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    for path, text in tree.items():
        if path.endswith(".py") and path.startswith(folders):
            yield path, parsed(text)


@functools.cache
def nodes(module: ast.Module) -> tuple[ast.AST, ...]:
    """Every node. Cached, as whatever is made of one file only: planting looks at the same files a hundred times."""
    return tuple(ast.walk(module))


def layer_of(path: str) -> str:
    """``_domain``, ``_client``, ``_vim``, ``_module``, ``_features``, or the folder of plugins; empty for what is in no layer."""
    found = re.match(
        r"plugins/(?:module_utils/(_domain|_client|_vim|_module|_features)|(modules|doc_fragments|action|filter|plugin_utils))/\w+\.py$",
        path,
    )
    return (found[1] or found[2]) if found else ""


def stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def word_files(tree: Tree, layer: str) -> dict[str, str]:
    """Feature words of a layer and their files. ``addresses``, ``errors`` and ``plan`` of _domain belong to all features."""
    shared = {"__init__", "addresses", "errors", "plan"} if layer == "_domain" else {"__init__"}
    return {stem(path): path for path in tree if layer_of(path) == layer and stem(path) not in shared}


def feature_words(tree: Tree) -> set[str]:
    judged = {word for word, path in word_files(tree, "_domain").items() if meanings(tree[path])}
    return (set(word_files(tree, "_vim")) | judged) - {WHOLE}


def modules(tree: Tree) -> dict[str, str]:
    return {stem(path): path for path in tree if layer_of(path) == "modules" and stem(path) != "__init__"}


def feature_text(tree: Tree, path: str) -> str:
    """Where a module's FEATURE stands: in itself, or in the file of _features that it takes it from."""
    for _line, name in imports(path, parsed(tree[path])):
        found = re.match(rf"{UTILS}\._features\.(\w+)\.FEATURE$", name)
        if found:
            return tree.get(f"plugins/module_utils/_features/{found[1]}.py", "")
    return tree[path]


def has_endpoint(tree: Tree, path: str) -> bool:
    """Whether a module has a vCenter or a host to connect to: a FEATURE, or several."""
    if any(name == f"{UTILS}._features.{WHOLE}" for _line, name in imports(path, parsed(tree[path]))):
        return True
    text = feature_text(tree, path)
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Feature" for node in nodes(parsed(text)))


def writes(tree: Tree, path: str) -> bool:
    """Whether a module's FEATURE may write. A module without one (see ``declarations``) writes to no vSphere server."""
    for node in nodes(parsed(feature_text(tree, path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Feature":
            for keyword in node.keywords:
                if keyword.arg == "writes" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False:
                    return False
            return True
    return False


@functools.cache
def imports(path: str, module: ast.Module) -> tuple[tuple[int, str], ...]:
    """Line and full dotted name of everything imported; names in this collection start with ``plugins.``."""
    return tuple(_imports(path, module))


def _imports(path: str, module: ast.Module) -> Iterator[tuple[int, str]]:
    own = f"ansible_collections.{COLLECTION}."
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*path.split("/")[: -node.level], *([node.module] if node.module else [])] if node.level else [node.module or ""]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            yield node.lineno, name.removeprefix(own)


def below(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@functools.cache
def docstrings(module: ast.Module) -> set[int]:
    """Identities of the constants that are docstrings."""
    found = set()
    for node in nodes(module):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


@functools.cache
def identifiers(module: ast.Module) -> tuple[tuple[int, str], ...]:
    """Every name in code: variables, attributes, arguments, functions, classes; and strings that are just such a name."""
    return tuple(_identifiers(module))


def _identifiers(module: ast.Module) -> Iterator[tuple[int, str]]:
    prose = docstrings(module)
    for node in nodes(module):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            yield line, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield line, node.name
        elif isinstance(node, ast.alias):
            yield line, (node.asname or node.name).rpartition(".")[2]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose and node.value.isidentifier():
            yield line, node.value


# ---- layers -------------------------------------------------------------------------------------------------------------


def _may_import(tree: Tree, path: str) -> set[str]:
    layer, word = layer_of(path), stem(path)
    standard = set(sys.stdlib_module_names)
    if layer == "_domain":
        return {*PURE, f"{UTILS}._domain"}
    if layer == "_client":
        # One file each: a library that is missing is one message.
        libraries = {"vmomi": {"pyVmomi"}, "kmip": {"kmip"}}.get(word, set())
        return {*standard, "requests", f"{UTILS}._client", f"{UTILS}._domain.errors", *libraries}
    if layer == "_vim":
        own = {f"{UTILS}._domain.{name}" for name in word_files(tree, "_domain") if name == word or name.startswith(f"{word}_")}
        shared = {f"{UTILS}._domain.{name}" for name in ("addresses", "errors", "plan")}
        return {*standard, f"{UTILS}._client", *shared, *own}
    if layer == "_module":
        known = ["_client", "_module", "_domain.errors", "_domain.plan", "_domain.audit", "_domain.audit_profile", "_domain.report_model"]
        known += ["_domain.report", "_domain.report_mail", "_domain.report_text"] if word == "mail" else []
        return {*standard, "ansible.module_utils", *(f"{UTILS}.{name}" for name in known)}
    if layer == "_features":
        if word == WHOLE:
            return {*standard, "ansible.module_utils", UTILS}
        return {"__future__", f"{UTILS}._module.feature", f"{UTILS}._domain.{word}", f"{UTILS}._vim.{word}"}
    if layer == "modules":
        words = {own for own in (*feature_words(tree), WHOLE) if f"_{own}_" in f"_{word}_"}
        own = {f"{UTILS}.{name}.{each}" for each in words for name in ("_domain", "_vim", "_features")}
        own |= {f"{UTILS}._module.mail"} if word == "esxi_audit_mail" else set()
        return {"__future__", f"{UTILS}._module.control_node", f"{UTILS}._module.feature", f"{UTILS}._module.run", *own}
    if layer == "action":
        # What ansible-lint has it do: see pass_through.
        return {"__future__", PLUGIN_UTILS, f"plugins.modules.{word}"}
    if layer == "filter":
        return {"__future__", "typing", "ansible.errors", "ansible.utils.unsafe_proxy", f"{UTILS}._domain"}
    if layer == "plugin_utils":
        if word == "report_files":
            # It makes files where the page's assets are; the options of its task stand in the module's documentation.
            pure = (f"{UTILS}._domain", f"{UTILS}._client.local_files", "plugins.modules.esxi_audit_report")
            return {*standard, "ansible.plugins.action", PLUGIN_UTILS, *pure}
        if word == "report_page":
            # Words and counts of a report are said once.
            return {*standard, f"{UTILS}._domain.report_model"}
        # On the control node, inside Ansible: nothing of what a module is made of.
        # cryptography: ansible-core itself needs it, so that it is there wherever a play is run.
        of_ansible = {"ansible.constants", "ansible.playbook.task_include", "ansible.plugins.action", "ansible.utils.display"}
        return {*standard, *of_ansible, "cryptography.fernet", PLUGIN_UTILS}
    return {"__future__"}


@rule("layers")
def layers(tree: Tree) -> Iterator[str]:
    """Who may import whom: the table of the architecture."""
    for path, module in python_files(tree, "plugins/"):
        layer = layer_of(path)
        if not layer and path not in ("plugins/module_utils/__init__.py", "plugins/__init__.py"):
            yield f"{path} is in no layer: give it one, or give the rules a new layer"
        allowed = _may_import(tree, path)
        words = set()
        for line, name in imports(path, module):
            if not below(name, allowed) or below(name, ("importlib", "runpy", "imp")):
                yield f"{path}:{line} imports {name}, which {layer or 'a file outside the layers'} may not"
            if layer == "modules" and (found := re.match(rf"{UTILS}\.(?:_domain|_vim|_features)\.(\w+)", name)):
                words.add(found[1])
        if len(words) > 1:
            yield f"{path} imports more than one feature: {', '.join(sorted(words))}"
        for line, name in identifiers(module):
            if name in ("__import__", "import_module"):
                yield f"{path}:{line} imports by name, which hides it from this rule"


@rule("feature-free")
def feature_free(tree: Tree) -> Iterator[str]:
    """_client, _module and plugin_utils know no feature by name."""
    words = feature_words(tree)
    for path, module in python_files(
        tree, *(f"plugins/{name}/" for name in ("module_utils/_client", "module_utils/_module", "plugin_utils"))
    ):
        if path == OPTION_NAMES:
            continue
        if stem(path) in words:
            yield f"{path} is named after a feature"
        for line, name in identifiers(module):
            for word in words.intersection(_parts(name)):
                yield f"{path}:{line} names the feature {word}: {name}"


@functools.cache
def _parts(name: str) -> tuple[str, ...]:
    return tuple(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_"))


@rule("simulator-apart")
def simulator_apart(tree: Tree) -> Iterator[str]:
    """Client and simulator must not share a mistake."""
    for path, module in python_files(tree, "tests/simulator/"):
        yield from _reaching(path, module)


@functools.cache
def _reaching(path: str, module: ast.Module) -> tuple[str, ...]:
    allowed = SIMULATOR_MAY | set(sys.stdlib_module_names)
    found = [f"{path}:{line} imports {name}; the simulator may not" for line, name in imports(path, module) if not below(name, allowed)]
    for node in nodes(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings(module):
            continue
        if re.search(r"ansible_collections|module_utils|plugins/", node.value):
            found.append(f"{path}:{node.lineno} reaches for the plugins: {node.value[:40]!r}")
    return tuple(found)


@rule("pure-domain")
def pure_domain(tree: Tree) -> Iterator[str]:
    """_domain reads no clock, no environment and no file, and its values cannot change."""
    for path, module in python_files(tree, "plugins/module_utils/_domain/"):
        for node in nodes(module):
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Attribute) and called.attr in ("now", "utcnow", "today"):
                    yield f"{path}:{node.lineno} reads a clock: .{called.attr}()"
                if isinstance(called, ast.Attribute) and called.attr == "astimezone" and not node.args and not node.keywords:
                    yield f"{path}:{node.lineno} depends on the local time zone: .astimezone()"
                if isinstance(called, ast.Name) and called.id in ("open", "print", "input", "exec", "eval"):
                    yield f"{path}:{node.lineno} calls {called.id}()"
            if isinstance(node, (ast.Name, ast.Attribute)):
                name = node.id if isinstance(node, ast.Name) else node.attr
                if name in ("environ", "environb", "getenv"):
                    yield f"{path}:{node.lineno} reads the environment: {name}"
                if name in ("now", "utcnow", "today") and isinstance(node, ast.Attribute) and "datetime" in ast.unparse(node.value):
                    yield f"{path}:{node.lineno} hands a clock on: {ast.unparse(node)}"
            if isinstance(node, ast.ClassDef):
                for mark in node.decorator_list:
                    if ast.unparse(mark).startswith(("dataclass", "dataclasses.dataclass")) and "frozen=True" not in ast.unparse(mark):
                        yield f"{path}:{node.lineno} {node.name} is a dataclass that is not frozen"


@rule("one-door")
def one_door(tree: Tree) -> Iterator[str]:
    """check_mode, _diff, fail_json, exit_json and AnsibleModule occur in one file of plugins."""
    users: dict[str, set[str]] = {}
    for path, module in python_files(tree, "plugins/"):
        for line, name in identifiers(module):
            if name in DOOR_WORDS:
                users.setdefault(name, set()).add(path)
                # An action plugin is told by its task whether this is a check run.
                if path != DOOR and (name != "check_mode" or layer_of(path) != "plugin_utils"):
                    yield f"{path}:{line} knows {name}; only {DOOR} may"
        if layer_of(path) in ("_domain", "_client", "_vim"):
            for found in re.finditer(r"\b(?:check_mode|_diff|fail_json|exit_json|AnsibleModule)\b", tree[path]):
                yield f"{path} mentions {found[0]}, which is none of its business"
    for name in sorted(DOOR_WORDS - users.keys()):
        yield f"{name} occurs nowhere in plugins: this rule looks for the wrong thing"


@rule("one-gate")
def one_gate(tree: Tree) -> Iterator[str]:
    """A write to a server is session.write(...), or upload or remove of a file, and only ``apply`` of a translation may say it, or its parts named
    ``_apply_...``, or ``reconnect``, by which vCenter takes up again a host that a run has cut off."""
    for path, module in python_files(tree, "plugins/"):
        if path.endswith("_client/session.py"):
            continue
        inside: set[int] = set()
        parts: set[int] = set()
        for node in nodes(module):
            if not isinstance(node, ast.FunctionDef):
                continue
            applies = layer_of(path) == "_vim" and (node.name == "apply" or node.name.startswith("_apply_"))
            if applies or (path.endswith("_client/reach.py") and node.name == "reconnect"):
                inside.update(id(part) for part in ast.walk(node))
            if applies:
                parts.update(id(part) for part in ast.walk(node))
        for node in nodes(module):
            if isinstance(node, ast.Name) and node.id.startswith("_apply_") and id(node) not in parts:
                yield f"{path}:{node.lineno} uses {node.id}, a part of apply(), outside of it"
        for node in nodes(module):
            gates = ("write", "upload", "remove")
            if isinstance(node, ast.Attribute) and node.attr in (*gates, "_call", "_send", "_command", "_through_gate", "_may_write"):
                receiver = ast.unparse(node.value).rpartition(".")[2]
                if (receiver == "session" or node.attr == "_may_write") and not (node.attr in gates and id(node) in inside):
                    yield f"{path}:{getattr(node, 'lineno', 0)} uses session.{node.attr} outside apply() of a translation"


@rule("lean-reads")
def lean_reads(tree: Tree) -> Iterator[str]:
    """pyVmomi's attribute access, one round trip each, is refused by the stub and so cannot creep in."""
    path = "plugins/module_utils/_client/vmomi.py"
    guards = set()
    for node in nodes(parsed(tree.get(path, ""))):
        if isinstance(node, ast.FunctionDef) and len(node.body) == 1 and isinstance(node.body[0], ast.Raise):
            guards.add(node.name)
    for name in sorted({"InvokeAccessor", "InvokeMethod"} - guards):
        yield f"{path}: {name} of the stub does not simply raise"


@rule("declarations")
def declarations(tree: Tree) -> Iterator[str]:
    """A module is documentation, constants and a main() of one line: no branch, no look at parameters. That line is
    run(FEATURE); of a module that asks no vSphere server, run_task with the work of its word."""
    for name, path in modules(tree).items():
        module = parsed(tree[path])
        mains = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
        lines = [ast.unparse(line) for main in mains for line in main.body]
        if lines != ["run(FEATURE)"] and not (
            len(lines) == 1 and re.fullmatch(r"run_task\(OPTIONS, (\w+)\.work, missing=\1\.MISSING(?:, secrets=\1\.secrets)?\)", lines[0])
        ):
            yield f"{path}: main() is to be run(FEATURE) and nothing else"
        guards = [node for node in module.body if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"]
        for line in module.body:
            if not isinstance(line, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)) and line not in [*mains, *guards]:
                yield f"{path}:{line.lineno} holds a {type(line).__name__}; a module is declarations only"
        for node in nodes(module):
            branches = isinstance(node, (ast.If, ast.IfExp, ast.Match, ast.While, ast.For, ast.BoolOp, ast.Try))
            if (branches and node not in guards) or (isinstance(node, ast.comprehension) and node.ifs):
                yield f"{path}:{getattr(node, 'lineno', 0)} decides something ({type(node).__name__}); that belongs to a layer below"
            if isinstance(node, ast.Attribute) and node.attr == "params" or isinstance(node, ast.Name) and node.id == "params":
                yield f"{path}:{node.lineno} looks at parameters"
        if writes(tree, path) == name.endswith("_info") and (name not in LOCAL | STEPS or writes(tree, path)):
            yield f"{path}: a module is named ..._info if, and only if, its feature has writes=False"


@rule("pass-through")
def pass_through(tree: Tree) -> Iterator[str]:
    """An action plugin is an empty class over the one of plugin_utils: what a task does is decided in its module."""
    for path, module in python_files(tree, "plugins/action/"):
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        if [node.name for node in classes] != ["ActionModule"]:
            yield f"{path} is to hold the class ActionModule and no other"
        for line in module.body:
            if not isinstance(line, (ast.ClassDef, ast.ImportFrom)) and not _is_text(line) and not _is_main_of(line, stem(path)):
                yield f"{path}:{line.lineno} holds a {type(line).__name__}; an action plugin is a class and nothing else"
            elif isinstance(line, ast.ImportFrom) and line.module and "plugins.modules" in line.module:
                yield f"{path}:{line.lineno} imports a module; only its function main does, which Ansible never calls"
        for inside in [inside for each in classes for inside in each.body if not _is_text(inside)]:
            yield f"{path}:{inside.lineno} does something of its own ({type(inside).__name__}); that belongs to plugin_utils"
    for path, module in python_files(tree, "plugins/plugin_utils/"):
        for number, name in identifiers(module):
            if name in ("_execute_module", "_low_level_execute_command"):
                yield f"{path}:{number} runs a module by itself ({name}); Ansible's own action plugin does that, once"


def _is_main_of(node: ast.stmt, name: str) -> bool:
    """A function that calls the module of this name and does nothing else: what ansible-lint judges a task's options with."""
    if not isinstance(node, ast.FunctionDef) or node.name != "main":
        return False
    body = [each for each in node.body if not _is_text(each)]
    return len(body) == 2 and isinstance(body[0], ast.ImportFrom) and ast.unparse(body[1]) == f"{name}.main()"


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@rule("private")
def private(tree: Tree) -> Iterator[str]:
    """Utilities are private and say so; every plugin file postpones its annotations."""
    for path, module in python_files(tree, "plugins/"):
        if module.body and not any(name == "__future__.annotations" for _line, name in imports(path, module)):
            yield f"{path} lacks from __future__ import annotations"
        if (
            path.startswith(("plugins/module_utils/", "plugins/plugin_utils/"))
            and module.body
            and "Private" not in (ast.get_docstring(module) or "")
        ):
            yield f"{path} does not say that it is private to this collection"


# ---- features and their names -------------------------------------------------------------------------------------------


def scenarios(tree: Tree) -> set[str]:
    return {path.split("/")[2] for path in tree if re.match(r"extensions/molecule/[^/]+/molecule\.yml$", path)}


def role_names(tree: Tree) -> set[str]:
    return {path.split("/")[1] for path in tree if path.startswith("roles/") and path.count("/") >= 2}


def playbook_names(tree: Tree) -> set[str]:
    return {found[1] for path in tree if (found := re.match(r"playbooks/([^/]+)\.ya?ml$", path))}


def action_groups(tree: Tree) -> dict[str, list[str]]:
    runtime = loaded(tree.get("meta/runtime.yml", "")) or {}
    groups = runtime.get("action_groups") or {}
    return {
        group: [name.removeprefix(COLLECTION + ".") for name in names or () if isinstance(name, str)] for group, names in groups.items()
    }


@rule("names")
def names(tree: Tree) -> Iterator[str]:
    """Module, role, playbook, scenario, test, action plugin and action-group entry of one name all exist, and none stands alone."""
    known, groups = modules(tree), action_groups(tree)
    grouped = set(groups.get("esxi", ()))
    roles, playbooks, played = role_names(tree), playbook_names(tree), scenarios(tree)
    tests = {stem(path) for path in tree if path.startswith("tests/") and stem(path).startswith("test_")}
    actions = {stem(path) for path in tree if layer_of(path) == "action"}
    for name, path in sorted(known.items()):
        if has_endpoint(tree, path) and name not in grouped:
            yield f"module {name} is missing in the action group esxi of meta/runtime.yml"
        # The group's defaults are how to connect to vSphere: another server must not be told that password.
        if not has_endpoint(tree, path) and name in grouped:
            yield f"module {name} is in the action group esxi of meta/runtime.yml, and connects to no vSphere"
        if not writes(tree, path) and name not in LOCAL:
            continue
        if name not in roles:
            yield f"module {name} has no role roles/{name}"
        if name not in playbooks:
            yield f"module {name} has no playbook playbooks/{name}.yml"
        if name not in actions and name not in LOCAL:
            yield f"module {name} has no action plugin plugins/action/{name}.py"
        if name not in played:
            yield f"module {name} has no scenario extensions/molecule/{name}"
        if not any(test == f"test_{name}" or test.startswith(f"test_{name}_") for test in tests):
            yield f"module {name} has no test file test_{name}.py"
    for name in sorted(roles):
        for file in ("tasks/main.yml", "meta/argument_specs.yml", "README.md"):
            if f"roles/{name}/{file}" not in tree:
                yield f"role {name} has no {file}"
        if name in COMPOSED and name not in playbooks:
            yield f"role {name} has no playbook playbooks/{name}.yml"
        if name in COMPOSED and name not in played:
            yield f"role {name} has no scenario extensions/molecule/{name}"
    owners = set(known) | COMPOSED
    for kind, found in (("role", roles), ("playbook", playbooks), ("action plugin", actions)):
        for name in sorted(found - owners):
            # A playbook may be a part of what one of them does, as a scenario may.
            if kind != "playbook" or not any(name.startswith(owner + "_") for owner in owners):
                yield f"{kind} {name} belongs to no module"
    for name in sorted(played):
        if name not in owners | STEPS_AT_WORK and not any(name.startswith(owner + "_") for owner in owners):
            yield f"scenario {name} belongs to no module"
    for group, members in sorted(groups.items()):
        for name in sorted(set(members) - set(known)):
            yield f"action group {group} names {name}, which is no module"


@rule("words")
def words(tree: Tree) -> Iterator[str]:
    """A feature's word stands in both of its layers and in a module."""
    judged = {word for word, path in word_files(tree, "_domain").items() if meanings(tree[path])} - {WHOLE}
    translated = set(word_files(tree, "_vim"))
    for word in sorted(judged - translated):
        yield f"_domain/{word}.py has findings and there is no _vim/{word}.py"
    for word in sorted(translated - judged):
        yield f"_vim/{word}.py has no _domain/{word}.py with MEANINGS"
    for word in sorted(judged | translated):
        if not any(f"_{word}_" in f"_{name}_" for name in modules(tree)):
            yield f"no module has the feature's word {word} in its name"


def meanings(text: str) -> dict[str, int]:
    """Keys of MEANINGS and their lines."""
    for node in parsed(text).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "MEANINGS" for target in targets):
                return {str(key.value): key.lineno for key in node.value.keys if isinstance(key, ast.Constant)}
    return {}


@rule("findings")
def findings(tree: Tree) -> Iterator[str]:
    """Every finding code has a meaning, every meaning is found somewhere, and codes are unique in the collection."""
    owner: dict[str, str] = {}
    for path, module in python_files(tree, "plugins/module_utils/_domain/"):
        known = meanings(tree[path])
        if not known:
            continue
        for code in known:
            if owner.setdefault(code, path) != path:
                yield f"{path}: {code} is a finding of {owner[code]} already"
            if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", code):
                yield f"{path}: {code} is no name for a finding"
        made, compared = _codes(module)
        for code, line in sorted({**compared, **made}.items()):
            if code not in known:
                yield f"{path}:{line} uses {code}, which MEANINGS does not have"
        for code in sorted(set(known) - set(made)):
            yield f"{path}:{known[code]} {code} is never found"


def _called(function: ast.expr) -> str:
    """A function's name, or that of a method, whose first argument is the object."""
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def _codes(module: ast.Module) -> tuple[dict[str, int], dict[str, int]]:
    """Codes that are handed to a function with a parameter ``code``, and codes that others are compared with."""
    makers: dict[str, int] = {}
    sets: set[str] = set()
    for node in nodes(module):
        if isinstance(node, ast.FunctionDef):
            for position, argument in enumerate(node.args.args):
                if argument.arg == "code":
                    makers[node.name] = position
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.SetComp, ast.ListComp)):
            element = node.value.elt
            if isinstance(element, ast.Attribute) and element.attr == "code":
                sets.update(target.id for target in node.targets if isinstance(target, ast.Name))
    made: dict[str, int] = {}
    compared: dict[str, int] = {}
    for node in nodes(module):
        if isinstance(node, ast.Call) and (name := _called(node.func)) in makers:
            position = makers[name] - isinstance(node.func, ast.Attribute)
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"] + node.args[position : position + 1]
            for part in given:
                made.update((c.value, c.lineno) for c in ast.walk(part) if isinstance(c, ast.Constant) and isinstance(c.value, str))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(s, ast.Attribute) and s.attr == "code" or isinstance(s, ast.Name) and s.id in sets for s in sides):
                for side in sides:
                    compared.update((c.value, c.lineno) for c in ast.walk(side) if isinstance(c, ast.Constant) and isinstance(c.value, str))
    return made, compared


# ---- roles and playbooks ------------------------------------------------------------------------------------------------

_OTHERS = re.compile(r"\b(?:community|vmware|ansible|theforeman|kubernetes)\.(?!builtin\b)[a-z_]+\.[a-z_]+\b")


def _tasks(items: Any) -> Iterator[dict[str, Any]]:
    for item in items or ():
        if not isinstance(item, dict):
            continue
        yield item
        for part in ("block", "rescue", "always"):
            yield from _tasks(item.get(part))


def _actions(task: dict[str, Any]) -> list[str]:
    return [key for key in task if key not in TASK_KEYWORDS | {"block", "rescue", "always"} and not key.startswith("with_")]


def _roles_asked_for(task: dict[str, Any]) -> Iterator[str]:
    for action in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
        if action in task:
            yield str((task[action] or {}).get("name", ""))


def _bad_role(name: str, tree: Tree) -> str:
    if not name.startswith(COLLECTION + "."):
        return f"the role {name!r} is not one of {COLLECTION} by its full name"
    if "{{" not in name and name.removeprefix(COLLECTION + ".") not in role_names(tree):
        return f"the role {name} does not exist"
    return ""


def _foreign(path: str, text: str) -> Iterator[str]:
    code = "\n".join(line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    for found in _OTHERS.finditer(code):
        yield f"{path} needs another collection: {found[0]}"


@rule("roles")
def roles(tree: Tree) -> Iterator[str]:
    """Roles are made of this collection's modules and ansible.builtin, by their full names."""
    for path, text in tree.items():
        if not re.match(r"roles/[^/]+/.+\.ya?ml$", path):
            continue
        yield from _foreign(path, text)
        content = loaded(text)
        if re.match(r"roles/[^/]+/(tasks|handlers)/", path):
            for task in _tasks(content):
                for action in _actions(task):
                    ours = action.removeprefix(COLLECTION + ".")
                    if not action.startswith(("ansible.builtin.", COLLECTION + ".")) or (ours != action and ours not in modules(tree)):
                        yield f"{path}: {action} is neither a module of {COLLECTION} nor one of ansible.builtin"
                for name in _roles_asked_for(task):
                    if bad := _bad_role(name, tree):
                        yield f"{path}: {bad}"
        if re.match(r"roles/[^/]+/meta/main\.ya?ml$", path):
            for role in (content or {}).get("dependencies") or ():
                name = role if isinstance(role, str) else str(role.get("role") or role.get("name"))
                if bad := _bad_role(name, tree):
                    yield f"{path}: {bad}"
            for collection in (content or {}).get("collections") or ():
                yield f"{path}: names the collection {collection}; full names need none"


@rule("playbooks")
def playbooks(tree: Tree) -> Iterator[str]:
    """Playbooks are made of this collection's roles, with ansible.builtin between them; modules that only read have no
    role, so a playbook may use those as they are."""
    readers = {f"{COLLECTION}.{name}" for name in modules(tree) if name.endswith("_info")}
    for path, text in tree.items():
        if not re.match(r"playbooks/[^/]+\.ya?ml$", path):
            continue
        yield from _foreign(path, text)
        for play in loaded(text) or ():
            for other in [play[key] for key in play if key.endswith("import_playbook")]:
                if str(other).removeprefix(COLLECTION + ".") not in playbook_names(tree) or not str(other).startswith(COLLECTION + "."):
                    yield f"{path}: imports {other}, which is no playbook of {COLLECTION} by its full name"
            for role in play.get("roles") or ():
                name = role if isinstance(role, str) else str(role.get("role") or role.get("name"))
                if bad := _bad_role(name, tree):
                    yield f"{path}: {bad}"
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                for task in _tasks(play.get(part)):
                    for action in _actions(task):
                        if not action.startswith("ansible.builtin.") and action not in readers:
                            yield f"{path}: {action} is not one of ansible.builtin; features are used through roles"
                    for name in _roles_asked_for(task):
                        if bad := _bad_role(name, tree):
                            yield f"{path}: {bad}"


# ---- the whole tree -----------------------------------------------------------------------------------------------------


@rule("no-tests-needed")
def no_tests_needed(tree: Tree) -> Iterator[str]:
    """Everything outside meta, plugins, roles and playbooks may be deleted and the collection still works."""
    for path, text in tree.items():
        if path.startswith(("plugins/", "roles/", "playbooks/", "meta/", "extensions/eda/", "extensions/audit/")):
            for number, line in enumerate(text.splitlines(), 1):
                if re.search(r"\btests[./]\w", line):
                    yield f"{path}:{number} mentions the tests"


@rule("headers")
def headers(tree: Tree) -> Iterator[str]:
    """Every file that is not empty says whose it is and under which licence, or REUSE.toml says it."""
    covered = re.findall(r'"([^"\n]+)"', "".join(re.findall(r"^path = (.*(?:\n .*)*)", tree.get("REUSE.toml", ""), re.M)))
    for path, text in sorted(tree.items()):
        if (
            not text
            or path == "LICENSE"
            or path.startswith("LICENSES/")
            or path.endswith(".license")
            or any(fnmatch.fnmatch(path, p) for p in covered)
        ):
            continue
        head = "\n".join(tree.get(path + ".license", text).splitlines()[:8])
        for mark in ("SPDX-" + "FileCopyrightText: fleetcare.esxi contributors", "SPDX-" + "License-Identifier: GPL-3.0-or-later"):
            if mark not in head:
                yield f"{path} lacks the line {mark}"


@rule("dependencies")
def dependencies(tree: Tree) -> Iterator[str]:
    """No other collection; pyvmomi and requests, neither pinned."""
    for name in (loaded(tree.get("galaxy.yml", "")) or {}).get("dependencies") or ():
        yield f"galaxy.yml depends on {name}"
    for line in tree.get("requirements.txt", "").splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted and (not re.match(r"(pyvmomi|requests)(?![\w.-])", wanted) or "==" in wanted):
            yield f"requirements.txt: {wanted}"
