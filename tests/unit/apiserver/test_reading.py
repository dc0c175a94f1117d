import asyncio
import json
from contextlib import aclosing
from pathlib import Path

from tests.unit.apiserver.serving import Api, codes, serving, until
from tests.unit.apiserver.test_apply import config_map

from hauberk.api.metadata import ObjectKey
from hauberk.sources.change import Delete


def labelled(name: str, tier: str) -> str:
    return f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{tier: {tier}}}}}}}\n"


async def test_kinds_go_by_their_names_plurals_and_short_names(api: Api) -> None:
    for word in ("namespaces", "namespace", "Namespace", "ns"):
        assert await api.names(word) == ["default", "istio-system"]


async def test_a_list_is_in_kubernetes_shape(api: Api) -> None:
    body = await api.get("pa")
    assert (body["apiVersion"], body["kind"], body["metadata"]) == ("v1", "List", {"resourceVersion": "5"})
    assert body["items"][0]["spec"]["mtls"] == {"mode": "STRICT"}


async def test_lists_are_narrowed_by_namespace_and_labels(api: Api) -> None:
    await api.apply(labelled("a", "x"), labelled("b", "z"), config_map("c", "istio-system"))
    assert await api.names("cm") == ["a", "b", "c"]
    assert await api.names("cm", "?namespace=default") == ["a", "b"]
    assert await api.names("cm", "?labelSelector=tier%3Dx") == ["a"]
    assert await api.names("cm", "?labelSelector=tier%20in%20(x,z),tier!=x") == ["b"]
    status, body = await api.request("GET", "/v1/objects/cm?labelSelector=a%3D%3D%3Db")
    assert (status, codes(body)) == (400, ["HBK0505"])


async def test_objects_of_no_namespace_are_found_under_a_dash(api: Api) -> None:
    assert (await api.get("ns/-/default"))["metadata"]["name"] == "default"


async def test_what_does_not_exist_is_404_with_a_problem(api: Api) -> None:
    expected = {"/v1/objects/pods/default/x": "HBK0501", "/v1/objects/quarks": "HBK0505", "/v1/nowhere": "HBK0505"}
    for path, code in expected.items():
        status, body = await api.request("GET", path)
        assert (status, codes(body)) == (404, [code])


async def test_a_watch_begins_with_all_there_is_and_a_bookmark(api: Api) -> None:
    await api.apply(config_map("a"), config_map("b"))
    assert await api.watch("cm?watch=true", 3) == ["ADDED a 6", "ADDED b 7", "BOOKMARK - 7"]


async def test_a_watch_tells_what_happens(api: Api) -> None:
    seen: list[str] = []
    async with aclosing(api.stream_lines("/v1/objects/cm?watch=true")) as lines:
        async for line in lines:
            event = json.loads(line)
            seen.append(f"{event['type']} {event['object']['metadata'].get('name', '-')}")
            match len(seen):
                case 1:
                    await api.apply(config_map("a"))
                case 2:
                    await api.apply(config_map("a", value="2"))
                case 3:
                    await api.store.commit([Delete(key=ObjectKey("ConfigMap", "default", "a"))])
                case _:
                    break
    assert seen == ["BOOKMARK -", "ADDED a", "MODIFIED a", "DELETED a"]


async def test_a_watch_resumes_where_it_ended(api: Api) -> None:
    await api.apply(config_map("a"))
    await api.apply(config_map("a", value="2"), config_map("b"))
    assert await api.watch("cm?watch=true&resourceVersion=6", 3) == ["MODIFIED a 7", "ADDED b 8", "BOOKMARK - 8"]


async def test_an_object_that_ceases_to_match_is_deleted_for_the_watcher(api: Api) -> None:
    await api.apply(labelled("a", "x"))
    first = asyncio.create_task(api.watch("cm?watch=true&labelSelector=tier%3Dx", 3))
    second = asyncio.create_task(api.watch("cm?watch=true&labelSelector=tier%3Dx&resourceVersion=6", 2))
    await until(lambda: len(api.store._watchers) == 2)
    await api.apply(labelled("a", "z"))
    assert await first == ["ADDED a 6", "BOOKMARK - 6", "DELETED a 7"]
    assert await second == ["BOOKMARK - 6", "DELETED a 7"]


async def test_a_watch_that_cannot_be_resumed_is_410(api: Api) -> None:
    status, body = await api.request("GET", "/v1/objects/cm?watch=true&resourceVersion=1000")
    assert (status, codes(body)) == (410, ["HBK0502"])
    status, body = await api.request("GET", "/v1/objects/cm?watch=true&resourceVersion=soon")
    assert (status, codes(body)) == (400, ["HBK0505"])


async def test_a_quiet_watch_gives_signs_of_life(tmp_path: Path) -> None:
    async with serving(tmp_path, bookmark_seconds=0.01) as api:
        assert await api.watch("cm?watch=true", 3) == ["BOOKMARK - 5"] * 3


async def test_a_watch_ends_in_order_when_the_server_does(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        reader = asyncio.create_task(api.watch("cm?watch=true", 1000))
        await until(lambda: bool(api.store._watchers))
    assert await reader == ["BOOKMARK - 5"]


async def test_a_hundred_watchers_who_go_away_leave_nothing_behind(api: Api) -> None:
    await asyncio.gather(*(api.watch("cm?watch=true", 1) for _ in range(100)))
    await until(lambda: not api.store._watchers)
