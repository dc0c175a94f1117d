"""All actions together, and on trial."""

from typing import Any

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.decision import Engine, Meshwide, build_ruleset
from hauberk.policy.facts import observe
from hauberk.policy.identifier import RuleId
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.ruleset import Paths
from hauberk.policy.verdict import AMBIGUOUS_PATH, EXTERNAL, MALFORMED, NO_ALLOW_MATCHED, NO_ALLOW_POLICY, NO_PROVIDER, Verdict

GET = Request(port=8080, method="GET", path="/a", host="web")
TCP = Request(port=5432, http=False)
PEER = Peer("spiffe://cluster.local/ns/shop/sa/web")
EVERYTHING: dict[str, Any] = {}
GETS = {"to": [{"operation": {"methods": ["GET"]}}]}
PATHS = {"to": [{"operation": {"paths": ["/b"]}}]}


def policy(name: str, action: str, *rules: dict[str, Any], dry_run: bool = False, provider: str | None = None) -> AuthorizationPolicy:
    annotations = {"istio.io/dry-run": "true"} if dry_run else {}
    spec = {"action": action, "rules": list(rules)} | ({"provider": {"name": provider}} if provider else {})
    return AuthorizationPolicy.model_validate({"metadata": {"name": name, "namespace": "shop", "annotations": annotations}, "spec": spec})


def asked(*policies: AuthorizationPolicy, request: Request = GET, mesh: Meshwide | None = None, external: bool | None = None) -> Verdict:
    mesh = mesh or Meshwide()
    return build_ruleset(policies, mesh).verdict(observe(request, PEER, mesh.paths.level), external)


def test_what_is_on_trial_decides_nothing_and_is_told_beside_the_decision() -> None:
    verdict = asked(policy("deny", "DENY", GETS, dry_run=True), policy("allow", "ALLOW", EVERYTHING))
    assert verdict.allowed
    assert verdict.dry_run is not None
    assert not verdict.dry_run.allowed
    assert verdict.dry_run.rule == RuleId("shop", "deny", 0)


def test_without_anything_on_trial_there_is_no_second_decision() -> None:
    assert asked(policy("allow", "ALLOW", EVERYTHING)).dry_run is None


def test_an_allow_policy_on_trial_shows_what_it_would_deny() -> None:
    verdict = asked(policy("allow", "ALLOW", PATHS, dry_run=True))
    assert verdict.judgement.name == NO_ALLOW_POLICY
    assert verdict.dry_run is not None
    assert verdict.dry_run.name == NO_ALLOW_MATCHED


def test_audit_never_decides() -> None:
    verdict = asked(policy("a", "AUDIT", PATHS, GETS), policy("b", "AUDIT", EVERYTHING), policy("deny", "DENY", EVERYTHING))
    assert not verdict.allowed
    assert verdict.audited == (RuleId("shop", "a", 1), RuleId("shop", "b", 0))


def test_an_external_refusal_comes_before_all_else() -> None:
    custom, allow = policy("c", "CUSTOM", GETS, provider="opa"), policy("allow", "ALLOW", EVERYTHING)
    assert asked(custom, allow, external=False).judgement.name == EXTERNAL
    assert asked(custom, allow, external=True).decided_by == RuleId("shop", "allow", 0)
    assert asked(custom, policy("deny", "DENY", GETS), external=True).decided_by == RuleId("shop", "deny", 0)


def test_who_would_be_asked_is_told_while_the_answer_is_not_known() -> None:
    verdict = asked(policy("c", "CUSTOM", GETS, provider="opa"))
    assert verdict.allowed
    assert verdict.custom == RuleId("shop", "c", 0)
    assert asked(policy("c", "CUSTOM", PATHS, provider="opa")).custom is None


def test_what_nobody_can_be_asked_about_is_denied() -> None:
    one, other = policy("c", "CUSTOM", GETS, provider="opa"), policy("d", "CUSTOM", PATHS, provider="other")
    assert asked(one, mesh=Meshwide(providers=frozenset({"other"}))).judgement.name == NO_PROVIDER
    assert asked(one, other).judgement.name == NO_PROVIDER
    assert asked(one, mesh=Meshwide(providers=frozenset({"opa"}))).allowed


def test_nobody_can_be_asked_about_a_connection() -> None:
    verdict = asked(policy("c", "CUSTOM", GETS, provider="opa"), request=TCP)
    assert verdict.judgement.name == NO_PROVIDER
    assert verdict.decided_by == RuleId("shop", "c", 0)


def test_an_ambiguous_path_is_refused_where_policies_ask_about_paths() -> None:
    request = Request(port=1, path="/a%2fb")
    assert asked(policy("a", "ALLOW", EVERYTHING), policy("d", "DENY", PATHS), request=request).judgement.name == AMBIGUOUS_PATH
    assert asked(policy("a", "ALLOW", EVERYTHING), request=request).allowed
    lenient = Meshwide(paths=Paths(ambiguous=True))
    assert asked(policy("a", "ALLOW", EVERYTHING), policy("d", "DENY", PATHS), request=request, mesh=lenient).allowed


def test_a_malformed_path_reaches_no_policy() -> None:
    verdict = asked(policy("a", "AUDIT", EVERYTHING), request=Request(port=1, path="/a#b"))
    assert verdict.judgement.name == MALFORMED
    assert verdict.status == 400
    assert verdict.audited == ()


def test_a_verdict_is_told_to_programs() -> None:
    told = asked(policy("deny", "DENY", PATHS), policy("allow", "ALLOW", GETS)).to_json()
    assert (told["verdict"], told["policy"], told["rule"]) == ("allow", "shop/allow", 0)
    deny = told["policies"][0]
    assert deny["rules"][0]["failed"] == [{"path": "spec.rules[0].to[0].operation.paths", "wants": ["/b"], "actual": "/a"}]


def test_an_engine_decides_by_the_policies_of_each_workload() -> None:
    chosen = AuthorizationPolicy.model_validate(
        {
            "metadata": {"name": "deny", "namespace": "shop"},
            "spec": {"action": "DENY", "selector": {"matchLabels": {"app": "web"}}, "rules": [{}]},
        }
    )
    root = policy("root", "ALLOW", EVERYTHING).model_copy(
        update={"metadata": chosen.metadata.model_copy(update={"namespace": "istio-system"})}
    )
    engine = Engine([chosen, root], Meshwide())
    assert not engine.judge(GET, PEER, Workload(namespace="shop", labels={"app": "web"})).allowed
    assert engine.judge(GET, PEER, Workload(namespace="shop", labels={"app": "other"})).allowed
    assert engine.verdict(GET, PEER, Workload(namespace="bank")).policies[0].policy.namespace == "istio-system"
    assert engine.ruleset(Workload(namespace="bank")) is engine.ruleset(Workload(namespace="bank", labels={}))
