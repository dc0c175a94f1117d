"""The shop's objects."""

import json
import sys

from hauberk.api.manifest import parse_manifest
from hauberk.demo import objects


def test_the_mesh_accepts_the_shop_without_a_warning() -> None:
    for name in objects.FILES:
        manifest = parse_manifest(objects.manifest(name)["text"], name)
        assert [str(each) for each in manifest.problems if each.severity != "info"] == []


def test_programs_start_with_this_python_beside_their_neighbours() -> None:
    items = json.loads(objects.manifest("shop.yaml")["text"])["items"]
    pods = [each["spec"]["template"] for each in items if each["kind"] == "Deployment"]
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert container["command"][0] == sys.executable
        assert (objects.SHOP / container["command"][-1]).is_file()
        assert pod["metadata"]["annotations"][objects.WORKING_DIRECTORY] == str(objects.SHOP)


def test_the_shop_has_what_the_demo_promises() -> None:
    wanted = dict(objects.deployments())
    assert {"reviews-v1", "reviews-v2", "visitors", "outsider"} <= set(wanted)
    assert wanted["catalog"] == 2
