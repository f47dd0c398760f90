"""What a daemon must not forget: a key-value store on disk that outlives SIGKILL at any byte, and values compressed by what they are."""

from __future__ import annotations

from duende.state.codec import Codec as Codec
from duende.state.codec import Packed as Packed
from duende.state.codec import pack as pack
from duende.state.codec import unpack as unpack
from duende.state.store import Recovery as Recovery
from duende.state.store import StateStore as StateStore
