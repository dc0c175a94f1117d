from hauberk.api.metadata import ObjectKey
from hauberk.pilot.absence import Absence

WEB, API = ObjectKey("Pod", "shop", "web-1"), ObjectKey("Pod", "shop", "api-1")


def test_an_absent_proxy_is_concerned_when_a_part_of_its_configuration_is_another() -> None:
    shared, own, changed = object(), object(), object()
    absence = Absence()
    assert set(absence.renew({WEB: (shared, own), API: (shared, own)})) == {WEB, API}
    assert absence.renew({WEB: (shared, changed), API: (shared, own)}) == (WEB,)


def test_a_proxy_that_just_went_is_not_concerned_by_what_it_had() -> None:
    shared = object()
    absence = Absence()
    absence.begin(WEB, (shared,))
    assert absence.renew({WEB: (shared,)}) == ()
    assert set(absence.pods) == {WEB}
