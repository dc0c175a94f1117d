"""Every rule of the analysis, with what it is said of and what is nearly the same and right."""

import pytest
from tests.unit.analysis.rule_base import SHOP, codes, policy, said, severities

ACCOUNT = "cluster.local/ns/shop/sa/web"
CALLER = f"from: [{{source: {{principals: ['{ACCOUNT}']}}}}]"
PORT = "to: [{operation: {ports: ['8080']}}]"
WEB = "selector: {matchLabels: {app: web}}"
DB = "selector: {matchLabels: {app: db}}"
ALL = "selector: {}"
METHODS = "to: [{operation: {methods: [GET]}}]"
HEADER = "when: [{key: 'request.headers[a]', values: [a]}]"


def allow(rule: str, more: str = WEB) -> str:
    return policy("p", f"{{{more}, rules: [{{{rule}}}]}}")


def deny(rule: str, more: str = WEB) -> str:
    return policy("p", f"{{{more}, action: DENY, rules: [{{{rule}}}]}}")


def principal(value: str) -> str:
    return allow(f"from: [{{source: {{principals: ['{value}']}}}}]")


def custom(provider: str, name: str = "p") -> str:
    return policy(name, f"{{{WEB}, action: CUSTOM, provider: {{name: {provider}}}, rules: [{{}}]}}")


def peers(name: str, spec: str, namespace: str = "shop") -> str:
    return policy(name, spec, kind="PeerAuthentication", namespace=namespace)


def tokens(name: str, issuer: str = "https://idp.example", more: str = WEB) -> str:
    return policy(name, f"{{{more}, jwtRules: [{{issuer: '{issuer}'}}]}}", kind="RequestAuthentication")


def limits(spec: str, by: str = "") -> str:
    return policy("p", f"{{{spec}, limits: [{{name: a, requests: 1, per: second, by: [{by}]}}]}}", kind="RateLimitPolicy")


def settings(text: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{text}'}}\n"


OPA = settings("extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa, port: 1}}, {name: tracer, zipkin: {}}]")
PERMISSIVE = peers("all", "{mtls: {mode: PERMISSIVE}}")
DISABLE = peers("all", "{mtls: {mode: DISABLE}}")
WANTS_TOKEN = allow("from: [{source: {requestPrincipals: ['*']}}]")

CASES = [
    ("HBK0348", [tokens("t", more=DB)], [tokens("t")]),
    ("HBK0363", [custom("opa").replace(WEB, DB)], [custom("opa")]),
    ("HBK0355", [limits(WEB).replace("by: []", "match: {methods: [get]}")], [limits(WEB).replace("by: []", "match: {methods: [OWN]}")]),
    (
        "HBK0355",
        [limits(WEB).replace("by: []", "match: {paths: [/a;b]}")],
        [settings("hauberk: {ambiguousPaths: ALLOW}"), limits(WEB).replace("by: []", "match: {paths: [/a;b]}")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{methods: [own]}}}}]")],
        [settings("hauberk: {ambiguousPaths: ALLOW}"), allow(f"{CALLER}, to: [{{operation: {{methods: [own]}}}}]")],
    ),
    (
        "HBK0355",
        [allow("when: [{key: 'request.headers[a]', values: ['b ']}]")],
        [allow("when: [{key: 'request.headers[a]', values: ['b c']}]")],
    ),
    ("HBK0601", [allow(CALLER, "selector: {matchLabels: {app: wbe}}")], [allow(CALLER)]),
    ("HBK0601", [tokens("t", more="selector: {matchLabels: {app: wbe}}")], [tokens("t")]),
    ("HBK0601", [peers("p", "{selector: {matchLabels: {app: wbe}}}")], [peers("p", f"{{{WEB}}}")]),
    ("HBK0601", [limits("selector: {matchLabels: {app: wbe}}")], [limits(WEB)]),
    ("HBK0360", [allow(CALLER, "selector: {matchLabels: {app: bare}}")], [allow(CALLER)]),
    ("HBK0606", [peers("a", "{}"), peers("b", "{}")], [peers("a", "{}"), peers("b", "{}", "istio-system")]),
    (
        "HBK0606",
        [peers("a", f"{{{WEB}}}"), peers("b", "{selector: {matchLabels: {tier: front}}}")],
        [peers("a", f"{{{WEB}}}"), peers("b", f"{{{DB}}}")],
    ),
    ("HBK0347", [peers("a", f"{{{WEB}, portLevelMtls: {{'80': {{}}}}}}")], [peers("a", f"{{{WEB}, portLevelMtls: {{'8080': {{}}}}}}")]),
    ("HBK0347", [allow(f"{CALLER}, {PORT.replace('8080', '80')}")], [allow(f"{CALLER}, {PORT}")]),
    (
        "HBK0347",
        [allow(f"{CALLER}, when: [{{key: destination.port, notValues: ['80']}}]")],
        [allow(f"{CALLER}, when: [{{key: destination.port, notValues: ['8080']}}]")],
    ),
    ("HBK0348", [allow(f"{CALLER}, to: [{{operation: {{paths: [/a]}}}}]", DB)], [allow(f"{CALLER}, to: [{{operation: {{paths: [/a]}}}}]")]),
    ("HBK0348", [deny("to: [{operation: {methods: [GET], ports: ['5432']}}]", DB)], [deny("to: [{operation: {ports: ['5432']}}]", DB)]),
    # Programs of both kinds in one namespace: what concerns all of them says which ports it means.
    ("HBK0304", [deny(METHODS, ALL)], [deny(METHODS)]),
    ("HBK0304", [deny(METHODS, ALL)], [deny(METHODS.replace("[GET]", "[GET], ports: ['8080']"), ALL)]),
    ("HBK0304", [deny(METHODS, ALL)], [allow(METHODS, ALL)]),
    ("HBK0304", [deny(METHODS).replace("DENY", "AUDIT").replace(WEB, ALL)], [deny(METHODS).replace("DENY", "AUDIT")]),
    ("HBK0304", [deny(HEADER, ALL)], [deny(f"{HEADER}, {PORT}", ALL)]),
    ("HBK0304", [deny(HEADER, ALL)], [deny(HEADER.replace("when: [", "when: [{key: destination.port, values: ['8080']}, "), ALL)]),
    ("HBK0304", [deny("from: [{source: {requestPrincipals: ['*']}}]", ALL)], [deny("from: [{source: {requestPrincipals: ['*']}}]")]),
    (
        "HBK0348",
        [allow("when: [{key: 'request.headers[a]', values: [a]}]", DB)],
        [allow("when: [{key: 'request.headers[a]', values: [a]}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{methods: [get]}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{methods: [GET, OWN-METHOD]}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{paths: [a/b]}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a/b, '*/b']}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{notPaths: ['/a?b=c']}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{notPaths: [/a]}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a/../b]}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a/..b]}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a%2Fb]}}}}]")],
        [settings("hauberk: {ambiguousPaths: ALLOW}"), allow(f"{CALLER}, to: [{{operation: {{paths: [/a%2Fb]}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a//b]}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{paths: [/a/b/]}}}}]")],
    ),
    (
        "HBK0355",
        [allow(f"{CALLER}, to: [{{operation: {{hosts: ['https://shop.example']}}}}]")],
        [allow(f"{CALLER}, to: [{{operation: {{hosts: ['shop.example:8080']}}}}]")],
    ),
    ("HBK0355", [principal("web")], [principal("other.example/program")]),
    ("HBK0355", [principal("cluster.local/shop/sa/web")], [principal(ACCOUNT)]),
    (
        "HBK0343",
        [allow(f"when: [{{key: source.principal, values: ['{ACCOUNT}'], notValues: ['{ACCOUNT}']}}]")],
        [allow(f"when: [{{key: source.principal, values: ['*'], notValues: ['{ACCOUNT}']}}]")],
    ),
    (
        "HBK0343",
        [allow("to: [{operation: {ports: ['8080'], notPorts: ['8080']}}]")],
        [allow("to: [{operation: {ports: ['8080'], notPorts: ['5432']}}]")],
    ),
    (
        "HBK0343",
        [allow("from: [{source: {ipBlocks: [10.1.0.0/16]}}], when: [{key: source.ip, values: [192.0.2.0/24]}]")],
        [allow("from: [{source: {ipBlocks: [10.1.0.0/16]}}], when: [{key: source.ip, values: [10.1.2.0/24]}]")],
    ),
    (
        "HBK0343",
        [allow("from: [{source: {namespaces: [shop], notPrincipals: ['cluster.local/ns/shop/*', '*']}}]")],
        [allow(f"from: [{{source: {{namespaces: [shop], notPrincipals: ['{ACCOUNT}']}}}}]")],
    ),
    ("HBK0362", [policy("p", f"{{{WEB}, action: AUDIT}}")], [policy("p", f"{{{WEB}, action: AUDIT, rules: [{{{CALLER}}}]}}")]),
    ("HBK0344", [principal("cluster.local/ns/shop/sa/wbe")], [principal(ACCOUNT)]),
    ("HBK0344", [allow("from: [{source: {serviceAccounts: [wbe]}}]")], [allow("from: [{source: {serviceAccounts: [web, shop/default]}}]")]),
    ("HBK0346", [allow("from: [{source: {namespaces: [shp]}}]")], [allow("from: [{source: {namespaces: [shop, 'sh*']}}]")]),
    ("HBK0346", [principal("cluster.local/ns/shp/*")], [principal("cluster.local/ns/shop/*")]),
    ("HBK0346", [principal("*/ns/shp/sa/web")], [principal("*/ns/shop/sa/web")]),
    ("HBK0345", [principal("cluster.loca/ns/shop/sa/web")], [principal("*/ns/shop/sa/web")]),
    ("HBK0345", [allow("from: [{source: {trustDomains: [cluster.loca]}}]")], [allow("from: [{source: {trustDomains: ['*.local']}}]")]),
    ("HBK0349", [WANTS_TOKEN], [WANTS_TOKEN, tokens("t")]),
    ("HBK0349", [WANTS_TOKEN, tokens("t", more=DB)], [WANTS_TOKEN, tokens("t", more="selector: {matchLabels: {tier: front}}")]),
    (
        "HBK0349",
        [tokens("t"), allow("from: [{source: {requestPrincipals: ['https://ipd.example/*']}}]")],
        [tokens("t"), allow("from: [{source: {requestPrincipals: ['https://idp.example/*', '*/alice']}}]")],
    ),
    ("HBK0349", [limits(WEB, "'request.auth.claims[a]'")], [limits(WEB, "'request.auth.claims[a]'"), tokens("t")]),
    (
        "HBK0352",
        [tokens("a"), tokens("b", more="selector: {matchLabels: {tier: front}}")],
        [tokens("a"), tokens("b", "https://other.example")],
    ),
    ("HBK0359", [tokens("t")], [tokens("t"), WANTS_TOKEN]),
    ("HBK0350", [OPA, custom("oap")], [OPA, custom("opa")]),
    ("HBK0350", [OPA, custom("tracer")], [OPA, custom("opa")]),
    (
        "HBK0351",
        [custom("opa", "a"), custom("other", "b")],
        [custom("opa", "a"), custom("opa", "b").replace("rules: [{}]", f"rules: [{{{PORT}}}]")],
    ),
    ("HBK0353", [allow("")], [deny("")]),
    ("HBK0353", [allow("to: [{operation: {methods: ['*']}}]")], [allow("to: [{operation: {methods: [GET]}}]")]),
    ("HBK0354", [allow("to: [{operation: {paths: [/health]}}]")], [allow(f"{CALLER}, to: [{{operation: {{paths: [/health]}}}}]")]),
    (
        "HBK0354",
        [principal("*")],
        [allow("from: [{source: {principals: ['*'], namespaces: [shop]}}], when: [{key: source.ip, values: [10.0.0.1]}]")],
    ),
    ("HBK0356", [DISABLE, allow(CALLER)], [peers("p", "{mtls: {mode: STRICT}}"), allow(CALLER)]),
    ("HBK0356", [DISABLE, limits(WEB, "source.principal")], [DISABLE, limits(WEB, "source.ip")]),
    ("HBK0357", [PERMISSIVE, deny(CALLER)], [deny(CALLER)]),
    (
        "HBK0361",
        [PERMISSIVE, allow("from: [{source: {notNamespaces: [shop]}}]")],
        [PERMISSIVE, allow("from: [{source: {namespaces: ['*'], notNamespaces: [shop]}}]")],
    ),
    ("HBK0358", [limits("targetRefs: [{kind: Service, name: wbe}]")], [limits("targetRefs: [{kind: Service, name: web}]")]),
    (
        "HBK0358",
        [limits("targetRefs: [{group: apps, kind: Deployment, name: db}]")],
        [limits("targetRefs: [{group: apps, kind: Deployment, name: web}]")],
    ),
    ("HBK0364", [limits(DB)], [limits(WEB)]),
    (
        "HBK0366",
        [deny("when: [{key: 'request.headers[a]', values: [b]}]")],
        [deny("when: [{key: 'request.headers[a]', notValues: [b]}]")],
    ),
    ("HBK0366", [deny("when: [{key: 'request.headers[a]', values: [b]}]")], [deny("when: [{key: 'request.headers[a]', values: ['*']}]")]),
    ("HBK0366", [deny("when: [{key: 'request.headers[a]', values: [b]}]")], [deny("when: [{key: 'request.headers[a]', values: ['b*']}]")]),
    (
        "HBK0366",
        [allow("when: [{key: 'request.headers[a]', notValues: [b]}]")],
        [allow("when: [{key: 'request.headers[a]', values: [b]}]")],
    ),
    ("HBK0364", [limits("targetRefs: [{kind: Service, name: db}]")], [limits("targetRefs: [{kind: Service, name: web}]")]),
]


@pytest.mark.parametrize(("code", "wrong", "right"), CASES, ids=lambda each: each if isinstance(each, str) else "")
def test_it_is_said_of_what_is_wrong_and_not_of_what_is_right(code: str, wrong: list[str], right: list[str]) -> None:
    assert code in codes(*wrong)
    assert code not in codes(*right)


def test_nothing_is_said_of_a_shop_that_is_right() -> None:
    caller = policy("callers", f"{{{WEB}, rules: [{{{CALLER}, to: [{{operation: {{methods: [GET], paths: ['/api/*']}}}}]}}]}}")
    assert (
        said(caller, policy("nothing", "{}"), peers("all", "{mtls: {mode: STRICT}}"), limits(WEB, "source.principal, request.path")) == []
    )


def test_files_of_policies_alone_are_not_held_against_programs_that_nobody_showed() -> None:
    text = policy("p", f"{{{WEB}, rules: [{{from: [{{source: {{principals: ['cluster.local/ns/bank/sa/teller']}}}}], {PORT}}}]}}")
    assert said(text, shop="") == []


def test_a_port_of_which_nobody_said_what_it_speaks_may_speak_anything() -> None:
    sniffed = SHOP.replace("{name: http, port: 80", "{port: 80")
    assert [(code, path) for code, _, path in said(deny(METHODS), shop=sniffed)] == [("HBK0304", "spec.rules[0].to[0].operation")]


def test_on_a_port_of_which_nobody_said_what_it_speaks_a_caller_may_pretend_to_send_no_requests() -> None:
    sniffed = SHOP.replace("{name: http, port: 80", "{port: 80")
    for document in (tokens("t"), limits(WEB)):
        assert ("HBK0365", "spec") in [(code, path) for code, _, path in said(document, shop=sniffed)]
        assert "HBK0365" not in codes(document)


def test_where_no_port_is_declared_it_is_told_as_a_possibility() -> None:
    assert severities(deny(METHODS), shop="") == {"HBK0304": "info"}


def test_what_only_settings_and_federations_say_is_told_of_files_as_a_possibility() -> None:
    assert severities(principal("partner.example/ns/shop/sa/web")) == {"HBK0345": "info"}
    assert severities(principal("cluster.loca/ns/shop/sa/web")) == {"HBK0345": "warning"}
    assert severities(custom("opa")) == {"HBK0350": "info"}
    assert severities(custom("oap"), OPA) == {"HBK0350": "warning"}


def test_a_mesh_is_known_whole() -> None:
    text = principal("partner.example/ns/shop/sa/web")
    assert codes(text, whole=True, foreign=()) == ["HBK0345"]
    assert codes(text, whole=True, foreign=("partner.example",)) == []
    assert "HBK0350" in codes(custom("opa"), whole=True)
    # Nothing but a PeerAuthentication makes a mesh strict; files are held against a fresh one, which has that.
    assert "HBK0357" in codes(deny(CALLER), whole=True)


def test_a_provider_whose_service_is_not_there_is_told_of_a_whole_mesh() -> None:
    gone = settings("extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: gone.shop.svc.cluster.local, port: 1}}]")
    outside = settings("extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.example.com, port: 1}}]")
    assert "HBK0350" in codes(gone, custom("opa"), whole=True)
    # Beside files there may be other files.
    assert "HBK0350" not in codes(gone, custom("opa"))
    assert "HBK0350" not in codes(outside, custom("opa"), whole=True)


def test_a_provider_that_would_have_to_ask_itself_is_told() -> None:
    itself = settings("extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: web.shop.svc.cluster.local, port: 80}}]")
    assert "HBK0350" in codes(itself, custom("opa"), whole=True)


def test_the_place_is_told_to_the_value() -> None:
    (found,) = said(principal("cluster.local/ns/shop/sa/wbe"))
    assert found == ("HBK0344", "p", "spec.rules[0].from[0].source.principals[0]")


def test_processes_in_no_pod_are_somebody_too() -> None:
    entry = settings("hauberk: {workloadEntries: [{name: batch, serviceAccount: shop/batch, selectors: {uid: 1000}}]}")
    assert codes(principal("cluster.local/ns/shop/sa/batch")) == ["HBK0344"]
    assert codes(entry, principal("cluster.local/ns/shop/sa/batch")) == []


def test_of_a_long_list_only_the_first_that_mean_nobody_are_told() -> None:
    found = said(principal("', '".join(f"cluster.local/ns/shop/sa/gone-{number}" for number in range(50))))
    assert len(found) == 11
    assert found[-1] == ("HBK0344", "p", "spec.rules[0].from[0].source.principals")


def test_a_policy_with_targets_is_none_of_a_sidecars_business() -> None:
    assert codes(policy("p", "{targetRefs: [{kind: Service, name: web}], rules: [{}]}")) == []


def test_the_root_namespace_is_everywhere() -> None:
    text = policy("p", f"{{{WEB}, rules: [{{{CALLER}}}]}}", namespace="istio-system")
    assert codes(text) == []
    assert codes(text.replace("app: web", "app: wbe")) == ["HBK0601"]


def test_services_and_accounts_must_exist() -> None:
    lost = SHOP.replace("selector: {app: db}", "selector: {app: dbb}").replace("serviceAccountName: web", "serviceAccountName: wbe")
    assert [code for code, _, _ in said(shop=lost)] == ["HBK0601", "HBK0605"]
    assert [code for code, _, _ in said(shop=SHOP.replace("targetPort: 8080", "targetPort: 81"))] == ["HBK0602"]
