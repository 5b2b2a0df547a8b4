"""The form of the cases that users keep in files, so that a slip of the pen is told by its place and never meets code.

A form is a type (`str`, `int`, `bool`, `dict`), None for null, a list of one form for lists, a mapping of names to
forms for objects, or a tuple of alternative forms.  Members may be absent; those that a form does not name may be
anything.
"""

from collections.abc import Mapping
from typing import Any

Form = Any

_NAMES = {str: "a string", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


def form_fault(value: object, form: Form, place: str) -> str | None:
    """What is wrong with a value, or None; `place` names it."""
    if isinstance(form, tuple):
        fits = any(form_fault(value, alternative, place) is None for alternative in form)
        return None if fits else f"{place} must be {' or '.join(map(_name, form))}"
    if isinstance(form, Mapping):
        if not isinstance(value, dict):
            return f"{place} must be an object"
        inner = ((value[name], each, f"{place}.{name}") for name, each in form.items() if name in value)
        return _first(form_fault(*each) for each in inner)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{place} must be a list"
        return _first(form_fault(item, form[0], f"{place}[{index}]") for index, item in enumerate(value))
    fits = value is None if form is None else isinstance(value, form) and (form is bool or not isinstance(value, bool))
    return None if fits else f"{place} must be {_name(form)}"


def _name(form: Form) -> str:
    if form is None:
        return "null"
    if isinstance(form, list):
        return f"a list of which each is {_name(form[0])}"
    return "an object" if isinstance(form, Mapping) else _NAMES[form]


def _first(faults: Any) -> str | None:
    return next((fault for fault in faults if fault is not None), None)
