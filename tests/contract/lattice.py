"""Keys of ML-DSA, ML-KEM and Ed25519ph, held against Python's `cryptography`.

Arguments: first or again, and the file in which the first run keeps what the second one asks for.
"""

import hashlib
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

kms = boto3.client("kms", region_name=os.environ["AWS_REGION"], config=Config(read_timeout=60, retries={"total_max_attempts": 1}))
ML_DSA = {"SigningAlgorithm": "ML_DSA_SHAKE_256"}
ML_KEM = {"EncapsulationAlgorithm": "ML_KEM"}
PH = {"SigningAlgorithm": "ED25519_PH_SHA_512", "MessageType": "DIGEST"}


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except ClientError as answer:
        assert answer.response["Error"]["Code"] == error, f"{error} expected: {answer}"
        return answer.response["Error"]["Message"]
    raise AssertionError(f"{arguments} was not refused")


def made(spec, usage):
    metadata = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    assert (metadata["KeySpec"], metadata["KeyUsage"]) == (spec, usage) and metadata["Enabled"]
    assert metadata == kms.describe_key(KeyId=metadata["KeyId"])["KeyMetadata"]
    return metadata["KeyId"], metadata


def public_key(key_id):
    return load_der_public_key(kms.get_public_key(KeyId=key_id)["PublicKey"])


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def signatures(spec):
    key_id, metadata = made(spec, "SIGN_VERIFY")
    assert metadata["SigningAlgorithms"] == ["ML_DSA_SHAKE_256"]
    told, public = kms.get_public_key(KeyId=key_id), public_key(key_id)
    assert told["SigningAlgorithms"] == ["ML_DSA_SHAKE_256"] and type(public).__name__.upper().startswith(spec.replace("_", ""))
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == told["PublicKey"]
    raw = public.public_bytes_raw()
    for message in [b"\0", b"message", os.urandom(4096)]:
        signature = kms.sign(KeyId=key_id, Message=message, **ML_DSA)["Signature"]
        public.verify(signature, message)
        mu = hashlib.shake_256(hashlib.shake_256(raw).digest(64) + b"\0\0" + message).digest(64)
        public.verify_mu(signature, mu)
        of_message, of_mu = (
            {"KeyId": key_id, "Message": m, "MessageType": t, **ML_DSA} for m, t in [(message, "RAW"), (mu, "EXTERNAL_MU")]
        )
        for how in (of_message, of_mu):
            assert kms.verify(Signature=signature, **how)["SignatureValid"] is True
            wrong = how | {"Message": flipped(how["Message"], 0)}
            refused("KMSInvalidSignatureException", kms.verify, Signature=signature, **wrong)
            for forged in [flipped(signature, 0), flipped(signature, len(signature) - 1), signature[:-1], signature + b"\0"]:
                refused("KMSInvalidSignatureException", kms.verify, Signature=forged, **how)
        # A representative is not a message, and the other way round.
        refused("KMSInvalidSignatureException", kms.verify, Signature=signature, **of_message | {"Message": mu})
    assert "EXTERNAL_MU is not offered" in refused("InvalidKeyUsageException", kms.sign, **of_mu)
    for wrong in (mu[:63], mu + b"\0"):
        refused("ValidationException", kms.sign, **of_mu | {"Message": wrong})
        refused("ValidationException", kms.verify, Signature=signature, **of_mu | {"Message": wrong})
    refused("ValidationException", kms.sign, KeyId=key_id, Message=bytes(64), MessageType="DIGEST", **ML_DSA)
    refused("InvalidKeyUsageException", kms.sign, KeyId=key_id, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")
    refused("InvalidKeyUsageException", kms.encapsulate, KeyId=key_id, **ML_KEM)
    refused("DryRunOperationException", kms.sign, KeyId=key_id, Message=b"x", DryRun=True, **ML_DSA)
    refused("UnsupportedOperationException", kms.create_key, KeySpec=spec, KeyUsage="SIGN_VERIFY", Origin="EXTERNAL")
    return {"key": key_id, "message": message.hex(), "signature": signature.hex()}


def secrets(spec, size):
    key_id, metadata = made(spec, "ENCAPSULATE_DECAPSULATE")
    assert metadata["EncapsulationAlgorithms"] == ["ML_KEM"] and "SigningAlgorithms" not in metadata
    told = kms.get_public_key(KeyId=key_id)
    assert told["EncapsulationAlgorithms"] == ["ML_KEM"] and told["KeyUsage"] == "ENCAPSULATE_DECAPSULATE"

    def decapsulated(blob):
        answer = kms.decapsulate(KeyId=key_id, SharedSecretCiphertextBlob=blob, **ML_KEM)
        assert answer["KeyId"] == metadata["Arn"] and answer["EncapsulationAlgorithm"] == "ML_KEM"
        assert len(answer["SharedSecret"]) == 32
        return answer["SharedSecret"]

    ours = kms.encapsulate(KeyId=key_id, **ML_KEM)
    blob, secret = ours["SharedSecretCiphertextBlob"], ours["SharedSecret"]
    assert (len(blob), len(secret), ours["KeyId"]) == (size, 32, metadata["Arn"])
    assert decapsulated(blob) == secret != kms.encapsulate(KeyId=key_id, **ML_KEM)["SharedSecret"]
    if spec != "ML_KEM_512":  # which Python does not have
        theirs, their_blob = public_key(key_id).encapsulate()
        if len(theirs) != 32:
            theirs, their_blob = their_blob, theirs
        assert decapsulated(their_blob) == theirs
    # What is rejected is a secret too, always the same.
    for at in (0, size // 2, size - 1):
        assert decapsulated(flipped(blob, at)) == decapsulated(flipped(blob, at)) != secret
    for wrong in (blob[:-1], blob + b"\0", b"x"):
        refused("InvalidCiphertextException", kms.decapsulate, KeyId=key_id, SharedSecretCiphertextBlob=wrong, **ML_KEM)
    assert kms.get_key_last_usage(KeyId=key_id)["KeyLastUsage"]["Operation"] == "Decapsulate"
    return {"key": key_id, "blob": blob.hex(), "secret": secret.hex()}


def what_keys_of_secrets_refuse():
    key_id, metadata = made("ML_KEM_768", "ENCAPSULATE_DECAPSULATE")
    blob = kms.encapsulate(KeyId=key_id, **ML_KEM)["SharedSecretCiphertextBlob"]
    calls = [(kms.encapsulate, {}), (kms.decapsulate, {"SharedSecretCiphertextBlob": blob})]
    for call, how in calls:
        refused("DryRunOperationException", call, KeyId=key_id, DryRun=True, **ML_KEM, **how)
        refused("ValidationException", call, KeyId=key_id, EncapsulationAlgorithm="ML_KEM_768", **how)
        refused("NotFoundException", call, KeyId=metadata["Arn"][:-12] + "000000000000", **ML_KEM, **how)
    refused("InvalidKeyUsageException", kms.sign, KeyId=key_id, Message=b"x", **ML_DSA)
    for operations in (["Encapsulate"], ["Decapsulate", "GetPublicKey"]):
        kms.create_grant(KeyId=key_id, GranteePrincipal="111122223333", Operations=operations)
    refused("ValidationException", kms.create_grant, KeyId=key_id, GranteePrincipal="111122223333", Operations=["Sign"])
    for change, error in [
        (lambda: kms.disable_key(KeyId=key_id), "DisabledException"),
        (lambda: kms.schedule_key_deletion(KeyId=key_id), "KMSInvalidStateException"),
    ]:
        change()
        for call, how in calls:
            refused(error, call, KeyId=key_id, **ML_KEM, **how)


def prehashed():
    key_id, metadata = made("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    assert metadata["SigningAlgorithms"] == ["ED25519_SHA_512", "ED25519_PH_SHA_512"]
    digest = hashlib.sha512(b"message").digest()
    signature = kms.sign(KeyId=key_id, Message=digest, **PH)["Signature"]
    assert kms.verify(KeyId=key_id, Message=digest, Signature=signature, **PH)["SignatureValid"] is True
    wrong = {"KeyId": key_id, "Signature": signature}
    refused("KMSInvalidSignatureException", kms.verify, Message=hashlib.sha512(b"another").digest(), **wrong, **PH)
    refused("KMSInvalidSignatureException", kms.verify, Message=digest, SigningAlgorithm="ED25519_SHA_512", **wrong)
    refused("KMSInvalidSignatureException", kms.verify, Message=b"message", SigningAlgorithm="ED25519_SHA_512", **wrong)
    plain = kms.sign(KeyId=key_id, Message=b"message", SigningAlgorithm="ED25519_SHA_512")["Signature"]
    assert isinstance(public_key(key_id), ed25519.Ed25519PublicKey)
    public_key(key_id).verify(plain, b"message")
    return {"key": key_id, "message": digest.hex(), "signature": signature.hex()}


def symmetric():
    key_id, context = kms.create_key()["KeyMetadata"]["KeyId"], {"a": "b"}
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"plaintext", EncryptionContext=context)["CiphertextBlob"]
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=flipped(blob, len(blob) - 1), EncryptionContext=context)
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob)
    kms.rotate_key_on_demand(KeyId=key_id)
    return {"key": key_id, "blob": blob.hex()}


def first():
    refused("UnsupportedOperationException", kms.create_key, KeySpec="ECC_SECG_P256K1", KeyUsage="SIGN_VERIFY")
    what_keys_of_secrets_refuse()
    return {
        "symmetric": symmetric(),
        "prehashed": prehashed(),
        "signatures": [signatures(spec) for spec in ("ML_DSA_44", "ML_DSA_65", "ML_DSA_87")],
        "secrets": [secrets(*spec) for spec in (("ML_KEM_512", 768), ("ML_KEM_768", 1088), ("ML_KEM_1024", 1568))],
    }


def again(kept):
    for signed, how in [(kept["prehashed"], PH)] + [(signed, ML_DSA) for signed in kept["signatures"]]:
        how = dict(KeyId=signed["key"], Message=bytes.fromhex(signed["message"]), **how)
        assert kms.verify(Signature=bytes.fromhex(signed["signature"]), **how)["SignatureValid"] is True
        assert kms.verify(Signature=kms.sign(**how)["Signature"], **how)["SignatureValid"] is True
    for told in kept["secrets"]:
        blob = bytes.fromhex(told["blob"])
        answer = kms.decapsulate(KeyId=told["key"], SharedSecretCiphertextBlob=blob, **ML_KEM)
        assert answer["SharedSecret"].hex() == told["secret"]
    blob = bytes.fromhex(kept["symmetric"]["blob"])
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"plaintext"


part, path = sys.argv[1:]
if part == "first":
    with open(path, "w") as file:
        json.dump(first(), file)
else:
    with open(path) as file:
        again(json.load(file))
