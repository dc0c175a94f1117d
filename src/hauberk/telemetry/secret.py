"""Credentials that callers put into addresses: records say that there was one, and not which.

A token in the query (RFC 6750, 2.3; `fromParams`) would otherwise lie in a database, and whoever may read records could use it.
"""

from __future__ import annotations

import re
from typing import Final

# Of a token (RFC 7515, 7.1) everything may be known but its signature: without it nobody believes it.
_TOKEN: Final = re.compile(rb"(eyJ[\w-]+\.[\w-]+\.)[\w-]+")
_NAMES: Final = rb"access_token|id_token|refresh_token|token|jwt|assertion|client_secret|secret|password|passwd|api[_-]?key|sig|signature"
_PARAMETER: Final = re.compile(rb"(?i)([?&;](?:" + _NAMES + rb")=)[^&;#\x1f\"\\ ]+")
_LEFT_OUT: Final = rb"\1***"


def without_secrets(line: bytes) -> bytes:
    """`line` without the values of parameters that are called like credentials, and without the signatures of tokens."""
    # Most have neither; to find that out must cost next to nothing.
    if b"eyJ" in line:
        line = _TOKEN.sub(_LEFT_OUT, line)
    return _PARAMETER.sub(_LEFT_OUT, line) if b"?" in line else line
