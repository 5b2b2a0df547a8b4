"""SQLite: what the emulator knows and must still know after `kill -9`.

One connection, used from the event loop's thread only: a write in WAL mode costs tens of microseconds, less than
handing it to another thread.  Writes are committed in groups: the first write of a turn of the event loop opens a
transaction, the end of that turn commits it.  Whoever acknowledges something to the outside first awaits
:meth:`Store.committed`, so a burst of requests shares one commit.
"""

from stepbridge.store.database import Row, Store

__all__ = ["Row", "Store"]
