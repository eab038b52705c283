//! The `env` file in the data folder, with which a shell is the root user; and how files that hold secrets are written.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::app::RootUser;
use crate::model::{AccountId, Region};

/// Writes where the service is and the root user's credentials, if it has any.
pub fn write(
    path: &Path,
    account: &AccountId,
    root: Option<&RootUser>,
    address: SocketAddr,
    region: Option<&Region>,
) -> io::Result<()> {
    write_new(path, shell_variables(account, root, address, region).as_bytes())
}

/// Writes a file that only its owner may read, with its bytes on disk when this returns.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes).map_err(|error| named(path, &error))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    remove_if_there(&beside)?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// Removes a file that may not be there.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        _ => Ok(()),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn shell_variables(
    account: &AccountId,
    root: Option<&RootUser>,
    address: SocketAddr,
    region: Option<&Region>,
) -> Zeroizing<String> {
    let region = region.map_or("us-east-1", Region::as_str);
    let mut variables = vec![
        ("AWS_ENDPOINT_URL_KMS", format!("http://{address}")),
        ("AWS_ENDPOINT_URL_STS", format!("http://{address}")),
    ];
    if let Some(root) = root {
        variables.push(("AWS_ACCESS_KEY_ID", root.access_key_id.clone()));
        variables.push(("AWS_SECRET_ACCESS_KEY", root.secret_access_key.to_string()));
    }
    variables.extend([
        ("AWS_REGION", region.into()),
        ("AWS_DEFAULT_REGION", region.into()),
        ("AWS_ACCOUNT_ID", account.to_string()),
        // aws 2 shows its answers through `less`, which a small machine does not have.
        ("AWS_PAGER", String::new()),
    ]);
    let lines: Zeroizing<String> =
        Zeroizing::new(variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect());
    // The lines behind them are for a shell that reads the file; other readers take these.
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    // A session token that the shell has from elsewhere would be sent along, and refused.
    Zeroizing::new(format!("{}export {}\nunset AWS_SESSION_TOKEN\n", lines.as_str(), names.join(" ")))
}
