"""How every test run behaves: what it skips and why, and its honest closing account.

The closing lines name the parts that were real, with their versions, and what was not tried.
"""

import os
import shutil
from typing import Any, Final

import hypothesis
import pytest

hypothesis.settings.register_profile("gpucloud", deadline=None, max_examples=60)
hypothesis.settings.load_profile("gpucloud")

# ---- what this machine has -----------------------------------------------------------------

_PROGRAMS: Final = {
    "needs_root": {
        "sshd": "openssh-server",
        "runc": "runc",
        "ip": "iproute2",
        "nft": "nftables",
    },
    "needs_chromium": {"chromium": "chromium"},
}


def _missing(marker: str) -> str | None:
    """Return why tests with this marker cannot run here, and the command that enables them."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    packages = [
        package
        for program, package in _PROGRAMS[marker].items()
        if shutil.which(program, path=path) is None
    ]
    if packages:
        names = " ".join(packages)
        return f"no {names} here: sudo apt-get install --no-install-recommends {names}"
    if marker == "needs_root" and os.geteuid() != 0:
        return "namespaces and containers need root: sudo make test"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in _PROGRAMS:
        if item.get_closest_marker(marker) and (reason := _missing(marker)):
            pytest.skip(reason)


# ---- the closing account -------------------------------------------------------------------

_PARTS: Final = pytest.StashKey[dict[str, str]]()
_ORDER: Final = ("Postgres", "Valkey", "OpenSSH", "runc", "Chromium")


@pytest.fixture(scope="session")
def real_parts(pytestconfig: pytest.Config) -> dict[str, str]:
    """Name and version of every real part used; a fixture that starts one adds it here."""
    return pytestconfig.stash.setdefault(_PARTS, {})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's account to the process that prints it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["real_parts"] = session.config.stash.get(_PARTS, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    parts = getattr(node, "workeroutput", {}).get("real_parts", {})
    node.config.stash.setdefault(_PARTS, {}).update(parts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was real and what was not tried, just above pytest's own last line."""
    parts = terminalreporter.config.stash.get(_PARTS, {})
    skipped = terminalreporter.stats.get("skipped", [])
    if not parts and not skipped:
        return
    terminalreporter.section("real parts")
    for name in (*_ORDER, *sorted(parts.keys() - set(_ORDER))):
        terminalreporter.write_line(f"{name:<10} {parts.get(name, 'not used in this run')}")
    reasons: dict[str, int] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, number in sorted(reasons.items()):
        terminalreporter.write_line(f"{number} skipped: {reason.removeprefix('Skipped: ')}")
    if not reasons:
        terminalreporter.write_line("nothing skipped")
