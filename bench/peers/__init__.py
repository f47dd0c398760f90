"""The supervisors that are compared, one class each with the same small interface (`base.Peer`)."""

from __future__ import annotations

from bench.peers.base import Control, Peer, PeerError
from bench.peers.circus import Circus
from bench.peers.duende import Duende
from bench.peers.limit import Limit
from bench.peers.runit import Runit
from bench.peers.s6 import S6
from bench.peers.supervisord import Supervisord

PEERS: tuple[type[Peer], ...] = (Limit, Duende, S6, Runit, Supervisord, Circus)
"""In the order of the table's columns; the order within a round changes with the round."""

__all__ = ["PEERS", "Control", "Peer", "PeerError"]
