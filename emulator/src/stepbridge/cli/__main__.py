"""`python -m stepbridge.cli`, for a `stepbridge` that is not on the PATH."""

from stepbridge.cli.application import main

main()
