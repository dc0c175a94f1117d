"""Installs interception in the network namespace it is started in: `python -m bench.capture EXCLUDED_PORT…`, and ends."""

from __future__ import annotations

import sys

from hauberk.interception.capture import Capture
from hauberk.interception.install import install
from hauberk.interception.ruleset import Chain, build_ruleset


def main(words: list[str]) -> None:
    ports = tuple(int(word) for word in words)
    ruleset = build_ruleset(Capture(excluded_inbound_ports=ports, excluded_outbound_ports=ports))
    # The proxies made by hand do not mark their listeners, as a mesh's Envoys must to be heard.
    install(tuple(rule for rule in ruleset if rule.chain is not Chain.ANSWERS))


if __name__ == "__main__":
    main(sys.argv[1:])
