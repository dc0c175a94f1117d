"""One observed fact about an object, in its status."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hauberk.api.model import ApiModel, Int


class Condition(ApiModel):
    """`type` is `status` since `last_transition_time`, because of `reason` (one word) and `message` (a sentence)."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_update_time: datetime | None = None
    last_probe_time: datetime | None = None
    observed_generation: Int | None = None
