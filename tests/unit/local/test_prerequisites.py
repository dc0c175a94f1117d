"""What a machine lacks is said with its remedy."""

import errno
import os
from pathlib import Path

import pytest

from hauberk.local import prerequisites
from hauberk.local.failure import EnvoyMissing, NamespacesNotPermitted


def test_the_kernels_version_is_read() -> None:
    assert prerequisites.kernel_release() > (2, 6)


def test_a_named_envoy_is_taken_and_one_that_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    envoy = tmp_path / "envoy"
    monkeypatch.setenv("HAUBERK_ENVOY", str(envoy))
    with pytest.raises(EnvoyMissing, match="there is no Envoy at"):
        prerequisites.find_envoy()
    envoy.touch(mode=0o600)
    with pytest.raises(EnvoyMissing, match="is not executable") as caught:
        prerequisites.find_envoy()
    assert "chmod +x" in caught.value.hint
    envoy.chmod(0o700)
    assert prerequisites.find_envoy() == envoy


def test_without_a_name_the_installed_envoy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(prerequisites.ENVOY_VARIABLE, raising=False)
    assert prerequisites.find_envoy().name == "envoy"


def test_who_is_not_root_cannot_run_a_mesh_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NamespacesNotPermitted, match="only root"):
        prerequisites.require(rootless=False)


@pytest.mark.parametrize(
    ("settings", "code", "rootless", "remedy"),
    [
        ({}, errno.ENOSPC, True, "user.max_user_namespaces"),
        ({"user/max_user_namespaces": "0"}, errno.EPERM, True, "user.max_user_namespaces"),
        ({"kernel/unprivileged_userns_clone": "0"}, errno.EPERM, True, "kernel.unprivileged_userns_clone=1"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, errno.EACCES, True, "apparmor_restrict_unprivileged_userns=0"),
        ({}, errno.EPERM, True, "--privileged"),
        ({}, errno.EPERM, False, "--rootless"),
    ],
)
def test_refused_namespaces_name_the_setting_to_change(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], code: int, rootless: bool, remedy: str
) -> None:
    monkeypatch.setattr(prerequisites, "_setting", settings.get)
    assert remedy in prerequisites.explain_refusal(code, rootless=rootless).hint
