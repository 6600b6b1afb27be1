"""How a process ended: whether it was somebody outside who killed it, or may have been what it worked on."""

import signal
from pathlib import Path


def memory_kills() -> int | None:
    """How many processes this machine has killed for want of memory; None where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def from_outside(status: int | None, kills_before: int | None) -> bool:
    """Whether a process that ended with the status was told or made to end, and not for want of memory.

    `kills_before` are the machine's memory kills when the process began. Where that is not known, nobody is sure.
    """
    told = status in {0, -signal.SIGKILL, -signal.SIGTERM}
    return told and kills_before is not None and kills_before == memory_kills()
