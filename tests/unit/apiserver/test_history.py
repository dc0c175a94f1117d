from datetime import UTC, datetime
from urllib.parse import quote

from tests.unit.apiserver.serving import Api, codes

POLICY = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: {action: %s, rules: [{}]}}"


async def test_versions_of_an_object_tell_who_changed_what(api: Api) -> None:
    await api.apply(POLICY % "ALLOW")
    await api.apply(POLICY % "DENY")
    await api.request("DELETE", "/v1/objects/ap/default/p")
    status, body = await api.request("GET", "/v1/history?kind=ap&namespace=default&name=p")
    assert status == 200
    told = [(each["event"], each["object"]["spec"]["action"]) for each in body["versions"]]
    assert told == [("deleted", "DENY"), ("changed", "DENY"), ("created", "ALLOW")]
    assert all(each["author"] not in ("", "the mesh") for each in body["versions"])
    _, body = await api.request("GET", "/v1/history?kind=pa")
    assert [each["author"] for each in body["versions"]] == ["the mesh"]


async def test_the_objects_of_a_moment_are_told(api: Api) -> None:
    await api.apply(POLICY % "ALLOW")
    then = datetime.now(UTC).isoformat()
    await api.request("DELETE", "/v1/objects/ap/default/p")
    _, body = await api.request("GET", f"/v1/history/objects?at={quote(then)}")
    assert "AuthorizationPolicy" in {each["kind"] for each in body["items"]}
    assert body["complete"]
    _, body = await api.request("GET", "/v1/history/objects?at=2020-01-01T00:00:00Z")
    assert (body["items"], body["complete"]) == ([], False)


async def test_what_is_no_time_and_no_number_is_refused(api: Api) -> None:
    for path in ("/v1/history/objects?at=yesterday", "/v1/history/objects", "/v1/history?limit=all"):
        status, body = await api.request("GET", path)
        assert (status, codes(body)) == (400, ["HBK0505"])
