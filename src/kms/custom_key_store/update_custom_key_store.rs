//! UpdateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateCustomKeyStore.html>

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Empty, Password, check_cluster, check_name, check_not_external, check_state, cluster_id};
use crate::crypto;
use crate::kms::shape::{Member, optional, required};
use crate::kms::{Context, Error, KeyStore, Kms, Operation, shapes};
use crate::model::{ClusterId, ConnectionState};
use crate::store::{Change, CustomKeyStoreRecord};

/// Changes the name of a custom key store, or, while it is not connected, the password by which it will be, or its
/// cluster to one with the same trust anchor.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateCustomKeyStore {
    custom_key_store_id: String,
    new_custom_key_store_name: Option<String>,
    key_store_password: Option<Password>,
    cloud_hsm_cluster_id: Option<String>,
    xks_proxy_uri_endpoint: Option<IgnoredAny>,
    xks_proxy_uri_path: Option<IgnoredAny>,
    xks_proxy_vpc_endpoint_service_name: Option<IgnoredAny>,
    xks_proxy_vpc_endpoint_service_owner: Option<IgnoredAny>,
    xks_proxy_authentication_credential: Option<IgnoredAny>,
    xks_proxy_connectivity: Option<IgnoredAny>,
}

impl Operation for UpdateCustomKeyStore {
    const NAME: &'static str = "UpdateCustomKeyStore";
    const MEMBERS: &'static [Member] = &[
        required("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID),
        optional("NewCustomKeyStoreName", &shapes::CUSTOM_KEY_STORE_NAME),
        optional("KeyStorePassword", &shapes::KEY_STORE_PASSWORD),
        optional("CloudHsmClusterId", &shapes::CLOUD_HSM_CLUSTER_ID),
        optional("XksProxyUriEndpoint", &shapes::XKS_PROXY_URI_ENDPOINT),
        optional("XksProxyUriPath", &shapes::XKS_PROXY_URI_PATH),
        optional("XksProxyVpcEndpointServiceName", &shapes::XKS_PROXY_VPC_ENDPOINT_SERVICE_NAME),
        optional("XksProxyVpcEndpointServiceOwner", &shapes::ACCOUNT_ID),
        optional("XksProxyAuthenticationCredential", &shapes::XKS_PROXY_AUTHENTICATION_CREDENTIAL),
        optional("XksProxyConnectivity", &shapes::XKS_PROXY_CONNECTIVITY),
    ];
    const READ_ONLY: bool = false;
    type Output = Empty;

    async fn run(self, cx: &Context) -> Result<Empty, Error> {
        let cluster = self.cloud_hsm_cluster_id.as_deref().map(cluster_id).transpose()?;
        cx.change(|store| {
            cx.authorize_key_store::<Self>()?;
            let row = cx.custom_key_store(&self.custom_key_store_id)?;
            self.check_not_external()?;
            check_state(&cx.kms, &row.record, self.admitted())?;
            let mut record = row.record.clone();
            if let Some(name) = &self.new_custom_key_store_name {
                record.name.clone_from(name);
                check_name(store, &record)?;
            }
            if let Some(cluster) = cluster.clone().filter(|cluster| *cluster != record.cluster) {
                change_cluster(&cx.kms, &mut record, cluster)?;
                cx.note_detail("previousClusterId", json!(row.record.cluster));
            }
            if let Some(password) = &self.key_store_password {
                cx.note_detail("keyStorePasswordChanged", json!(change_password(&mut record, password)));
            }
            cx.note_custom_key_store(&record);
            let all = cx.kms.first_account()?;
            Ok((Change::new(cx.kms.now()).touch(&all).update(&row, record), Empty {}))
        })
        .await
    }
}

impl UpdateCustomKeyStore {
    fn check_not_external(&self) -> Result<(), Error> {
        check_not_external([
            ("XksProxyUriEndpoint", self.xks_proxy_uri_endpoint),
            ("XksProxyUriPath", self.xks_proxy_uri_path),
            ("XksProxyVpcEndpointServiceName", self.xks_proxy_vpc_endpoint_service_name),
            ("XksProxyVpcEndpointServiceOwner", self.xks_proxy_vpc_endpoint_service_owner),
            ("XksProxyAuthenticationCredential", self.xks_proxy_authentication_credential),
            ("XksProxyConnectivity", self.xks_proxy_connectivity),
        ])
    }

    /// In which states this may be changed.
    fn admitted(&self) -> &'static [ConnectionState] {
        match self.key_store_password.is_some() || self.cloud_hsm_cluster_id.is_some() {
            true => &[ConnectionState::Disconnected],
            false => &[ConnectionState::Disconnected, ConnectionState::Connected],
        }
    }
}

/// AWS asks for a cluster that shares a backup with the old one, which shows by its certificate. Here the settings must
/// give both the same trust anchor.
fn change_cluster(kms: &Kms, record: &mut CustomKeyStoreRecord, cluster: ClusterId) -> Result<(), Error> {
    let is_related = kms.custom_key_stores.are_related(&record.cluster, &cluster);
    record.set_cluster(cluster);
    check_cluster(kms, record).map_err(|error| match error {
        // This operation knows no cluster that is in use.
        Error::CloudHsmClusterInUse(cluster) => Error::CloudHsmClusterNotRelated(cluster),
        other => other,
    })?;
    if !is_related {
        return Err(Error::CloudHsmClusterNotRelated(record.cluster.to_string()));
    }
    check_finished(kms, record)?;
    record.serial = None;
    Ok(())
}

/// Refuses to leave a token on which an object is to be destroyed or undone yet: on the next one it may not be found, and
/// that would be on record as its end. Whoever connects it has that finished.
fn check_finished(kms: &Kms, record: &CustomKeyStoreRecord) -> Result<(), Error> {
    match kms.has_unfinished(&KeyStore::Custom(record.id.clone())) {
        true => Err(Error::CustomKeyStoreInvalidState(format!(
            "Objects of custom key store {} are still to be destroyed in its cluster. Connect it until that is done, then \
             disconnect it and try again.",
            record.id
        ))),
        false => Ok(()),
    }
}

/// What the token said of a password holds if it is given once more, now or later: one that was refused stays so.
/// Gives whether it is another.
fn change_password(record: &mut CustomKeyStoreRecord, password: &Password) -> bool {
    let is_another = !crypto::equal(record.password.as_bytes(), password.0.as_bytes());
    if is_another {
        record.set_password(&password.0);
    }
    is_another
}
