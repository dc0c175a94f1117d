"""jsonpath templates, as users of kubectl write them."""

import pytest

from hauberk.cli.jsonpath import BadPath, render

PODS = {
    "kind": "List",
    "items": [
        {"metadata": {"name": "a", "labels": {"app.io/x": "1"}}, "status": {"podIP": "10.0.0.1", "ready": True}, "n": 3},
        {"metadata": {"name": "b"}, "status": {"podIP": "10.0.0.2", "ready": False}, "n": 5},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        (".kind", "List"),
        ("{$.kind}", "List"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[7].metadata.name}", ""),
        ("{.items[0].metadata.labels.app\\.io/x}", "1"),
        ("{.items[0].metadata.labels['app.io/x']}", "1"),
        ("{..podIP}", "10.0.0.1 10.0.0.2"),
        ("{.items[*].status.ready}", "true false"),
        ('{.items[?(@.metadata.name=="b")].status.podIP}', "10.0.0.2"),
        ("{.items[?(@.n>3)].metadata.name}", "b"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.podIP}{"\\n"}{end}', "a\t10.0.0.1\nb\t10.0.0.2\n"),
        ("name={.items[0].metadata.name};", "name=a;"),
        ("{.items[0].status}", '{"podIP":"10.0.0.1","ready":true}'),
        ("{.absent.field}", ""),
    ],
)
def test_a_template_finds_what_kubectl_would_find(template: str, expected: str) -> None:
    assert render(template, PODS) == expected


@pytest.mark.parametrize("template", ["{.items[}", "{end}", "{range .items[*]}{.x}", "{.a", "{.items[?(@ ~ 1)]}"])
def test_a_template_that_cannot_be_read_is_said_to_be_so(template: str) -> None:
    with pytest.raises(BadPath):
        render(template, PODS)
