"""How many invocations may run at once.

An account has 1,000.  What a function has reserved is its own, and no other's; what it has provisioned is taken from
what it has reserved, or from the account's if it has not reserved any.  Invocations on provisioned environments are
thereby counted already; the others, on demand, may have what is left.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from stepbridge.api.errors import AwsError
from stepbridge.functions.provisioned import ProvisionedConcurrency
from stepbridge.functions.registry import Function, FunctionRegistry

ACCOUNT_CONCURRENCY = 1000
MIN_UNRESERVED = 100  # of the account, which cannot be reserved or provisioned


class Concurrency:
    """The invocations that run, and their limits."""

    def __init__(self, registry: FunctionRegistry, provisioned: ProvisionedConcurrency) -> None:
        self._registry = registry
        self._provisioned = provisioned
        self._on_demand: Counter[str] = Counter()  # by function
        self._unreserved = 0  # of those, the ones of functions without a reservation
        self.running = 0

    @contextmanager
    def on_demand(self, function: Function) -> Iterator[None]:
        """An invocation runs in an environment that is there for it.  Raises TooManyRequestsException."""
        reserved = function.reserved_concurrency
        if reserved is not None and self._on_demand[function.name] >= reserved - self._provisioned.ready(function.name):
            raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        # The sums are not made for the few that there always may be.
        if reserved is None and self._unreserved >= MIN_UNRESERVED and self._unreserved >= self.unreserved():
            raise _throttled("ConcurrentInvocationLimitExceeded")
        self._on_demand[function.name] += 1
        self._unreserved += reserved is None
        self.running += 1
        try:
            yield
        finally:
            self._on_demand[function.name] -= 1
            self._unreserved -= reserved is None
            self.running -= 1

    @contextmanager
    def on_provisioned(self) -> Iterator[None]:
        """An invocation runs in an environment of provisioned concurrency."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def provisioned(self, function: str) -> int:
        """What a function has provisioned."""
        return sum(configured.requested for configured in self._provisioned.of_function(function))

    def claimed(self, function: Function) -> int:
        """What a function has taken from the account's for itself."""
        reserved = function.reserved_concurrency
        return self.provisioned(function.name) if reserved is None else reserved

    def unreserved(self) -> int:
        """What is left of the account's for all functions that have not claimed any."""
        provisioned = sum(
            configured.requested
            for configured in self._provisioned.all()
            if self._registry.reserved_concurrency(configured.function) is None
        )
        return ACCOUNT_CONCURRENCY - self._registry.reserved_concurrency_of_all() - provisioned


def _throttled(reason: str) -> AwsError:
    return AwsError(
        "TooManyRequestsException", "Rate Exceeded.", status=429, members={"Reason": reason, "Type": "User"}
    )
