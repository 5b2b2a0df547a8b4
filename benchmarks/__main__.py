"""Run the benchmarks that are named, or all."""

import importlib
import sys

ALL = ("stepfunctions", "loop", "broker", "rules")

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"There is no benchmark '{name}'; there are: {', '.join(ALL)}")
    importlib.import_module(f"benchmarks.{name}").main()
