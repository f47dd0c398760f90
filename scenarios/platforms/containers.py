"""Daemons in containers of a private Docker or Podman."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from duende.adapters.contract import PlatformAdapter
from fixtures.images.recipes import RECIPES
from fixtures.runtimes.dockerd import Docker
from fixtures.runtimes.enclosure import python_folders
from fixtures.runtimes.podman import Podman
from scenarios.platforms.base import TIMEOUT, Platform

IMAGE = "python"
"""What daemons run in unless their table names another of the lab's images (`fixtures/images/recipes.py`)."""
VARIABLES = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}


class Containers(Platform):
    """Each daemon is a container with the host's network, the run's folder, and this interpreter."""

    def __init__(self, name: str, runtime: Docker | Podman) -> None:
        self.name = name
        self.runtime = runtime
        """The private runtime, which can be made to suffer by a scenario that has it alone."""

    @property
    def api(self) -> Path:
        """The runtime's socket."""
        return self.runtime.socket

    def known(self) -> list[str]:
        """Its containers of daemons."""
        return [name for name in self.runtime.containers() if name.startswith("duende-")]

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = TIMEOUT
    ) -> PlatformAdapter:
        """An adapter on the private runtime."""
        from duende.adapters.container.adapter import ContainerAdapter

        place = folder / "containers"
        place.mkdir(exist_ok=True)
        return ContainerAdapter(
            runtime=self.name,
            socket=str(through or self.api),
            timeout=timeout,
            runtime_dir=str(place),
            state_dir=str(place),
            keep=keep,
        )

    def table(self, table: dict[str, Any], folder: Path) -> dict[str, Any]:
        """With an image, and all that the daemon needs at the same path inside.

        The interpreter is this one, not the image's: what is mounted beside it was built for its version.
        """
        platform = dict(table.get("platform", {}))
        container = {"python": sys.executable, **platform.get("container", {})}
        image = platform.get("container_image", IMAGE)
        mounts = [f"{folder}:{folder}", *(f"{each}:{each}:ro" for each in python_folders())]
        container["volumes"] = [*mounts, *container.get("volumes", ())]
        platform["container"] = container
        platform["container_image"] = self.runtime.image(image) if image in RECIPES else image
        return {**table, "platform": platform}

    @property
    def environment(self) -> dict[str, str]:
        """Where the runtime listens, in the variable of its own command."""
        return {VARIABLES[self.name]: self.runtime.base_url}

    @property
    def asked_for(self) -> str:
        """The runtime by its name."""
        return self.name
