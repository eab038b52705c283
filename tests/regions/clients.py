"""Multi-Region keys through boto3, the AWS Encryption SDK and `aws`, none of them modified.

Environment: AWS_PROGRAM (the `aws` to use), and what the service wrote for shells.
"""

import json
import os
import subprocess
import time

import aws_encryption_sdk
import boto3
from aws_encryption_sdk.key_providers.kms import (
    DiscoveryFilter,
    MRKAwareDiscoveryAwsKmsMasterKeyProvider,
    MRKAwareStrictAwsKmsMasterKeyProvider,
)

EAST, WEST = "us-east-1", "us-west-2"
ACCOUNT = os.environ["AWS_ACCOUNT_ID"]


def client(region):
    return boto3.client("kms", region_name=region)


def aws(*arguments, region=EAST):
    said = subprocess.run(
        [os.environ["AWS_PROGRAM"], "kms", *arguments, "--region", region, "--output", "json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(said) if said.strip() else None


def states(key_id):
    """As an infrastructure tool waits: until every key of the set is enabled."""
    for _ in range(100):
        metadata = [client(region).describe_key(KeyId=key_id)["KeyMetadata"] for region in (EAST, WEST)]
        if all(key["KeyState"] == "Enabled" for key in metadata):
            return [key["MultiRegionConfiguration"]["MultiRegionKeyType"] for key in metadata]
        time.sleep(0.1)
    raise AssertionError(metadata)


key = aws("create-key", "--multi-region")["KeyMetadata"]
key_id = key["KeyId"]
replica = aws("replicate-key", "--key-id", key_id, "--replica-region", WEST)["ReplicaKeyMetadata"]
assert states(key_id) == ["PRIMARY", "REPLICA"]

sealed = client(EAST).encrypt(KeyId=key_id, Plaintext=b"boto3", EncryptionContext={"a": "b"})["CiphertextBlob"]
opened = client(WEST).decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})
assert (opened["Plaintext"], opened["KeyId"]) == (b"boto3", replica["Arn"])

sdk = aws_encryption_sdk.EncryptionSDKClient()
in_east = MRKAwareStrictAwsKmsMasterKeyProvider(key_ids=[key["Arn"]])
in_west = MRKAwareStrictAwsKmsMasterKeyProvider(key_ids=[replica["Arn"]])
filtered = DiscoveryFilter(account_ids=[ACCOUNT], partition="aws")
anywhere = MRKAwareDiscoveryAwsKmsMasterKeyProvider(
    discovery_region=WEST, discovery_filter=filtered
)
message, _ = sdk.encrypt(source=b"in every Region", key_provider=in_east, encryption_context={"c": "d"})
for provider in (in_east, in_west, anywhere):
    plaintext, header = sdk.decrypt(source=message, key_provider=provider)
    assert plaintext == b"in every Region" and header.encryption_context["c"] == "d"
message, _ = sdk.encrypt(source=b"and back", key_provider=in_west)
assert sdk.decrypt(source=message, key_provider=in_east)[0] == b"and back"

aws("update-primary-region", "--key-id", key_id, "--primary-region", WEST)
assert states(key_id) == ["REPLICA", "PRIMARY"]
aws("rotate-key-on-demand", "--key-id", key_id, region=WEST)
message, _ = sdk.encrypt(source=b"rotated", key_provider=in_west)
assert sdk.decrypt(source=message, key_provider=in_east)[0] == b"rotated"
print("the clients are content")
