"""JSON Web Tokens signed by keys of the service, checked by PyJWT with the public key and with a JWK Set."""

import hashlib
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.utils import base64url_decode, base64url_encode

import kms

# The name of RFC 7518 and RFC 8037, the spec and the algorithm here, the hash, and the bytes of a coordinate of ECDSA.
KINDS = [
    ("RS256", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", hashlib.sha256, None),
    ("RS384", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", hashlib.sha384, None),
    ("RS512", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", hashlib.sha512, None),
    ("PS256", "RSA_2048", "RSASSA_PSS_SHA_256", hashlib.sha256, None),
    ("PS384", "RSA_2048", "RSASSA_PSS_SHA_384", hashlib.sha384, None),
    ("PS512", "RSA_2048", "RSASSA_PSS_SHA_512", hashlib.sha512, None),
    ("ES256", "ECC_NIST_P256", "ECDSA_SHA_256", hashlib.sha256, 32),
    ("ES384", "ECC_NIST_P384", "ECDSA_SHA_384", hashlib.sha384, 48),
    ("ES512", "ECC_NIST_P521", "ECDSA_SHA_512", hashlib.sha512, 66),
    ("ES256K", "ECC_SECG_P256K1", "ECDSA_SHA_256", hashlib.sha256, 32),
    ("EdDSA", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", None, None),
]


def encoded(part):
    return base64url_encode(json.dumps(part).encode())


def issue(name, key_id, algorithm, hashed, coordinate, claims, message_type="RAW"):
    signed = encoded({"alg": name, "typ": "JWT", "kid": key_id}) + b"." + encoded(claims)
    if message_type == "DIGEST":
        signature = kms.sign(key_id, algorithm, hashed(signed).digest(), "DIGEST")
    else:
        signature = kms.sign(key_id, algorithm, signed)
    if coordinate:
        # RFC 7518 §3.4 has both numbers side by side, where KMS answers DER.
        signature = b"".join(number.to_bytes(coordinate, "big") for number in decode_dss_signature(signature))
    return (signed + b"." + base64url_encode(signature)).decode()


def is_refused(token, key, name):
    try:
        jwt.decode(token, key, algorithms=[name], audience="shop")
    except jwt.InvalidTokenError:
        return True
    return False


def check(name, key_id, token, claims, other):
    public = kms.public_key(key_id)
    assert jwt.decode(token, public, algorithms=[name], audience="shop") == claims
    jwk = jwt.get_algorithm_by_name(name).to_jwk(public, as_dict=True) | {"kid": key_id, "alg": name}
    published = jwt.PyJWKSet.from_dict({"keys": [jwk]})
    found = published[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, found, algorithms=[name], audience="shop") == claims

    header, body, signature = token.split(".")
    forged = encoded(claims | {"sub": "mallory"}).decode()
    assert is_refused(f"{header}.{forged}.{signature}", public, name)
    spoilt = bytearray(base64url_decode(signature))
    spoilt[-1] ^= 1
    assert is_refused(f"{header}.{body}.{base64url_encode(bytes(spoilt)).decode()}", public, name)
    assert is_refused(token, kms.public_key(other), name)


def main():
    keys = {}
    for name, spec, algorithm, hashed, coordinate in KINDS:
        key_id, other = keys.get(spec) or keys.setdefault(spec, (kms.new_key(spec), kms.new_key(spec)))
        claims = {"sub": "alice", "aud": "shop", "iat": int(time.time()) - 1, "exp": int(time.time()) + 600}
        # What is signed is the token or, where there is one, its hash.
        for message_type in ("RAW", "DIGEST") if hashed else ("RAW",):
            token = issue(name, key_id, algorithm, hashed, coordinate, claims, message_type)
            check(name, key_id, token, claims, other)
        # An expired one is refused though its signature is good.
        expired = issue(name, key_id, algorithm, hashed, coordinate, claims | {"exp": int(time.time()) - 60})
        assert is_refused(expired, kms.public_key(key_id), name)


main()
