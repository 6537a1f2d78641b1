"""What the kernel knows about a process tree (CPU time, memory, sockets) and about this machine. Linux only."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2
_STAT = Path("/proc/stat")


def tree(pid: int) -> list[int]:
    """``pid`` and all its living descendants."""
    found = [pid]
    for parent in found:
        found.extend(_children(parent))
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # ended meanwhile
        return
    for thread in threads:
        try:
            yield from map(int, (thread / "children").read_text().split())
        except OSError:
            continue


def cpu_seconds(pid: int) -> float:
    """User and system time that the tree under ``pid`` has used so far, children that have ended included."""
    return sum(_own_cpu_seconds(process) + _ended_children_seconds(process) for process in tree(pid))


def kernel_seconds(pid: int) -> float:
    """The part of ``cpu_seconds`` that the kernel used, as far as its ticks tell; children that have ended left out."""
    return sum(_system_seconds(process) for process in tree(pid))


def _system_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # ended meanwhile
        return 0.0
    return int(_fields(stat)[12]) / _TICKS  # stime, field 15 of proc(5)


def _fields(stat: str) -> list[str]:
    """The fields of proc(5) from the third on: the second is the command in parentheses and may hold spaces."""
    return stat.rpartition(")")[2].split()


def _own_cpu_seconds(pid: int) -> float:
    # The process's CPU clock, see clock_getcpuclockid(3). The kernel keeps it in nanoseconds; /proc/<pid>/stat shows
    # the same sum in ticks of 10 ms, too coarse for a proxy that is mostly idle.
    try:
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:  # ended meanwhile
        return 0.0


def _ended_children_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    cutime, cstime = _fields(stat)[13:15]  # fields 16 and 17
    return (int(cutime) + int(cstime)) / _TICKS


def rss_bytes(pid: int) -> int:
    """Resident memory of the tree, now."""
    return sum(_kilobytes(process, "smaps_rollup", "Rss") for process in tree(pid)) * 1024


def peak_rss_bytes(pid: int) -> int:
    """Sum of the largest resident memory that each process of the tree ever had."""
    return sum(_kilobytes(process, "status", "VmHWM") for process in tree(pid)) * 1024


def _kilobytes(pid: int, file: str, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0


def connections_to(port: int, pid: int) -> dict[int, int]:
    """Process of the tree → its established connections on local ``port``; processes with none are left out."""
    inodes = set(_established_inodes(port))
    counts = {process: len(inodes & _socket_inodes(process)) for process in tree(pid)}
    return {process: count for process, count in counts.items() if count}


def _established_inodes(port: int) -> Iterator[str]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01":  # 01: ESTABLISHED
            yield fields[9]


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            target = os.readlink(entry.path)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:  # the process or one of its files went away while we looked
        pass
    return inodes


class Busy:
    """How much of this machine others use: measured from its creation, once every child has ended."""

    def __init__(self) -> None:
        self._begun = (time.monotonic(), _machine_seconds(), _own_seconds())
        self._stolen = stolen_seconds(_STAT.read_text())

    def by_others(self) -> float:
        """What other programs use, percent of all cores. A run in which this is high was disturbed."""
        elapsed, used, own = (
            now - then
            for now, then in zip((time.monotonic(), _machine_seconds(), _own_seconds()), self._begun, strict=True)
        )
        return max(0.0, used - own) / elapsed / (os.cpu_count() or 1) * 100

    def stolen(self) -> float:
        """What other guests of a shared host were given while this machine wanted it, percent of all cores."""
        elapsed = time.monotonic() - self._begun[0]
        return (stolen_seconds(_STAT.read_text()) - self._stolen) / elapsed / (os.cpu_count() or 1) * 100


def stolen_seconds(stat: str) -> float:
    """The steal time of all cores, from the text of /proc/stat (proc(5))."""
    return int(stat.split(None, 9)[8]) / _TICKS


def _machine_seconds() -> float:
    user, nice, system, _idle, _iowait, irq, softirq = map(int, _STAT.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def _own_seconds() -> float:
    return sum(os.times()[:4])


def machine() -> dict[str, str]:
    """What a reader has to know about this machine."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": _system_name(),
    }


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()
