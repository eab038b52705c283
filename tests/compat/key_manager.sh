#!/usr/bin/env bash
# A key manager who may administer and not decrypt, and a key user who may use and not administer, each by the real
# aws under a profile of its own; then the two known ways to raise one's own rights, open and closed.
set -euo pipefail

account=111122223333
user() { echo "arn:aws:iam::$account:user/$1"; }
# Without the root user's variables, which would stand over a profile that is not named.
unset_root() { env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$@"; }
root() { "$AWS_PROGRAM" --endpoint-url "$AWS_ENDPOINT_URL_KMS" --output text kms "$@"; }
as() { local who=$1; shift; unset_root "$AWS_PROGRAM" --profile "$who" --endpoint-url "$AWS_ENDPOINT_URL_KMS" --output text kms "$@"; }
principal() { "$HSM_KMS" principal --data "$DATA" "$@"; }

# Runs a command that must fail with AccessDeniedException and AWS's sentence for this user and action.
denied() {
  local who=$1 action=$2 said
  shift 2
  if said=$(as "$who" "$@" 2>&1); then echo "$who may $action: $said" >&2; exit 1; fi
  local sentence="(AccessDeniedException) when calling the $action operation: User: $(user "$who") is not authorized to perform: kms:$action on resource: $arn because no identity-based policy allows the kms:$action action"
  local forbidden="(AccessDeniedException) when calling the $action operation: User: $(user "$who") is not authorized to perform: kms:$action on resource: $arn with an explicit deny in a resource-based policy"
  case $said in
    *"$sentence"* | *"$forbidden"*) ;;
    *) echo "$who, $action: $said" >&2; exit 1 ;;
  esac
}

new_user() {
  principal create-user --user-name "$1" > "$1.json"
  principal create-access-key --user-name "$1" > "$1.key"
  member() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["AccessKey"][sys.argv[2]])' "$1" "$2"; }
  mkdir -p .aws
  printf '[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
    "$1" "$(member "$1.key" AccessKeyId)" "$(member "$1.key" SecretAccessKey)" >> .aws/credentials
}

for who in "$MANAGER" "$USER_NAME" "$OTHER"; do new_user "$who"; done

# The policy of the example; $1 is what else the manager may do, $2 more statements.
key_policy() {
  cat <<POLICY
{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::$account:root"}, "Action": "kms:*", "Resource": "*"},
    {"Sid": "Administration", "Effect": "Allow", "Principal": {"AWS": "$(user "$MANAGER")"},
     "Action": ["kms:Describe*", "kms:Enable*", "kms:List*", "kms:Update*", "kms:Disable*", "kms:GetKeyPolicy",
                "kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
                "kms:RevokeGrant"$1],
     "Resource": "*"},
    {"Sid": "Use", "Effect": "Allow", "Principal": {"AWS": "$(user "$USER_NAME")"},
     "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
     "Resource": "*"}$2
  ]
}
POLICY
}

key_policy ', "kms:PutKeyPolicy"' '' > key-policy.json
key=$(root create-key --policy file://key-policy.json --query KeyMetadata.KeyId)
arn=$(root describe-key --key-id "$key" --query KeyMetadata.Arn)
printf 'a secret of the key user' > plain

# The manager administers, and does not use.
as "$MANAGER" describe-key --key-id "$key" > /dev/null
as "$MANAGER" put-key-policy --key-id "$key" --policy-name default --policy file://key-policy.json
as "$MANAGER" update-key-description --key-id "$key" --description managed
as "$MANAGER" tag-resource --key-id "$key" --tags TagKey=team,TagValue=payments
as "$MANAGER" disable-key --key-id "$key"
as "$MANAGER" enable-key --key-id "$key"
as "$MANAGER" schedule-key-deletion --key-id "$key" --pending-window-in-days 7 > /dev/null
as "$MANAGER" cancel-key-deletion --key-id "$key" > /dev/null
as "$MANAGER" enable-key --key-id "$key"
denied "$MANAGER" Encrypt encrypt --key-id "$key" --plaintext fileb://plain
denied "$MANAGER" GenerateDataKey generate-data-key --key-id "$key" --key-spec AES_256

# The user uses, and does not administer.
as "$USER_NAME" encrypt --key-id "$key" --plaintext fileb://plain --query CiphertextBlob | base64 -d > sealed
as "$USER_NAME" decrypt --ciphertext-blob fileb://sealed --query Plaintext | base64 -d | cmp - plain
as "$USER_NAME" generate-data-key --key-id "$key" --key-spec AES_256 > /dev/null
denied "$USER_NAME" DisableKey disable-key --key-id "$key"
denied "$USER_NAME" ScheduleKeyDeletion schedule-key-deletion --key-id "$key"
denied "$USER_NAME" PutKeyPolicy put-key-policy --key-id "$key" --policy-name default --policy file://key-policy.json
denied "$USER_NAME" CreateGrant create-grant --key-id "$key" --grantee-principal "$(user "$USER_NAME")" --operations Decrypt
denied "$MANAGER" Decrypt decrypt --key-id "$key" --ciphertext-blob fileb://sealed

# A grant, with its token and without.
denied "$OTHER" Decrypt decrypt --key-id "$key" --ciphertext-blob fileb://sealed
read -r grant token < <(root create-grant --key-id "$key" --grantee-principal "$(user "$OTHER")" --operations Decrypt \
  --query '[GrantId,GrantToken]')
as "$OTHER" decrypt --ciphertext-blob fileb://sealed --grant-tokens "$token" --query Plaintext | base64 -d | cmp - plain
as "$OTHER" decrypt --ciphertext-blob fileb://sealed --query Plaintext | base64 -d | cmp - plain
denied "$OTHER" Encrypt encrypt --key-id "$key" --plaintext fileb://plain
as "$MANAGER" revoke-grant --key-id "$key" --grant-id "$grant"
denied "$OTHER" Decrypt decrypt --key-id "$key" --ciphertext-blob fileb://sealed

# kms:CreateGrant, open: whoever may make any grant makes one for himself.
key_policy ', "kms:CreateGrant"' '' > open.json
root put-key-policy --key-id "$key" --policy-name default --policy file://open.json
grant=$(as "$MANAGER" create-grant --key-id "$key" --grantee-principal "$(user "$MANAGER")" --operations Decrypt --query GrantId)
as "$MANAGER" decrypt --ciphertext-blob fileb://sealed --query Plaintext | base64 -d | cmp - plain
as "$MANAGER" revoke-grant --key-id "$key" --grant-id "$grant"
# Closed: to named grantees, for named operations.
closed=$(cat <<STATEMENT
,
    {"Sid": "GrantsToTheUserAlone", "Effect": "Allow", "Principal": {"AWS": "$(user "$MANAGER")"},
     "Action": "kms:CreateGrant", "Resource": "*",
     "Condition": {
       "StringEquals": {"kms:GranteePrincipal": "$(user "$USER_NAME")"},
       "ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "GenerateDataKey"]}
     }}
STATEMENT
)
key_policy '' "$closed" > closed.json
root put-key-policy --key-id "$key" --policy-name default --policy file://closed.json
denied "$MANAGER" CreateGrant create-grant --key-id "$key" --grantee-principal "$(user "$MANAGER")" --operations Encrypt
denied "$MANAGER" CreateGrant create-grant --key-id "$key" --grantee-principal "$(user "$USER_NAME")" --operations Encrypt Decrypt
as "$MANAGER" create-grant --key-id "$key" --grantee-principal "$(user "$USER_NAME")" --operations Encrypt > /dev/null
denied "$MANAGER" Decrypt decrypt --key-id "$key" --ciphertext-blob fileb://sealed

# kms:PutKeyPolicy, open: whoever may write the policy writes himself into it.
root put-key-policy --key-id "$key" --policy-name default --policy file://key-policy.json
key_policy ', "kms:PutKeyPolicy", "kms:Decrypt"' '' > raised.json
as "$MANAGER" put-key-policy --key-id "$key" --policy-name default --policy file://raised.json
as "$MANAGER" decrypt --ciphertext-blob fileb://sealed --query Plaintext | base64 -d | cmp - plain
# Closed: denied to everyone but one, whatever else allows it. The check against locking oneself out does not see that
# the condition leaves one, so it is left out.
closed=$(cat <<STATEMENT
,
    {"Sid": "PolicyByTheRootUserAlone", "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*",
     "Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::$account:root"}}}
STATEMENT
)
key_policy ', "kms:PutKeyPolicy"' "$closed" > closed.json
root put-key-policy --key-id "$key" --policy-name default --policy file://closed.json --bypass-policy-lockout-safety-check
denied "$MANAGER" PutKeyPolicy put-key-policy --key-id "$key" --policy-name default --policy file://raised.json
denied "$MANAGER" Decrypt decrypt --key-id "$key" --ciphertext-blob fileb://sealed
root put-key-policy --key-id "$key" --policy-name default --policy file://key-policy.json
