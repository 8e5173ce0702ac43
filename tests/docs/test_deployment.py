"""The guide to deployment names what there is, worker-only forms are workers, the image's check asks the port."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.engine.definition import ScheduleDefinition
from backend.settings import Settings, env_names
from tests.acceptance.server import Server, free_port

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text()
WORKER = ["python", "-m", "backend.executor.worker"]


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def deployment(file: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / file).read_text())
    [found] = [document for document in documents if document["kind"] == "Deployment"]
    return dict(found)


def container_of(file: str) -> dict[str, Any]:
    [only] = deployment(file)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def unit(file: str) -> dict[str, str]:
    lines = (ROOT / "deploy" / "systemd" / file).read_text().splitlines()
    return {line: "" for line in lines if line and not line.startswith("#")}


def health_check() -> list[str]:
    text = (ROOT / "Dockerfile").read_text()
    command: list[str] = json.loads(re.findall(r"HEALTHCHECK [^\[]*CMD (\[.*\])", text)[0])
    return [sys.executable, *command[1:]]


@pytest.mark.sqlite_only("the check asks a port")
def test_the_images_check_asks_the_port_that_is_set(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        _, port = server.ready().where
        for asked, healthy in ((port, True), (free_port(), False)):
            done = subprocess.run(
                health_check(), check=False, capture_output=True, timeout=60, env={"SCHEDULER_PORT": str(asked)}
            )
            assert (done.returncode == 0) == healthy, done.stderr.decode()


def test_a_worker_of_compose_is_a_replica_without_a_port_and_without_a_check() -> None:
    worker, replica = compose()["worker"], compose()["scheduler-1"]
    assert worker["command"] == WORKER
    assert worker["healthcheck"] == {"disable": True}
    assert worker["profiles"] == ["workers"]
    assert "ports" not in worker
    same = replica.keys() - {"ports"}
    assert {name: worker[name] for name in same} == {name: replica[name] for name in same}


def test_a_worker_of_kubernetes_is_a_replica_without_ports_and_probes() -> None:
    worker, replica = container_of("worker.yaml"), container_of("scheduler.yaml")
    assert worker["command"] == WORKER
    assert not [name for name in worker if name == "ports" or name.endswith("Probe")]
    given, known = ({entry["name"]: entry for entry in each["env"]} for each in (worker, replica))
    assert given == {name: known[name] for name in given}
    assert worker["securityContext"] == replica["securityContext"]
    template, other = (deployment(file)["spec"]["template"] for file in ("worker.yaml", "scheduler.yaml"))
    for name in ("securityContext", "terminationGracePeriodSeconds", "enableServiceLinks"):
        assert template["spec"][name] == other["spec"][name]
    # Else the service would send requests to pods that open no port.
    assert template["metadata"]["labels"] != other["metadata"]["labels"]
    assert deployment("worker.yaml")["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]


def test_the_workers_unit_differs_from_the_servers_in_program_and_folder_only() -> None:
    worker, server = unit("scheduler-worker.service"), unit("scheduler.service")
    names = {line.split("=")[0] for line in worker.keys() ^ server.keys()}
    assert names == {"Description", "ExecStart", "WorkingDirectory", "Environment", "StateDirectory"}
    assert f"ExecStart=/opt/agent-scheduler/.venv/bin/{' '.join(WORKER)}" in worker


def test_the_guide_names_only_what_there_is_and_every_file_that_is_deployed() -> None:
    assert set(re.findall(r"SCHEDULER_[A-Z_]*[A-Z](?!\w)", GUIDE)) <= set(env_names())
    for module in re.findall(r"python -m (backend[\w.]*)", GUIDE):
        assert importlib.util.find_spec(module) is not None
    deployed = {str(file.relative_to(ROOT)) for file in (ROOT / "deploy").rglob("*") if file.is_file()}
    monitoring = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
    assert deployed <= set(re.findall(r"deploy/[\w./-]+\w", GUIDE + monitoring))


def test_the_guides_image_sets_what_is_accepted_and_runs_as_the_same_user() -> None:
    (text,) = re.findall(r"```dockerfile\n(.*?)```", GUIDE, re.DOTALL)
    base = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == re.findall(r"^USER (.*)$", base, re.MULTILINE)[-1]
    given = dict(re.findall(r"(SCHEDULER_\w+)=(\S+)", text))
    Settings(**{env_names()[name]: value for name, value in given.items()})
    assert "PYTHONPATH=/opt/code" in text
    assert "COPY jobs /opt/code/" in text


def test_the_guides_schedule_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    [schedule] = yaml.safe_load(text)["schedules"]
    schedule.pop("id")
    ScheduleDefinition.model_validate(schedule)
