"""`hauberk control-plane` and `hauberk agent`: the parts of a mesh by themselves, as its init starts them."""

from __future__ import annotations

from hauberk.cli import invocation
from hauberk.cli.verbs import verb


@verb("control-plane", "hauberk control-plane", "hauberk control-plane --mesh test")
def control_plane() -> int:
    """The control plane by itself: objects, API, certificates, configuration of every proxy. Ends with Ctrl-C."""
    from hauberk.local import control_plane as service  # noqa: PLC0415 -- a second of imports that only this command needs

    return service.main(["--mesh", invocation.current().mesh])


@verb("agent", "hauberk agent", "hauberk agent --mesh test")
def agent() -> int:
    """The agent by itself: pods, sidecars, certificates, names and records of this machine. A mesh's init must be running."""
    from hauberk.local import agent as service  # noqa: PLC0415 -- as above

    return service.main(["--mesh", invocation.current().mesh])
