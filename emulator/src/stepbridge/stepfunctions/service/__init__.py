"""The asyncio shell around the interpreter: the API, the database, timers, task tokens and task integrations.

An execution at rest is rows in the database and nothing in memory; see `schema.py` for the rows and `runner.py` for
how an execution goes on.
"""

from stepbridge.stepfunctions.service.integrations import LambdaInvoker, TaskIntegrations
from stepbridge.stepfunctions.service.service import StepFunctionsService

__all__ = ["LambdaInvoker", "StepFunctionsService", "TaskIntegrations"]
