"""Settings read back from a running WOS process: pure."""

from __future__ import annotations

from duende.adapters.contract import Found, SettingReport
from duende.adapters.native.ignored import value_of
from duende.adapters.wos.ignored import IGNORED, ignored
from duende.adapters.wos.parse import Described
from duende.adapters.wos.settings import priority_of, settings_of
from duende.config.model import DaemonConfig

WHERE = "wos-ctl status"
LIMITING = ("resources.memory_swap_bytes", "resources.cpu_quota_percent", "resources.cpu_shares")
"""Defaults that limit something elsewhere, and nothing here."""


def explain(config: DaemonConfig, found: Described, default: int) -> list[SettingReport]:
    """Each setting that is set, or has a default that limits something, with what became of it."""
    limits, settings = found.limits, settings_of(config)
    rows = [
        _limit("resources.memory_bytes", config.resources.memory_bytes, limits.memory_bytes),
        _limit("resources.open_files_max", config.resources.open_files_max, limits.fds),
        _limit("resources.pids_max", config.resources.pids_max, limits.pids),
        _same("platform.priority", str(priority_of(config, settings, default)), str(found.priority)),
    ]
    if settings.capabilities:
        wanted = sorted(set(settings.capabilities) - {"none"})
        missing = [each for each in wanted if each not in found.capabilities]
        rows.append(
            SettingReport(
                key="platform.wos.capabilities",
                wanted=", ".join(settings.capabilities),
                found=", ".join(found.capabilities) or "none",
                outcome=Found.APPROXIMATED if missing else Found.HONOURED,
                why=f"{WHERE}; it lacks {', '.join(missing)}" if missing else WHERE,
            )
        )
    if settings.fuel:
        rows.append(_limit("platform.wos.fuel", settings.fuel, limits.fuel))
    if config.working_dir:
        rows.append(_same("working_dir", config.working_dir, found.cwd))
    if config.env:
        there = [key for key in config.env if key in found.env]
        rows.append(_same("env", ", ".join(sorted(config.env)), ", ".join(sorted(there))))
    told = {key: (value, why) for key, value, why in ignored(config)}
    for key in LIMITING:
        told.setdefault(key, (value_of(config, key), IGNORED[key]))
    rows += [
        SettingReport(key=key, wanted=str(value), found="", outcome=Found.IGNORED, why=why)
        for key, (value, why) in told.items()
    ]
    return rows


def _limit(key: str, wanted: int, found: int) -> SettingReport:
    if wanted == found:
        return SettingReport(key=key, wanted=str(wanted), found=str(found), outcome=Found.HONOURED, why=WHERE)
    why = f"{WHERE}; the kernel has no more to give" if found < wanted else WHERE
    return SettingReport(key=key, wanted=str(wanted), found=str(found), outcome=Found.APPROXIMATED, why=why)


def _same(key: str, wanted: str, found: str) -> SettingReport:
    outcome = Found.HONOURED if wanted == found else Found.APPROXIMATED
    return SettingReport(key=key, wanted=wanted, found=found or "none", outcome=outcome, why=WHERE)
