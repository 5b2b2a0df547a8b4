"""IoT SQL: text to tree, tree to closures, closures to values.  Pure: no I/O, no clock, no chance.

    text --lexer--> tokens --parser--> tree --compiler--> closures
                                       tree --printer--> text

A :class:`Statement` is compiled once.  For each message it makes an :class:`Evaluation` and runs it; the outcome is an
:class:`Output`, a :class:`NoMatch`, :class:`Failed`, or an :class:`ExternalCall` that the caller answers before it runs
the evaluation again.  A :class:`Template` renders in the same evaluation.

The language: developerguide/iot-sql-reference.html of AWS IoT Core.
"""

from stepbridge.iot.rules.sql.errors import SqlError
from stepbridge.iot.rules.sql.evaluation import Evaluation, ExternalCall, Failed, Input, Mqtt5Properties
from stepbridge.iot.rules.sql.statement import NoMatch, Outcome, Output, Statement, Template
from stepbridge.iot.rules.sql.topics import TopicTrie
from stepbridge.iot.rules.sql.values import UNDEFINED, VERSION_2015, VERSION_2016, VERSIONS, Value

__all__ = [
    "UNDEFINED",
    "VERSIONS",
    "VERSION_2015",
    "VERSION_2016",
    "Evaluation",
    "ExternalCall",
    "Failed",
    "Input",
    "Mqtt5Properties",
    "NoMatch",
    "Outcome",
    "Output",
    "SqlError",
    "Statement",
    "Template",
    "TopicTrie",
    "Value",
]
