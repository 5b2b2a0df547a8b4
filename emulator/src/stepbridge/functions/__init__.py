"""AWS Lambda: functions, their execution environments, and invocations.

From the outside in: :mod:`service` is the Lambda API, a thin layer on :class:`~invoker.Functions`, through which
Step Functions and topic rules invoke too.  :mod:`registry` keeps functions, versions, aliases and policies in the
database, :mod:`code` their deployment packages, :mod:`layers` those that functions share; :mod:`event_sources` has
queues invoke functions, :mod:`url_invocations` requests to their URLs, which :mod:`urls` keeps.  :mod:`pool` decides
which :mod:`environment` runs an invocation, and :mod:`environment_builder` makes them; an environment is one process
running the user's handler under AWS's own runtime interface client (awslambdaric), which talks to our
:mod:`runtime_api`.  Processes come from a :mod:`fork_server`, so that an environment starts in milliseconds and shares
the memory of the modules that every handler needs; :mod:`node` finds what runs Node.js in them.  :mod:`concurrency`
says how many invocations may run at once, :mod:`provisioned` for which there are environments before they are asked
for.  What Lambda does for a function, it does in the function's role (:mod:`aws_calls`).
"""
