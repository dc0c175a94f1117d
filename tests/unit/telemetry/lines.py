"""Lines as sidecars write them, one fact changed at a time."""

import json
from typing import Any

from hauberk.telemetry.decode import Decoded, Decoder, Owner

FRONT = Owner(pod="front-5d9f8c7b6a-aaaa1", namespace="shop", identity="spiffe://cluster.local/ns/shop/sa/front", address="10.244.0.5")
WEB = Owner(pod="web-6c8d9f7b5a-bbbb2", namespace="shop", identity="spiffe://cluster.local/ns/shop/sa/web", address="10.244.0.7")
PODS = {"10.244.0.5": (FRONT.pod, "shop"), "10.244.0.7": (WEB.pod, "shop"), "fd00:10:244::5": (FRONT.pod, "shop")}

OUTBOUND = {
    "k": "h", "d": "o", "t": "1772366400.123456", "us": 1733, "ms": 1, "f": "-", "bi": 3, "bo": 123,
    "c": "outbound|80||web.shop.svc.cluster.local", "u": "10.244.0.7:8080", "ca": "10.244.0.5:41234", "la": "10.96.0.12:80",
    "m": "GET", "a": "web.shop", "p": "/products?id=17", "v": "HTTP/1.1", "s": 200, "r": "req-1",
    "tp": "00-" + "a" * 32 + "-" + "b" * 16 + "-00",
    "x": "via_upstream", "pi": WEB.identity, "oi": FRONT.identity, "tv": "TLSv1.3", "tc": "TLS_AES_128_GCM_SHA256",
    "tg": "X25519MLKEM768", "w": "web-6c8d9f7b5a-bbbb2.shop",
}  # fmt: skip
INBOUND = OUTBOUND | {
    "d": "i", "v": "HTTP/2", "c": "inbound|8080||", "u": "10.244.0.7:8080", "la": "10.244.0.7:8080", "pi": FRONT.identity,
    "oi": WEB.identity, "n": "outbound_.80_._.web.shop.svc.cluster.local", "q": "ns[shop]-policy[readers]-rule[0]",
}  # fmt: skip
del INBOUND["w"]


def line(base: dict[str, Any], **changes: object) -> bytes:
    """`base` with `changes`; None leaves a key out."""
    fields = base | {key.rstrip("_"): value for key, value in changes.items()}
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


def decoded(base: dict[str, Any], **changes: object) -> Decoded:
    """That line, decoded for the pod that writes such lines."""
    return Decoder(FRONT if base["d"] == "o" else WEB, PODS.get).decode(line(base, **changes))
