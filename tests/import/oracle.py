"""The importing side and the oracle, by Python's `cryptography`: a request a line, an answer a line, bytes in base64."""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

CURVES = {
    "ECC_NIST_P256": ec.SECP256R1,
    "ECC_NIST_P384": ec.SECP384R1,
    "ECC_NIST_P521": ec.SECP521R1,
    "ECC_SECG_P256K1": ec.SECP256K1,
}
HASHES = {"1": hashes.SHA1, "256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def unb64(text):
    return base64.b64decode(text)


def spki(key):
    return key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)


def oaep(algorithm):
    name = HASHES[algorithm.rsplit("_", 1)[1]]
    return padding.OAEP(padding.MGF1(name()), name(), None)


def wrap(algorithm, public_key, material, aes_bits=256):
    """What a caller sends: `material` wrapped by AWS's algorithm of this name."""
    public = ser.load_der_public_key(unb64(public_key))
    if algorithm.startswith("RSAES"):
        return public.encrypt(unb64(material), oaep(algorithm))
    key = os.urandom(aes_bits // 8)
    return public.encrypt(key, oaep(algorithm)) + aes_key_wrap_with_padding(key, unb64(material))


def random(count):
    return os.urandom(count)


def pair(spec):
    """A new private key, PKCS#8, and its public half."""
    if spec in CURVES:
        key = ec.generate_private_key(CURVES[spec]())
    elif spec.startswith("RSA"):
        key = rsa.generate_private_key(65537, int(spec[4:]))
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    return {"private": private, "public": spki(key.public_key())}


def of_number(spec, number):
    """The private key that is this number, PKCS#8."""
    key = ec.derive_private_key(int.from_bytes(unb64(number), "big"), CURVES[spec]())
    return key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def verify(public_key, algorithm, message, signature):
    public = ser.load_der_public_key(unb64(public_key))
    message, signature = unb64(message), unb64(signature)
    try:
        if algorithm.startswith("ED25519"):
            public.verify(signature, message)
        elif algorithm.startswith("ECDSA"):
            public.verify(signature, message, ec.ECDSA(HASHES[algorithm.rsplit("_", 1)[1]]()))
        else:
            name = HASHES[algorithm.rsplit("_", 1)[1]]
            pss = padding.PSS(padding.MGF1(name()), name.digest_size)
            public.verify(signature, message, pss if "PSS" in algorithm else padding.PKCS1v15(), name())
        return True
    except InvalidSignature:
        return False


def encrypt(public_key, algorithm, plaintext):
    return ser.load_der_public_key(unb64(public_key)).encrypt(unb64(plaintext), oaep(algorithm))


def agree(public_key):
    """The other side of ECDH: its public key, and the shared secret."""
    public = ser.load_der_public_key(unb64(public_key))
    own = ec.generate_private_key(public.curve)
    return {"public": spki(own.public_key()), "secret": own.exchange(ec.ECDH(), public)}


def mac(bits, key, message):
    return hmac.new(unb64(key), unb64(message), f"sha{bits}").digest()


def open_blob(key, blob):
    """Opens a ciphertext blob (format 1) by the imported AES key alone, as the token would."""
    key, blob = unb64(key), unb64(blob)
    header, (count,) = blob[:23], struct.unpack(">H", blob[23:25])
    wrapped, rest = blob[25 : 25 + count], blob[25 + count :]
    seed = AESGCM(key).decrypt(wrapped[:12], wrapped[12:], b"hsm-kms/wrap/v1" + header)
    info = header + wrapped + hashlib.sha256(b"").digest()
    fixed = b"hsm-kms/v1/seal\0" + info + struct.pack(">I", 512)
    derived = b"".join(hmac.new(seed, struct.pack(">I", n) + fixed, "sha256").digest() for n in (1, 2))
    assert derived[32:] == rest[:32], "the commitment"
    return AESGCM(derived[:32]).decrypt(rest[32:44], rest[44:], blob[: 25 + count + 32])


def encoded(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return {name: encoded(part) for name, part in value.items()} if isinstance(value, dict) else value


COMMANDS = {command.__name__: command for command in (wrap, random, pair, of_number, verify, encrypt, agree, mac, open_blob)}
for line in sys.stdin:
    request = json.loads(line)
    command = COMMANDS[request.pop("command")]
    print(json.dumps(encoded(command(**request))), flush=True)
