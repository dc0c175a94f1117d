"""Pod: what runs, as the issue's part 4 lists it, and mistakes with their places."""

from collections.abc import Callable
from datetime import UTC, datetime

from hauberk.api.condition import Condition
from hauberk.api.manifest import parse_manifest
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.pod_status import PodStatus

Told = Callable[[str], list[tuple[str, str]]]
FULL = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {sidecar.istio.io/inject: "true"}}
spec:
  serviceAccountName: frontend
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 5
  hostname: web-0
  securityContext: {runAsUser: 1000, runAsGroup: 1000, supplementalGroups: [5]}
  initContainers:
  - {name: prepare, command: [/bin/true]}
  containers:
  - name: web
    image: nginx:1
    command: [python3, -m]
    args: [http.server, "$(PORT)"]
    workingDir: /srv
    env:
    - {name: PORT, value: "8080"}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode, optional: true}}}
    ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 8080, protocol: UDP}]
    securityContext: {runAsUser: 33, capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}
    readinessProbe: {httpGet: {path: /ready, port: http, httpHeaders: [{name: Host, value: web}]}, periodSeconds: 1, successThreshold: 2}
    livenessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 3, timeoutSeconds: 2, failureThreshold: 5}
    startupProbe: {grpc: {port: 8080, service: web}}
    lifecycle: {preStop: {sleep: {seconds: 1}}}
"""


def pod(spec: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {spec}\n"


def container(fields: str) -> str:
    return pod(f"{{containers: [{{name: web, command: [x], {fields}}}]}}")


def test_everything_that_a_pod_may_say_is_understood(told: Told) -> None:
    manifest = parse_manifest(FULL, "pod.yaml")
    assert [(each.code, each.path) for each in manifest.problems] == [("HBK0201", "spec.containers[0].image")]
    (found,) = manifest.objects
    assert isinstance(found, Pod)
    web = found.spec.containers[0]
    assert web.argv == ("python3", "-m", "http.server", "$(PORT)")
    assert web.readiness_probe and web.readiness_probe.http_get and web.readiness_probe.http_get.port == "http"
    assert web.security_context.capabilities.add == ("NET_BIND_SERVICE",)


def test_absent_fields_have_the_defaults_of_kubernetes() -> None:
    found = Pod.model_validate(
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "livenessProbe": {"exec": {"command": ["x"]}}}]}}
    )
    spec, probe = found.spec, found.spec.containers[0].liveness_probe
    assert (spec.service_account_name, spec.restart_policy, spec.termination_grace_period_seconds) == ("default", "Always", 30)
    assert probe and (probe.period_seconds, probe.timeout_seconds, probe.failure_threshold, probe.success_threshold) == (10, 1, 3, 1)


def test_a_pod_needs_a_container(told: Told) -> None:
    assert told(pod("{}")) == [("HBK0105", "spec.containers")]
    assert told(pod("{containers: []}")) == [("HBK0105", "spec.containers")]


def test_a_container_without_command_is_no_mistake_of_the_file(told: Told) -> None:
    assert told(pod("{containers: [{name: web, image: nginx}]}")) == []


def test_fields_of_a_cluster_are_named_and_left_out(told: Told) -> None:
    container = "{name: a, volumeMounts: [{}], resources: {limits: {}}}"
    spec = f"{{volumes: [{{name: v}}], tolerations: [{{}}], nodeSelector: {{a: b}}, containers: [{container}]}}"
    assert {code for code, _ in told(pod(spec))} == {"HBK0202"}
    assert len(told(pod(spec))) == 5


def test_what_concerns_nothing_here_is_an_info() -> None:
    problems = parse_manifest(container("imagePullPolicy: Always, tty: true"), "pod.yaml").problems
    assert {(each.code, each.severity) for each in problems} == {("HBK0204", "info")}


def test_the_machines_own_network_is_refused_but_asking_for_none_of_it_is_fine(told: Told) -> None:
    assert told(pod("{hostNetwork: true, containers: [{name: a}]}")) == [("HBK0203", "spec.hostNetwork")]
    assert told(pod("{hostNetwork: false, containers: [{name: a, securityContext: {privileged: false}}]}")) == []


def test_values_that_a_program_would_miss_are_refused(told: Told) -> None:
    assert told(container("envFrom: [{configMapRef: {name: a}}]")) == [("HBK0203", "spec.containers[0].envFrom")]
    (problem,) = told(container("env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]"))[:1]
    assert problem == ("HBK0203", "spec.containers[0].env[0].valueFrom.secretKeyRef")


def test_variables_take_a_text_or_one_source(told: Told) -> None:
    at = "spec.containers[0].env[0]"
    assert told(container("env: [{name: A, value: 1}]")) == [("HBK0104", f"{at}.value")]
    assert told(container("env: [{name: A, valueFrom: {}}]")) == [("HBK0113", f"{at}.valueFrom")]
    assert told(container("env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]")) == [("HBK0113", at)]
    assert told(container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.secret}}}]")) == [
        ("HBK0106", f"{at}.valueFrom.fieldRef.fieldPath")
    ]
    assert told(container("env: [{name: '1A'}]")) == [("HBK0108", f"{at}.name")]


def test_a_probe_has_exactly_one_handler_and_a_port_that_exists(told: Told) -> None:
    at = "spec.containers[0].readinessProbe"
    assert told(container("readinessProbe: {}")) == [("HBK0105", at)]
    assert told(container("readinessProbe: {tcpSocket: {port: 1}, grpc: {port: 1}}")) == [("HBK0113", at)]
    assert told(container("readinessProbe: {tcpSocket: {port: http}}")) == [("HBK0114", f"{at}.tcpSocket.port")]
    assert told(container("readinessProbe: {httpGet: {port: 0}}")) == [("HBK0107", f"{at}.httpGet.port")]
    assert told(container("readinessProbe: {grpc: {port: 1}, periodSeconds: 0}")) == [("HBK0107", f"{at}.periodSeconds")]


def test_only_readiness_may_ask_for_several_successes(told: Told) -> None:
    assert told(container("livenessProbe: {grpc: {port: 1}, successThreshold: 2}")) == [
        ("HBK0107", "spec.containers[0].livenessProbe.successThreshold")
    ]


def test_names_and_ports_of_containers_are_their_own(told: Told) -> None:
    ports = "ports: [{name: a, containerPort: 1}, {name: a, containerPort: 1}]"
    assert told(pod(f"{{containers: [{{name: a, {ports}}}, {{name: a}}]}}")) == [
        ("HBK0112", "spec.containers[0].ports[1].containerPort"),
        ("HBK0112", "spec.containers[0].ports[1].name"),
        ("HBK0112", "spec.containers[1].name"),
    ]


def test_root_contradicts_not_root(told: Told) -> None:
    assert told(container("securityContext: {runAsUser: 0, runAsNonRoot: true}")) == [("HBK0113", "spec.containers[0].securityContext")]


def test_an_init_container_has_no_probes(told: Told) -> None:
    spec = "{containers: [{name: a}], initContainers: [{name: b, livenessProbe: {grpc: {port: 1}}}]}"
    assert told(pod(spec)) == [("HBK0113", "spec.initContainers[0].livenessProbe")]


def test_a_status_in_a_file_is_left_out() -> None:
    (found,) = parse_manifest(FULL + "status: {podIP: 1.2.3.4, madeUp: [1]}\n", "pod.yaml").objects
    assert isinstance(found, Pod)
    assert found.status == PodStatus()


def test_a_pod_is_ready_when_its_condition_says_so() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert PodStatus(conditions=(Condition(type="Ready", status="True", last_transition_time=now),)).ready
    assert not PodStatus(conditions=(Condition(type="Ready", status="False"),)).ready
    assert not PodStatus().ready


def test_a_pod_runs_on_the_machine_it_names_if_there_is_one_of_that_name() -> None:
    def placed(**fields: object) -> str:
        spec = PodSpec.model_validate({"containers": [{"name": "a"}], **fields})
        return spec.placed("here", {"n2", "n3"}).node_name

    assert placed() == "here"
    assert placed(nodeName="n2") == "n2"
    assert placed(nodeName="here") == "here"
    assert placed(nodeName="unknown") == "here"
    assert placed(nodeSelector={"kubernetes.io/hostname": "n3"}) == "n3"
    assert placed(nodeName="n2", nodeSelector={"kubernetes.io/hostname": "n3"}) == "n2"


def test_labels_of_machines_other_than_their_name_have_no_effect(told: Told) -> None:
    assert told(pod("{nodeSelector: {kubernetes.io/hostname: n2}, containers: [{name: a}]}")) == []
    assert told(pod("{nodeSelector: {disk: fast}, containers: [{name: a}]}")) == [("HBK0202", "spec.nodeSelector")]
