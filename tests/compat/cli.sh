#!/usr/bin/env bash
# The everyday job through the command line of AWS. Environment: AWS_PROGRAM (which aws), CANARIES (a folder for
# every secret that is made here, a file each), and what the service wrote for shells. Runs in an empty folder.
set -euo pipefail

# Debian's aws 2.9 knows no AWS_ENDPOINT_URL_KMS; everything below is as AWS's own pages have it.
aws() {
    if [[ $AWS_PROGRAM == /usr/bin/aws ]]; then
        "$AWS_PROGRAM" --endpoint-url "$AWS_ENDPOINT_URL_KMS" "$@"
    else
        "$AWS_PROGRAM" "$@"
    fi
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

is() {
    [[ $1 == "$2" ]] || fail "expected '$2', not '$1'"
}

# Runs a command that must fail with this error of the service.
refused() {
    local error=$1 said
    shift
    if said=$("$@" 2>&1); then fail "$* was not refused"; fi
    [[ $said == *"($error)"* ]] || fail "$* said: $said"
}

keep_canary() {
    cat "$1" >"$CANARIES/$(basename "$AWS_PROGRAM")-$AWS_REGION-$2"
}

## Make a key, name it

aws kms create-key --description "this is a test" > created
key_id=$(sed -n 's/.*"KeyId": "\(.*\)".*/\1/p' created)
other_id=$(aws kms create-key --query KeyMetadata.KeyId --output text)
arn=arn:aws:kms:$AWS_REGION:$AWS_ACCOUNT_ID:key/$key_id
aws kms create-alias --alias-name alias/key1 --target-key-id "$key_id"
is "$(aws kms describe-key --key-id alias/key1 --query KeyMetadata.Arn --output text)" "$arn"
is "$(aws kms describe-key --key-id "$arn" --query KeyMetadata.Description --output text)" "this is a test"

## Encrypt and decrypt a file

openssl rand 1000 >fileName
keep_canary fileName plaintext
aws kms encrypt --key-id alias/key1 --plaintext fileb://fileName --output text --query CiphertextBlob | base64 -d > encryptedtest
aws kms decrypt --ciphertext-blob fileb://encryptedtest --output text --query Plaintext | base64 -d > decryptedtest
cmp fileName decryptedtest

aws kms re-encrypt --destination-key-id "$other_id" --ciphertext-blob fileb://encryptedtest \
    --output text --query CiphertextBlob | base64 -d > reencryptedtest
is "$(aws kms decrypt --ciphertext-blob fileb://reencryptedtest --output text --query KeyId)" \
    "arn:aws:kms:$AWS_REGION:$AWS_ACCOUNT_ID:key/$other_id"
aws kms decrypt --ciphertext-blob fileb://reencryptedtest --output text --query Plaintext | base64 -d | cmp - fileName

aws kms encrypt --key-id "$key_id" --plaintext fileb://fileName --encryption-context purpose=test,stage=1 \
    --output text --query CiphertextBlob | base64 -d > bound
aws kms decrypt --ciphertext-blob fileb://bound --encryption-context stage=1,purpose=test --output text \
    --query Plaintext | base64 -d | cmp - fileName
refused InvalidCiphertextException aws kms decrypt --ciphertext-blob fileb://bound
refused IncorrectKeyException aws kms decrypt --ciphertext-blob fileb://encryptedtest --key-id "$other_id"

## Encrypt a large file under a data key

openssl rand 10000000 > large
aws kms generate-data-key --key-id alias/key1 --key-spec AES_256 --output text --query '[Plaintext,CiphertextBlob]' > both
cut -f1 both | base64 -d > datakey
cut -f2 both | base64 -d > datakey.encrypted
rm both
is "$(stat -c %s datakey)" 32
keep_canary datakey data-key
iv=$(openssl rand -hex 16)
openssl enc -aes-256-cbc -K "$(od -An -v -tx1 datakey | tr -d ' \n')" -iv "$iv" -in large -out large.encrypted
openssl enc -aes-256-cbc -pbkdf2 -pass file:datakey -in large -out large.encrypted.pbkdf2
rm datakey
aws kms decrypt --ciphertext-blob fileb://datakey.encrypted --output text --query Plaintext | base64 -d > datakey
openssl enc -d -aes-256-cbc -K "$(od -An -v -tx1 datakey | tr -d ' \n')" -iv "$iv" -in large.encrypted -out large.decrypted
cmp large large.decrypted
openssl enc -d -aes-256-cbc -pbkdf2 -pass file:datakey -in large.encrypted.pbkdf2 -out large.decrypted
cmp large large.decrypted

aws kms generate-data-key-without-plaintext --key-id alias/key1 --number-of-bytes 48 --output text \
    --query CiphertextBlob | base64 -d > later
aws kms decrypt --ciphertext-blob fileb://later --output text --query Plaintext | base64 -d > later.plain
is "$(stat -c %s later.plain)" 48
keep_canary later.plain later
aws kms generate-random --number-of-bytes 64 --output text --query Plaintext | base64 -d > random
is "$(stat -c %s random)" 64
keep_canary random random

## States

aws kms disable-key --key-id "$key_id"
is "$(aws kms describe-key --key-id "$key_id" --query KeyMetadata.KeyState --output text)" Disabled
refused DisabledException aws kms decrypt --ciphertext-blob fileb://encryptedtest
aws kms enable-key --key-id "$key_id"
aws kms decrypt --ciphertext-blob fileb://encryptedtest --output text --query Plaintext | base64 -d | cmp - fileName
aws kms update-key-description --key-id "$key_id" --description "another test"
is "$(aws kms describe-key --key-id "$key_id" --query KeyMetadata.Description --output text)" "another test"

## Lists, a page at a time

for name in a b c d e; do aws kms create-alias --alias-name "alias/$name" --target-key-id "$other_id"; done
is "$(aws kms list-aliases --page-size 2 --output text --query 'Aliases[].AliasName' | tr -s '\t\n' '  ' | sed 's/ $//')" \
    "alias/a alias/b alias/c alias/d alias/e alias/key1"
aws kms list-aliases --max-items 4 > page
is "$(grep -c '"AliasName"' page)" 4
token=$(sed -n 's/.*"NextToken": "\(.*\)".*/\1/p' page)
is "$(aws kms list-aliases --starting-token "$token" --output text --query 'Aliases[].AliasName' | tr '\t' ' ')" \
    "alias/e alias/key1"
is "$(aws kms list-aliases --key-id "$key_id" --output text --query 'Aliases[].AliasName')" alias/key1
is "$(aws kms list-keys --page-size 1 --output text --query 'Keys[].KeyId' | tr -s '\t' '\n' | sort | xargs)" \
    "$(printf '%s\n' "$key_id" "$other_id" | sort | xargs)"
aws kms update-alias --alias-name alias/e --target-key-id "$key_id"
is "$(aws kms describe-key --key-id alias/e --query KeyMetadata.KeyId --output text)" "$key_id"
for name in a b c d e; do aws kms delete-alias --alias-name "alias/$name"; done
is "$(aws kms list-aliases --output text --query 'Aliases[].AliasName')" alias/key1
refused AlreadyExistsException aws kms create-alias --alias-name alias/key1 --target-key-id "$other_id"

## Tags and policies

aws kms tag-resource --key-id "$key_id" --tags TagKey=team,TagValue=red TagKey=stage,TagValue=test
aws kms tag-resource --key-id "$key_id" --tags TagKey=team,TagValue=blue
is "$(aws kms list-resource-tags --key-id "$key_id" --page-size 1 --output text --query 'sort_by(Tags,&TagKey)[].TagValue' | xargs)" \
    "test blue"
aws kms untag-resource --key-id "$key_id" --tag-keys team
is "$(aws kms list-resource-tags --key-id "$key_id" --output text --query 'Tags[].TagKey')" stage
is "$(aws kms list-key-policies --key-id "$key_id" --output text --query PolicyNames)" default
aws kms get-key-policy --key-id "$key_id" --policy-name default --output text --query Policy > policy
grep -q 'Enable IAM User Permissions' policy
sed 's/Enable IAM User Permissions/The root user may do all/' policy > changed
aws kms put-key-policy --key-id "$key_id" --policy-name default --policy file://changed
is "$(aws kms get-key-policy --key-id "$key_id" --policy-name default --output text --query Policy)" "$(cat changed)"
refused MalformedPolicyDocumentException aws kms put-key-policy --key-id "$key_id" --policy-name default --policy '{"Version":"2012-10-17"}'

## Who am I, and what was this key used for

is "$(aws sts get-caller-identity --output text --query Arn)" "arn:aws:iam::$AWS_ACCOUNT_ID:root"
if aws kms get-key-last-usage help >/dev/null 2>&1; then
    is "$(aws kms get-key-last-usage --key-id "$key_id" --output text --query KeyLastUsage.Operation)" Decrypt
elif [[ $AWS_PROGRAM != /usr/bin/aws ]]; then
    fail "this aws should know get-key-last-usage"
fi

## The end of a key

is "$(aws kms schedule-key-deletion --key-id "$other_id" --pending-window-in-days 7 --output text --query KeyState)" PendingDeletion
refused KMSInvalidStateException aws kms decrypt --ciphertext-blob fileb://reencryptedtest
is "$(aws kms cancel-key-deletion --key-id "$other_id" --output text --query KeyId)" "arn:aws:kms:$AWS_REGION:$AWS_ACCOUNT_ID:key/$other_id"
aws kms enable-key --key-id "$other_id"
aws kms decrypt --ciphertext-blob fileb://reencryptedtest --output text --query Plaintext | base64 -d | cmp - fileName
refused NotFoundException aws kms describe-key --key-id 00000000-0000-4000-8000-000000000000
