"""kombu's filesystem transport with messages that appear whole.

The original opens the message's file under its final name and then writes it: a worker that looks in between reads an
empty message, fails to decode it, and dies. Here it is written under another name and renamed.
"""

import uuid
from pathlib import Path
from time import time_ns
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Writes a message beside its place and then puts it there."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override] # noqa: ANN401 - kombu has no types
        folder = Path(self.data_folder_out)
        name = f"{time_ns()}_{uuid.uuid4()}"
        half = folder / f".{name}.half"
        half.write_text(dumps(payload))  # type: ignore[no-untyped-call] # kombu has no types
        half.replace(folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    """The transport with whole messages."""

    Channel = Channel
