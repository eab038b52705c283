"""A certificate authority whose key is a KMS key, and certificate requests; checked by `openssl verify` and TLS.

The requests and certificates are built by `cryptography`, which takes whatever has the methods of a private key.
"""

import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import kms


class Remote:
    """A private key that is somewhere else: it signs, and nothing else."""

    def __init__(self, key_id, public):
        self.key_id, self.public = key_id, public
        self.key_size, self.curve = getattr(public, "key_size", None), getattr(public, "curve", None)

    def public_key(self):
        return self.public

    def elsewhere(self, *_, **__):
        raise NotImplementedError("the key does not leave its token")


def remote(base, sign):
    """A class of keys that passes for `base` and signs by `sign`."""
    methods = {name: Remote.elsewhere for name in base.__abstractmethods__}
    methods |= {name: method for name, method in vars(Remote).items() if not name.startswith("__")}
    methods["key_size"] = methods["curve"] = None
    return type("Kms" + base.__name__, (Remote, base), methods | {"sign": sign})


def sign_rsa(self, data, scheme, algorithm):
    kind = "PSS" if isinstance(scheme, padding.PSS) else "PKCS1_V1_5"
    return kms.sign(self.key_id, f"RSASSA_{kind}_SHA_{algorithm.digest_size * 8}", data)


def sign_ecdsa(self, data, scheme):
    return kms.sign(self.key_id, f"ECDSA_SHA_{scheme.algorithm.digest_size * 8}", data)


def sign_ed25519(self, data):
    return kms.sign(self.key_id, "ED25519_SHA_512", data)


RSA = remote(rsa.RSAPrivateKey, sign_rsa)
EC = remote(ec.EllipticCurvePrivateKey, sign_ecdsa)
ED25519 = remote(ed25519.Ed25519PrivateKey, sign_ed25519)
PSS = {"rsa_padding": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)}

# The spec of the authority's key, how it signs, and the spec of the data key pair that it certifies.
AUTHORITIES = [
    ("RSA_2048", RSA, hashes.SHA256(), {}, "ECC_NIST_P256"),
    ("RSA_2048", RSA, hashes.SHA256(), PSS, "RSA_2048"),
    ("ECC_NIST_P256", EC, hashes.SHA256(), {}, "RSA_2048"),
    ("ECC_NIST_P384", EC, hashes.SHA384(), {}, "ECC_NIST_P384"),
    ("ECC_NIST_EDWARDS25519", ED25519, None, {}, "ECC_NIST_P256"),
]


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Exämple"), x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(file, thing):
    return kms.write(file, thing.public_bytes(serialization.Encoding.PEM))


def certificate(subject, issuer, key, *, is_authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = dict.fromkeys(
        ["content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"], False
    )
    usage |= {"digital_signature": not is_authority, "key_encipherment": False}
    usage |= {"key_cert_sign": is_authority, "crl_sign": is_authority}
    return (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def spoilt(certificate_pem):
    """The same certificate with a signature that has one other bit."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(certificate_pem))
    der[-1] ^= 1
    return ssl.DER_cert_to_PEM_cert(bytes(der)).encode()


def shake_hands(authority, leaf, private):
    """A TLS handshake between OpenSSL and OpenSSL, in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf, private)
    client = ssl.create_default_context(cafile=authority)
    # The pipes to the server and to the client.
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(*pipes, server_side=True),
        client.wrap_bio(*reversed(pipes), server_hostname="shop.example"),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass


def authority(number, spec, kind, hashed, options, pair_spec):
    key_id = kms.new_key(spec)
    key = kind(key_id, kms.public_key(key_id))
    subject = name(f"authority {number}")

    request = pem(f"{number}.csr", x509.CertificateSigningRequestBuilder(subject).sign(key, hashed, **options))
    kms.openssl("req", "-verify", "-noout", "-in", request)
    assert f"CN = authority {number}" in kms.openssl("req", "-noout", "-subject", "-in", request)

    own = certificate(subject, subject, key.public, is_authority=True).sign(key, hashed, **options)
    root = pem(f"{number}-root.pem", own)
    kms.openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", root, root)

    pair = kms.client.generate_data_key_pair(KeyId=wrapping, KeyPairSpec=pair_spec)
    kms.write(f"{number}-private.der", pair["PrivateKeyPlaintext"])
    private = f"{number}-private.pem"
    kms.openssl("pkey", "-inform", "DER", "-in", f"{number}-private.der", "-out", private)
    public = serialization.load_der_public_key(pair["PublicKey"])
    builder = certificate(name("shop"), subject, public, is_authority=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public)
    leaf = builder.add_extension(identifier, critical=False).sign(key, hashed, **options)
    file = pem(f"{number}-leaf.pem", leaf)
    kms.openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, file)
    text = leaf.public_bytes(serialization.Encoding.PEM).decode()
    kms.openssl("verify", "-CAfile", root, kms.write(f"{number}-spoilt.pem", spoilt(text)), refused=True)
    shake_hands(root, file, private)
    return root, file


wrapping = kms.client.create_key()["KeyMetadata"]["KeyId"]
made = [authority(number, *kind) for number, kind in enumerate(AUTHORITIES)]
for root, _ in made:
    for other, leaf in made:
        kms.openssl("verify", "-CAfile", root, leaf, refused=root != other)
