"""Check `doctor` with and without a Docker engine."""

import json
import os
import subprocess

import pytest

from support.cli import run_cli


def findings(stdout: str) -> dict[str, dict[str, object]]:
    """Return the findings of `doctor --json` by what was checked."""
    return {row["what"]: row for row in map(json.loads, stdout.splitlines())}


def test_doctor_explains_how_to_get_a_missing_engine() -> None:
    done = run_cli("doctor", "--json", DOCKER_HOST="unix:///nowhere/docker.sock")

    found = findings(done.stdout)
    assert done.returncode == 0
    assert not found["engine"]["ok"]
    assert "unix:///nowhere/docker.sock" in str(found["engine"]["found"])
    assert found["engine"]["todo"]
    assert "ISOLATES NOTHING" in str(found["sandbox"]["found"])
    assert str(found["kernels"]["found"]).startswith("in local: ")


@pytest.mark.docker
def test_doctor_removes_only_containers_whose_owner_has_exited() -> None:
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    tag = images.find("base").tag
    exited = subprocess.Popen(["true"])
    exited.wait()
    options = {"network_mode": "none", "detach": True}
    host = os.uname().nodename
    abandoned_labels = {"kernel-env": "sandbox", "kernel-env.owner": f"{host}:{exited.pid}"}
    used_labels = {"kernel-env": "sandbox", "kernel-env.owner": f"{host}:{os.getppid()}"}
    abandoned = client.containers.run(tag, ["sleep", "300"], labels=abandoned_labels, **options)
    used = client.containers.run(tag, ["sleep", "300"], labels=used_labels, **options)
    foreign = client.containers.run(tag, ["sleep", "300"], **options)
    try:
        found = findings(run_cli("doctor", "--json").stdout)
        cleaned = findings(run_cli("doctor", "--clean", "--json").stdout)

        assert found["engine"]["ok"]
        assert found["image base"]["ok"]
        assert str(found["kernels"]["found"]).startswith("in docker: ")
        assert str(found["leftovers"]["found"]).startswith("1 ")
        assert cleaned["leftovers"]["ok"]
        left = {c.id for c in client.containers.list(all=True, ignore_removed=True)}
        assert abandoned.id not in left
        assert {used.id, foreign.id} <= left
    finally:
        for container in (used, foreign):
            container.remove(force=True)
        client.close()
