"""Role chaining by boto3: profiles with `role_arn` and `source_profile`, and STS by hand.

Environment: KEY, APP and HUB (ARNs), and the endpoints of both services; profiles in the configuration file.
"""

import os

import boto3
from botocore.exceptions import ClientError

KEY, APP, HUB = os.environ["KEY"], os.environ["APP"], os.environ["HUB"]


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as answer:
        assert answer.response["Error"]["Code"] == code, answer
        return answer.response["Error"]["Message"]
    raise AssertionError(f"{call} was not refused")


app = boto3.Session(profile_name="app")
identity = app.client("sts").get_caller_identity()
assert identity["Arn"].endswith(":assumed-role/App/last"), identity
kms = app.client("kms")
blob = kms.encrypt(KeyId=KEY, Plaintext=b"by the role", EncryptionContext={"a": "b"})["CiphertextBlob"]
assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"by the role"

hub = boto3.Session(profile_name="hub")
assert hub.client("sts").get_caller_identity()["Arn"].split("/")[1] == "Hub"
refused("AccessDeniedException", hub.client("kms").encrypt, KeyId=KEY, Plaintext=b"x")
message = refused("AccessDenied", hub.client("sts").assume_role, RoleArn=APP, RoleSessionName="x1")
assert "is not authorized to perform: sts:AssumeRole on resource: " + APP in message, message
refused("AccessDenied", boto3.Session(profile_name="wrong").client("kms").list_keys)

alice = boto3.Session(profile_name="alice").client("sts")
answer = alice.assume_role(
    RoleArn=HUB,
    RoleSessionName="by-hand",
    ExternalId="ext-1",
    DurationSeconds=900,
    Policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}',
    Tags=[{"Key": "Team + ünï", "Value": "a + b=/:@c"}, {"Key": "other", "Value": ""}],
    TransitiveTagKeys=["other"],
    SourceIdentity="alice",
)
assert answer["SourceIdentity"] == "alice" and 0 < answer["PackedPolicySize"] < 100, answer
assert answer["AssumedRoleUser"]["Arn"].endswith("/Hub/by-hand")
assert answer["Credentials"]["Expiration"].tzinfo is not None
refused("PackedPolicyTooLarge", alice.assume_role, RoleArn=HUB, RoleSessionName="x1", ExternalId="ext-1",
        Tags=[{"Key": f"k{number}", "Value": "v" * 256} for number in range(40)])
refused("ValidationError", alice.assume_role, RoleArn=HUB, RoleSessionName="x1", ExternalId="ext-1",
        DurationSeconds=43200)
refused("MalformedPolicyDocument", alice.assume_role, RoleArn=HUB, RoleSessionName="x1", Policy="{}")

mine = alice.get_session_token(DurationSeconds=900)["Credentials"]
session = boto3.Session(
    aws_access_key_id=mine["AccessKeyId"],
    aws_secret_access_key=mine["SecretAccessKey"],
    aws_session_token=mine["SessionToken"],
    region_name="us-east-1",
)
assert session.client("sts").get_caller_identity()["Arn"] == os.environ["ALICE"]
refused("AccessDenied", session.client("sts").get_session_token)
assert session.client("sts").assume_role(RoleArn=HUB, RoleSessionName="x1", ExternalId="ext-1")["Credentials"]
stale = boto3.Session(
    aws_access_key_id=mine["AccessKeyId"],
    aws_secret_access_key=mine["SecretAccessKey"],
    aws_session_token=mine["SessionToken"][:-8] + "AAAAAAA=",
    region_name="us-east-1",
)
refused("InvalidClientTokenId", stale.client("sts").get_caller_identity)
refused("UnrecognizedClientException", stale.client("kms").list_keys)
print("all good")
