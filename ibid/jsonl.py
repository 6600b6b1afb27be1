"""JSON Lines: an object in each line of a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ibid.errors import Invalid


def objects(path: Path, wrong: type[Invalid]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object with where it stands, in words; blank lines are passed over. Raises `wrong` for anything else."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise wrong(f"{path} is not UTF-8: {error}.") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise wrong(f"{where} is not JSON: {error}.") from error
        if not isinstance(found, dict):
            raise wrong(f"{where} is not an object.")
        yield where, found
