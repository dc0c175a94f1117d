from __future__ import annotations

from pathlib import Path

import pytest

from hauberk.envoy.binary import SETTING, EnvoyMissing, find_envoy, read_version


def test_without_a_setting_the_wheels_binary_is_found() -> None:
    assert find_envoy({}).name == "envoy"


def test_the_setting_names_another_binary(tmp_path: Path) -> None:
    other = tmp_path / "my-envoy"
    other.touch(mode=0o755)
    assert find_envoy({SETTING: str(other)}) == other


def test_a_binary_that_is_missing_or_not_executable_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(EnvoyMissing, match=f"no such file.*{SETTING}"):
        find_envoy({SETTING: str(tmp_path / "nothing")})
    (tmp_path / "text").touch(mode=0o644)
    with pytest.raises(EnvoyMissing, match="not executable"):
        find_envoy({SETTING: str(tmp_path / "text")})


def test_what_does_not_say_a_version_as_envoy_does_is_not_envoy(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho other 1.0\n")
    other.chmod(0o755)
    with pytest.raises(EnvoyMissing, match="is not Envoy"):
        read_version(other)


def test_the_version_is_read(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho 'envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL'\n")
    other.chmod(0o755)
    assert read_version(other) == "1.40.0"
