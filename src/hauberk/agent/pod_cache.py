"""The pods of this machine as last seen, on disk: an agent that starts while the control plane is away goes on with them."""

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from hauberk.api.document import from_json, to_json
from hauberk.api.pod import Pod
from hauberk.kit.log import logger

_log = logger("agent.pods")


class PodCache:
    """One file a pod, replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, pod: Pod) -> None:
        """This version of the pod is remembered."""
        path = self._path(pod.metadata.uid)
        new = path.with_suffix(".new")
        try:
            new.write_text(to_json(pod))
            new.replace(path)
        except OSError as exc:
            # A full disk: the copy is older than it could be, and everything else goes on.
            _log.warning("a pod could not be remembered", pod=str(pod.key), reason=str(exc))

    def drop(self, uid: str) -> None:
        """The pod is forgotten."""
        with suppress(FileNotFoundError):
            self._path(uid).unlink()

    def keep_only(self, uids: set[str]) -> None:
        """All pods but these are forgotten."""
        for path in self._directory.glob("*.json"):
            if path.stem not in uids:
                path.unlink(missing_ok=True)

    def load(self) -> tuple[Pod, ...]:
        """All pods that are remembered; what cannot be read is left out, the control plane will tell."""
        return tuple(pod for path in sorted(self._directory.glob("*.json")) if (pod := _read(path)) is not None)

    def _path(self, uid: str) -> Path:
        return self._directory / f"{uid}.json"


def _read(path: Path) -> Pod | None:
    try:
        found = from_json("Pod", path.read_text())
    except (OSError, ValueError, ValidationError) as exc:
        _log.warning("a remembered pod cannot be read", file=path.name, reason=str(exc))
        return None
    return found if isinstance(found, Pod) else None
