"""`hauberk apply`: what is said at the end of a change that is stored and yet not as it was meant."""

from __future__ import annotations

from typing import Any

import pytest

from hauberk.cli.failure import Exit
from hauberk.cli.objects import report_applied
from hauberk.cli.output import Format

REFUSED = {"code": "HBK0603", "severity": "error", "message": "no such cluster"}
NO_KEYS = {"code": "HBK0608", "severity": "error", "message": "the keys at https://idp.example cannot be had"}
WARNING = {"code": "HBK0357", "severity": "warning", "message": "plaintext has no identity"}


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ([NO_KEYS, WARNING], "in force: every token of this issuer is refused"),
        ([REFUSED], "refused by proxies"),
        ([NO_KEYS, REFUSED], "refused by proxies"),
    ],
)
def test_only_what_proxies_refused_is_called_refused_by_them(
    problems: list[dict[str, Any]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"applied": [], "problems": problems}
    assert report_applied(502, answer, Format("table"), dry_run=False, waited=1.0) == Exit.FAILED
    assert said in capsys.readouterr().err
