"""What a JSONata expression reads that Step Functions has not: AWS refuses such a definition.

An expression is evaluated without a context item: input and variables are `$states.input` and `$name`.  A path that
begins with a bare name, `$` or `$$` reads what is not there.  Later steps of a path, its predicates, sort terms and
groups are evaluated against what the path has led to, and may have bare names.  Of `$states`, `result` is there only in
the Output and Assign of a state that has a result, `errorOutput` only in those of a catcher.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

from collections.abc import Collection, Iterator
from typing import Any

ALWAYS = ("input", "context")  # the fields of $states that every expression can read


def unsupported(syntax_tree: Any, offered: Collection[str]) -> list[str]:
    """What is wrong with the references of an expression, in AWS's words; `offered` are the fields of `$states`."""
    return list(dict.fromkeys(_problems(syntax_tree, offered)))


def _problems(node: Any, offered: Collection[str]) -> Iterator[str]:
    kind = getattr(node, "type", None)
    if kind == "name":
        yield _at_top_level(node.value)
    elif kind == "variable":
        if node.value == "":
            yield _at_top_level("$")
        elif node.value == "$":
            yield "Reference to '$$' is not supported."
    elif kind == "path":
        first, *others = node.steps
        yield from _problems(first, offered)
        if _is(first, "variable", "states") and others and others[0].type == "name" and others[0].value not in offered:
            yield f"Field '$states.{others[0].value}' does not exist."
    else:
        for child in _children(kind, node):
            yield from _problems(child, offered)


def _at_top_level(name: str) -> str:
    return f"Reference to '{name}' at the top level is not supported."


def _is(node: Any, kind: str, value: str) -> bool:
    return bool(node.type == kind and node.value == value)


def _children(kind: str | None, node: Any) -> Iterator[Any]:
    """The parts of a node that are evaluated in the context of the whole."""
    if kind == "unary" and node.value == "[":
        yield from node.expressions or ()
    elif kind == "unary" and node.value == "{":
        for key, value in node.lhs_object or ():
            yield key
            yield value
    elif kind == "unary":
        yield node.expression
    elif kind in ("binary", "apply"):
        yield node.lhs
        yield node.rhs
    elif kind in ("function", "partial"):
        yield node.procedure
        yield from node.arguments or ()
    elif kind == "lambda":
        yield node.body
    elif kind == "condition":
        yield from (node.condition, node.then, getattr(node, "_else", None))
    elif kind == "block":
        yield from node.expressions or ()
    elif kind == "bind":
        yield node.rhs
