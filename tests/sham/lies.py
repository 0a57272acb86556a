"""The liars: each a mind, a wire or an identity that is not the pump's own. To add one, add a row to `LIES`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from application import Application
from console import Later
from lines import HonestWire, Wire
from mind import Memory, Mind, RecordedMind
from minds import Accepting, AcceptingLive, Refusing, RefusingLive, Replaying, ReplayingStale
from state import GENUINE, OTHER_MODEL, OTHER_UNIT, Identity
from wires import Babble, Echo, Frozen, Mute, Slow

HONEST = "honest"


@dataclass(frozen=True, kw_only=True)
class Lie:
    """One liar. `ports_open` False: the TCP ports are closed too."""

    says: str
    mind: Callable[[Application, Memory], Mind] = RecordedMind
    wire: Callable[[random.Random, Later], Wire] = lambda _rng, _later: HonestWire()
    identity: Identity = GENUINE
    ports_open: bool = True
    plays_back: bool = False


LIES: dict[str, Lie] = {
    HONEST: Lie(says="no lie at all"),
    "dead": Lie(says="nothing, TCP ports closed", wire=lambda _rng, _later: Mute(), ports_open=False),
    "mute": Lie(says="nothing, connections stay open", wire=lambda _rng, _later: Mute()),
    "frozen-but-broadcasting": Lie(says="status, but no answer", wire=lambda _rng, _later: Frozen()),
    "echo": Lie(says="the bench's own bytes", wire=lambda _rng, _later: Echo()),
    "babble": Lie(says="random bytes, at times framed", wire=lambda rng, _later: Babble(rng)),
    "replay": Lie(says="a recorded good session", mind=Replaying, plays_back=True),
    "replay-stale": Lie(says="replay with stale Modbus ids", mind=ReplayingStale, plays_back=True),
    "refuse": Lie(says="no to everything", mind=lambda app, _memory: Refusing(app)),
    "refuse-live": Lie(says="no, but genuine uptime", mind=lambda app, _memory: RefusingLive(app)),
    "accept": Lie(says="yes to everything", mind=lambda app, _memory: Accepting(app)),
    "accept-live": Lie(says="yes, and genuine uptime", mind=lambda app, _memory: AcceptingLive(app)),
    "wrong-device": Lie(says="another model and serial number", identity=OTHER_MODEL),
    "wrong-unit": Lie(says="another serial number", identity=OTHER_UNIT),
    "slow": Lie(says="the truth, 3 s late", wire=lambda _rng, later: Slow(later)),
}
