from tests.unit.pilot.worlds import Translator, pod, policy, service

from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.pilot.translation import Translation

WEB = pod("web-1").key


def snapshots() -> tuple[MeshSnapshot, MeshSnapshot]:
    first = build_snapshot([service("web"), pod("web-1")], None)
    return first, build_snapshot([service("web"), pod("web-1"), policy("deny")], first)


def test_layers_of_what_did_not_change_are_the_same_objects() -> None:
    translation, (first, second) = Translation(Translator()), snapshots()
    translation.renew(first)
    before = translation.of(WEB)
    translation.renew(second)
    after = translation.of(WEB)
    assert before is not None
    assert after is not None
    assert before[:2] == after[:2]
    assert before[2] is not after[2]


def test_a_slot_is_translated_once_per_snapshot() -> None:
    translator = Translator()
    translation, (first, _) = Translation(translator), snapshots()
    translation.renew(first)
    for _ in range(3):
        translation.of(WEB)
    assert sorted(translator.calls) == ["mesh", "shop", "web-1"]


def test_without_any_good_layer_there_is_no_configuration() -> None:
    translator = Translator()
    translator.stumbles_over.add("mesh")
    translation, (first, second) = Translation(translator), snapshots()
    translation.renew(first)
    assert translation.of(WEB) is None
    translator.stumbles_over.clear()
    translation.renew(second)
    assert translation.of(WEB) is not None


def test_pods_that_are_gone_are_forgotten_with_their_problems() -> None:
    translator = Translator()
    translator.stumbles_over.add("web-1")
    translation, (first, _) = Translation(translator), snapshots()
    translation.renew(first)
    translation.of(WEB)
    assert [each.object for each in translation.problems] == [str(WEB)]
    translation.keep(())
    assert not list(translation.problems)
