"""Every operation through boto3, with every answer held against the model that botocore brings.

Environment: OPERATIONS (the names of all that the service has, by commas), CANARIES (a folder for every secret that
is made here, a file each), HSM_KMS and DATA (the program and its data folder), and what the service wrote for shells.
"""

import datetime
import json
import os
import subprocess
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from shapes import Answers

REGION = os.environ["AWS_REGION"]
ACCOUNT = os.environ["AWS_ACCOUNT_ID"]
CONFIG = Config(retries={"total_max_attempts": 1})
REPLICAS = "sa-east-1"
ABSENT = "00000000-0000-4000-8000-000000000000"

answers = Answers()


def client(service="kms", region=REGION, **credentials):
    made = boto3.client(service, region_name=region, config=CONFIG, **credentials)
    answers.watch(made)
    return made


kms = client()
errors = kms.exceptions


def refused(error, call, **arguments):
    """`error` is one of the client's exception classes, or the name of an error that the model does not have."""
    try:
        call(**arguments)
    except ClientError as answer:
        name = error if isinstance(error, str) else error.__name__
        assert answer.response["Error"]["Code"] == name, f"{name} expected: {answer}"
        assert isinstance(error, str) or isinstance(answer, error), type(answer)
        assert answer.response["ResponseMetadata"]["RequestId"]
        return answer.response["Error"].get("Message", "")
    raise AssertionError(f"{call.__name__}({arguments}) was not refused")


def keep_canary(name, secret):
    with open(os.path.join(os.environ["CANARIES"], f"sdk-{name}"), "wb") as file:
        file.write(secret)


def arn(key_id):
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"


def new_key(**arguments):
    return kms.create_key(**arguments)["KeyMetadata"]["KeyId"]


def keys():
    before = {key["KeyId"] for page in kms.get_paginator("list_keys").paginate() for key in page["Keys"]}
    made = kms.create_key(
        Description="ünï", KeySpec="SYMMETRIC_DEFAULT", KeyUsage="ENCRYPT_DECRYPT", Origin="AWS_KMS", MultiRegion=False
    )["KeyMetadata"]
    key_id = made["KeyId"]
    assert made["Arn"] == arn(key_id) and made["AWSAccountId"] == ACCOUNT and made["Description"] == "ünï"
    assert made["KeyState"] == "Enabled" and made["Enabled"] and made["KeyManager"] == "CUSTOMER"
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"] and not made["MultiRegion"]
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"] == made
    kms.update_key_description(KeyId=key_id, Description="")
    assert kms.describe_key(KeyId=arn(key_id))["KeyMetadata"]["Description"] == ""
    others = {new_key() for _ in range(4)}
    pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["Keys"]) <= 2 for page in pages)
    listed = [key["KeyId"] for page in pages for key in page["Keys"]]
    assert len(listed) == len(set(listed)) and set(listed) == before | others | {key_id}
    assert kms.waiter_names == []

    refused(errors.NotFoundException, kms.describe_key, KeyId=ABSENT)
    refused(errors.NotFoundException, kms.describe_key, KeyId="fake-key-id")
    refused(errors.NotFoundException, kms.describe_key, KeyId="alias/absent")
    refused(errors.InvalidArnException, kms.describe_key, KeyId="arn:aws:kms:nonsense")
    refused(errors.InvalidMarkerException, kms.list_keys, Marker="nonsense")
    refused(errors.UnsupportedOperationException, kms.create_key, KeySpec="ML_DSA_44", KeyUsage="SIGN_VERIFY")
    refused(errors.MalformedPolicyDocumentException, kms.create_key, Policy="{}")
    refused(errors.TagException, kms.create_key, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    message = refused("ValidationException", kms.create_key, KeySpec="NONSENSE")
    assert message.startswith("1 validation error detected: Value 'NONSENSE' at 'keySpec'"), message


def states():
    key_id = new_key()
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key_id)
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"
    assert refused(errors.DisabledException, kms.decrypt, CiphertextBlob=blob) == f"{arn(key_id)} is disabled."
    kms.enable_key(KeyId=key_id)
    kms.decrypt(CiphertextBlob=blob)

    answer = kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert answer["KeyId"] == arn(key_id) and answer["PendingWindowInDays"] == 7
    metadata = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    assert metadata["KeyState"] == "PendingDeletion" and metadata["DeletionDate"] == answer["DeletionDate"]
    assert (metadata["DeletionDate"] - metadata["CreationDate"]).days == 7
    refused(errors.KMSInvalidStateException, kms.decrypt, CiphertextBlob=blob)
    refused(errors.KMSInvalidStateException, kms.schedule_key_deletion, KeyId=key_id)
    assert kms.cancel_key_deletion(KeyId=key_id)["KeyId"] == arn(key_id)
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"
    refused(errors.KMSInvalidStateException, kms.cancel_key_deletion, KeyId=key_id)
    refused("ValidationException", kms.schedule_key_deletion, KeyId=key_id, PendingWindowInDays=6)


def rotations():
    key_id = new_key()
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"before")["CiphertextBlob"]
    first = kms.describe_key(KeyId=key_id)["KeyMetadata"]["CurrentKeyMaterialId"]
    status = kms.get_key_rotation_status(KeyId=key_id)
    assert not status["KeyRotationEnabled"] and "NextRotationDate" not in status and status["KeyId"] == key_id
    kms.enable_key_rotation(KeyId=arn(key_id))
    assert kms.get_key_rotation_status(KeyId=arn(key_id))["RotationPeriodInDays"] == 365
    kms.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key_id)
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 90
    made = kms.describe_key(KeyId=key_id)["KeyMetadata"]["CreationDate"]
    assert (status["NextRotationDate"] - made).days == 90 and "OnDemandRotationStartDate" not in status
    for _ in range(25):
        assert kms.rotate_key_on_demand(KeyId=key_id)["KeyId"] == key_id
    message = refused(errors.LimitExceededException, kms.rotate_key_on_demand, KeyId=key_id)
    assert message.startswith("The on-demand rotations limit has been reached for the given keyId."), message
    assert kms.get_key_rotation_status(KeyId=key_id) | {"ResponseMetadata": 0} == status | {"ResponseMetadata": 0}
    opened = kms.decrypt(CiphertextBlob=blob)
    assert opened["Plaintext"] == b"before" and opened["KeyMaterialId"] == first
    paginator = kms.get_paginator("list_key_rotations")
    listed = [item for page in paginator.paginate(KeyId=key_id) for item in page["Rotations"]]
    assert len(listed) == 25 and all(item["RotationType"] == "ON_DEMAND" for item in listed)
    everything = paginator.paginate(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL", PaginationConfig={"PageSize": 7})
    pages = [page["Rotations"] for page in everything]
    assert [len(page) for page in pages] == [7, 7, 7, 5]
    materials = [item for page in pages for item in page]
    assert materials[0]["KeyMaterialId"] == first and "RotationDate" not in materials[0] and materials[1:] == listed
    assert [item["KeyMaterialState"] for item in materials] == ["NON_CURRENT"] * 25 + ["CURRENT"]
    current = kms.describe_key(KeyId=key_id)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert materials[-1]["KeyMaterialId"] == current and len({item["KeyMaterialId"] for item in materials}) == 26
    assert kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")["KeyMaterialId"] == current
    moved = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key_id)
    assert moved["SourceKeyMaterialId"] == first and moved["DestinationKeyMaterialId"] == current
    kms.disable_key_rotation(KeyId=key_id)
    assert not kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"]
    kms.disable_key(KeyId=key_id)
    refused(errors.DisabledException, kms.rotate_key_on_demand, KeyId=key_id)
    refused("ValidationException", kms.enable_key_rotation, KeyId=key_id, RotationPeriodInDays=2561)
    refused("ValidationException", kms.list_key_rotations, KeyId=key_id, IncludeKeyMaterial="ALL")
    refused(errors.InvalidMarkerException, kms.list_key_rotations, KeyId=key_id, Marker="nonsense")
    refused(errors.NotFoundException, kms.rotate_key_on_demand, KeyId=ABSENT)
    refused(errors.NotFoundException, kms.get_key_rotation_status, KeyId="alias/absent")


def aliases():
    one, other = new_key(), new_key()
    names = [f"alias/sdk/{number}" for number in range(5)]
    for name in names:
        kms.create_alias(AliasName=name, TargetKeyId=one)
    paginator = kms.get_paginator("list_aliases")
    pages = list(paginator.paginate(KeyId=one, PaginationConfig={"PageSize": 2}))
    assert [len(page["Aliases"]) for page in pages] == [2, 2, 1]
    found = [alias for page in pages for alias in page["Aliases"]]
    assert [alias["AliasName"] for alias in found] == names
    assert all(alias["TargetKeyId"] == one for alias in found)
    assert found[0]["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:{names[0]}"
    kms.update_alias(AliasName=names[0], TargetKeyId=other)
    for name in (names[0], found[0]["AliasArn"]):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == other
    kms.delete_alias(AliasName=names[0])

    refused(errors.NotFoundException, kms.delete_alias, AliasName=names[0])
    refused(errors.AlreadyExistsException, kms.create_alias, AliasName=names[1], TargetKeyId=other)
    refused(errors.NotFoundException, kms.create_alias, AliasName="alias/new", TargetKeyId=ABSENT)
    refused("ValidationException", kms.create_alias, AliasName="no-prefix", TargetKeyId=other)
    refused(errors.InvalidMarkerException, kms.list_aliases, Marker="nonsense")


def cryptography():
    key_id, other = new_key(), new_key()
    context = {"purpose": "test", "stage": "ünï"}
    plaintext = os.urandom(4096)
    keep_canary("plaintext", plaintext)
    made = kms.encrypt(KeyId=key_id, Plaintext=plaintext, EncryptionContext=context)
    assert made["KeyId"] == arn(key_id) and made["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    blob = made["CiphertextBlob"]
    assert plaintext not in blob and len(blob) <= 6144
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context, KeyId=key_id)["Plaintext"] == plaintext

    moved = kms.re_encrypt(
        CiphertextBlob=blob, SourceEncryptionContext=context, SourceKeyId=key_id, DestinationKeyId=other
    )
    assert moved["SourceKeyId"] == arn(key_id) and moved["KeyId"] == arn(other)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == plaintext

    for name, arguments, size in [
        ("aes-256", {"KeySpec": "AES_256"}, 32),
        ("aes-128", {"KeySpec": "AES_128"}, 16),
        ("bytes", {"NumberOfBytes": 1024}, 1024),
    ]:
        data_key = kms.generate_data_key(KeyId=key_id, EncryptionContext=context, **arguments)
        assert len(data_key["Plaintext"]) == size
        keep_canary(f"data-key-{name}", data_key["Plaintext"])
        opened = kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == data_key["Plaintext"] and opened["KeyId"] == data_key["KeyId"] == arn(key_id)
        later = kms.generate_data_key_without_plaintext(KeyId=key_id, **arguments)
        assert "Plaintext" not in later
        secret = kms.decrypt(CiphertextBlob=later["CiphertextBlob"])["Plaintext"]
        assert len(secret) == size
        keep_canary(f"later-{name}", secret)
    random = kms.generate_random(NumberOfBytes=1024)["Plaintext"]
    assert len(random) == 1024
    keep_canary("random", random)

    usage = kms.get_key_last_usage(KeyId=key_id)
    assert usage["KeyLastUsage"]["Operation"] == "Decrypt", usage
    assert "Operation" not in kms.get_key_last_usage(KeyId=new_key())["KeyLastUsage"]

    decrypt = kms.decrypt
    assert refused(errors.InvalidCiphertextException, decrypt, CiphertextBlob=blob) == ""
    refused(errors.InvalidCiphertextException, decrypt, CiphertextBlob=blob[:-1], EncryptionContext=context)
    refused(errors.InvalidCiphertextException, decrypt, CiphertextBlob=b"nonsense")
    refused(errors.IncorrectKeyException, decrypt, CiphertextBlob=blob, EncryptionContext=context, KeyId=other)
    refused(errors.DryRunOperationException, kms.encrypt, KeyId=key_id, Plaintext=b"x", DryRun=True)
    refused(errors.DryRunOperationException, decrypt, CiphertextBlob=moved["CiphertextBlob"], DryRun=True)
    refused(errors.NotFoundException, kms.encrypt, KeyId=ABSENT, Plaintext=b"x")
    refused("ValidationException", kms.generate_data_key, KeyId=key_id)
    refused("ValidationException", kms.generate_random, NumberOfBytes=1025)
    refused("ValidationException", kms.encrypt, KeyId=key_id, Plaintext=bytes(4097))


def data_key_pairs():
    key_id, context = new_key(), {"purpose": "pairs"}
    for spec in kms.meta.service_model.shape_for("DataKeyPairSpec").enum:
        arguments = {"KeyId": key_id, "KeyPairSpec": spec, "EncryptionContext": context}
        if spec == "SM2":
            refused(errors.UnsupportedOperationException, kms.generate_data_key_pair, **arguments)
            continue
        made = kms.generate_data_key_pair(**arguments)
        private = made["PrivateKeyPlaintext"]
        keep_canary(f"private-{spec}", private)
        opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == private and made["KeyId"] == arn(key_id) and made["KeyPairSpec"] == spec
        later = kms.generate_data_key_pair_without_plaintext(**arguments)
        assert "PrivateKeyPlaintext" not in later and later["PublicKey"] != made["PublicKey"]
        opened = kms.decrypt(CiphertextBlob=later["PrivateKeyCiphertextBlob"], EncryptionContext=context)
        keep_canary(f"later-private-{spec}", opened["Plaintext"])
    pair = {"KeyId": key_id, "KeyPairSpec": "RSA_2048"}
    refused(errors.DryRunOperationException, kms.generate_data_key_pair, **pair, DryRun=True)
    refused("ValidationException", kms.generate_data_key_pair, KeyId=key_id, KeyPairSpec="RSA_1024")


def asymmetric_keys():
    """What `oracles.py` checks by its bytes, here by its form: every operation and its own errors."""
    sign = new_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    told = kms.get_public_key(KeyId=sign)
    assert told["KeyId"] == arn(sign) and told["KeySpec"] == "ECC_NIST_P256" and told["KeyUsage"] == "SIGN_VERIFY"
    assert told["SigningAlgorithms"] == ["ECDSA_SHA_256"] and "EncryptionAlgorithms" not in told
    how = dict(KeyId=sign, Message=b"message", SigningAlgorithm="ECDSA_SHA_256")
    made = kms.sign(**how)
    assert made["KeyId"] == arn(sign) and made["SigningAlgorithm"] == "ECDSA_SHA_256"
    assert kms.verify(**how, Signature=made["Signature"])["SignatureValid"] is True
    assert refused(errors.KMSInvalidSignatureException, kms.verify, **how, Signature=b"x") == ""
    refused(errors.InvalidKeyUsageException, kms.sign, **how | {"SigningAlgorithm": "ECDSA_SHA_384"})
    refused("ValidationException", kms.sign, **how, MessageType="DIGEST")
    refused(errors.DryRunOperationException, kms.sign, **how, DryRun=True)
    refused(errors.UnsupportedOperationException, kms.get_public_key, KeyId=new_key())

    mac = new_key(KeySpec="HMAC_384", KeyUsage="GENERATE_VERIFY_MAC")
    how = dict(KeyId=mac, Message=b"message", MacAlgorithm="HMAC_SHA_384")
    code = kms.generate_mac(**how)["Mac"]
    assert len(code) == 48 and kms.verify_mac(**how, Mac=code)["MacValid"] is True
    assert refused(errors.KMSInvalidMacException, kms.verify_mac, **how, Mac=code[:-1]) == ""
    refused(errors.InvalidKeyUsageException, kms.generate_mac, **how | {"MacAlgorithm": "HMAC_SHA_256"})

    one, other = (new_key(KeySpec="ECC_NIST_P384", KeyUsage="KEY_AGREEMENT") for _ in range(2))
    public = {key: kms.get_public_key(KeyId=key)["PublicKey"] for key in (one, other)}
    ecdh = {"KeyAgreementAlgorithm": "ECDH"}
    secrets = [kms.derive_shared_secret(KeyId=a, PublicKey=public[b], **ecdh) for a, b in ((one, other), (other, one))]
    assert secrets[0]["SharedSecret"] == secrets[1]["SharedSecret"] and secrets[0]["KeyOrigin"] == "AWS_KMS"
    keep_canary("shared-secret", secrets[0]["SharedSecret"])
    # No key of SoftHSM does this; tests/contract/lattice.py has one that does.
    ml_kem = {"EncapsulationAlgorithm": "ML_KEM"}
    refused(errors.InvalidKeyUsageException, kms.encapsulate, KeyId=one, **ml_kem)
    refused(errors.InvalidKeyUsageException, kms.decapsulate, KeyId=one, SharedSecretCiphertextBlob=bytes(768), **ml_kem)
    refused("ValidationException", kms.derive_shared_secret, KeyId=one, PublicKey=told["PublicKey"], **ecdh)

    rsa = new_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    oaep = dict(KeyId=rsa, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    plaintext = os.urandom(190)
    keep_canary("oaep-plaintext", plaintext)
    blob = kms.encrypt(Plaintext=plaintext, **oaep)["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, **oaep)
    assert opened["Plaintext"] == plaintext and "KeyMaterialId" not in opened
    moved = kms.re_encrypt(
        CiphertextBlob=blob, SourceKeyId=rsa, SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256", DestinationKeyId=new_key()
    )
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == plaintext
    assert refused(errors.InvalidCiphertextException, kms.decrypt, CiphertextBlob=blob[:-1], **oaep) == ""
    refused(errors.InvalidKeyUsageException, kms.encrypt, KeyId=rsa, Plaintext=b"x")


def tags_and_policies():
    key_id = new_key(Tags=[{"TagKey": "team", "TagValue": "red"}])
    kms.tag_resource(KeyId=key_id, Tags=[{"TagKey": f"t{number}", "TagValue": ""} for number in range(4)])
    kms.untag_resource(KeyId=key_id, TagKeys=["t0"])
    pages = list(kms.get_paginator("list_resource_tags").paginate(KeyId=key_id, PaginationConfig={"PageSize": 3}))
    tags = [tag["TagKey"] for page in pages for tag in page["Tags"]]
    assert sorted(tags) == ["t1", "t2", "t3", "team"] and len(pages) == 2
    refused(errors.TagException, kms.tag_resource, KeyId=key_id, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    refused(errors.NotFoundException, kms.list_resource_tags, KeyId=ABSENT)

    names = [name for page in kms.get_paginator("list_key_policies").paginate(KeyId=key_id) for name in page["PolicyNames"]]
    assert names == ["default"]
    answer = kms.get_key_policy(KeyId=key_id)
    policy = json.loads(answer["Policy"])
    assert policy["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    policy["Id"] = "changed"
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(policy))
    assert json.loads(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]) == policy
    put = kms.put_key_policy
    refused(errors.MalformedPolicyDocumentException, put, KeyId=key_id, Policy="{")
    refused(errors.LimitExceededException, put, KeyId=key_id, Policy=json.dumps(policy) + " " * 32768)
    refused(errors.NotFoundException, kms.get_key_policy, KeyId=key_id, PolicyName="other")


def grants():
    key_id, root = new_key(), f"arn:aws:iam::{ACCOUNT}:root"
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionContext={"a": "1"})["CiphertextBlob"]
    constraints = {"EncryptionContextSubset": {"a": "1"}}
    wanted = dict(KeyId=key_id, GranteePrincipal=ACCOUNT, RetiringPrincipal=root, Operations=["Encrypt", "Decrypt"])
    made = kms.create_grant(**wanted, Constraints=constraints, Name="sdk")
    again = kms.create_grant(**wanted, Constraints=constraints, Name="sdk", GrantTokens=[made["GrantToken"]])
    assert made["GrantId"] == again["GrantId"] and made["GrantToken"] != again["GrantToken"]
    tokens = [made["GrantToken"], again["GrantToken"]]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"}, GrantTokens=tokens)["Plaintext"] == b"x"
    others = {kms.create_grant(**wanted)["GrantId"] for _ in range(3)}
    pages = list(kms.get_paginator("list_grants").paginate(KeyId=key_id, PaginationConfig={"PageSize": 3}))
    listed = {grant["GrantId"]: grant for page in pages for grant in page["Grants"]}
    assert len(pages) == 2 and listed.keys() == others | {made["GrantId"]}
    grant = listed[made["GrantId"]]
    assert grant["KeyId"] == arn(key_id) and grant["Name"] == "sdk" and grant["Constraints"] == constraints
    assert grant["GranteePrincipal"] == grant["RetiringPrincipal"] == grant["IssuingAccount"] == root
    assert grant["Operations"] == ["Decrypt", "Encrypt"] and grant["CreationDate"].year > 2000
    assert listed[others.pop()]["Name"] == ""
    paginator = kms.get_paginator("list_retirable_grants")
    pages = paginator.paginate(RetiringPrincipal=root, PaginationConfig={"PageSize": 2})
    assert {grant["GrantId"] for page in pages for grant in page["Grants"]} >= listed.keys()
    kms.retire_grant(GrantToken=again["GrantToken"])
    ids = [grant_id for grant_id in listed if grant_id != made["GrantId"]]
    kms.revoke_grant(KeyId=key_id, GrantId=ids[0])
    kms.retire_grant(KeyId=arn(key_id), GrantId=ids[1])
    assert [grant["GrantId"] for grant in kms.list_grants(KeyId=key_id)["Grants"]] == [ids[2]]

    refused(errors.InvalidGrantTokenException, kms.retire_grant, GrantToken=made["GrantToken"])
    refused(errors.InvalidGrantTokenException, kms.encrypt, KeyId=key_id, Plaintext=b"x", GrantTokens=tokens)
    refused(errors.NotFoundException, kms.revoke_grant, KeyId=key_id, GrantId=ids[0])
    refused(errors.InvalidGrantIdException, kms.revoke_grant, KeyId=key_id, GrantId="nonsense")
    refused(errors.InvalidArnException, kms.create_grant, **wanted | {"GranteePrincipal": "nobody"})
    refused(errors.InvalidArnException, kms.create_grant, **wanted | {"KeyId": arn(key_id)[:-40] + "alias/x"})
    refused(errors.DryRunOperationException, kms.create_grant, **wanted, DryRun=True)
    refused(errors.DryRunOperationException, kms.revoke_grant, KeyId=key_id, GrantId=ids[2], DryRun=True)
    refused(errors.InvalidMarkerException, kms.list_grants, KeyId=key_id, Marker="nonsense")
    refused("ValidationException", kms.create_grant, **wanted | {"Operations": ["Sign"]})
    refused("ValidationException", kms.list_grants, KeyId=key_id, Limit=101)


def principal(command, *arguments, document=None):
    """An operator's command; a `-` among the arguments is the document."""
    program = [os.environ["HSM_KMS"], "principal", command, "--data", os.environ["DATA"], *arguments]
    done = subprocess.run(program, input=document and json.dumps(document), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def signed_by(given):
    names = {"AccessKeyId": "aws_access_key_id", "SecretAccessKey": "aws_secret_access_key"}
    names["SessionToken"] = "aws_session_token"
    return {argument: given[name] for name, argument in names.items() if name in given}


def roles():
    principal("create-user", "--user-name", "sdk-alice")
    alice = principal("create-access-key", "--user-name", "sdk-alice")["AccessKey"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/sdk-alice"}}
    trust |= {"Action": ["sts:AssumeRole", "sts:TagSession"]}
    document = {"Version": "2012-10-17", "Statement": [trust]}
    principal("create-role", "--role-name", "sdk-app", "--assume-role-policy-document", "-", document=document)
    allow = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    own = ("--role-name", "sdk-app", "--policy-name", "own", "--policy-document", "-")
    principal("put-role-policy", *own, document=document)
    sts = client("sts", **signed_by(alice))
    role = f"arn:aws:iam::{ACCOUNT}:role/sdk-app"
    tags = [{"Key": "Team", "Value": "blue"}]
    answer = sts.assume_role(RoleArn=role, RoleSessionName="sdk", Tags=tags, Policy=json.dumps(document))
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/sdk-app/sdk"
    assert answer["AssumedRoleUser"]["Arn"] == arn and answer["PackedPolicySize"] > 0, answer
    given = answer["Credentials"]
    keep_canary("role-secret", given["SecretAccessKey"].encode())
    keep_canary("role-token", given["SessionToken"].encode())
    session = signed_by(given)
    assert client("sts", **session).get_caller_identity()["Arn"] == arn
    blob = client(**session).encrypt(KeyId=new_key(), Plaintext=b"x")["CiphertextBlob"]
    refused("AccessDeniedException", client(**signed_by(alice)).decrypt, CiphertextBlob=blob)
    assert client(**session).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    principal("revoke-role-sessions", "--role-name", "sdk-app")
    refused("UnrecognizedClientException", client(**session).decrypt, CiphertextBlob=blob)
    refused("InvalidClientTokenId", client("sts", **session).get_caller_identity)
    again = signed_by(sts.assume_role(RoleArn=role, RoleSessionName="sdk")["Credentials"])
    assert client(**again).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    principal("delete-role-policy", "--role-name", "sdk-app", "--policy-name", "own")
    refused("AccessDeniedException", client(**again).decrypt, CiphertextBlob=blob)
    principal("delete-role", "--role-name", "sdk-app")
    refused("UnrecognizedClientException", client(**again).decrypt, CiphertextBlob=blob)


def callers():
    sts = client("sts")
    identity = sts.get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNT}:root" and identity["Account"] == ACCOUNT
    given = sts.get_session_token(DurationSeconds=900)["Credentials"]
    keep_canary("session-secret", given["SecretAccessKey"].encode())
    keep_canary("session-token", given["SessionToken"].encode())
    session = signed_by(given)
    assert client("sts", **session).get_caller_identity() | {"ResponseMetadata": 0} == identity | {"ResponseMetadata": 0}
    assert client(**session).list_keys()["Keys"]
    refused("AccessDenied", client("sts", **session).get_session_token)
    refused("AccessDenied", sts.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/absent", RoleSessionName="x1")
    forged = {**session, "aws_session_token": "A" * len(given["SessionToken"])}
    refused("UnrecognizedClientException", client(**forged).list_keys)
    refused("InvalidClientTokenId", client("sts", **forged).get_caller_identity)
    known = {"aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"]}
    secret = {"aws_secret_access_key": "x" * 40}
    refused("InvalidSignatureException", client(**known, **secret).list_keys)
    refused("SignatureDoesNotMatch", client("sts", **known, **secret).get_caller_identity)
    unknown = {"aws_access_key_id": "AKIA" + uuid.uuid4().hex[:16].upper()}
    refused("UnrecognizedClientException", client(**unknown, **secret).list_keys)


def imports():
    key_id = new_key(Origin="EXTERNAL")
    metadata = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    assert metadata["KeyState"] == "PendingImport" and metadata["Origin"] == "EXTERNAL", metadata
    assert "ExpirationModel" not in metadata and "CurrentKeyMaterialId" not in metadata, metadata
    refused(errors.KMSInvalidStateException, kms.encrypt, KeyId=key_id, Plaintext=b"x")
    material = os.urandom(32)
    keep_canary("import", material)

    def wrapped(algorithm="RSA_AES_KEY_WRAP_SHA_256"):
        given = kms.get_parameters_for_import(
            KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048"
        )
        assert given["KeyId"] == arn(key_id)
        left = given["ParametersValidTo"] - datetime.datetime.now(datetime.timezone.utc)
        assert datetime.timedelta(hours=23) < left <= datetime.timedelta(hours=24), left
        public = load_der_public_key(given["PublicKey"])
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        if algorithm == "RSAES_OAEP_SHA_256":
            encrypted = public.encrypt(material, oaep)
        else:
            between = os.urandom(32)
            keep_canary(f"import-{uuid.uuid4()}", between)
            encrypted = public.encrypt(between, oaep) + aes_key_wrap_with_padding(between, material)
        return {"KeyId": key_id, "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": encrypted}

    message = refused("ValidationException", kms.import_key_material, **wrapped())
    assert message == "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
    day = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    answer = kms.import_key_material(**wrapped(), ValidTo=day, KeyMaterialDescription="of boto3")
    assert answer["KeyId"] == arn(key_id)
    metadata = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    assert metadata["KeyState"] == "Enabled" and metadata["ExpirationModel"] == "KEY_MATERIAL_EXPIRES", metadata
    assert metadata["CurrentKeyMaterialId"] == answer["KeyMaterialId"], metadata
    assert abs(metadata["ValidTo"] - day) < datetime.timedelta(seconds=1), metadata
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]
    gone = kms.delete_imported_key_material(KeyId=key_id)
    assert (gone["KeyId"], gone["KeyMaterialId"]) == (arn(key_id), answer["KeyMaterialId"])
    refused(errors.KMSInvalidStateException, kms.decrypt, CiphertextBlob=blob)
    again = wrapped("RSAES_OAEP_SHA_256")
    forged = {**again, "ImportToken": again["ImportToken"][:-1] + b"x"}
    refused(errors.InvalidImportTokenException, kms.import_key_material, **forged, ValidTo=day)
    kms.import_key_material(**again, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    assert "ValidTo" not in kms.describe_key(KeyId=key_id)["KeyMetadata"]
    refused(errors.UnsupportedOperationException, kms.delete_imported_key_material, KeyId=new_key())


def custom_key_stores():
    with open(os.path.join(os.environ["DATA"], "cluster-password")) as file:
        password = file.read()
    wrong = uuid.uuid4().hex
    keep_canary("wrong-password", wrong.encode())
    pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"
    given = {"CustomKeyStoreName": "boto3", "TrustAnchorCertificate": pem, "CloudHsmClusterId": "cluster-softhsm2dev"}
    refused(errors.IncorrectTrustAnchorException, kms.create_custom_key_store,
            **{**given, "TrustAnchorCertificate": "x"}, KeyStorePassword=password)
    name = {"CustomKeyStoreId": kms.create_custom_key_store(**given, KeyStorePassword=wrong)["CustomKeyStoreId"]}
    refused(errors.CustomKeyStoreNameInUseException, kms.create_custom_key_store, **given, KeyStorePassword=password)
    refused(errors.CloudHsmClusterInUseException, kms.create_custom_key_store,
            **{**given, "CustomKeyStoreName": "other"}, KeyStorePassword=password)

    def reach(state):
        while True:
            store = kms.describe_custom_key_stores(**name)["CustomKeyStores"][0]
            if store["ConnectionState"] not in ("CONNECTING", "DISCONNECTING"):
                assert store["ConnectionState"] == state, store
                return store

    def again(**changes):
        kms.disconnect_custom_key_store(**name)
        reach("DISCONNECTED")
        kms.update_custom_key_store(**name, **changes)
        kms.connect_custom_key_store(**name)

    assert kms.connect_custom_key_store(**name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert reach("FAILED")["ConnectionErrorCode"] == "INVALID_CREDENTIALS"
    refused(errors.CustomKeyStoreInvalidStateException, kms.connect_custom_key_store, **name)
    refused(errors.CustomKeyStoreInvalidStateException, kms.create_key, Origin="AWS_CLOUDHSM", **name)
    again(KeyStorePassword=password)
    store = reach("CONNECTED")
    assert store["CloudHsmClusterId"] == given["CloudHsmClusterId"] and store["TrustAnchorCertificate"] == pem, store
    assert store["CustomKeyStoreType"] == "AWS_CLOUDHSM" and "ConnectionErrorCode" not in store, store
    kms.update_custom_key_store(**name, NewCustomKeyStoreName="boto3 too")
    made = kms.create_key(Origin="AWS_CLOUDHSM", **name)["KeyMetadata"]
    assert made["CustomKeyStoreId"] == name["CustomKeyStoreId"] and made["Origin"] == "AWS_CLOUDHSM", made
    assert made["CloudHsmClusterId"] == given["CloudHsmClusterId"] and not made["MultiRegion"], made
    refused(errors.UnsupportedOperationException, kms.create_key, MultiRegion=True, **name)
    blob = kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert len(kms.generate_random(NumberOfBytes=3, **name)["Plaintext"]) == 3
    kms.disconnect_custom_key_store(**name)
    message = refused(errors.KMSInvalidStateException, kms.decrypt, CiphertextBlob=blob)
    assert message == f"{made['Arn']} is unavailable.", message
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "Unavailable"
    reach("DISCONNECTED")
    refused(errors.CustomKeyStoreHasCMKsException, kms.delete_custom_key_store, **name)
    again_name = kms.describe_custom_key_stores(CustomKeyStoreName="boto3 too")["CustomKeyStores"]
    assert [store["CustomKeyStoreId"] for store in again_name] == [name["CustomKeyStoreId"]]
    refused(errors.CustomKeyStoreNotFoundException, kms.describe_custom_key_stores, CustomKeyStoreName="boto3")
    kms.connect_custom_key_store(**name)
    reach("CONNECTED")
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    kms.disconnect_custom_key_store(**name)
    reach("DISCONNECTED")
    # One without keys, on another cluster, can be deleted.
    empty = {**given, "CustomKeyStoreName": "empty", "CloudHsmClusterId": "cluster-softhsm4dev"}
    empty = {"CustomKeyStoreId": kms.create_custom_key_store(**empty, KeyStorePassword=password)["CustomKeyStoreId"]}
    kms.delete_custom_key_store(**empty)
    refused(errors.CustomKeyStoreNotFoundException, kms.delete_custom_key_store, **empty)


def multi_region_keys():
    key_id = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    assert key_id.startswith("mrk-"), key_id
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"both")["CiphertextBlob"]
    replicated = kms.replicate_key(KeyId=key_id, ReplicaRegion=REPLICAS, Tags=[{"TagKey": "a", "TagValue": "b"}])
    metadata = replicated["ReplicaKeyMetadata"]
    assert replicated["ReplicaTags"] == [{"TagKey": "a", "TagValue": "b"}] and replicated["ReplicaPolicy"]
    config = metadata["MultiRegionConfiguration"]
    assert (config["MultiRegionKeyType"], config["PrimaryKey"]["Arn"]) == ("REPLICA", arn(key_id)), config
    assert [replica["Region"] for replica in config["ReplicaKeys"]] == [REPLICAS]
    there = client(region=REPLICAS)
    assert there.decrypt(CiphertextBlob=blob)["Plaintext"] == b"both"
    refused(errors.AlreadyExistsException, kms.replicate_key, KeyId=key_id, ReplicaRegion=REPLICAS)
    refused(errors.UnsupportedOperationException, kms.replicate_key, KeyId=new_key(), ReplicaRegion=REPLICAS)
    kms.update_primary_region(KeyId=key_id, PrimaryRegion=REPLICAS)
    refused(errors.UnsupportedOperationException, kms.update_primary_region, KeyId=key_id, PrimaryRegion=REPLICAS)
    answer = there.schedule_key_deletion(KeyId=key_id)
    assert (answer["KeyState"], answer["PendingWindowInDays"]) == ("PendingReplicaDeletion", 30), answer
    assert "DeletionDate" not in answer
    waiting = there.describe_key(KeyId=key_id)["KeyMetadata"]
    assert waiting["PendingDeletionWindowInDays"] == 30 and "DeletionDate" not in waiting, waiting


FAMILIES = [multi_region_keys, keys, states, rotations, aliases, cryptography, data_key_pairs, asymmetric_keys, imports]
FAMILIES += [tags_and_policies, grants, callers, roles, custom_key_stores]
for family in FAMILIES:
    family()

offered = set(os.environ["OPERATIONS"].split(","))
assert answers.succeeded == offered, f"without a good answer here: {offered ^ answers.succeeded}"
print(f"{len(offered)} operations, {answers.count} answers as the model has them")
