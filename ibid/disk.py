"""What a file system needs to be told so that a change outlives a loss of power."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make durable which names the folder has: files made, renamed or removed in it. Raises `OSError`."""
    sync(folder)


def sync(path: Path) -> None:
    """Make durable what a file or folder holds, whoever wrote it. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
