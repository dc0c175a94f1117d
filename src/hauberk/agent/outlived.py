"""The certificate that an Envoy shows which has outlived the agent that told it."""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

from hauberk.agent.envoy_admin import AdminUnreachable, EnvoyAdmin
from hauberk.identity.svid import InvalidSvid, X509Svid

_SECRETS = "/config_dump?resource=dynamic_active_secrets"
_AGAIN_SECONDS = 1.0


async def shown_certificate(admin: EnvoyAdmin) -> X509Svid:
    """By Envoy's own word, since no file says it; waits until it says something and has one."""
    while True:
        with suppress(AdminUnreachable):
            status, body = await admin.request("GET", _SECRETS)
            if status == 200 and (found := read_certificate(body)) is not None:
                return found
        await asyncio.sleep(_AGAIN_SECONDS)


def read_certificate(dump: bytes) -> X509Svid | None:
    """The one that ends first of those in Envoy's dump of its secrets; None if there is none to be read."""
    try:
        found = [_chain(each["secret"]) for each in json.loads(dump)["configs"] if "tls_certificate" in each["secret"]]
        return min((X509Svid.parse(chain) for chain in found), key=lambda svid: svid.not_after, default=None)
    except (ValueError, LookupError, TypeError, InvalidSvid):
        return None


def _chain(secret: dict[str, Any]) -> tuple[str, ...]:
    text = base64.b64decode(secret["tls_certificate"]["certificate_chain"]["inline_bytes"]).decode()
    end = "-----END CERTIFICATE-----\n"
    return tuple(each + end for each in text.split(end) if each.strip())
