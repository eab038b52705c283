//! `hsm-kms check-config`.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::app;
use crate::settings::Settings;

/// Read a settings file and say what is wrong with it; nothing is opened and nobody logs in.
///
/// Example: hsm-kms check-config --config /etc/hsm-kms/hsm-kms.toml
#[derive(Args)]
pub struct CheckConfig {
    /// The settings, in TOML.
    #[arg(long)]
    config: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::read(&self.config)?;
        for token in settings.all_tokens() {
            token.pin()?;
            if !token.module.is_file() {
                let module = token.module.display();
                return Err(Failure::for_good(format!(
                    "token.module {module} is not a file; give the vendor's PKCS#11 module"
                )));
            }
        }
        for (id, cluster) in &settings.clusters {
            if !cluster.module.is_file() {
                let module = cluster.module.display();
                return Err(Failure::for_good(format!(
                    "clusters.\"{id}\".module {module} is not a file; give the vendor's PKCS#11 module"
                )));
            }
            app::trust_anchor(id, cluster)?;
        }
        println!("{} is good", self.config.display());
        Ok(())
    }
}
