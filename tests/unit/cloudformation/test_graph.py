"""The order of creation."""

import asyncio

import pytest

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.graph import creation_order
from stepbridge.cloudformation.schedule import in_order


def test_dependencies_come_first() -> None:
    order = creation_order({"A": frozenset({"C"}), "B": frozenset(), "C": frozenset({"B"})})
    assert order == ["B", "C", "A"]


def test_a_circle_is_named_without_those_that_only_depend_on_it() -> None:
    with pytest.raises(TemplateError, match=r"^Circular dependency between resources: \[B, C\]$"):
        creation_order({"A": frozenset({"B"}), "B": frozenset({"C"}), "C": frozenset({"B"})})


def test_independent_work_runs_at_once_and_what_depends_on_a_failure_does_not() -> None:
    started: list[str] = []
    both = asyncio.Event()

    async def work(name: str) -> bool:
        started.append(name)
        if {"A", "B"} <= set(started):
            both.set()
        await asyncio.wait_for(both.wait(), 5)  # A and B can only finish together
        return name != "B"

    after = {"A": frozenset[str](), "B": frozenset[str](), "C": frozenset({"B"}), "D": frozenset({"A"})}
    assert asyncio.run(in_order(after, work, stop_on_failure=False)) == ["B"]
    assert started == ["A", "B", "D"]
