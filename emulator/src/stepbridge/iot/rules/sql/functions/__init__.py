"""The functions of IoT SQL (developerguide/iot-sql-functions.html), a module per kind, and the catalogue of them all.

Wrong types and wrong counts of arguments are not errors: they give Undefined.  A name that is not in the catalogue is
an error when the rule is created.
"""

from stepbridge.iot.rules.sql.functions.catalogue import CATALOGUE, REFUSED, Function

__all__ = ["CATALOGUE", "REFUSED", "Function"]
