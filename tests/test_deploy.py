"""Image, compose and cluster files: what they promise is there, and their commands are ours."""

import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml

from anomalyst.cli.main import app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# KubeRay's ray.io/v1 RayCluster, as its Go types have it: (needed, allowed) keys.
RAY_SPEC = ({"headGroupSpec"}, {"workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling",
            "autoscalerOptions", "headServiceAnnotations", "suspend"})  # fmt: skip
RAY_HEAD = ({"rayStartParams", "template"}, {"serviceType", "headService", "enableIngress"})
RAY_WORKER = ({"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
              {"replicas", "numOfHosts", "scaleStrategy"})  # fmt: skip
IS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse(words):
    """Our own command line reads the words; raises for an option that is not there."""
    command = typer.main.get_command(app)
    assert words[0] in command.commands, words[0]
    command.commands[words[0]].make_context(words[0], [str(one) for one in words[1:]])


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


EVERY = [one for path in MANIFESTS for one in documents(path)]


def pods():
    """Every pod's spec with its labels and where it is from."""
    for one in EVERY:
        spec = one.get("spec", {})
        name = f"{one['kind']}/{one['metadata']['name']}"
        if "template" in spec:
            yield name, spec["template"].get("metadata", {}).get("labels", {}), spec
        if one["kind"] == "RayCluster":
            for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
                yield name, {}, {"template": group["template"]}


def keys(value, needed_allowed):
    needed, allowed = needed_allowed
    assert needed <= set(value) <= needed | allowed, set(value) ^ (needed | allowed)


def test_the_image_is_not_roots_and_looks_after_itself():
    text = (ROOT / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert re.search(r"^HEALTHCHECK", last, re.M)
    assert "/api/v1/ready" in last
    assert last.index("try-image &&") < last.index("USER 10001")  # a half-built one gets no tag
    command = yaml.safe_load(re.search(r"^CMD (\[.*\])$", last, re.M)[1])
    parse(command)


def test_the_builder_gets_what_the_image_copies_and_no_more():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    sources = {one for line in copied for one in line.split()}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in allowed), source


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.sh")), ids=lambda one: one.name)
def test_scripts_are_read_by_bash_and_stop_at_errors(path):
    assert subprocess.run(["bash", "-n", path], capture_output=True).returncode == 0
    assert "set -euo pipefail" in path.read_text()


def test_slurm_starts_what_the_command_line_knows():
    text = (DEPLOY / "slurm" / "train.sh").read_text()
    lines = re.findall(r"anomalyst (train|cluster) (.+)$", text, re.M)
    assert lines
    for line in lines:
        words = shlex.split(" ".join(line).replace("$engine", "ddp"))
        command = typer.main.get_command(app).commands[words[0]]
        rest = words[1:]
        if words[0] == "cluster":
            command, rest = command.commands[words[1]], words[2:]
        command.make_context(words[0], rest)


def test_compose_services_are_hardened_and_their_commands_are_ours():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source.startswith((".", "$")) or source in compose["volumes"], source
        assert set(service["networks"]) <= set(compose["networks"])
        if service["image"].startswith("anomalyst"):
            parse([re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in service["command"]])
    assert compose["networks"]["inside"]["internal"]
    open_to_all = [p for s in compose["services"].values() for p in s.get("ports", [])
                   if not p.startswith("127.0.0.1:")]  # fmt: skip
    assert not open_to_all
    passwords = [
        value
        for service in compose["services"].values()
        for key, value in service.get("environment", {}).items()
        if "PASSWORD" in key
    ]
    # Variables that must be set, never values.
    assert passwords and all(one.startswith("${POSTGRES_PASSWORD:?") for one in passwords)
    assert (DEPLOY / "mosquitto" / "mosquitto.conf").is_file()


def test_every_pod_is_hardened_and_mounts_what_it_has():
    claims = {one["metadata"]["name"] for one in EVERY if one["kind"] == "PersistentVolumeClaim"}
    count = 0
    for name, _, spec in pods():
        count += 1
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        made = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", [])]
        volumes = {one["name"]: one for one in pod.get("volumes", [])} | dict.fromkeys(made, {})
        asked = {one["persistentVolumeClaim"]["claimName"] for one in volumes.values()
                 if "persistentVolumeClaim" in one}  # fmt: skip
        assert asked <= claims, name
        for container in pod["containers"]:
            safe = container["securityContext"]
            assert safe["readOnlyRootFilesystem"] and not safe["allowPrivilegeEscalation"]
            assert safe["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert {one["name"] for one in container["volumeMounts"]} <= set(volumes), name
            if "args" in container:
                parse([word.replace("$(JOB_COMPLETION_INDEX)", "0") if isinstance(word, str)
                       else word for word in container["args"]])  # fmt: skip
    assert count == 5


def test_services_find_their_pods_and_ports():
    by_label = {tuple(sorted(labels.items())): spec for _, labels, spec in pods() if labels}
    for one in EVERY:
        assert IS_LABEL.fullmatch(one["metadata"]["name"])
        if one["kind"] != "Service" or "batch.kubernetes.io/job-name" in one["spec"]["selector"]:
            continue
        pod = by_label[tuple(sorted(one["spec"]["selector"].items()))]["template"]["spec"]
        ports = {p["name"] for c in pod["containers"] for p in c["ports"]}
        assert {p["targetPort"] for p in one["spec"]["ports"]} <= ports
    for one in EVERY:
        if one["kind"] in ("Deployment", "StatefulSet"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_training_job_meets_at_its_first_pod():
    job = next(one for one in EVERY if one["kind"] == "Job")["spec"]
    args = job["template"]["spec"]["containers"][0]["args"]
    assert int(args[args.index("--nnodes") + 1]) == job["completions"] == job["parallelism"]
    host, _, port = args[args.index("--master") + 1].partition(":")
    service = next(one for one in EVERY if one["metadata"]["name"] == "training")
    assert host == f"training-0.{job['template']['spec']['subdomain']}"
    assert int(port) == service["spec"]["ports"][0]["port"]
    assert service["spec"]["clusterIP"] == "None"


def test_the_ray_cluster_is_as_kuberay_reads_it():
    ray = next(one for one in EVERY if one["kind"] == "RayCluster")
    spec = ray["spec"]
    assert ray["apiVersion"] == "ray.io/v1"
    keys(spec, RAY_SPEC)
    keys(spec["headGroupSpec"], RAY_HEAD)
    for group in spec["workerGroupSpecs"]:
        keys(group, RAY_WORKER)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert spec["rayVersion"] == pinned[1]


@pytest.mark.skipif(
    find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed"
)
def test_manifests_are_what_kubernetes_own_schemas_ask_for():
    import kubernetes_validate

    version = kubernetes_validate.latest_version()
    for one in EVERY:
        if one["kind"] != "RayCluster":
            kubernetes_validate.validate(one, version, strict=True)
    for name, _, spec in pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}}
        pod["spec"] = spec["template"]["spec"]
        kubernetes_validate.validate(pod, version, strict=True), name
