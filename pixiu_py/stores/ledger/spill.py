"""Records that a process could not write before its end, in a file for the next start.

Each process makes a file of its own, whole or not at all. Whoever starts next reads them all: several may, since a record
that is appended twice counts once.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import msgspec

from pixiu_py.stores.ledger.record import UsageRecord

_LINE = msgspec.json.Decoder(UsageRecord)


def can_spill(path: str) -> bool:
    """Whether files can be made beside ``path``, as far as can be told."""
    return os.access(Path(path).parent, os.W_OK | os.X_OK)


def spill(path: str, records: Iterable[UsageRecord]) -> Path:
    """Write records into a new file beside ``path`` and return it. Raises ``OSError``."""
    file = Path(f"{path}.{uuid4().hex}")
    part = file.with_name(f".{file.name}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as out:
            out.writelines(msgspec.json.encode(record) + b"\n" for record in records)
            out.flush()
            os.fsync(out.fileno())
        return part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)  # a part of them is read by nobody
        raise


def spilled(path: str) -> list[Path]:
    """The files that were written beside ``path`` and not yet taken."""
    return [Path(name) for name in sorted(glob.glob(f"{glob.escape(path)}.*"))]


def read_spilled(file: Path) -> Iterator[UsageRecord]:
    """The records of a file. Raises ``OSError`` when it is gone, ``ValueError`` when it holds something else."""
    with file.open("rb") as lines:
        for line in lines:
            yield _LINE.decode(line)
