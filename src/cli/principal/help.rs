//! What each verb says of itself.

/// In one sentence without its full stop, and an example without `hsm-kms principal`.
pub fn of(operation: &str) -> (&'static str, &'static str) {
    let row = ROWS.iter().find(|(name, ..)| *name == operation);
    row.map_or(("", ""), |(_, about, example)| (*about, *example))
}

/// What a flag means to an operation, by the member's name.
pub fn of_flag(operation: &str, member: &str) -> &'static str {
    match member {
        "UserName" if operation.contains("AccessKey") => "The user; the account's root user if not given",
        "UserName" => "The user's name, at most 64 characters of A-Z a-z 0-9 + = , . @ _ -",
        "RoleName" => "The role's name, at most 64 characters of A-Z a-z 0-9 + = , . @ _ -",
        "PolicyName" => "The policy's name, at most 128 characters of A-Z a-z 0-9 + = , . @ _ -",
        "PolicyArn" => "The ARN of a shared policy",
        "PermissionsBoundary" => "The ARN of the shared policy that says what is allowed at most",
        "PolicyDocument" => "A file with the policy in JSON; - is standard input",
        "AssumeRolePolicyDocument" => "A file with the trust policy in JSON; - is standard input",
        "Path" => "The path in the ARN, for example /team/; / if not given",
        "PathPrefix" => "Only those whose path begins so",
        "Tags" => "Tags; keys that differ by case alone are the same",
        "TagKeys" => "The keys of the tags, whatever their case",
        "Description" => "Free text, at most 1,000 characters",
        "MaxSessionDuration" => "How long a session lasts at most, 3600 to 43200 seconds; 3600 if not given",
        "AccessKeyId" => "The access key, for example AKIAIOSFODNN7EXAMPLE",
        "Status" => "Whether requests may be signed with it",
        _ => "",
    }
}

const ROWS: &[(&str, &str, &str)] = &[
    (
        "AttachRolePolicy",
        "Attach a shared policy to a role",
        "attach-role-policy --role-name reader --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "AttachUserPolicy",
        "Attach a shared policy to a user",
        "attach-user-policy --user-name alice --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "CreateAccessKey",
        "Create an access key of a user, or of the root user, and show its secret this once",
        "create-access-key --user-name alice",
    ),
    (
        "CreateAccount",
        "Create the account that --account names, and show its root user's access key this once",
        "create-account --account 444455556666",
    ),
    (
        "CreatePolicy",
        "Create a policy that users and roles can share",
        "create-policy --policy-name use-keys --policy-document use-keys.json",
    ),
    (
        "CreateRole",
        "Create a role that those in its trust policy may assume",
        "create-role --role-name reader --assume-role-policy-document trust.json --max-session-duration 3600",
    ),
    ("CreateUser", "Create a user", "create-user --user-name alice --path /team/ --tags team=a cost-center=7"),
    (
        "DeleteAccessKey",
        "Delete an access key of a user, or of the root user",
        "delete-access-key --user-name alice --access-key-id AKIAIOSFODNN7EXAMPLE",
    ),
    (
        "DeletePolicy",
        "Delete a shared policy that nobody has",
        "delete-policy --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    ("DeleteRole", "Delete a role without policies; its sessions end with it", "delete-role --role-name reader"),
    (
        "DeleteRolePermissionsBoundary",
        "Take the boundary from a role",
        "delete-role-permissions-boundary --role-name reader",
    ),
    (
        "DeleteRolePolicy",
        "Delete a policy of a role's own",
        "delete-role-policy --role-name reader --policy-name decrypt",
    ),
    ("DeleteUser", "Delete a user without access keys and policies", "delete-user --user-name alice"),
    (
        "DeleteUserPermissionsBoundary",
        "Take the boundary from a user",
        "delete-user-permissions-boundary --user-name alice",
    ),
    (
        "DeleteUserPolicy",
        "Delete a policy of a user's own",
        "delete-user-policy --user-name alice --policy-name decrypt",
    ),
    (
        "DetachRolePolicy",
        "Detach a shared policy from a role",
        "detach-role-policy --role-name reader --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "DetachUserPolicy",
        "Detach a shared policy from a user",
        "detach-user-policy --user-name alice --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "GetAccessKeyLastUsed",
        "Show when an access key was last used, and for what",
        "get-access-key-last-used --access-key-id AKIAIOSFODNN7EXAMPLE",
    ),
    (
        "GetPolicy",
        "Show a shared policy with its document",
        "get-policy --policy-arn arn:aws:iam::111122223333:policy/use-keys",
    ),
    ("GetRole", "Show a role with its trust policy", "get-role --role-name reader"),
    ("GetRolePolicy", "Show a policy of a role's own", "get-role-policy --role-name reader --policy-name decrypt"),
    ("GetUser", "Show a user", "get-user --user-name alice"),
    ("GetUserPolicy", "Show a policy of a user's own", "get-user-policy --user-name alice --policy-name decrypt"),
    (
        "ListAccessKeys",
        "List the access keys of a user, or of the root user, without their secrets",
        "list-access-keys --user-name alice",
    ),
    ("ListAccounts", "List all accounts", "list-accounts"),
    (
        "ListAttachedRolePolicies",
        "List the shared policies of a role",
        "list-attached-role-policies --role-name reader",
    ),
    ("ListAttachedUserPolicies", "List the shared policies of a user", "list-attached-user-policies --user-name alice"),
    ("ListPolicies", "List the shared policies of the account", "list-policies --path-prefix /team/"),
    ("ListRolePolicies", "List the names of the policies of a role's own", "list-role-policies --role-name reader"),
    ("ListRoles", "List the roles of the account", "list-roles"),
    ("ListUserPolicies", "List the names of the policies of a user's own", "list-user-policies --user-name alice"),
    ("ListUsers", "List the users of the account", "list-users --account 444455556666"),
    (
        "PutRolePermissionsBoundary",
        "Bound a role by a shared policy",
        "put-role-permissions-boundary --role-name reader --permissions-boundary \
         arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "PutRolePolicy",
        "Put a policy of its own into a role, in the place of one of the same name",
        "put-role-policy --role-name reader --policy-name decrypt --policy-document decrypt.json",
    ),
    (
        "PutUserPermissionsBoundary",
        "Bound a user by a shared policy",
        "put-user-permissions-boundary --user-name alice --permissions-boundary \
         arn:aws:iam::111122223333:policy/use-keys",
    ),
    (
        "PutUserPolicy",
        "Put a policy of its own into a user, in the place of one of the same name",
        "put-user-policy --user-name alice --policy-name decrypt --policy-document decrypt.json",
    ),
    (
        "RevokeRoleSessions",
        "End all sessions of a role that were issued until now",
        "revoke-role-sessions --role-name reader",
    ),
    (
        "RevokeUserSessions",
        "End all sessions of a user that were issued until now",
        "revoke-user-sessions --user-name alice",
    ),
    ("TagRole", "Tag a role", "tag-role --role-name reader --tags team=a"),
    ("TagUser", "Tag a user", "tag-user --user-name alice --tags team=a"),
    ("UntagRole", "Remove tags from a role", "untag-role --role-name reader --tag-keys team"),
    ("UntagUser", "Remove tags from a user", "untag-user --user-name alice --tag-keys team"),
    (
        "UpdateAccessKey",
        "Make an access key inactive, or active again",
        "update-access-key --user-name alice --access-key-id AKIAIOSFODNN7EXAMPLE --status Inactive",
    ),
    (
        "UpdateAssumeRolePolicy",
        "Replace the trust policy of a role",
        "update-assume-role-policy --role-name reader --policy-document trust.json",
    ),
    (
        "UpdatePolicy",
        "Replace the document of a shared policy for all who have it",
        "update-policy --policy-arn arn:aws:iam::111122223333:policy/use-keys --policy-document use-keys.json",
    ),
    (
        "UpdateRole",
        "Change a role's description, and how long its sessions last at most: an hour if not given",
        "update-role --role-name reader --description \"reads reports\" --max-session-duration 7200",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin::OPERATIONS;
    use crate::cli::principal::verb::kebab;

    #[test]
    fn every_operation_has_its_row_and_an_example_of_itself() {
        let names: Vec<_> = ROWS.iter().map(|(name, ..)| *name).collect();
        let routes = || OPERATIONS.iter().filter(|route| route.is_of_principals());
        let mut table: Vec<_> = routes().map(|route| route.name).collect();
        table.sort_unstable();
        assert_eq!(names, table);
        for (name, about, example) in ROWS {
            assert!(!about.is_empty() && !about.ends_with('.'));
            assert_eq!(example.split(' ').next(), Some(kebab(name).as_str()));
        }
        for route in routes() {
            assert!(route.members.iter().all(|member| !of_flag(route.name, member.name).is_empty()), "{}", route.name);
        }
    }
}
