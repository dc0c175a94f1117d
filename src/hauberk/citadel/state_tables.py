"""Every table of `citadel.db`; a part that needs one adds a line (see `state`)."""

from typing import Final

from hauberk.citadel.state_authorities import AUTHORITIES
from hauberk.citadel.state_federation import FEDERATION
from hauberk.citadel.state_imported import IMPORTED
from hauberk.citadel.state_issued import ISSUED
from hauberk.citadel.state_join_tokens import JOIN_TOKENS
from hauberk.citadel.state_names import NAMES
from hauberk.citadel.state_nodes import NODES
from hauberk.citadel.state_progress import PROGRESS, PUBLISHED
from hauberk.citadel.state_revocations import REVOCATIONS

TABLES: Final = (
    AUTHORITIES,
    FEDERATION,
    IMPORTED,
    ISSUED,
    JOIN_TOKENS,
    NAMES,
    NODES,
    PROGRESS,
    PUBLISHED,
    REVOCATIONS,
)
