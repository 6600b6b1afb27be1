"""The machine and the code that a run was made with: what explains its numbers, and nothing that names its owner."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

LINUX = platform.system() == "Linux"
ROOT = Path(__file__).parents[1]


def describe() -> dict[str, object]:
    """Cores, memory, system, Python, the packages Ibid needs with their versions, and the revision of the code."""
    return {
        "cores": len(os.sched_getaffinity(0)) if LINUX else os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "system": _system(),
        "python": platform.python_version(),
        "packages": _packages(),
        "revision": revision(),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
    }


def told(described: Mapping[str, Any]) -> str:
    """What `describe` gave, as a page says it."""
    return (
        f"{described['processor']}, {described['cores']} cores, {described['memory_gib']} GiB, {described['system']}, "
        f"Python {described['python']}"
    )


def told_revision(described: Mapping[str, Any]) -> str:
    """The commit, and whether it was all."""
    return f"{described['revision']}{' with uncommitted changes' if described['uncommitted_changes'] else ''}"


def load() -> float:
    """Processes that wanted to run, on average over the last minute: what else the machine was doing."""
    return round(os.getloadavg()[0], 2)


def revision() -> str:
    """The commit, in short; `unknown` outside a checkout."""
    return _git("rev-parse", "--short=12", "HEAD") or "unknown"


def _processor() -> str:
    if LINUX:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    if LINUX:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release().partition('-')[0]}"
    return f"{platform.system()} {platform.release()}"


def _packages() -> dict[str, str]:
    needed = [Requirement(line) for line in requires("ibid") or ()]
    return {one.name: version(one.name) for one in needed if one.marker is None or one.marker.evaluate()}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607 - git of the path
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
