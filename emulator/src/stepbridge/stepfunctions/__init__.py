"""AWS Step Functions: definition → interpreter → service.

`language/` reads and checks a state machine definition, `interpreter/` runs it as a pure reducer, `service/` is the
asyncio shell around it: database, timers, task tokens, task integrations and the API.
"""
