"""What the scripts beside this one share: keys of the service, by boto3."""

import os
import subprocess

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives.serialization import load_der_public_key

client = boto3.client("kms", region_name=os.environ["AWS_REGION"], config=Config(retries={"total_max_attempts": 1}))


def new_key(spec):
    return client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]


def public_key(key_id):
    return load_der_public_key(client.get_public_key(KeyId=key_id)["PublicKey"])


def sign(key_id, algorithm, message, message_type="RAW"):
    answer = client.sign(KeyId=key_id, SigningAlgorithm=algorithm, Message=message, MessageType=message_type)
    return answer["Signature"]


def openssl(*arguments, refused=False):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert (done.returncode != 0) == refused, (arguments, done.stdout, done.stderr)
    return done.stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name
