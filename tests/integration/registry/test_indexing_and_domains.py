"""Searching the fleet, and domain configurations."""

from collections.abc import Callable

from tests.integration.registry.client import ARN, RegistryClient, Scenario

Run = Callable[[Scenario], None]


def test_searching_things_and_groups(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        error = await client.refused("search_index", queryString="*")
        assert error.code == "ResourceNotFoundException"
        await client.call(
            "update_indexing_configuration",
            thingIndexingConfiguration={"thingIndexingMode": "REGISTRY"},
            thingGroupIndexingConfiguration={"thingGroupIndexingMode": "ON"},
        )
        assert await client.names("list_indices", "indexNames") == ["AWS_ThingGroups", "AWS_Things"]
        await client.call("create_thing_group", thingGroupName="hall")
        for number in range(5):
            await client.call(
                "create_thing", thingName=f"t{number}", attributePayload={"attributes": {"pressure": str(number)}}
            )
        await client.call("add_thing_to_thing_group", thingName="t3", thingGroupName="hall")
        found = ("search_index", "things", "thingName")
        assert await client.names(*found, queryString="attributes.pressure >= 2", maxResults=2) == ["t2", "t3", "t4"]
        assert await client.names(*found, queryString="thingGroupNames:hall") == ["t3"]
        groups = await client.names(
            "search_index", "thingGroups", "thingGroupName", indexName="AWS_ThingGroups", queryString="hall"
        )
        assert groups == ["hall"]
        assert (await client.refused("search_index", queryString="(")).code == "InvalidQueryException"
        shadow = {"thingIndexingMode": "REGISTRY_AND_SHADOW"}
        error = await client.refused("update_indexing_configuration", thingIndexingConfiguration=shadow)
        assert "not emulated" in error.message

    run(scenario)


def test_domain_configurations(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        default = await client.call("describe_domain_configuration", domainConfigurationName="iot:Data-ATS")
        assert default["domainName"] == "localhost:8883"
        tags = [{"Key": "team", "Value": "a"}]
        answer = await client.call("create_domain_configuration", domainConfigurationName="d", tags=tags)
        assert answer["domainConfigurationArn"].startswith(f"{ARN}:domainconfiguration/d/")
        error = await client.refused("create_domain_configuration", domainConfigurationName="d")
        assert error.code == "ResourceAlreadyExistsException"
        listing = ("list_domain_configurations", "domainConfigurations", "domainConfigurationName")
        assert await client.names(*listing) == ["d"]
        error = await client.refused("delete_domain_configuration", domainConfigurationName="d")
        assert "DISABLED" in error.message
        disabled = {"domainConfigurationName": "d", "domainConfigurationStatus": "DISABLED"}
        await client.call("update_domain_configuration", **disabled)
        described = await client.call("describe_domain_configuration", domainConfigurationName="d")
        assert described["domainConfigurationStatus"] == "DISABLED"
        listed = await client.call("list_tags_for_resource", resourceArn=answer["domainConfigurationArn"])
        assert listed["tags"] == tags
        await client.call("delete_domain_configuration", domainConfigurationName="d")
        assert await client.names(*listing) == []

    run(scenario)
