"""The analysis over the API: of the mesh, of files in it, and in a dry run of an apply."""

from tests.unit.apiserver.serving import Api, codes
from tests.unit.apiserver.test_apply import DEPLOYMENT, SERVICE

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: default}
spec: {selector: {matchLabels: {app: web}}, rules: [RULE]}
"""
WIDE = POLICY.replace("NAME", "wide").replace("RULE", "{from: [{source: {principals: ['*']}}]}")
SLIM = POLICY.replace("NAME", "slim").replace("RULE", "{from: [{source: {principals: [cluster.local/ns/default/sa/default]}}]}")
LOST = POLICY.replace("NAME", "lost").replace("RULE", "{from: [{source: {serviceAccounts: [nobody]}}]}")


async def analyzed(api: Api, *texts: str, **more: str) -> list[tuple[str, str]]:
    files = [{"name": f"{number}.yaml", "text": text} for number, text in enumerate(texts)]
    status, body = await api.request("POST", "/v1/analyze", {"files": files, **more})
    assert status == 200, body
    return [(each["code"], each["object"].rpartition("/")[2]) for each in body["problems"]]


async def test_the_mesh_is_analyzed_as_it_is(api: Api) -> None:
    assert await analyzed(api) == []
    await api.apply(DEPLOYMENT, SERVICE, SLIM, LOST)
    assert await analyzed(api) == [("HBK0344", "lost")]
    assert await analyzed(api, namespace="default") == [("HBK0344", "lost")]
    assert await analyzed(api, namespace="istio-system") == []


async def test_files_are_analyzed_as_they_would_be_in_the_mesh_and_change_nothing(api: Api) -> None:
    await api.apply(DEPLOYMENT, SERVICE, SLIM)
    # What a file does to another object is the file's business too.
    assert await analyzed(api, WIDE) == [("HBK0354", "wide"), ("HBK0340", "slim")]
    assert await analyzed(api) == []


async def test_mistakes_are_problems_found_and_no_refusal(api: Api) -> None:
    assert await analyzed(api, SLIM.replace("rules:", "rule:")) == [("HBK0103", "slim")]
    assert await analyzed(api, SLIM.replace("namespace: default", "namespace: none")) == [("HBK0504", "slim")]


async def test_a_dry_run_says_all_of_it_and_an_apply_what_needs_no_comparing(api: Api) -> None:
    await api.apply(DEPLOYMENT, SERVICE, SLIM)
    _, body = await api.apply(WIDE, LOST, dryRun=True)
    assert codes(body) == ["HBK0344", "HBK0340", "HBK0354", "HBK0340"]
    _, body = await api.apply(WIDE, LOST)
    assert codes(body) == ["HBK0344"]
    assert (body["problems"][0]["file"], body["problems"][0]["line"]) == ("1.yaml", 5)


async def test_what_was_said_of_an_object_when_it_was_applied_is_said_again(api: Api) -> None:
    await api.apply(DEPLOYMENT, SERVICE, SLIM.replace("sa/default", "*/x"))
    assert await analyzed(api) == [("HBK0306", "slim")]
    status, body = await api.request("POST", "/v1/analyze", {})
    assert (status, body["problems"][0]["path"]) == (200, "spec.rules[0].from[0].source.principals[0]")
