"""What the benchmarks read from the kernel is right."""

import os
import socket
import subprocess
import sys
import time

from benchmarks.cpu import connections_to, cpu_seconds, kernel_seconds, peak_rss_bytes, rss_bytes, stolen_seconds, tree

BUSY = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"


def test_cpu_time_counts_this_process() -> None:
    before, own = cpu_seconds(os.getpid()), time.process_time()
    exec(BUSY, {})
    used, own = cpu_seconds(os.getpid()) - before, time.process_time() - own
    assert abs(used - own) < 0.05


def test_cpu_time_counts_children_that_have_ended() -> None:
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert cpu_seconds(os.getpid()) - before > 0.2


def test_kernel_time_is_the_part_that_system_calls_took() -> None:
    before, own = kernel_seconds(os.getpid()), os.times()
    with open("/dev/zero", "rb", buffering=0) as zeros:
        while os.times().system < own.system + 0.2:
            zeros.read(1 << 20)
    exec(BUSY, {})
    used, after = kernel_seconds(os.getpid()) - before, os.times()
    assert abs(used - (after.system - own.system)) < 0.05
    assert used < after.user + after.system - own.user - own.system


def test_tree_holds_children_and_their_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in tree(os.getpid())
        assert 0 < rss_bytes(child.pid) <= peak_rss_bytes(child.pid)
        child.communicate(b"\n")
    assert child.pid not in tree(os.getpid())


def test_connections_are_counted_on_the_listening_side_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert connections_to(port, os.getpid()) == {os.getpid(): 1}
        assert connections_to(port, os.getpid()) == {}


def test_stolen_time_is_that_of_all_cores() -> None:
    """Not the guest's time behind it, nor one core's."""
    stat = "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 300 9 10\n"
    assert stolen_seconds(stat) == 800 / os.sysconf("SC_CLK_TCK")
