"""Lines as sidecars write them, one fact changed at a time."""

import json
from typing import Any

from hauberk.telemetry.decode import Decoder, Owner
from hauberk.telemetry.entry import Entry
from hauberk.telemetry.layout import HEADS, INBOUND_TAG, OUTBOUND_TAG, RESTS, line_format

FRONT = Owner(pod="front-5d9f8c7b6a-aaaa1", namespace="shop", identity="spiffe://cluster.local/ns/shop/sa/front", address="10.244.0.5")
WEB = Owner(pod="web-6c8d9f7b5a-bbbb2", namespace="shop", identity="spiffe://cluster.local/ns/shop/sa/web", address="10.244.0.7")
PODS = {"10.244.0.5": (FRONT.pod, "shop"), "10.244.0.7": (WEB.pod, "shop"), "fd00:10:244::5": (FRONT.pod, "shop")}

OUTBOUND = {
    "k": "h", "d": "o", "t": "1772366400123456", "us": 1733, "f": "-", "bi": 3, "bo": 123,
    "c": "outbound|80||web.shop.svc.cluster.local", "u": "10.244.0.7:8080", "la": "10.96.0.12:80",
    "m": "GET", "a": "web.shop", "p": "/products?id=17", "v": "HTTP/1.1", "s": 200, "r": "req-1",
    "tp": "00-" + "a" * 32 + "-" + "b" * 16 + "-00",
    "x": "via_upstream", "pi": WEB.identity, "tv": "TLSv1.3", "tc": "TLS_AES_128_GCM_SHA256",
    "tg": "X25519MLKEM768", "w": "web-6c8d9f7b5a-bbbb2.shop",
}  # fmt: skip
INBOUND = {key: value for key, value in OUTBOUND.items() if key not in ("c", "u", "w")} | {
    "d": "i", "v": "HTTP/2", "la": "10.244.0.7:8080", "ch": "10.244.0.5", "pi": FRONT.identity,
    "n": "outbound_.80_._.web.shop.svc.cluster.local", "q": "ns[shop]-policy[readers]-rule[0]",
}  # fmt: skip


def line(base: dict[str, Any], **changes: object) -> bytes:
    """`base` with `changes`; None leaves a key out. Of a request it is text, of a connection JSON."""
    fields = {key: value for key, value in (base | changes).items() if value is not None}
    if (fields.get("k"), fields.get("d")) not in (("h", "o"), ("h", "i")):
        return json.dumps(fields).encode()
    tag = OUTBOUND_TAG if fields["d"] == "o" else INBOUND_TAG
    values = {key: str(fields.get(key, "")) for key in (*HEADS[tag], *RESTS[tag])}
    return line_format(tag, values).removesuffix("\n").encode(errors="replace")


def decoded(base: dict[str, Any], **changes: object) -> Entry:
    """That line, decoded for the pod that writes such lines."""
    return Decoder(FRONT if base["d"] == "o" else WEB, PODS.get).decode(line(base, **changes))
