#!/usr/bin/env bash
# The AWS Encryption CLI on a large file. Environment: VENV (where it is installed), CANARIES (a folder for every
# secret that is made here, a file each), and what the service wrote for shells. Runs in an empty folder.
set -euo pipefail

PATH=$VENV/bin:$PATH

new_key() {
    aws kms create-key --query KeyMetadata.Arn --output text
}

keyArn=$(new_key)
other=$(new_key)
openssl rand 10000000 > hello.txt

aws-encryption-cli --encrypt \
    --input hello.txt \
    --wrapping-keys key="$keyArn" \
    --commitment-policy require-encrypt-require-decrypt \
    --metadata-output metadata \
    --encryption-context purpose=test \
    --output hello.txt.encrypted

aws-encryption-cli --decrypt \
    --input hello.txt.encrypted \
    --wrapping-keys key="$keyArn" \
    --commitment-policy require-encrypt-require-decrypt \
    --encryption-context purpose=test \
    --metadata-output metadata \
    --max-encrypted-data-keys 1 \
    --buffer \
    --output hello.txt.decrypted

cmp hello.txt hello.txt.decrypted
[[ $(wc -l <metadata) == 2 ]]
grep -q '"purpose": "test"' metadata
if cmp -s hello.txt hello.txt.encrypted; then exit 1; fi

# Another key opens nothing.
if aws-encryption-cli --decrypt --input hello.txt.encrypted --wrapping-keys key="$other" \
    --commitment-policy require-encrypt-require-decrypt --encryption-context purpose=test \
    --metadata-output metadata --max-encrypted-data-keys 1 --buffer --output stolen 2> said; then
    echo "another key opened the file" >&2
    exit 1
fi
[[ ! -s stolen ]]

# The data key that the client used, from the header of what it wrote.
python - <<'PYTHON'
import base64, json
header = json.loads(open("metadata").readline())["header"]
(entry,) = header["encrypted_data_keys"]
open("datakey.encrypted", "wb").write(base64.b64decode(entry["encrypted_data_key"]))
json.dump(header["encryption_context"], open("context", "w"))
PYTHON
aws kms decrypt --ciphertext-blob fileb://datakey.encrypted --encryption-context file://context --output text \
    --query Plaintext | base64 -d >"$CANARIES/encryption-cli-data-key"
[[ $(stat -c %s "$CANARIES/encryption-cli-data-key") == 32 ]]
