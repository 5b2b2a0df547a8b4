"""The part of the Lambda API that is about tags: of functions, event source mappings, code signing configurations.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html
"""

from collections.abc import Callable

from stepbridge.api.service import Caller, Members
from stepbridge.functions.code_signing import CodeSigning
from stepbridge.functions.event_sources import EventSources
from stepbridge.functions.invoker import Functions
from stepbridge.functions.refusals import invalid
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store

_MAX_TAGS = 50

Tags = dict[str, str]


class TagOperations:
    """Tags; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _signing: CodeSigning
    _sources: EventSources
    _registry: FunctionRegistry
    _store: Store

    async def tag_resource(self, caller: Caller, request: Members) -> Members:
        tags, put = self._tagged(request["Resource"])
        tags = {**tags, **request["Tags"]}
        if len(tags) > _MAX_TAGS:
            raise invalid("Number of tags exceeds resource tag limit.")
        put(tags)
        await self._store.committed()
        return {}

    async def untag_resource(self, caller: Caller, request: Members) -> Members:
        tags, put = self._tagged(request["Resource"])
        put({key: value for key, value in tags.items() if key not in request["TagKeys"]})
        await self._store.committed()
        return {}

    async def list_tags(self, caller: Caller, request: Members) -> Members:
        return {"Tags": self._tagged(request["Resource"])[0]}

    def _tagged(self, resource: str) -> tuple[Tags, Callable[[Tags], None]]:
        """The tags of what the ARN `resource` names, and how to change them.  Raises ResourceNotFoundException."""
        kind, _, identity = ":".join(resource.split(":")[5:]).partition(":")
        if kind == "event-source-mapping":
            mapping = self._sources.find(identity)
            return mapping.get("Tags", {}), lambda tags: self._sources.put({**mapping, "Tags": tags})
        if kind == "code-signing-config":
            config = self._signing.find(resource)
            return config.get("Tags", {}), lambda tags: self._signing.put({**config, "Tags": tags})
        name = self.functions.name(resource)
        if name.qualifier is not None:
            raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
        function = self._registry.function(name)

        def put(tags: Tags) -> None:
            function.tags = tags
            self._registry.save(function)

        return function.tags, put
