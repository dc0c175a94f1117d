from hauberk.api.metadata import ObjectKey
from hauberk.pilot.ledger import REMEMBERED, Ledger

WEB, API = ObjectKey("Pod", "shop", "web-1"), ObjectKey("Pod", "shop", "api-1")


def test_a_push_is_done_when_all_it_concerned_have_it() -> None:
    ledger = Ledger()
    push = ledger.pushed(5, [WEB, API])
    assert ledger.acknowledged(WEB, 5) == ()
    assert ledger.acknowledged(API, 5) == (push,)
    assert push.done


def test_an_older_acknowledgement_is_not_enough() -> None:
    ledger = Ledger()
    push = ledger.pushed(5, [WEB])
    ledger.acknowledged(WEB, 4)
    assert not push.done


def test_a_later_acknowledgement_covers_what_came_before() -> None:
    ledger = Ledger()
    first, second = ledger.pushed(5, [WEB]), ledger.pushed(6, [WEB])
    assert ledger.acknowledged(WEB, 6) == (first, second)


def test_a_revision_went_out_with_the_first_push_that_is_not_older() -> None:
    ledger = Ledger()
    ledger.pushed(5, [])
    later = ledger.pushed(9, [])
    assert ledger.including(7) is later
    assert ledger.including(10) is None


def test_a_push_that_concerns_nobody_is_done() -> None:
    assert Ledger().pushed(1, []).done


def test_a_proxy_that_is_gone_is_not_waited_for() -> None:
    ledger = Ledger()
    push = ledger.pushed(5, [WEB])
    assert ledger.gone(WEB) == (push,)


def test_a_forgotten_push_is_waited_for_with_the_next_one() -> None:
    ledger = Ledger()
    ledger.pushed(0, [WEB])
    for revision in range(1, REMEMBERED + 1):
        ledger.pushed(revision, [])
    oldest = ledger.including(0)
    assert oldest is not None
    assert oldest.pending == {WEB}
    assert ledger.acknowledged(WEB, REMEMBERED) == (oldest,)
