"""The names that the AWS SDKs for Java make of those in botocore's models."""

import pytest

from stepbridge.stepfunctions.service.integrations.java_sdk import exception_1, exception_2, service_name


@pytest.mark.parametrize(
    ("service_id", "name"),
    [
        ("SFN", "Sfn"),
        ("S3", "S3"),
        ("DynamoDB", "DynamoDb"),
        ("IoT", "Iot"),
        ("IoT Data Plane", "IotDataPlane"),
        ("IoTSecureTunneling", "IoTSecureTunneling"),
        ("SESv2", "SesV2"),
        ("Secrets Manager", "SecretsManager"),
        ("EC2", "Ec2"),
        ("ApiGatewayV2", "ApiGatewayV2"),
    ],
)
def test_the_name_of_a_service(service_id: str, name: str) -> None:
    assert service_name(service_id) == name


@pytest.mark.parametrize(
    ("error", "version_1", "version_2"),
    [
        ("NoSuchBucket", "NoSuchBucketException", "NoSuchBucketException"),
        ("ResourceNotFoundException", "ResourceNotFoundException", "ResourceNotFoundException"),
        ("DBInstanceNotFoundFault", "DBInstanceNotFoundException", "DbInstanceNotFoundException"),
        ("EC2AccessDeniedException", "EC2AccessDeniedException", "Ec2AccessDeniedException"),
        ("KMSOptInRequired", "KMSOptInRequiredException", "KmsOptInRequiredException"),
    ],
)
def test_the_name_of_an_exception(error: str, version_1: str, version_2: str) -> None:
    assert (exception_1(error), exception_2(error)) == (version_1, version_2)
