"""What happens at its time, or on an event: EventBridge's rules, and the schedules of EventBridge Scheduler.

moto keeps the rules and schedules, and matches events; here they fire, on the emulator's clock.  `expressions` and
`cron` say when (pure), `inputs` what a target is sent (pure), `targets` sends it, `source` reads rules and schedules
from moto, and `engine` holds the timer.
"""

from stepbridge.schedules.engine import Schedules

__all__ = ["Schedules"]
