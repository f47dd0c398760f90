"""Defects at the edges: limits, kernel corner cases, bad input, packaging."""

from __future__ import annotations

from falsification.kit.saboteur import Edit, mutant

mutant(
    "zero-memory-stays-zero",
    breaks="memory 0 means no limit at all",
    file="duende/config/check.py",
    old="    if (memory, swap) == (resources.memory_bytes, resources.memory_swap_bytes):",
    new="    memory = resources.memory_bytes\n    if (memory, swap) == (resources.memory_bytes, resources.memory_swap_bytes):",
)
mutant(
    "a-pid-is-identity",
    breaks="a process with the right number is taken for the daemon, whenever it started",
    file="duende/adapters/native/foreign.py",
    old="return Ownership.OURS if stat.start_time == handle.start_time else Ownership.STRANGER",
    new="return Ownership.OURS",
)
mutant(
    "midwife-without-descriptors-is-fatal",
    breaks="the warden ends when it has no descriptor left for a start",
    file="duende/adapters/native/warden/midwives.py",
    old='                except OSError as error:\n                    lost = [(item[0], 0, error.errno or 0, "fork"',
    new='                except KeyError as error:\n                    lost = [(item[0], 0, getattr(error, "errno", 0) or 0, "fork"',
)
mutant(
    "telling-without-descriptors-is-fatal",
    breaks="a status message opens a new socket each time and raises when it cannot",
    file="duende/host/notify.py",
    old="            if self._sock is None:\n",
    new='            if assignment.startswith("STATUS=") and os.dup(0) < 0 or self._sock is None:\n',
    also=[
        Edit(
            file="duende/host/notify.py",
            old="        except OSError:\n            pass  # nobody listens (any more), or its queue stays full: a daemon does not wait for its supervisor",
            new="        except ConnectionError:\n            pass",
        )
    ],
)
mutant(
    "one-zombie-a-time",
    breaks="of several children that ended, one is reaped for each signal",
    file="duende/adapters/native/warden/main.py",
    old="                self._unexplained[pid] = how\n        if not",
    new="                self._unexplained[pid] = how\n            break\n        if not",
)
mutant(
    "pauses-count-as-uptime",
    breaks="the time a daemon was stopped counts as time it worked",
    file="duende/metrics.py",
    old="            self._paused += max(0.0, seconds)",
    new="            self._paused += 0.0 * seconds",
)
mutant(
    "anything-goes-into-the-environment",
    breaks="the size of a variable is not looked at, and the start it prevents is called a success",
    file="duende/config/check.py",
    old="MAX_ARG_STRLEN = 131072",
    new="MAX_ARG_STRLEN = 1 << 40",
    also=[
        Edit(
            file="duende/adapters/native/exchange.py",
            old="            if not pid:\n",
            new="            if pid is None:\n",
        ),
    ],
)
mutant(
    "any-length-will-do",
    breaks="the length of a path is not looked at before it is used",
    file="duende/config/check.py",
    old="    if len(raw) >= PATH_MAX:\n",
    new="    if len(raw) >= 0:\n        return None\n    if len(raw) >= PATH_MAX:\n",
)
mutant(
    "system-errors-go-unexplained",
    breaks="an error of the system while reading a configuration is not translated",
    file="duende/config/load.py",
    old="    except (OSError, ValueError) as error:\n        number",
    new="    except KeyError as error:\n        number",
)
mutant(
    "wheel-lacks-the-life-cycle",
    breaks="the built package leaves a module out",
    file="pyproject.toml",
    old='packages = ["duende"]',
    new='packages = ["duende"]\nexclude = ["duende/host/lifecycle.py"]',
)
