"""The files for operators agree with settings and code, as far as that can be told without a cluster."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.api.routes import health
from backend.duration import parse_duration
from backend.settings import Settings, env_names
from tests.acceptance.server import Server
from tests.docs.test_metrics_reference import declared

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "operations.md").read_text()
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "deploy" / "systemd" / "scheduler.service"
ROUTES = {route.path for route in health.router.routes}  # type: ignore[attr-defined]
IMAGES = {"python:3.11-slim", "postgres:18", "agent-scheduler"}
SLACK = 5
"""Seconds beyond the grace for closing files and leaving."""


def seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "scheduler.yaml").read_text())
    return {document["kind"]: document for document in documents}


def pod() -> dict[str, Any]:
    template: dict[str, Any] = manifests()["Deployment"]["spec"]["template"]
    return template


def container() -> dict[str, Any]:
    (only,) = pod()["spec"]["containers"]
    return dict(only)


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", last("ENV")))


def environments() -> dict[str, dict[str, str]]:
    """Give the environment that each file sets, by the file's name."""
    services = compose()["services"]
    pairs = {entry["name"]: str(entry.get("value", "secret")) for entry in container()["env"]}
    return {
        "Dockerfile": image_environment(),
        **{f"docker-compose.yml {name}": service["environment"] for name, service in services.items()},
        "scheduler.yaml": pairs,
        "scheduler.service": dict(pair.split("=", 1) for pair in unit()["Environment"]),
    }


@pytest.mark.parametrize("where", sorted(environments()))
def test_every_variable_of_ours_is_a_setting_with_a_value_that_is_accepted(where: str) -> None:
    ours = {name: value for name, value in environments()[where].items() if name.startswith("SCHEDULER_")}
    assert set(ours) <= set(env_names())
    given = {env_names()[name]: value for name, value in ours.items() if name != "SCHEDULER_DATABASE_URL"}
    Settings(**given)  # type: ignore[arg-type]


def test_the_image_runs_a_module_of_ours_in_exec_form_as_nobody_special() -> None:
    command = json.loads(last("CMD"))
    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(command[2]) is not None
    user = last("USER").split(":")
    assert all(part.isdecimal() and int(part) > 0 for part in user)
    assert not [name for name, _ in instructions() if name == "ENTRYPOINT"]


def test_the_image_listens_where_it_says_and_checks_a_route_that_exists() -> None:
    environment = image_environment()
    assert last("EXPOSE") == environment["SCHEDULER_PORT"]
    assert environment["SCHEDULER_BIND_HOST"] == "0.0.0.0"
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    compile(check[2], "healthcheck", "exec")
    port, path = re.findall(r"127\.0\.0\.1:(\d+)(/\w+)", check[2])[0]
    assert port == environment["SCHEDULER_PORT"]
    assert path in ROUTES


def test_the_image_is_built_of_files_that_exist_and_are_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed
    data = image_environment()["SCHEDULER_DATA_DIR"]
    assert f"--owner {last('USER').split(':')[0]}" in last("RUN")
    assert last("RUN").endswith(data)


def test_no_file_names_an_image_of_a_registry() -> None:
    bases = {rest.split()[0] for name, rest in instructions() if name == "FROM"}
    images = {service["image"] for service in compose()["services"].values()} | {container()["image"]}
    assert bases | images <= IMAGES


def replicas() -> Iterator[dict[str, Any]]:
    yield from (service for name, service in compose()["services"].items() if name.startswith("scheduler-"))


def test_compose_starts_two_replicas_on_one_database_that_is_up_before_them() -> None:
    assert len(list(replicas())) == 2
    urls = {service["environment"]["SCHEDULER_DATABASE_URL"] for service in replicas()}
    database = compose()["services"]["postgres"]
    assert len(urls) == 1
    assert urls.pop().startswith(f"postgresql://{database['environment']['POSTGRES_USER']}:")
    assert {tuple(service["depends_on"]["postgres"].values()) for service in replicas()} == {("service_healthy",)}
    assert database["healthcheck"]["test"][0] == "CMD"
    ports = [service["ports"][0].rsplit(":", 2) for service in replicas()]
    assert {port[2] for port in ports} == {image_environment()["SCHEDULER_PORT"]}
    assert len({port[1] for port in ports}) == 2


def test_whoever_stops_the_server_waits_longer_than_the_grace() -> None:
    for service in replicas():
        grace = seconds(service["environment"]["SCHEDULER_SHUTDOWN_GRACE"])
        assert seconds(service["stop_grace_period"]) >= grace + SLACK
    grace = seconds(environments()["scheduler.yaml"]["SCHEDULER_SHUTDOWN_GRACE"])
    assert pod()["spec"]["terminationGracePeriodSeconds"] >= grace + SLACK
    grace = seconds(environments()["scheduler.service"]["SCHEDULER_SHUTDOWN_GRACE"])
    assert float(unit()["TimeoutStopSec"][0]) >= grace + SLACK


def test_probes_ask_routes_that_exist_at_the_port_that_is_listened_on() -> None:
    given = container()
    (port,) = given["ports"]
    assert str(port["containerPort"]) == environments()["scheduler.yaml"]["SCHEDULER_PORT"]
    paths = {name: given[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in paths.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {probe["path"] for probe in paths.values()} <= ROUTES
    assert {probe["port"] for probe in paths.values()} == {port["name"]}
    annotations = pod()["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert annotations["prometheus.io/path"] in ROUTES


def test_service_budget_and_deployment_mean_the_same_pods() -> None:
    found = manifests()
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget"}
    labels = pod()["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == container()["ports"][0]["name"]
    assert found["Deployment"]["spec"]["replicas"] > found["PodDisruptionBudget"]["spec"]["minAvailable"]


def test_secrets_are_referred_to_and_the_note_on_top_makes_those_that_are() -> None:
    text = (ROOT / "deploy" / "kubernetes" / "scheduler.yaml").read_text()
    (url,) = [entry for entry in container()["env"] if entry["name"] == "SCHEDULER_DATABASE_URL"]
    assert "value" not in url
    reference = url["valueFrom"]["secretKeyRef"]
    assert f"secret generic {reference['name']}" in text
    assert f"--from-literal={reference['key']}=" in text
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert mounts["admin-key"]["mountPath"] == environments()["scheduler.yaml"]["SCHEDULER_DATA_DIR"] + "/admin.key"
    assert {mount["name"] for mount in container()["volumeMounts"]} == {
        each["name"] for each in pod()["spec"]["volumes"]
    }


def test_containers_have_no_more_rights_than_they_need() -> None:
    context = {**pod()["spec"]["securityContext"], **container()["securityContext"]}
    assert context["runAsNonRoot"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert str(context["runAsUser"]) == last("USER").split(":")[0]
    assert pod()["spec"]["enableServiceLinks"] is False
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in replicas())


def test_the_unit_waits_for_ready_and_watches_the_parent() -> None:
    given = {name: values[-1] for name, values in unit().items()}
    assert (given["Type"], given["NotifyAccess"], given["KillMode"]) == ("notify", "main", "mixed")
    assert float(given["WatchdogSec"]) / 2 >= 30, "a loop counts as hanging after 30 s, and must not be killed before"
    program, dash_m, module = given["ExecStart"].split()
    assert (Path(program).name, dash_m) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None
    assert given["RestartPreventExitStatus"] == "2"
    assert given["WorkingDirectory"].endswith(given["StateDirectory"])
    assert environments()["scheduler.service"]["SCHEDULER_DATA_DIR"] == given["WorkingDirectory"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here; the unit is parsed above")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/agent-scheduler/.venv/bin/python", sys.executable)
    (tmp_path / "scheduler.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "scheduler.service")]
    verdict = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    complaints = [line for line in verdict.stderr.splitlines() if "scheduler.service" in line]
    assert complaints == []


def test_the_guide_names_only_what_there_is() -> None:
    names = set(re.findall(r"SCHEDULER_[A-Z_]*[A-Z](?![\w*])", GUIDE))
    assert names <= set(env_names())
    assert set(re.findall(r"`(scheduler_[a-z_]+)`", GUIDE)) <= set(declared())
    for path in re.findall(r"^\| `(/\w+)`", GUIDE, re.MULTILINE):
        assert path in ROUTES
    for module in re.findall(r"python -m (backend[\w.]*)", GUIDE):
        assert importlib.util.find_spec(module) is not None
    for file in re.findall(r"`((?:deploy|docker)[\w./-]+)`", GUIDE):
        assert (ROOT / file).is_file()


def test_the_guides_backup_of_a_running_server_can_be_restored(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n# backup.py\n(.*?)```", GUIDE, re.DOTALL)
    with Server(tmp_path / "live") as server:
        server.ready().create("kept", {"kind": "command", "argv": ["true"]})
        run = server.run(server.post("/schedules/kept/trigger")["id"])
        source, copy = server.folder / "data" / "scheduler.db", tmp_path / "backup.db"
        subprocess.run([sys.executable, "-c", code, str(source), str(copy)], check=True, timeout=60)
        server.create("too-late", {"kind": "command", "argv": ["true"]})
        assert server.stop() == 0
    restored = tmp_path / "restored"
    (restored / "data").mkdir(parents=True)
    copy.rename(restored / "data" / "scheduler.db")
    shutil.copy(tmp_path / "live" / "data" / "admin.key", restored / "data" / "admin.key")
    with Server(restored) as server:
        server.ready()
        assert [each["id"] for each in server.get("/schedules")["items"]] == ["kept"]
        assert server.get(f"/runs/{run['id']}")["state"] == "succeeded"
