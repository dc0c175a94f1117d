"""What `hauberk up` tells the init process it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

ORDER_VARIABLE: Final = "_HAUBERK_INIT"
CONTROL_PLANE: Final = "control-plane"
# In the order of ending: the agent ends the pods and still reports that to the control plane.
PARTS: Final = ("agent", CONTROL_PLANE)
AGENT_ALONE: Final = ("agent",)  # where the control plane is on another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One mesh to be; the descriptors are inherited."""

    mesh: str
    rootless: bool
    lock: int  # held locked for as long as init lives
    report: int  # JSON lines: the pid as the machine counts, then ready or a failure
    lifeline: int | None = None  # its end of file means that whoever started the mesh has gone, and it shall end
    parts: tuple[str, ...] = PARTS

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Order:
        document = json.loads(text)
        return cls(**(document | {"parts": tuple(document["parts"])}))
