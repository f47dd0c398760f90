"""duende: run a daemon the same way on six platforms.

Public names resolve on first use, so that `import duende` costs next to nothing in a program that starts a thousand of them.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from duende.adapters.choose import detect_platform as detect_platform
    from duende.adapters.choose import select_adapter as select_adapter
    from duende.adapters.contract import DaemonHandle as DaemonHandle
    from duende.adapters.contract import Platform as Platform
    from duende.config.model import DaemonConfig as DaemonConfig
    from duende.config.model import ResourceConfig as ResourceConfig
    from duende.config.model import RestartPolicy as RestartPolicy
    from duende.daemon import Daemon as Daemon
    from duende.daemon import DaemonContext as DaemonContext
    from duende.errors import *  # noqa: F403
    from duende.host import run as run
    from duende.ids import DaemonId as DaemonId
    from duende.manager import DaemonManager as DaemonManager
    from duende.metrics import DaemonMetrics as DaemonMetrics
    from duende.signals import Signal as Signal
    from duende.states import DaemonStatus as DaemonStatus
    from duende.states import ExitReason as ExitReason
    from duende.states import HealthStatus as HealthStatus

_HOME = {
    "Daemon": "duende.daemon",
    "DaemonConfig": "duende.config.model",
    "DaemonContext": "duende.daemon",
    "DaemonHandle": "duende.adapters.contract",
    "DaemonId": "duende.ids",
    "DaemonManager": "duende.manager",
    "DaemonMetrics": "duende.metrics",
    "DaemonStatus": "duende.states",
    "ExitReason": "duende.states",
    "HealthStatus": "duende.states",
    "Platform": "duende.adapters.contract",
    "ResourceConfig": "duende.config.model",
    "RestartPolicy": "duende.config.model",
    "Signal": "duende.signals",
    "detect_platform": "duende.adapters.choose",
    "run": "duende.host",
    "select_adapter": "duende.adapters.choose",
}
_ERRORS = (
    "AccessError",
    "AlreadyRunningError",
    "CircuitOpenError",
    "ConfigError",
    "DaemonError",
    "DaemonIOError",
    "DaemonRuntimeError",
    "DuendeError",
    "HealthCheckError",
    "IdentityError",
    "InitError",
    "InstanceNotFoundError",
    "InternalError",
    "InvalidStateError",
    "NotFoundError",
    "NotSupportedError",
    "PlatformConfigError",
    "PlatformError",
    "PlatformIOError",
    "PlatformResourceError",
    "PlatformTimeoutError",
    "PolicyViolationError",
    "QueueFullError",
    "RateLimitedError",
    "ResourceLimitError",
    "SerializationError",
    "ShutdownError",
    "ShutdownTimeoutError",
    "SignalError",
    "SignalFailedError",
    "SpawnError",
    "StateError",
    "StatusFailedError",
    "TraceContextError",
    "TracerFailedError",
    "UblkError",
    "TransitionError",
)
_HOME.update(dict.fromkeys(_ERRORS, "duende.errors"))

__version__ = "0.1.0"
__all__ = sorted(_HOME)  # noqa: PLE0605  (a list; the linter wants a literal, the table above is the one truth)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'duende' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
