"""Compose, Quadlet and Kubernetes files, checked against the schemas of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.errors import PlatformConfigError
from duende.render import render, render_fleet

KUBERNETES = "1.31"


def config(network: str | None = None, **fields: Any) -> DaemonConfig:
    """A daemon with an image."""
    container = {"network": network} if network else {}
    platform = PlatformSection(container_image="web:1", container=container)
    return DaemonConfig(**{"name": "web", "binary_path": "/bin/web", "platform": platform, **fields})


def full(**fields: Any) -> DaemonConfig:
    """A daemon with as much as all three targets have words for."""
    given = {
        "args": ("--flag", "$HOME", "$(NAME)", "x\ny"),
        "env": {"A": "$1 $(B)", "B": "two\nlines\n"},
        "user": "1000",
        "group": "1000",
        "working_dir": "/srv",
        "resources": ResourceConfig(memory_bytes=64 << 20, memory_swap_bytes=64 << 20, cpu_quota_percent=150.0),
        "restart": RestartConfig(policy=RestartPolicy.ALWAYS),
        "security": SecurityConfig(
            no_new_privileges=True, read_only_root=True, private_tmp=True, drop_capabilities=("ALL",),
            add_capabilities=("NET_BIND_SERVICE",), writable_paths=("/var/lib/web",), supplementary_groups=("7",),
        ),
        "health_check": HealthCheckConfig(exec=("/bin/check", "a b"), interval=1.5),
    }  # fmt: skip
    return config(**{**given, **fields})


def test_compose_obeys_its_schema(tmp_path: Path) -> None:
    """check-jsonschema finds nothing against compose-spec."""
    path = tmp_path / "compose.yaml"
    counter = tmp_path / "counter.py"
    counter.write_text("A = '$HOME'\n", encoding="utf-8")
    of_class = config(name="counter", binary_path=None, daemon=f"{counter}:Counter", network="bridge")
    quiet = config(
        name="quiet",
        logging=LoggingConfig(destination=LogDestination.NULL),
        resources=ResourceConfig(core_bytes=0, stack_bytes=1 << 20, lock_memory=True),
    )
    text = render_fleet([full(), of_class, quiet], "compose")[0].text
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = yaml.safe_load(text)
    web = found["services"]["web"]
    assert web["command"] == ["--flag", "$$HOME", "$$(NAME)", "x\ny"]
    assert (web["mem_limit"], web["cpus"], web["restart"], web["user"]) == (
        64 << 20,
        1.5,
        "always",
        "1000:1000",
    )
    assert web["healthcheck"]["interval"] == "1500ms"
    assert web["environment"]["B"] == "two\nlines\n"
    assert found["configs"]["counter-0"]["content"] == "A = '$$HOME'\n"
    assert found["services"]["counter"]["configs"][0]["target"] == "/usr/local/lib/duende/counter/counter.py"
    assert "network_mode" not in found["services"]["counter"]
    assert found["services"]["quiet"]["logging"] == {"driver": "none"}


@pytest.mark.parametrize(
    ("restart", "text"),
    [
        (RestartConfig(policy=RestartPolicy.NEVER), "no"),
        (RestartConfig(policy=RestartPolicy.ON_FAILURE, max_retries=3), "on-failure:3"),
        (RestartConfig(policy=RestartPolicy.ON_FAILURE, max_retries=10_000), "on-failure"),
        (RestartConfig(policy=RestartPolicy.ALWAYS, max_retries=0), "no"),
        (RestartConfig(policy=RestartPolicy.UNLESS_STOPPED), "unless-stopped"),
    ],
)
def test_restarts_in_compose(restart: RestartConfig, text: str) -> None:
    """Each policy has its word."""
    assert (
        yaml.safe_load(render(config(restart=restart), "compose").text)["services"]["web"]["restart"] == text
    )


def kubernetes(*configs: DaemonConfig) -> list[Any]:
    """The objects, each checked against Kubernetes' own schema."""
    import kubernetes_validate

    found = list(yaml.safe_load_all(render_fleet(configs, "kubernetes")[0].text))
    for each in found:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    return found


def test_kubernetes_obeys_its_schema(tmp_path: Path) -> None:
    """A Deployment for what runs for ever, a Job for what may end, a ConfigMap for a class."""
    counter = tmp_path / "counter.py"
    counter.write_text("A = 1\n", encoding="utf-8")
    once = config(name="once", restart=RestartConfig(policy=RestartPolicy.NEVER))
    retried = config(name="retried", readiness=ReadinessConfig(kind=ReadinessKind.PORT, port=80, timeout=5.0))
    of_class = config(name="my_counter", binary_path=None, daemon=f"{counter}:Counter", network="host")
    found = kubernetes(full(), once, retried, of_class)
    assert [each["kind"] for each in found] == ["Deployment", "Job", "Job", "ConfigMap", "Job"]
    pod = found[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == ["--flag", "$HOME", "$$(NAME)", "x\ny"]
    assert container["resources"]["limits"] == {"cpu": "1500m", "memory": str(64 << 20)}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert container["livenessProbe"]["exec"]["command"] == ["/bin/check", "a b"]
    assert (found[1]["spec"]["backoffLimit"], found[2]["spec"]["backoffLimit"]) == (0, 10)
    assert found[2]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] == 5
    assert found[3]["metadata"]["name"] == "my-counter"
    assert set(found[3]["data"]) == {"counter.py", "my_counter.toml"}
    assert found[4]["spec"]["template"]["spec"]["hostNetwork"] is True


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user": "web"}, "takes numbers only"),
        ({"name": "-_-"}, "RFC 1123"),
        ({"resources": ResourceConfig(pids_max=7)}, "podPidsLimit"),
        ({"platform": PlatformSection()}, "no image is named"),
    ],
)
def test_what_kubernetes_does_not_take(fields: dict[str, Any], said: str) -> None:
    """One error each, with the reason."""
    with pytest.raises(PlatformConfigError, match=said):
        render(config(**fields), "kubernetes")


KEYS = frozenset((
    "AddCapability", "ContainerName", "DropCapability", "Environment", "EnvironmentFile", "Exec", "Group",
    "HealthCmd", "HealthInterval", "HealthRetries", "HealthTimeout", "Image", "Label", "LogDriver",
    "Network", "NoNewPrivileges", "Notify", "PodmanArgs", "PublishPort", "ReadOnly", "Tmpfs",
    "User", "Volume",
))  # fmt: skip
"""Keys of [Container] in podman-systemd.unit(5), as far as any is used here."""


def test_quadlet_uses_keys_that_exist() -> None:
    """Every key of [Container] is one of podman-systemd.unit(5); limits without a key are arguments of podman run."""
    text = render(full(), "quadlet").text
    section = text.split("[Container]\n")[1].split("\n\n[")[0]
    lines = [line.partition("=") for line in section.splitlines()]
    assert {name for name, _, _ in lines} <= KEYS
    values = {(name, value) for name, _, value in lines}
    assert ("PodmanArgs", f"--memory={64 << 20}b") in values
    assert ("HealthCmd", '["/bin/check","a b"]') in values
    assert ("DropCapability", "all") in values
    assert ("Exec", r'--flag "$$HOME" "$$(NAME)" "x\ny"') in values


@pytest.mark.parametrize("target", ["compose", "quadlet"])
def test_limits_of_a_device_nobody_here_knows(target: str) -> None:
    """They are refused: what stood there would limit nothing."""
    with pytest.raises(PlatformConfigError, match="device"):
        render(config(resources=ResourceConfig(io_read_bps=5)), target)


@pytest.mark.parametrize("target", ["compose", "quadlet", "kubernetes", "systemd"])
def test_limits_that_nobody_there_sets(target: str) -> None:
    """A limit or a confinement that a target has no word for is refused, never left out."""
    for fields in (
        {"resources": ResourceConfig(disk_bytes=1 << 20)},
        {"resources": ResourceConfig(network_bps=1 << 20)},
        {"security": SecurityConfig(readable_paths=("/usr",))},
        {"security": SecurityConfig(seccomp="service")},
    ):
        if target == "systemd" and fields.get("security") == SecurityConfig(seccomp="service"):
            assert "SystemCallFilter=" in render(config(**fields), target).text
            continue
        with pytest.raises(PlatformConfigError, match="cannot write"):
            render(config(**fields), target)


def test_no_network_in_compose_and_quadlet() -> None:
    """It is taken away by their own words."""
    off = config(security=SecurityConfig(network=False))
    assert "network_mode: none" in render(off, "compose").text
    assert "Network=none" in render(off, "quadlet").text
