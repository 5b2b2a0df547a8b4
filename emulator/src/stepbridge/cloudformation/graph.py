"""The order in which resources can be made."""

from collections.abc import Mapping

from stepbridge.cloudformation.errors import TemplateError


def creation_order(dependencies: Mapping[str, frozenset[str]]) -> list[str]:
    """The logical ids such that each comes after those it depends on, else as they stand in the template.

    Raises TemplateError naming the resources that depend on each other in a circle.
    """
    order: list[str] = []
    done: set[str] = set()
    waiting = list(dependencies)
    while waiting:
        ready = [name for name in waiting if dependencies[name] <= done]
        if not ready:
            raise TemplateError(f"Circular dependency between resources: [{', '.join(_cyclic(dependencies, waiting))}]")
        order += ready
        done.update(ready)
        waiting = [name for name in waiting if name not in done]
    return order


def _cyclic(dependencies: Mapping[str, frozenset[str]], waiting: list[str]) -> list[str]:
    """Of those that wait, the ones that are on a circle: what merely depends on a circle is not to blame."""
    remaining = set(waiting)
    while True:
        needed = set().union(*(dependencies[name] for name in remaining)) & remaining
        if needed == remaining:
            return [name for name in waiting if name in remaining]
        remaining = needed
