#!/usr/bin/env bash
# Role chaining by AWS's command line. Environment: AWS (today's aws), KEY and HUB (ARNs), the endpoints of both
# services; profiles in the configuration file.
set -euo pipefail

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

## Today's aws finds the endpoints and the chain by itself

arn=$("$AWS" --profile app sts get-caller-identity --query Arn --output text)
[[ $arn == */App/last ]] || fail "$arn"
printf 'by the role' >plain
"$AWS" --profile app kms encrypt --key-id "$KEY" --plaintext fileb://plain --query CiphertextBlob --output text | base64 -d >blob
"$AWS" --profile app kms decrypt --ciphertext-blob fileb://blob --query Plaintext --output text | base64 -d >again
cmp plain again
if said=$("$AWS" --profile hub kms decrypt --ciphertext-blob fileb://blob 2>&1); then fail "the hub decrypted"; fi
[[ $said == *"(AccessDeniedException)"* ]] || fail "$said"

## Debian's aws 2.9 must be told the endpoint, which it then asks for both services

debian() {
    /usr/bin/aws --endpoint-url "$AWS_ENDPOINT_URL_STS" "$@"
}
read -r id secret token < <(debian --profile alice sts assume-role --role-arn "$HUB" --role-session-name cli \
    --external-id ext-1 --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]' --output text)
as_hub() {
    AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_SESSION_TOKEN=$token debian "$@"
}
arn=$(as_hub sts get-caller-identity --query Arn --output text)
[[ $arn == */Hub/cli ]] || fail "$arn"
for role in Step App; do
    read -r id secret token < <(as_hub sts assume-role --role-arn "${HUB%/*}/$role" --role-session-name cli \
        --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]' --output text)
done
as_hub kms encrypt --key-id "$KEY" --plaintext fileb://plain --query CiphertextBlob --output text | base64 -d >blob
as_hub kms decrypt --ciphertext-blob fileb://blob --query Plaintext --output text | base64 -d >again
cmp plain again
unset token
if said=$(AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret debian kms list-keys 2>&1); then fail "no token"; fi
[[ $said == *"(UnrecognizedClientException)"* ]] || fail "$said"
echo "all good"
