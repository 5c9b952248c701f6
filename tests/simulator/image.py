# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What esxcli and the patch manager do to a host's image: install, remove, acceptance level, firewall files, boot.

Texts are those that people quoted from real hosts; where they stand:
  acceptance on install      lamw/ghettoVCB#307 (8.0.1, with --force), vsphere-storage-for-docker#764 (6.x: --force did help)
  acceptance set             lamw/ghettoVCB#63, vmware-archive/photon-controller#55
  sha-256 gunzip             lamw/ghettoVCB#275, w2c/letsencrypt-esxi#6 (8.0)
  extensibility rules        fangli/esxi-hardware-watchdog-driver#2, lamw/ghettoVCB#64 and #211
  downloads                  lamw/ghettoVCB#282
  results                    lamw/ghettoVCB#308 (live), fangli#2 (reboot), lamw/ghettoVCB#254 (skipped), an issue about `--dry-run` on 6.7
  Secure Boot                vSphere Security ("Failed to verify signatures of the following vibs"), OpenNebula/one#3481 (no community level)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from . import vib
from .profile import Ruleset
from .software import (
    DEFAULT_LEVEL,
    DESCRIPTOR_LEVELS,
    EXEC_OPTION,
    LEVELS,
    ImageError,
    Package,
    at_most,
    base_image,
    lowest,
    package_row,
)
from .state import RulesetState, StateMap

if TYPE_CHECKING:
    from .host import Host

_DEFAULT = Package("", "", "", DEFAULT_LEVEL)
LOG_LINE = "Please refer to the log file for more details."
DONE = "Operation finished successfully."
REBOOT = "The update completed successfully, but the system needs to be rebooted for the changes to be effective."
UNCHANGED = "Host is not changed."
DRY_RUN = "Dryrun only, host not changed. The following installers will be applied: [{}]"


@dataclass
class Result:
    """esxcli's InstallationResult."""

    message: str = UNCHANGED
    reboot_required: bool = False
    installed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class How:
    """The flags of install, update and remove."""

    dry_run: bool = False
    force: bool = False
    maintenance: bool = False
    no_live: bool = False
    no_signature: bool = False
    only_updates: bool = False


def begin(host: Host, row: dict[str, Any], shared: dict[str, Any]) -> None:
    """The software of a host as its scenario entry says; hosts of one entry share it."""
    added = [package_row(one, f"hosts[].software[{index}]") for index, one in enumerate(row.get("software", ()))]
    if added:
        software = shared.setdefault("software", StateMap({**host.software, **{package.name: package for package in added}}))
        host.software = software
    host.acceptance = row.get("acceptance", lowest([*added, _DEFAULT]))
    host.secure_boot = row.get("secure_boot", False)
    host.require_secure_boot = row.get("require_secure_boot", False)
    host.exec_installed_only = row.get("exec_installed_only", host.exec_installed_only)
    host.require_exec_installed_only = row.get("require_exec_installed_only", False)
    if bool(host.advanced.get(EXEC_OPTION)) != host.exec_installed_only:
        host.advanced = shared.setdefault("advanced", host.advanced.changed(EXEC_OPTION, host.exec_installed_only))
    host.tpm = dict(row.get("tpm", {}))
    host.image_managed = row.get("image_managed", False)
    if any(package.rulesets for package in added):
        refresh(host)


# ---- where files come from -----------------------------------------------------------------------------------------------------------
def fetch(item: Any, url: str) -> bytes:
    """The bytes behind a path or URL as the host sees it; `item` is the HostSystem. Nothing of the network is reachable here."""
    path = url
    if url.startswith("["):
        name, bracket, rest = url[1:].partition("]")
        if bracket:
            path = f"/vmfs/volumes/{name}/{rest.strip()}"
    elif url.startswith("file:"):
        path = "/" + unquote(url.removeprefix("file:").lstrip("/"))
    elif "://" in url:
        raise ImageError(
            "VibDownloadError", f"('{url}', '/tmp/vib_simulated', '<urlopen error [Errno 113] No route to host>')", f"url = {url}"
        )
    elif not url.startswith("/"):
        raise ImageError("VibDownloadError", f"('{url}', '/tmp/vib_simulated', \"unknown url type: '{url}'\")", f"url = {url}")
    content = on_host(item, path)
    if content is None:
        reason = f"<urlopen error [Errno 2] No such file or directory: '{path}'>"
        raise ImageError("VibDownloadError", f"('{url}', '/tmp/vib_simulated', \"{reason}\")", f"url = {url}")
    return content


def on_host(item: Any, path: str) -> bytes | None:
    """A file below /vmfs/volumes/NAME or /vmfs/volumes/UUID; hosts have no other files here."""
    parts = [part for part in path.split("/") if part]
    if parts[:2] != ["vmfs", "volumes"] or len(parts) < 4:
        return None
    store = next((one for one in item.stores if parts[2] in (one.title, one.uuid)), None)
    if store is None or not store.reachable:
        return None
    found: bytes | None = store.files.get("/".join(parts[3:]))
    return found


def opened(item: Any, urls: list[str], depots: list[str], names: list[str]) -> list[vib.Opened]:
    """What `--viburl` and `--depot` lead to; `--vibname` chooses from depots."""
    found = [vib.read(fetch(item, url), url) for url in urls]
    for depot in depots:
        path = "/" + depot.removeprefix("file:").lstrip("/") if depot.startswith("file:") else depot
        if path.endswith(".zip"):
            if not path.startswith("/"):
                raise ImageError("ValueError", "Only server local file path is supported for offline bundles.")
            content = on_host(item, path)
        else:
            content = None
        if content is None:
            address = f"zip:{path}?index.xml" if path.endswith(".zip") else depot
            reason = f"Error extracting index.xml from {path}: [Errno 2] No such file or directory: '{path}'"
            text = f"Could not download from depot at {address}, skipping (('{address}', '', \"{reason}\"))"
            raise ImageError("MetadataDownloadError", text, f"url = {address}")
        rows = vib.bundle(content, path)
        if names:
            for name in names:
                if not any(matches(one.package, name) for one in rows):
                    raise ImageError(
                        "NoMatchError", f"No VIB matching the name or bulletin ID '{name}' was found in the depot.", f"id = {name}"
                    )
            rows = [one for one in rows if any(matches(one.package, name) for name in names)]
        found += rows
    return found


def matches(package: Package, text: str) -> bool:
    """name, name:version, vendor:name or vendor:name:version (the help of --vibname)."""
    own = (
        package.name,
        f"{package.name}:{package.version}",
        f"{package.vendor}:{package.name}",
        f"{package.vendor}:{package.name}:{package.version}",
    )
    return text in own


def _shipped(host: Host) -> str:
    return f"ESXi-{host.profile.version}-{host.profile.build}-standard"


def profile_name(host: Host) -> str:
    """The image profile as hosts name it: what was shipped, "(Updated)" once a package came or went (ghettoVCB#275, #254)."""
    return _shipped(host) if host.software is base_image(host.profile) else f"(Updated) {_shipped(host)}"


# ---- installing ----------------------------------------------------------------------------------------------------------------------
def install(item: Any, urls: list[str], depots: list[str], names: list[str], how: How) -> Result:
    host: Host = item.state
    if not urls and not depots:
        raise ImageError("ValueError", "No VIBs to install: give a depot or the URL of a VIB.")
    if host.image_managed and host.options["image_managed_install"] == "refused":
        raise ImageError(
            "InstallationError", "The host is managed by a single image (vSphere Lifecycle Manager), changes must be made to that image."
        )
    result = Result()
    image = host.boot_software if host.boot_software is not None else host.software
    chosen: list[Package] = []
    for one in opened(item, urls, depots, names):
        package = one.package
        old = image.get(package.name)
        same = old is not None and (old.vendor, old.version) == (package.vendor, package.version)
        if same or (how.only_updates and (old is None or not newer(package.version, old.version))):
            result.skipped.append(package.id)
        else:
            _admit(host, image, one, how)
            chosen.append(package)
            if old is not None:
                result.removed.append(old.id)
    if not chosen:
        result.removed.clear()
        return _told(result, how)
    made = dict(image)
    for package in chosen:
        result.installed.append(package.id)
        made[package.name] = package
    live = (
        not how.no_live
        and host.boot_software is None
        and all(package.live_install and (package.name not in image or image[package.name].live_remove) for package in chosen)
    )
    _maintenance(host, chosen, live, how)
    return _finish(host, StateMap(made), live, result, how)


def newer(one: str, two: str) -> bool:
    return _ordered(one) > _ordered(two)


def _ordered(version: str) -> list[tuple[int, int | str]]:
    """Numbers as numbers, all else as text, which is near enough to how VIB versions are compared."""
    parts: list[tuple[int, int | str]] = []
    for word in version.replace("-", ".").split("."):
        parts.append((1, int(word)) if word.isdigit() else (0, word))
    return parts


def _admit(host: Host, image: StateMap, one: vib.Opened, how: How) -> None:
    package = one.package
    options = host.options
    level = DESCRIPTOR_LEVELS[package.acceptance_level]
    # From 8.0 on --force does not help against the level; on 6.x it did.
    forced = how.force and options["forced_below_level"] == "taken"
    if not forced and not at_most(host.acceptance, package.acceptance_level):
        raise ImageError(
            "AcceptanceConfigError",
            f"VIB {package.id}'s acceptance level is {level}, which is not compliant with the ImageProfile acceptance level "
            f"{DESCRIPTOR_LEVELS[host.acceptance]}",
            "To change the host acceptance level, use the 'esxcli software acceptance set' command.",
        )
    if host.secure_boot and (how.no_signature or how.force) and options["secure_boot_install"] == "refused":
        flag = "--no-sig-check" if how.no_signature else "--force"
        raise ImageError("VibSigVerifyError", f"Secure Boot is enabled: the option {flag} is not allowed.")
    if not package.signed:
        if package.acceptance_level != "community" and not how.no_signature:
            raise ImageError(
                "VibSigMissingError", f"('{package.id}', 'VIB {package.id} does not contain a signature')", f"vib = {package.id}"
            )
        if host.secure_boot and options["secure_boot_install"] == "refused":
            raise ImageError(
                "VibSigMissingError",
                f"('{package.id}', 'VIB {package.id} is not signed and Secure Boot is enabled')",
                f"vib = {package.id}",
            )
    if options["extensibility_rules"] and package.acceptance_level == "community" and not how.force:
        raise ImageError(
            "VibValidationError",
            f"VIB {package.id} violates extensibility rule checks: ['(line 1: col 0) Element vib failed to validate content']",
        )
    if options["gunzip_checksum_needed"] and not one.gunzip_sha256:
        profile = f"(Updated) {_shipped(host)}"
        raise ImageError(
            "ProfileValidationError",
            f"In ImageProfile {profile}, the payload(s) in VIB {package.id} does not have sha-256 gunzip checksum. This will prevent VIB security "
            "verification and secure boot from functioning properly. Please remove this VIB or please check with your vendor for a replacement "
            "of this VIB",
        )
    if how.force:
        return
    for relation in package.depends:
        if not _provided(relation, image, host):
            raise ImageError(
                "DependencyError", f"VIB {package.id} requires {relation}, but the requirement cannot be satisfied within the ImageProfile."
            )
    for other in image.values():
        if any(relation.split()[0] == other.name for relation in package.conflicts) and other.name != package.name:
            raise ImageError("DependencyError", f"VIB {package.id} conflicts with {other.id}.")
        shared = sorted(set(other.files) & set(package.files))
        if shared and other.name != package.name:
            raise ImageError(
                "ProfileValidationError",
                f"File path of '/{shared[0]}' is claimed by multiple non-overlay VIBs: {{'{other.id}', '{package.id}'}}",
            )


def _provided(relation: str, image: StateMap, host: Host) -> bool:
    """Whether a dependency is met: by a package's name, something it provides, or the release itself (esx-version)."""
    name, *rest = relation.split()
    if name == "esx-version":
        version = host.profile.version
    elif name in image:
        version = image[name].version
    else:
        return any(name == text.split()[0] for package in image.values() for text in package.provides)
    if len(rest) != 2:
        return True
    sign, wanted = rest
    one, two = _ordered(version), _ordered(wanted)
    return {"<<": one < two, "<": one < two, "<=": one <= two, "=": one == two, ">=": one >= two, ">>": one > two, ">": one > two}.get(
        sign, False
    )


def _maintenance(host: Host, packages: list[Package], live: bool, how: How) -> None:
    busy = [package.id for package in packages if package.maintenance_required]
    if live and busy and not host.maintenance and not how.maintenance and not how.dry_run:
        raise ImageError("MaintenanceModeError", f"MaintenanceMode is required to install or remove: [{', '.join(busy)}].")


def _finish(host: Host, made: StateMap, live: bool, result: Result, how: How) -> Result:
    result.reboot_required = not live
    if how.dry_run:
        result.message = DRY_RUN.format("LiveImageInstaller, BootBankInstaller" if live else "BootBankInstaller")
        return result
    result.message = DONE if live else REBOOT
    with host.changing():
        if live:
            host.software = made
            if host.options["refresh_after_install"]:
                refresh(host)
        else:
            host.boot_software = made
            host.reboot_required = True
    return result


def _told(result: Result, how: How) -> Result:
    if how.dry_run:
        result.message = DRY_RUN.format("")
    return result


def remove(item: Any, names: list[str], how: How) -> Result:
    host: Host = item.state
    if host.image_managed and host.options["image_managed_install"] == "refused":
        raise ImageError(
            "InstallationError", "The host is managed by a single image (vSphere Lifecycle Manager), changes must be made to that image."
        )
    image = host.boot_software if host.boot_software is not None else host.software
    chosen: list[Package] = []
    for name in names:
        rows = [package for package in image.values() if matches(package, name)]
        if not rows:
            raise ImageError("NoMatchError", "No VIB matching VIB search specification " + f"'{name}'.", f"id = {name}")
        chosen += [row for row in rows if row not in chosen]
    base = [package.id for package in chosen if package.name == "esx-base"]
    if base:
        raise ImageError("ProfileValidationError", f"In ImageProfile (Updated), the removal of {base[0]} leaves no system VIB.")
    gone = {package.name for package in chosen}
    if not how.force:
        for other in image.values():
            needed = [text for text in other.depends if text.split()[0] in gone]
            if other.name not in gone and needed:
                raise ImageError(
                    "DependencyError",
                    f"VIB {other.id} requires {needed[0]}, but the requirement cannot be satisfied within the ImageProfile.",
                )
    result = Result(removed=[package.id for package in chosen])
    live = not how.no_live and host.boot_software is None and all(package.live_remove for package in chosen)
    _maintenance(host, chosen, live, how)
    made = StateMap({name: package for name, package in image.items() if name not in gone})
    return _finish(host, made, live, result, how)


# ---- acceptance ----------------------------------------------------------------------------------------------------------------------
def lower_packages(host: Host, level: str) -> list[Package]:
    """The packages that keep a host's level from being raised to this one."""
    return [package for package in host.software.values() if not at_most(level, package.acceptance_level)]


def set_acceptance(host: Host, level: str) -> None:
    if level not in LEVELS:
        raise ImageError("ValueError", f"Invalid acceptance level: {level}")
    if level == "community" and host.secure_boot and host.options["acceptance_below_secure_boot"] != "taken":
        # That it is refused: OpenNebula/one#3481. The words are not quoted anywhere that we could reach.
        raise ImageError("AcceptanceConfigError", "Secure Boot enabled: Cannot change acceptance level to community.")
    lower = lower_packages(host, level)
    if lower:
        names = ", ".join(package.id for package in lower)
        raise ImageError(
            "AcceptanceConfigError",
            f"Unable to set acceptance level of {DESCRIPTOR_LEVELS[level]} due to installed VIBs {names} having a lower acceptance level.",
        )
    with host.changing():
        host.acceptance = level


# ---- firewall files ------------------------------------------------------------------------------------------------------------------
def refresh(host: Host) -> None:
    """The host reads its firewall files anew: those of its packages, and those that somebody put there by hand."""
    wanted: dict[str, Ruleset] = {}
    for row in (*(row for package in host.software.values() for row in package.rulesets), *host.hand_made):
        if row.key in host.profile.rulesets:
            continue  # a release's own ruleset of that name stays what it is; what a real host does then is unknown
        toggle = bool(host.options["custom_ruleset_controllable"])
        wanted.setdefault(row.key, row if toggle == row.toggle else replace(row, toggle=toggle, ip_list=toggle))
    if _equal(wanted, host.own_rulesets):
        return
    states = {key: state for key, state in host.rulesets.items() if key in host.profile.rulesets}
    for key, row in sorted(wanted.items()):
        known = host.rulesets.get(key) or host.remembered_rulesets.get(key)
        states[key] = known if known is not None else RulesetState(row.enabled)
    if host.options["custom_ruleset_remembered"]:
        host.remembered_rulesets.update({key: host.rulesets[key] for key in host.own_rulesets if key not in wanted})
    host.own_rulesets = StateMap(wanted)
    host.rulesets = StateMap(states)


def _equal(wanted: dict[str, Ruleset], known: StateMap) -> bool:
    """Rulesets compare by identity; what they say is what counts here."""

    def told(row: Ruleset) -> Any:
        return row.key, row.rules, row.enabled, row.required, row.toggle

    return {key: told(row) for key, row in wanted.items()} == {key: told(row) for key, row in known.items()}


def place_by_hand(host: Host, row: Ruleset, *, loaded: bool = True) -> None:
    """Somebody wrote a file into /etc/vmware/firewall, which lives in memory only."""
    host.hand_made = (*(one for one in host.hand_made if one.key != row.key), row)
    if loaded:
        refresh(host)


# ---- boot ----------------------------------------------------------------------------------------------------------------------------
def unsigned(packages: Any) -> list[Package]:
    return [package for package in packages if not package.signed]


def boot(host: Host) -> bool:
    """What the next start of the host does to its software; False when Secure Boot stops it (a purple screen). world.power_on calls it."""
    image = host.boot_software if host.boot_software is not None else host.software
    bad = unsigned(image.values())
    if host.secure_boot and bad:
        names = ", ".join(package.name for package in bad)
        host.boot_failure = f"UEFI Secure Boot failed: Failed to verify signatures of the following vib(s): [{names}]"
        return False
    if host.require_secure_boot and not host.secure_boot:
        # vSphere Security, "Secure Boot enforcement": the TPM unseals the configuration only when the policy is met.
        host.boot_failure = "Unable to restore the system configuration. A security violation was detected."
        return False
    host.boot_failure = None
    host.software, host.boot_software = image, None
    host.hand_made = ()
    host.exec_installed_only = bool(host.advanced.get(EXEC_OPTION, False))
    refresh(host)
    return True
