"""Units, property lists and scripts: what they say is what was configured, and real programs accept them."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.errors import ConfigError, DaemonIOError, PlatformConfigError
from duende.render import TARGETS, render, render_fleet
from duende.render.script import literal
from duende.render.unitfile import argument, lines_of, quoted, span

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
VERIFY = shutil.which("systemd-analyze")


def config(**fields: Any) -> DaemonConfig:
    """A daemon that every target can be asked for."""
    return DaemonConfig(**{"name": "web", "binary_path": "/bin/sleep", "args": ("1000",), **fields})


def settings(text: str) -> dict[str, list[str]]:
    """Name -> values of a unit file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def words(line: str) -> list[str]:
    """The words of a line as systemd.syntax(7) splits them: a reader written apart from the writer."""
    found: list[str] = []
    rest = line
    simple = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, '"': 34, "\\": 92}
    while rest := rest.lstrip(" "):
        word = b""
        inside = rest.startswith('"')
        rest = rest[1:] if inside else rest
        while rest and rest[0] != ('"' if inside else " "):
            if rest[0] == "\\" and rest[1] == "x":
                word, rest = word + bytes([int(rest[2:4], 16)]), rest[4:]
            elif rest[0] == "\\":
                word, rest = word + bytes([simple[rest[1]]]), rest[2:]
            elif rest[:2] == "%%":
                word, rest = word + b"%", rest[2:]
            else:
                word, rest = word + rest[0].encode(), rest[1:]
        rest = rest[1:]
        found.append(word.decode())
    return found


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_words_survive_the_syntax_of_units(texts: list[str]) -> None:
    """Whatever a word holds, systemd reads it back, on one line."""
    line = " ".join(quoted(text) for text in texts)
    assert "\n" not in line
    assert "\r" not in line
    assert words(line) == texts
    assert words(" ".join(argument(text) for text in texts)) == [text.replace("$", "$$") for text in texts]


@given(TEXT)
def test_a_shell_reads_a_literal_back(text: str) -> None:
    """Whatever a word holds, it reaches a program as it was."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s.' {literal(text)}"], capture_output=True, check=True, timeout=20
    )
    assert done.stdout.decode(errors="surrogateescape") == text + "."


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0"), (30_000_000, "30s"), (1_500_000, "1500ms"), (7, "7us"), (2**64 - 1, "infinity")],
)
def test_times(microseconds: int, text: str) -> None:
    """Times are as short as they can be said exactly."""
    assert span(microseconds) == text


def test_a_unit_says_every_setting() -> None:
    """Limits, restarts, rights and output of a full configuration."""
    full = config(
        description="100 % web\n[Service]",
        env={"A": "x y%", "B": ""},
        user="web",
        group="www",
        resources=ResourceConfig(
            memory_bytes=1 << 20, memory_swap_bytes=3 << 20, cpu_quota_percent=150.5, pids_max=7, io_read_bps=5, nice=3, lock_memory=True
        ),
        restart=RestartConfig(policy=RestartPolicy.ON_FAILURE, multiplier=1.0, initial_delay=2.5, max_retries=3, window=60.0),
        security=SecurityConfig(
            umask=0o27, no_new_privileges=True, read_only_root=True, writable_paths=("/srv/a b",), drop_capabilities=("ALL",)
        ),
        logging=LoggingConfig(path="/var/log/web.log"),
    )  # fmt: skip
    rendered = render(full, "systemd")
    said = settings(rendered.text)
    expected = {
        "Description": ["100 %% web [Service]"],
        "ExecStart": ["/bin/sleep 1000"],
        "Environment": ['"A=x y%%"', "B="],
        "User": ["web"], "Group": ["www"], "UMask": ["0027"], "Nice": ["3"],
        "MemoryMax": ["1048576"], "MemorySwapMax": ["2097152"], "CPUQuota": ["150.5%"], "TasksMax": ["7"],
        "IOReadBandwidthMax": ["/ 5"], "LimitMEMLOCK": ["infinity"], "LimitNOFILE": ["1024"],
        "Restart": ["on-failure"], "RestartSec": ["2500ms"], "StartLimitBurst": ["4"], "StartLimitIntervalSec": ["60s"],
        "NoNewPrivileges": ["yes"], "ProtectSystem": ["strict"], "ReadWritePaths": ['"/srv/a b"'],
        "CapabilityBoundingSet": ["CAP_IPC_LOCK"],
        "StandardOutput": ["append:/var/log/web.log"],
    }  # fmt: skip
    assert {name: said.get(name) for name in expected} == expected
    assert rendered.filename == "duende-web.service"
    assert "RemainAfterExit" not in said
    assert (
        "StandardOutput=inherit"
        in render(config(logging=LoggingConfig(destination=LogDestination.INHERIT)), "systemd").text
    )


def test_a_type_no_unit_has() -> None:
    """A property that cannot be said is an error, never left out."""
    assert lines_of([("SystemCallFilter", "(bas)", (False, ["mount"]))]) == [("SystemCallFilter", "~mount")]
    with pytest.raises(ValueError, match="Odd of type a"):
        lines_of([("Odd", "a{sv}", {})])


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    cases = [
        config(),
        config(
            args=("a b", "$HOME", "100%", ";", "x\ny", "ü"), env={"K": "v\n'\"", "E": ""}, description="%n"
        ),
        config(
            restart=RestartConfig(policy=RestartPolicy.NEVER),
            security=SecurityConfig(drop_capabilities=("ALL",)),
        ),
        config(daemon="duende.examples.daemon:CounterDaemon", binary_path=None, args=()),
        config(
            security=SecurityConfig(
                seccomp="service", seccomp_action="errno", network=False, network_namespace="/run/netns/a"
            )
        ),
        config(security=SecurityConfig(seccomp_deny=("mount",), network=False)),
    ]
    for number, each in enumerate(cases):
        path = tmp_path / f"case{number}.service"
        path.write_text(render(each, "systemd").text, encoding="utf-8")
        done = subprocess.run(
            [str(VERIFY), "verify", "--man=no", "--generators=no", str(path)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        own = [line for line in done.stderr.splitlines() if path.name in line]
        assert (done.returncode, own) == (0, [])


def test_a_property_list_reads_back() -> None:
    """Plistlib reads the values; the comment at its head is well-formed whatever it quotes."""
    job = plistlib.loads(
        render(config(description="-- a --", env={"K": "<&>"}, best_effort=True), "plist").text.encode()
    )
    assert (job["Label"], job["ProgramArguments"], job["RunAtLoad"]) == (
        "duende.web",
        ["/bin/sleep", "1000"],
        True,
    )
    assert job["EnvironmentVariables"]["K"] == "<&>"
    assert not any(key.startswith("DUENDE_LAUNCHD") for key in job["EnvironmentVariables"])
    of_class = config(daemon="duende.examples.daemon:CounterDaemon", binary_path=None, args=())
    job = plistlib.loads(render(of_class, "plist").text.encode())
    assert job["ProgramArguments"][:5] == [
        "/usr/bin/python3",
        "-m",
        "duende",
        "run",
        "duende.examples.daemon:CounterDaemon",
    ]


def test_a_class_travels_in_the_script(tmp_path: Path) -> None:
    """The file of a class and its configuration are in the script, and the unit runs them where the script puts them."""
    file = tmp_path / "counter.py"
    file.write_text("from duende import Daemon\nEND = 1\n", encoding="utf-8")
    text = render(config(daemon=f"{file}:Counter", binary_path=None, args=()), "install-sh").text
    assert (
        "put /usr/local/lib/duende/web/counter.py 0640 0 <<'END'\nfrom duende import Daemon\nEND = 1\nEND\n"
        in text
    )
    assert "run /usr/local/lib/duende/web/counter.py:Counter --config /etc/duende/web.toml" in text
    assert 'daemon = "/usr/local/lib/duende/web/counter.py:Counter"' in text
    file.write_text("x = '''\nEND\nEND_\n'''", encoding="utf-8")
    assert "<<'END__'\n" in render(config(daemon=f"{file}:C", binary_path=None, args=()), "install-sh").text
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        render(config(daemon=f"{file}:C", binary_path=None, args=()), "install-sh")
    file.unlink()
    with pytest.raises(DaemonIOError, match=r"counter\.py"):
        render(config(daemon=f"{file}:C", binary_path=None, args=()), "install-sh")


def test_what_is_asked_for_and_not_done_is_refused() -> None:
    """An error that names the key and the reason; best_effort writes the rest and tells."""
    checked = HealthCheckConfig(exec=("/bin/true",))
    with pytest.raises(
        PlatformConfigError, match=r"health_check\.exec.*as systemd: systemd runs no health checks"
    ):
        render(config(health_check=checked), "systemd")
    loose = render(config(health_check=checked, best_effort=True), "systemd")
    assert any(note.key == "health_check.exec" for note in loose.notes)
    assert "# - health_check.exec: left out" in loose.text
    with pytest.raises(PlatformConfigError, match="relative"):
        render(config(binary_path="bin/web"), "systemd")
    with pytest.raises(ConfigError, match="neither binary_path nor daemon"):
        render(config(binary_path=None), "install-sh")
    with pytest.raises(ConfigError, match="no target is called 'upstart'"):
        render(config(), "upstart")
    with pytest.raises(ConfigError, match="no daemon"):
        render_fleet([], "systemd")


def test_what_a_target_does_in_its_own_way_is_told() -> None:
    """Notes name the key, once."""
    fussy = config(
        restart=RestartConfig(jitter=0.5),
        readiness=ReadinessConfig(kind=ReadinessKind.PORT, port=80),
        pid_file="/run/web.pid",
    )
    keys = {note.key for note in render(fussy, "systemd").notes}
    assert keys >= {"restart.multiplier", "restart.jitter", "readiness.kind", "pid_file"}


def test_every_target_is_deterministic() -> None:
    """Twice the same, and no file says when or where it was written."""
    from duende.config.model import PlatformSection

    each = config(platform=PlatformSection(container_image="web:1"))
    for target in TARGETS:
        assert render(each, target) == render(each, target)
