"""A software token for tests, where Debian's softhsm2 is installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hauberk.citadel.token_uri import TokenUri

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "token-pin-31415926"
REASON = "softhsm2 is not installed (apt-get install softhsm2)"
needs_softhsm = pytest.mark.skipif(not MODULE.exists(), reason=REASON)


def make_token(directory: Path, label: str = "hauberk") -> tuple[TokenUri, dict[str, str]]:
    """A new token in `directory`, and the variables with which its module finds it."""
    (directory / "tokens").mkdir(parents=True, exist_ok=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    variables = {"SOFTHSM2_CONF": str(configuration)}
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "officer-27182818"]
    subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True)
    pin_file = directory / "pin"
    pin_file.write_text(f"{PIN}\n")
    pin_file.chmod(0o600)
    return TokenUri(module=MODULE, pin_file=pin_file, token=label), variables


def token_of_this_process(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenUri]:
    """A new token that this process's module sees; it is let go afterwards."""
    import pkcs11

    uri, variables = make_token(directory)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # The module reads its configuration when it is started, once a process.
    pkcs11.lib(str(MODULE)).reinitialize()
    yield uri
    pkcs11.lib(str(MODULE)).finalize()
