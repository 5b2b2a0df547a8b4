"""Who and what may use IoT Core: things, their types and groups, certificates, policies, and what is attached to what.

- ``registry``: :class:`Registry`, which puts the parts together: the services for the HTTP port, and the answers for
  the device gateway
- ``core``: what the services share: the tables, names, and word of changes
- ``things``, ``thing_types``, ``thing_groups``, ``certificates``, ``authorities``, ``policies``, ``attachments``,
  ``authorization``, ``tags``, ``endpoints``, ``domains``, ``indexing`` (with ``search_query``): the operations of the
  ``iot`` API, each class one subject
- ``provisioning``, ``provisioning_template``: RegisterThing, and devices that register by connecting (JITR, JITP)
- ``certificate_facts``: what AWS IoT reads from an X.509 certificate
- ``access``: :class:`RegistryAccess`, whether a connection is admitted and what it may do
"""

from stepbridge.iot.registry.access import RegistryAccess
from stepbridge.iot.registry.registry import Registry

__all__ = ["Registry", "RegistryAccess"]
