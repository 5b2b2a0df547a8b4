"""`stepbridge up --watch`: deploy, and deploy again whenever something that the template is made of has changed."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from stepbridge.cli.connection import Connection
from stepbridge.cli.deploy import deploy_stack
from stepbridge.cli.errors import CommandError
from stepbridge.clock import Clock

if TYPE_CHECKING:
    from stepbridge.cli.display import Display

_LOOK_SECONDS = 0.5
_PASSED_OVER = frozenset({"__pycache__", "node_modules"})

# Where a file is, when it was last written, how long it is.
State = frozenset[tuple[str, int, int]]


async def deploy_on_change(template: Path, connection: Connection, clock: Clock, display: "Display") -> None:
    """Deploy `template`, and again when it or what it refers to has changed and has stood still for a moment."""
    deployed: State | None = None
    before: State | None = None
    while True:
        now = await asyncio.to_thread(state_of, template)
        if now == before and now != deployed:  # an editor or a build may still be writing
            deployed = now
            try:
                result = await asyncio.to_thread(deploy_stack, connection, template)
                if result.changed:
                    display.line(f"Deployed {template}; watching for changes.")
            except CommandError as error:
                display.line(f"{error}", style="red")
        before = now
        await clock.sleep(_LOOK_SECONDS)


def state_of(template: Path) -> State:
    """What the files that a deploy of `template` reads are like now; those that cannot be read are left out."""
    from stepbridge.cloudformation.package import local_paths

    found: set[tuple[str, int, int]] = set()
    for place in local_paths(template):
        for path in [place, *(place.rglob("*") if place.is_dir() else ())]:
            if _PASSED_OVER.isdisjoint(path.parts) and not path.is_dir():
                try:
                    status = path.stat()
                except OSError:
                    continue
                found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)
