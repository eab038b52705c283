"""Detached signatures of a file, by the file's hash, checked by `openssl dgst`."""

import hashlib
import os

import kms

PSS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]

# The spec, the algorithm, the hash, and what `openssl dgst` must be told.
KINDS = [
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", "sha256", []),
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", "sha384", []),
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", "sha512", []),
    ("RSA_3072", "RSASSA_PSS_SHA_256", "sha256", PSS),
    ("RSA_3072", "RSASSA_PSS_SHA_384", "sha384", PSS),
    ("RSA_3072", "RSASSA_PSS_SHA_512", "sha512", PSS),
    ("ECC_NIST_P256", "ECDSA_SHA_256", "sha256", []),
    ("ECC_NIST_P384", "ECDSA_SHA_384", "sha384", []),
    ("ECC_NIST_P521", "ECDSA_SHA_512", "sha512", []),
    ("ECC_SECG_P256K1", "ECDSA_SHA_256", "sha256", []),
]


def release(name):
    """A file that is too long for Sign to take it as it is."""
    return kms.write(name, os.urandom(100_000))


def by_hash():
    keys, file, other = {}, release("release.tar"), release("other.tar")
    with open(file, "rb") as content:
        content = content.read()
    for spec, algorithm, hashed, options in KINDS:
        key_id = keys.get(spec) or keys.setdefault(spec, kms.new_key(spec))
        public = kms.write("public.der", kms.client.get_public_key(KeyId=key_id)["PublicKey"])
        digest = hashlib.new(hashed, content).digest()
        signature = kms.write("release.sig", kms.sign(key_id, algorithm, digest, "DIGEST"))
        verify = ["dgst", f"-{hashed}", "-verify", public, "-keyform", "DER", *options, "-signature", signature]
        assert kms.openssl(*verify, file) == "Verified OK\n"
        kms.openssl(*verify, other, refused=True)


def of_ed25519():
    key_id = kms.new_key("ECC_NIST_EDWARDS25519")
    public = kms.write("public25519.der", kms.client.get_public_key(KeyId=key_id)["PublicKey"])
    note = kms.write("note.txt", b"signed as it is, without a hash of the caller's\n" * 80)
    with open(note, "rb") as content:
        signature = kms.write("note.sig", kms.sign(key_id, "ED25519_SHA_512", content.read()))
    verify = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-keyform", "DER", "-rawin", "-sigfile", signature, "-in"]
    kms.openssl(*verify, note)
    kms.openssl(*verify, kms.write("another.txt", b"another note"), refused=True)


by_hash()
of_ed25519()
