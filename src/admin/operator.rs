//! Whoever runs a command on the host.

use crate::audit::{IdentityType, UserIdentity};

/// A Unix user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    uid: u32,
    name: Option<String>,
}

impl Operator {
    /// The user with this id, with the name that `/etc/passwd` gives it, if any.
    pub fn of(uid: u32) -> Self {
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Operator { uid, name: name_in(&accounts, uid) }
    }

    /// Whoever runs this process.
    pub fn here() -> Self {
        Operator::of(rustix::process::getuid().as_raw())
    }

    /// As the record shows him.
    pub(super) fn identity(&self) -> UserIdentity {
        UserIdentity {
            kind: IdentityType::Operator,
            principal_id: Some(format!("uid:{}", self.uid)),
            user_name: self.name.clone(),
            ..UserIdentity::default()
        }
    }
}

/// The name in `name:password:uid:…`, see passwd(5).
fn name_in(accounts: &str, uid: u32) -> Option<String> {
    let mut lines = accounts.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_name_of_its_uid() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nbroken\nkms:x:10:1::/:/bin/sh\nother:x:100:1::/:/bin/sh\n";
        assert_eq!(name_in(accounts, 0).as_deref(), Some("root"));
        assert_eq!(name_in(accounts, 10).as_deref(), Some("kms"));
        assert_eq!(name_in(accounts, 1), None);
    }
}
