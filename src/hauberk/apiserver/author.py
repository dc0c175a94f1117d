"""Who asks for a change, as history remembers it."""

import pwd
from functools import lru_cache

from starlette.requests import Request

from hauberk.kit.unix_server import PEER


def author_of(request: Request) -> str:
    """The machine's user at the other end of the socket; for another machine, how it is known."""
    if request.client is None:
        return ""
    return _user(request.client.port) if request.client.host == PEER else request.client.host


@lru_cache(maxsize=128)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
