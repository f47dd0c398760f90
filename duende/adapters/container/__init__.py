"""Daemons in containers: Docker and Podman over their sockets, containerd through `ctr`.

Nothing here is imported before a daemon is to run in a container; the `docker` package (extra `container`) is loaded on first use.

| module | what it holds |
|---|---|
| `adapter`, `exchange` | the verbs, and the state behind them: records, events, exits |
| `settings`, `ignored` | `[platform.container]`, and what no container runtime can do |
| `plan`, `render` | pure: configuration -> what is to be done -> API body or `ctr` arguments |
| `source` | where a `Daemon` class and duende are on this host, and where the container sees them |
| `engine`, `docker_api`, `containerd`, `http` | one protocol, the runtimes behind it, and HTTP over a unix socket |
| `parse` | pure: inspect, events and tables -> values |
| `watching`, `stopping`, `explain`, `probe`, `detect` | ends seen by pidfd, stops with proof, settings read back, what is here |
"""
