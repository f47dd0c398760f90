"""From a configuration to `pepita run`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from duende.adapters.contract import SpawnRequest
from duende.adapters.pepita.ignored import refuse_ignored
from duende.adapters.pepita.libraries import parse as libraries
from duende.adapters.pepita.render import FIRST_CID, arguments, cid_of, vm_name
from duende.adapters.pepita.settings import memory_of, settings_of, vcpus_of
from duende.config.model import DaemonConfig, PlatformSection, ResourceConfig, SecurityConfig
from duende.errors import PlatformConfigError

ID = "0bb72440-8b47-4830-9551-0af0bdf00a80"


def words(config: DaemonConfig) -> list[str]:
    """The command line for *config*."""
    return arguments(SpawnRequest(daemon_id=ID, config=config), settings_of(config), socket="/r/s")


def made(**fields: Any) -> DaemonConfig:
    """A program, with what a test changes."""
    return DaemonConfig(**{"name": "web", "binary_path": "/bin/web", "args": ("-p", "--json"), **fields})


def after(line: list[str], option: str) -> str:
    """The word after an option."""
    return line[line.index(option) + 1]


def test_the_program_comes_last_and_whole() -> None:
    """Whatever its arguments look like, they come after --exec."""
    line = words(made())
    assert line[line.index("--exec") :] == ["--exec", "/bin/web", "-p", "--json"]
    assert after(line, "--name") == vm_name("web", ID) == "duende-vm-web-0bb72440"


def test_size_by_limits_or_by_name() -> None:
    """Processors and memory come from the limits, unless the platform's table says them."""
    config = made(
        resources=ResourceConfig(memory_bytes=64 << 20, memory_swap_bytes=64 << 20, cpu_quota_percent=150)
    )
    assert (vcpus_of(config, settings_of(config)), memory_of(config, settings_of(config))) == (2, 256)
    assert "memory.max=67108864" in words(config)
    said = msgspec.structs.replace(config, platform=PlatformSection(vcpus=3, pepita={"memory_mb": 512}))
    line = words(said)
    assert (after(line, "--vcpus"), after(line, "--memory")) == ("3", "512")


def test_vsock_only_where_asked_for() -> None:
    """A port asks for it; the address is by the daemon's id and not a reserved one."""
    assert "--vsock-cid" not in words(made())
    line = words(made(platform=PlatformSection(pepita={"vsock_base_port": 5000})))
    assert int(after(line, "--vsock-cid")) == cid_of(ID) >= FIRST_CID
    assert "PEPITA_VSOCK_PORT=5000" in line


@pytest.mark.parametrize("pepita", [{"vcpu": 1}, {"vcpus": 0}, {"memory_mb": "much"}, {"memory_mb": 1}])
def test_wrong_settings_name_their_key(pepita: dict[str, Any]) -> None:
    """An unknown key, and a value of no use."""
    with pytest.raises(PlatformConfigError, match=r"platform\.pepita"):
        settings_of(made(platform=PlatformSection(pepita=pepita)))


def test_what_would_be_ignored_is_refused() -> None:
    """Unless the configuration lets it pass."""
    config = made(security=SecurityConfig(read_only_root=True))
    with pytest.raises(PlatformConfigError, match="best_effort"):
        refuse_ignored(config)
    refuse_ignored(msgspec.structs.replace(config, best_effort=True))


def test_libraries_of_ldd() -> None:
    """Each once, the loader included; the kernel's own is no file."""
    text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007e)\n"
    assert libraries(text) == (
        "/lib/libc.so.6:/lib/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2:/lib64/ld-linux-x86-64.so.2",
    )
    assert libraries("\tnot a dynamic executable\n") == ()
