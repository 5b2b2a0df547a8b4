"""The registry, put together."""

import asyncio
from collections.abc import Callable

from stepbridge.api.service import Service
from stepbridge.clock import Clock
from stepbridge.iot.certificates import Issuer
from stepbridge.iot.registry.access import RegistryAccess
from stepbridge.iot.registry.attachments import AttachmentService
from stepbridge.iot.registry.authorities import AuthorityService
from stepbridge.iot.registry.authorization import AuthorizationService
from stepbridge.iot.registry.certificates import CertificateService
from stepbridge.iot.registry.core import RegistryCore
from stepbridge.iot.registry.domains import DomainService
from stepbridge.iot.registry.endpoints import EndpointService
from stepbridge.iot.registry.indexing import IndexingService
from stepbridge.iot.registry.policies import PolicyService
from stepbridge.iot.registry.provisioning import EventListener, ProvisioningService
from stepbridge.iot.registry.tags import TagService
from stepbridge.iot.registry.thing_groups import ThingGroupService
from stepbridge.iot.registry.thing_types import ThingTypeService
from stepbridge.iot.registry.things import ThingService
from stepbridge.settings import Settings
from stepbridge.store.database import Store
from stepbridge.trace import Trace


class Registry:
    """Things, certificates and policies of one account in one region.

    `endpoint` gives the address of the device gateway as `host:port`; it is asked at each DescribeEndpoint, so that
    the gateway may come up later.  `services` serve the API `iot`, each operation in exactly one of them; `access`
    answers the device gateway.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        issuer: Issuer,
        endpoint: Callable[[], str],
    ) -> None:
        core = RegistryCore(settings, store, clock, trace)
        things, groups, policies = ThingService(core), ThingGroupService(core), PolicyService(core)
        certificates, attachments = CertificateService(core, issuer), AttachmentService(core)
        self._provisioning = ProvisioningService(core, things, groups, certificates, policies, attachments)
        self.access = RegistryAccess(core, self._provisioning)
        self.services: list[Service] = [
            things,
            ThingTypeService(core),
            groups,
            certificates,
            AuthorityService(core),
            policies,
            attachments,
            AuthorizationService(core, self.access),
            self._provisioning,
            TagService(core),
            EndpointService(core, endpoint),
            DomainService(core, endpoint),
            IndexingService(core),
        ]

    def on_event(self, listener: EventListener) -> None:
        """Await `listener` with topic and payload of each event that the registry publishes on the message broker."""
        self._provisioning.on_event(listener)

    async def settled(self) -> None:
        """Return when nothing that a device's connection has set off is still under way."""
        while tasks := self._provisioning.under_way():
            await asyncio.wait(tasks)
