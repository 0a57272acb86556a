"""Software of the host: Python and its packages, Debian packages, what makes and shows the report."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

import harness
from harness.doctor.finding import Finding, State, ask
from harness.errors import UsageError
from harness.report.html import VERSION as ALLURE_VERSION
from harness.report.html import find_generator

__all__ = ["NODE", "chromium", "debian_packages", "fonts", "generator", "node", "python", "python_packages"]

ROOT = Path(harness.__file__).resolve().parent.parent
"""The checkout, where `constraints.txt` and `debian-packages.txt` are; a wheel has neither."""

NODE = (20, 19)
"""Oldest Node.js that the pinned packages of the report generator take (`harness/report/node/package-lock.json`)."""

SETUP = "make setup"


def python() -> Finding:
    """Compare this interpreter with what the package asks for."""
    wanted = metadata.metadata("proofrig")["Requires-Python"]
    seen = f"{platform.python_version()}, wanted {wanted}"
    fits = Requirement(f"python{wanted}").specifier.contains(platform.python_version(), prereleases=True)
    if fits:
        return Finding("Python", State.GOOD, seen)
    return Finding("Python", State.MISSING, seen, f"install Python {wanted}, remove .venv, {SETUP}")


def python_packages() -> list[Finding]:
    """Compare the installed packages with what Proofrig needs, and with the versions it was tried with."""
    needed = _needed("proofrig")
    absent = sorted(
        f"{name}{requirement.specifier}" for name, requirement in needed.items() if _installed(name) is None
    )
    unfit = sorted(
        f"{name} {version} is not {requirement.specifier}"
        for name, requirement in needed.items()
        if (version := _installed(name)) is not None and not _fits(requirement, version)
    )
    if absent or unfit:
        seen = "; ".join([*(f"{name} is not installed" for name in absent), *unfit])
        return [Finding("Python packages", State.MISSING, seen, SETUP)]
    whole = f"all {len(needed)} that Proofrig needs"
    constraints = ROOT / "constraints.txt"
    if not constraints.is_file():
        seen = f"{whole}; no constraints.txt here that says with which versions it was tried"
        return [Finding("Python packages", State.DOUBTFUL, seen, f"run from a checkout, after {SETUP}")]
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", constraints.read_text(encoding="utf-8")))
    others = {name: version for name, pin in pins.items() if (version := _installed(name)) not in (None, pin)}
    optional = [name for name in pins if _installed(name) is None]
    if others:
        seen = "other versions than Proofrig was tried with: " + ", ".join(
            f"{name} {version} instead of {pins[name]}" for name, version in sorted(others.items())
        )
        return [Finding("Python packages", State.DOUBTFUL, seen, f"{SETUP} installs those of constraints.txt")]
    left_out = f"; without {', '.join(optional)} of the extras fuzz and dev" if optional else ""
    return [Finding("Python packages", State.GOOD, f"{whole}, in the versions of constraints.txt{left_out}")]


def _needed(name: str) -> dict[str, Requirement]:
    """Return everything a package needs without its extras, by name, with what that needs in turn."""
    found: dict[str, Requirement] = {}
    open_names = [(name, frozenset[str]())]
    while open_names:
        each, extras = open_names.pop()
        try:
            lines = metadata.requires(each) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})
            if wanted and requirement.name not in found:
                found[requirement.name] = requirement
                open_names.append((requirement.name, frozenset(requirement.extras)))
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def debian_packages(names: Iterable[str] | None = None) -> Finding:
    """Ask dpkg for Debian packages, all those of `debian-packages.txt` where none are named."""
    listed = ROOT / "debian-packages.txt"
    if names is None and not listed.is_file():
        return Finding("Debian packages", State.DOUBTFUL, "no debian-packages.txt here", "run from a checkout")
    lines = listed.read_text(encoding="utf-8").splitlines() if names is None else names
    wanted = [line for line in lines if line and not line.startswith("#")]
    if shutil.which("dpkg-query") is None:
        remedy = f"install what corresponds to {', '.join(wanted)}"
        return Finding("Debian packages", State.DOUBTFUL, "no dpkg: this host is no Debian", remedy)
    said = ask("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n")
    there = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    absent = [name for name in wanted if name not in there]
    if absent:
        seen = f"{len(absent)} of {len(wanted)} are not installed: {', '.join(absent)}"
        return Finding("Debian packages", State.MISSING, seen, f"apt-get install {' '.join(absent)}")
    return Finding("Debian packages", State.GOOD, f"dpkg: all {len(wanted)} are installed ({', '.join(wanted[:3])} …)")


def generator() -> Finding:
    """Run the generator of the Allure page, for its version."""
    what = "Allure generator"
    remedy = f"{SETUP}, or run with --no-html"
    try:
        program = find_generator()
    except UsageError:
        return Finding(what, State.MISSING, "neither in .node/ nor on PATH", remedy)
    version = ask(str(program), "--version").strip()
    seen = f"{version[:40]} at {program}"
    if version != ALLURE_VERSION:
        return Finding(what, State.MISSING, f"{seen}, wanted {ALLURE_VERSION}", remedy)
    return Finding(what, State.GOOD, seen)


def node() -> Finding:
    """Run Node.js, on which the generator runs, for its version."""
    wanted = ".".join(map(str, NODE))
    remedy = f"install Node.js {wanted} or newer (package nodejs), or run with --no-html"
    if shutil.which("node") is None:
        return Finding("Node.js", State.MISSING, "not on PATH", remedy)
    said = ask("node", "--version").strip()
    version = re.fullmatch(r"v(\d+)\.(\d+)\.\S+", said)
    if version is None:
        return Finding("Node.js", State.DOUBTFUL, f"says {said[:40]!r} of its version", remedy)
    if (int(version[1]), int(version[2])) < NODE:
        return Finding("Node.js", State.DOUBTFUL, f"{said}, wanted v{wanted} or newer", remedy)
    return Finding("Node.js", State.GOOD, said)


def chromium() -> Finding:
    """Run Chromium for its version: the harness's own tests look at pages in it."""
    if shutil.which("chromium") is None:
        return Finding("Chromium", State.MISSING, "not on PATH; `make test` looks at pages in it", SETUP)
    return Finding("Chromium", State.GOOD, ask("chromium", "--version").strip()[:80])


def fonts() -> Finding:
    """Nothing here sets type: pages take the fonts of the browser that shows them."""
    return Finding("fonts", State.UNNEEDED, "pages take the fonts of the browser they are read in")
