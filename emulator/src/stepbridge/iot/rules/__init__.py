"""The rules engine: statements over messages (`sql/`) and what is done with their output (`actions/`)."""
