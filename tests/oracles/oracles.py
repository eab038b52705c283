"""A family of keys of the service, held against Python's `cryptography`.

Arguments: signatures, encryption, codes or agreement, and the key specs. Of each spec there is a key that the token
made, whose public half is all that is known here, and one that was made here and imported, which does both sides.
"""

import hashlib
import hmac
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

kms = boto3.client("kms", region_name=os.environ["AWS_REGION"], config=Config(read_timeout=60))
HASHES = {"1": hashes.SHA1, "256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {
    "ECC_NIST_P256": ec.SECP256R1,
    "ECC_NIST_P384": ec.SECP384R1,
    "ECC_NIST_P521": ec.SECP521R1,
    "ECC_SECG_P256K1": ec.SECP256K1,
}
ALGORITHMS = {
    "ECC_NIST_P256": ["ECDSA_SHA_256"],
    "ECC_NIST_P384": ["ECDSA_SHA_384"],
    "ECC_NIST_P521": ["ECDSA_SHA_512"],
    "ECC_SECG_P256K1": ["ECDSA_SHA_256"],
    "ECC_NIST_EDWARDS25519": ["ED25519_SHA_512"],
}
RSASSA = [f"RSASSA_{scheme}_SHA_{bits}" for scheme in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)]
MESSAGES = [b"\x00", b"message", os.urandom(31), os.urandom(4096)]


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except ClientError as answer:
        assert answer.response["Error"]["Code"] == error, f"{error} expected: {answer}"
        return
    raise AssertionError(f"{arguments} was not refused")


def made(spec, usage):
    """A key that the token makes; its id."""
    return kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]


def imported(spec, usage, material):
    """A key with this material; its id."""
    key_id = kms.create_key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
    asked = kms.get_parameters_for_import(
        KeyId=key_id, WrappingAlgorithm="RSA_AES_KEY_WRAP_SHA_256", WrappingKeySpec="RSA_2048"
    )
    key = os.urandom(32)
    wrapped = load_der_public_key(asked["PublicKey"]).encrypt(key, oaep("256"))
    wrapped += keywrap.aes_key_wrap_with_padding(key, material)
    kms.import_key_material(
        KeyId=key_id,
        ImportToken=asked["ImportToken"],
        EncryptedKeyMaterial=wrapped,
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return key_id


def private_key(spec):
    if spec in CURVES:
        return ec.generate_private_key(CURVES[spec]())
    if spec == "ECC_NIST_EDWARDS25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(spec.removeprefix("RSA_")))


def pairs(spec, usage):
    """Ids of keys with their public halves, and their private halves where they are known."""
    key_id = made(spec, usage)
    yield key_id, public_key(key_id, spec), None
    private = private_key(spec)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key_id = imported(spec, usage, pkcs8)
    public = public_key(key_id, spec)
    assert public == private.public_key(), f"{spec}: not the public key of what was imported"
    yield key_id, public, private


def public_key(key_id, spec):
    """The public half, whose bytes are exactly those that another library writes for it."""
    told = kms.get_public_key(KeyId=key_id)["PublicKey"]
    public = load_der_public_key(told)
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == told
    if spec in CURVES:
        assert isinstance(public.curve, CURVES[spec])
    elif spec.startswith("RSA"):
        assert public.key_size == int(spec.removeprefix("RSA_")) and public.public_numbers().e == 65537
    return public


def hash_of(algorithm):
    return HASHES[algorithm.rsplit("_", 1)[1]]()


def digest_of(algorithm, message):
    digest = hashes.Hash(hash_of(algorithm))
    digest.update(message)
    return digest.finalize()


def how(algorithm, digested, salt=None):
    """What `sign` and `verify` of a key take besides the message and the signature."""
    if algorithm.startswith("ED25519"):
        return []
    known = Prehashed(hash_of(algorithm)) if digested else hash_of(algorithm)
    if algorithm.startswith("ECDSA"):
        return [ec.ECDSA(known)]
    if "PKCS1" in algorithm:
        return [padding.PKCS1v15(), known]
    salt = hash_of(algorithm).digest_size if salt is None else salt
    return [padding.PSS(padding.MGF1(hash_of(algorithm)), salt), known]


def oaep(bits, mask=None, label=None):
    return padding.OAEP(padding.MGF1(HASHES[mask or bits]()), HASHES[bits](), label)


def invalid(public, signature, message, *arguments):
    try:
        public.verify(signature, message, *arguments)
    except InvalidSignature:
        return True
    return False


def signatures(spec):
    for key_id, public, private in pairs(spec, "SIGN_VERIFY"):
        for algorithm in ALGORITHMS.get(spec, RSASSA):
            for message in MESSAGES:
                both_ways(key_id, public, private, algorithm, message)
            if algorithm.startswith("ECDSA"):
                many_forms(key_id, public, algorithm)


def changed(message):
    return bytes([message[0] ^ 1]) + message[1:]


def forms(algorithm, message):
    """The message as a request can have it: itself, or its hash."""
    yield {"Message": message, "MessageType": "RAW"}
    if not algorithm.startswith("ED25519"):
        yield {"Message": digest_of(algorithm, message), "MessageType": "DIGEST"}


def both_ways(key_id, public, private, algorithm, message):
    about = {"KeyId": key_id, "SigningAlgorithm": algorithm}
    for form in forms(algorithm, message):
        digested = form["MessageType"] == "DIGEST"
        signature = kms.sign(**about, **form)["Signature"]
        public.verify(signature, message, *how(algorithm, False))
        assert invalid(public, signature, changed(message), *how(algorithm, False))
        for other in forms(algorithm, message):
            assert kms.verify(**about, **other, Signature=signature)["SignatureValid"]
        if private:
            signature = private.sign(form["Message"], *how(algorithm, digested))
            for other in forms(algorithm, message):
                assert kms.verify(**about, **other, Signature=signature)["SignatureValid"]
            for wrong in forms(algorithm, changed(message)):
                refused("KMSInvalidSignatureException", kms.verify, **about, **wrong, Signature=signature)
    if private and "PSS" in algorithm:
        for salt in (0, hash_of(algorithm).digest_size - 1, hash_of(algorithm).digest_size + 1):
            signature = private.sign(message, *how(algorithm, False, salt))
            refused("KMSInvalidSignatureException", kms.verify, **about, Message=message, Signature=signature)


def many_forms(key_id, public, algorithm):
    """Numbers of all lengths that DER knows, with and without a zero before them."""
    lengths = set()
    for number in range(40):
        message = str(number).encode()
        signature = kms.sign(KeyId=key_id, SigningAlgorithm=algorithm, Message=message)["Signature"]
        public.verify(signature, message, *how(algorithm, False))
        r, s = decode_dss_signature(signature)
        lengths.add((r.bit_length() % 8 == 0, s.bit_length() % 8 == 0))
    # P-521 never fills its highest byte.
    assert len(lengths) > (0 if public.curve.name == "secp521r1" else 1)


def encryption(spec):
    size = int(spec.removeprefix("RSA_")) // 8
    for key_id, public, private in pairs(spec, "ENCRYPT_DECRYPT"):
        for bits, length in (("1", 20), ("256", 32)):
            about = {"KeyId": key_id, "EncryptionAlgorithm": f"RSAES_OAEP_SHA_{bits}"}
            longest = size - 2 * length - 2
            for plaintext in (b"\x00", b"\x00\x01message", os.urandom(longest), bytes(longest)):
                theirs = public.encrypt(plaintext, oaep(bits))
                assert kms.decrypt(**about, CiphertextBlob=theirs)["Plaintext"] == plaintext
                ours = kms.encrypt(**about, Plaintext=plaintext)["CiphertextBlob"]
                assert kms.decrypt(**about, CiphertextBlob=ours)["Plaintext"] == plaintext
                assert private is None or private.decrypt(ours, oaep(bits)) == plaintext
            # A ciphertext that begins with zeros is as long as the others.
            small = next(blob for blob in iter(lambda: public.encrypt(b"x", oaep(bits)), None) if blob[0] == 0)
            assert kms.decrypt(**about, CiphertextBlob=small)["Plaintext"] == b"x"
            wrong = [
                public.encrypt(b"x", oaep(bits, mask="1" if bits == "256" else "256")),
                public.encrypt(b"x", oaep("256" if bits == "1" else "1")),
                public.encrypt(b"x", oaep(bits, label=b"label")),
                public.encrypt(b"x", padding.PKCS1v15()),
                public.public_numbers().n.to_bytes(size, "big"),
                small[1:],
            ]
            for blob in wrong:
                refused("InvalidCiphertextException", kms.decrypt, **about, CiphertextBlob=blob)


def codes(spec):
    bits = spec.removeprefix("HMAC_")
    about, length = {"MacAlgorithm": f"HMAC_SHA_{bits}"}, int(bits) // 8
    secret = os.urandom(length)
    known, unknown = imported(spec, "GENERATE_VERIFY_MAC", secret), made(spec, "GENERATE_VERIFY_MAC")
    for message in MESSAGES:
        code = hmac.digest(secret, message, getattr(hashlib, f"sha{bits}"))
        assert kms.generate_mac(KeyId=known, Message=message, **about)["Mac"] == code
        assert kms.verify_mac(KeyId=known, Message=message, Mac=code, **about)["MacValid"]
        own = kms.generate_mac(KeyId=unknown, Message=message, **about)["Mac"]
        assert len(own) == length and own != code
        assert kms.verify_mac(KeyId=unknown, Message=message, Mac=own, **about)["MacValid"]
        for key_id, other in ((known, own), (unknown, code), (known, code[:-1]), (known, code + b"\x00")):
            refused("KMSInvalidMacException", kms.verify_mac, KeyId=key_id, Message=message, Mac=other, **about)


def agreement(spec):
    width = (CURVES[spec].key_size + 7) // 8
    for key_id, public, private in pairs(spec, "KEY_AGREEMENT"):
        peers = [private_key(spec) for _ in range(4)]
        if private:
            # A secret that begins with a zero is as long as the others.
            candidates = iter(lambda: private_key(spec), None)
            peers.append(next(peer for peer in candidates if private.exchange(ec.ECDH(), peer.public_key())[0] == 0))
        for peer in peers:
            secret = peer.exchange(ec.ECDH(), public)
            told = peer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            agreed = kms.derive_shared_secret(KeyId=key_id, KeyAgreementAlgorithm="ECDH", PublicKey=told)
            assert agreed["SharedSecret"] == secret and len(secret) == width
            assert agreed["KeyOrigin"] == ("EXTERNAL" if private else "AWS_KMS")


for spec in sys.argv[2:]:
    {"signatures": signatures, "encryption": encryption, "codes": codes, "agreement": agreement}[sys.argv[1]](spec)
