"""Attempts on the install scripts that `duende render` writes: run by several shells, in containers, as root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duende.config.model import DaemonConfig, ResourceConfig, RestartConfig, RestartPolicy, SecurityConfig
from duende.config.show import to_toml
from falsification.kit import Trial, attempt
from falsification.workbench import ROOT
from fixtures.runtimes.dockerd import Docker, docker
from fixtures.runtimes.systemd import Systemd, systemd

FOLDERS = ("etc", "usr/local", "var/lib", "home", "srv", "opt", "root", "tmp")
"""What is compared of a container: all that an installer has any business with."""
NOISY = ("etc/mtab", "var/lib/systemd/timers", "var/lib/systemd/linger")
SHELLS = ("dash", "bash")
ASKED = ("MainPID", "ActiveState", "UnitFileState", "NeedDaemonReload", "ActiveEnterTimestampMonotonic")
"""What is compared of the service: the same process since the same moment."""


def configuration(program: str = "/bin/sleep", arguments: tuple[str, ...] = ("1000",)) -> DaemonConfig:
    """A daemon with a user, folders, limits and text that a careless script would trip over."""
    return DaemonConfig(
        name="web",
        version="1.2.0",
        description='100 % of it\'s "quotes", `ticks` and $HOME',
        binary_path=program,
        args=arguments,
        env={"GREETING": 'it\'s "me" at $HOME; 50%\nEND\n', "EMPTY": ""},
        user="web",
        working_dir="/var/lib/web",
        resources=ResourceConfig(memory_bytes=64 << 20, memory_swap_bytes=64 << 20, pids_max=20),
        restart=RestartConfig(policy=RestartPolicy.ALWAYS, multiplier=1.0),
        security=SecurityConfig(
            no_new_privileges=True, drop_capabilities=("ALL",), writable_paths=("/srv/web",)
        ),
    )


def rendered(trial: Trial, config: DaemonConfig, name: str = "web", **environ: str) -> str:
    """What the command writes, in a process of its own."""
    source = trial.tmp / f"{name}.toml"
    source.write_text(to_toml(config), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "duende", "render", str(source), "--to", "install-sh"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )
    trial.check(done.returncode == 0, f"duende render ends with 0: {done.stderr}")
    return done.stdout


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file below the folders of *root*: kind and mode, owner, and when it was changed."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in FOLDERS:
        for here, folders, files in os.walk(root / folder):
            for name in (".", *folders, *files):
                path = os.path.normpath(os.path.join(here, name))
                short = os.path.relpath(path, root)
                if short.startswith(NOISY):
                    continue
                about = os.lstat(path)
                # Nothing sets ctime (inode(7)): whoever writes, renames, links or changes rights moves it.
                found[short] = (
                    about.st_mode,
                    about.st_uid,
                    about.st_gid,
                    about.st_mtime_ns,
                    about.st_ctime_ns,
                )
    return found


def differences(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> list[str]:
    """Paths that are not the same in both."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


@contextmanager
def box(runtime: Docker, image: str) -> Iterator[str]:
    """A container that does nothing by itself; its id."""
    made = runtime.docker(
        "run", "--detach", "--network", "none", runtime.image(image), "sleep", "600"
    ).strip()
    try:
        yield made
    finally:
        runtime.docker("rm", "--force", made)


def root_of(runtime: Docker, container: str) -> Path:
    """The root folder of a container, seen from here."""
    pid = int(runtime.docker("inspect", "--format", "{{.State.Pid}}", container).strip())
    if pid <= 1:
        raise ValueError(f"{container} does not run")
    return Path(f"/proc/{pid}/root")


def install(trial: Trial, runtime: Docker, container: str, script: str, *shell: str) -> str:
    """Run *script* in a container by *shell*; what it said."""
    done = subprocess.run(
        ["docker", "--host", runtime.base_url, "exec", "--interactive", container, *shell, "-s"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    trial.check(
        done.returncode == 0, f"the script ends with 0 under {' '.join(shell)}: {done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def with_busybox(runtime: Docker, container: str) -> None:
    """Put the static busybox of the small image into a container of Debian, whose users it is to make."""
    with box(runtime, "tiny") as small:
        program = root_of(runtime, small) / "bin/busybox"
        inside = root_of(runtime, container) / "bin/busybox"
        inside.write_bytes(program.read_bytes())
        inside.chmod(0o755)


def service(host: Systemd) -> str:
    """The state of the service, by systemd's own word."""
    return host.systemctl("show", *(f"--property={name}" for name in ASKED), "duende-web.service")


@attempt(
    "F076",
    level="container",
    timeout=180,
    needs=["docker"],
    saboteurs=["script-always-restarts", "script-always-writes"],
)
def test_the_second_run_changes_nothing(trial: Trial) -> None:
    """Run again by dash, bash or busybox, an install script changes no file and restarts no service."""
    trial.situation("the first run made what the second left alone", at_least=3)
    trial.situation("the service ran before the second run and after it")
    held = docker()
    runtime = held.__enter__()
    trial.defer(held.__exit__, None, None, None)
    script = rendered(trial, configuration())
    trial.attach("install-web.sh", script)
    machine = systemd(runtime, user=False, shared=False)
    host = machine.__enter__()
    trial.defer(machine.__exit__, None, None, None)
    compared = 0
    fresh = state(host.root)
    for shell in SHELLS:  # the second shell finds what the first has made
        install(trial, runtime, host.container_id, script, shell)
        made, running = state(host.root), service(host)
        trial.reached("the first run made what the second left alone", bool(differences(fresh, made)))
        trial.check(
            "ActiveState=active" in running and "UnitFileState=enabled" in running,
            f"the service runs: {running}",
        )
        install(trial, runtime, host.container_id, script, shell)
        after, still = state(host.root), service(host)
        trial.check(differences(made, after) == [], f"no file changed by {shell}: {differences(made, after)}")
        trial.check(
            still == running, f"the service is the same process since the same moment: {running} {still}"
        )
        trial.reached("the service ran before the second run and after it")
        compared += len(after)
    trial.check("web:" in (host.root / "etc/passwd").read_text(), "the user was made")
    with box(runtime, "python") as container:
        with_busybox(runtime, container)
        root = root_of(runtime, container)
        fresh = state(root)
        install(trial, runtime, container, script, "busybox", "sh")
        made = state(root)
        trial.reached("the first run made what the second left alone", bool(differences(fresh, made)))
        install(trial, runtime, container, script, "busybox", "sh")
        after = state(root)
        trial.check(differences(made, after) == [], f"no file changed by busybox: {differences(made, after)}")
        compared += len(after)
    trial.figure("files compared", compared, unit="files")


@attempt(
    "F077",
    level="container",
    timeout=120,
    needs=["docker"],
    saboteurs=["script-tells-its-pid", "script-orders-by-hash"],
)
def test_every_run_says_the_same(trial: Trial) -> None:
    """The same configuration gives the same script, and two runs of it give the same output, under each shell."""
    trial.situation("two runs were compared", at_least=6)
    held = docker()
    runtime = held.__enter__()
    trial.defer(held.__exit__, None, None, None)
    written = {
        rendered(trial, configuration(), PYTHONHASHSEED=str(seed), TZ=zone, LANG=tongue)
        for seed, zone, tongue in (
            (1, "UTC", "C"),
            (2, "Asia/Tokyo", "C.UTF-8"),
            (77, "America/Lima", "POSIX"),
        )
    }
    trial.check(len(written) == 1, f"one script, not {len(written)}")
    script = written.pop()
    said: dict[str, set[str]] = {}
    for shell in (("dash",), ("bash",), ("busybox", "sh")):
        for _ in range(
            2
        ):  # two machines, each twice: the first run on one must say what the second on another does
            with box(runtime, "python") as container:
                if "busybox" in shell:
                    with_busybox(runtime, container)
                for _ in range(2):
                    said.setdefault(" ".join(shell), set()).add(
                        install(trial, runtime, container, script, *shell)
                    )
                trial.reached("two runs were compared")
    for name, texts in said.items():
        trial.check(len(texts) == 1, f"{name} says the same each time, not {texts}")
    trial.check(len(set.union(*said.values())) == 1, f"all shells say the same: {said}")
    trial.figure("outputs compared", 12, unit="runs")
    trial.attach("output.txt", said["dash"].pop())


def shellcheck() -> str:
    """The program: that of the package beside this interpreter, or of the system."""
    own = os.path.join(os.path.dirname(sys.executable), "shellcheck")
    return own if os.path.exists(own) else "shellcheck"


NASTY = (
    "it's",
    'a "b" c',
    "$HOME",
    "`id`",
    "a\\b",
    "x\ny",
    "END",
    "-n",
    "*",
    "~root",
    "%n",
    "ü",
    "'; exit 1; '",
)


@attempt("F078", level="container", timeout=120, saboteurs=["script-leaves-a-word-unquoted"])
def test_shellcheck_finds_nothing(trial: Trial) -> None:
    """Shellcheck finds nothing in install scripts, whatever stands in their configurations."""
    trial.situation("a script was checked", at_least=10)
    counter = trial.tmp / "counter.py"
    counter.write_text(
        "from duende import Daemon\n\n\nclass Counter(Daemon):\n    name = 'c'\n", encoding="utf-8"
    )
    corpus = [configuration(), DaemonConfig(name="plain", binary_path="/bin/true")]
    corpus += [DaemonConfig(name="class", daemon=f"{counter}:Counter", env={"K": "v"})]
    corpus += [
        DaemonConfig(name="module", daemon="duende.examples.daemon:CounterDaemon", user="web", group="www")
    ]
    for number, text in enumerate(NASTY):
        corpus.append(
            DaemonConfig(
                name=f"n{number}",
                binary_path="/opt/it's/$(a) b",
                args=(text,),
                env={"K": text},
                description=text.replace("\n", " "),
                working_dir=f"/srv/{text.replace(chr(10), '_')}",
                user=None if number % 2 else "web",
                group="www" if number % 3 else None,
            )
        )
    for config in corpus:
        script = rendered(trial, config, config.name)
        path = trial.tmp / f"{config.name}.sh"
        path.write_text(script, encoding="utf-8")
        done = subprocess.run(
            [shellcheck(), "--shell=sh", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        trial.check(
            done.returncode == 0 and not done.stdout,
            f"nothing found in {config.name}: {done.stdout}{done.stderr}",
        )
        trial.reached("a script was checked")
    trial.figure("findings", 0, unit="findings")
    trial.figure("scripts checked", len(corpus), unit="scripts")
