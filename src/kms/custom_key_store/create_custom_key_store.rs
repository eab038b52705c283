//! CreateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html>

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Password, TrustAnchor, check_cluster, check_name, check_not_external, cluster_id};
use crate::crypto;
use crate::kms::shape::{Member, defaulted, optional, required};
use crate::kms::{Context, Error, Kms, Operation, shapes};
use crate::model::{AccountId, CustomKeyStoreId};
use crate::store::{Change, Connection, CustomKeyStoreRecord, PasswordStanding, PasswordTries};

/// Makes a custom key store on a token that the settings name as a cluster; it is not connected yet.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateCustomKeyStore {
    custom_key_store_name: String,
    cloud_hsm_cluster_id: Option<String>,
    trust_anchor_certificate: Option<String>,
    key_store_password: Option<Password>,
    custom_key_store_type: Option<String>,
    xks_proxy_uri_endpoint: Option<IgnoredAny>,
    xks_proxy_uri_path: Option<IgnoredAny>,
    xks_proxy_vpc_endpoint_service_name: Option<IgnoredAny>,
    xks_proxy_vpc_endpoint_service_owner: Option<IgnoredAny>,
    xks_proxy_authentication_credential: Option<IgnoredAny>,
    xks_proxy_connectivity: Option<IgnoredAny>,
}

/// The new custom key store.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    custom_key_store_id: CustomKeyStoreId,
}

impl Operation for CreateCustomKeyStore {
    const NAME: &'static str = "CreateCustomKeyStore";
    const MEMBERS: &'static [Member] = &[
        required("CustomKeyStoreName", &shapes::CUSTOM_KEY_STORE_NAME),
        optional("CloudHsmClusterId", &shapes::CLOUD_HSM_CLUSTER_ID),
        optional("TrustAnchorCertificate", &shapes::TRUST_ANCHOR_CERTIFICATE),
        optional("KeyStorePassword", &shapes::KEY_STORE_PASSWORD),
        defaulted("CustomKeyStoreType", &shapes::CUSTOM_KEY_STORE_TYPE, "AWS_CLOUDHSM"),
        optional("XksProxyUriEndpoint", &shapes::XKS_PROXY_URI_ENDPOINT),
        optional("XksProxyUriPath", &shapes::XKS_PROXY_URI_PATH),
        optional("XksProxyVpcEndpointServiceName", &shapes::XKS_PROXY_VPC_ENDPOINT_SERVICE_NAME),
        optional("XksProxyVpcEndpointServiceOwner", &shapes::ACCOUNT_ID),
        optional("XksProxyAuthenticationCredential", &shapes::XKS_PROXY_AUTHENTICATION_CREDENTIAL),
        optional("XksProxyConnectivity", &shapes::XKS_PROXY_CONNECTIVITY),
    ];
    const READ_ONLY: bool = false;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let id = CustomKeyStoreId::from_random(crypto::random_array()?);
        self.check_type()?;
        let trust_anchor = TrustAnchor::from_pem(given(&self.trust_anchor_certificate, "TrustAnchorCertificate")?);
        let trust_anchor = trust_anchor.ok_or(Error::IncorrectTrustAnchor)?;
        cx.change(|store| {
            let record = self.record(cx, cx.authorize_key_store::<Self>()?, &id)?;
            check_name(store, &record)?;
            check_cluster(&cx.kms, &record)?;
            check_unrelated(&cx.kms, &record)?;
            let cluster = cx.kms.custom_key_stores.cluster(&record.cluster);
            if cluster.and_then(|cluster| cluster.trust_anchor.as_ref()).is_some_and(|other| *other != trust_anchor) {
                return Err(Error::IncorrectTrustAnchor);
            }
            if store.custom_key_stores_of(&record.region, &record.account).len() >= KEY_STORES_PER_REGION {
                return Err(Error::LimitExceeded(format!(
                    "An account has at most {KEY_STORES_PER_REGION} custom key stores in a Region."
                )));
            }
            cx.note_custom_key_store(&record);
            cx.note_response(json!({ "customKeyStoreId": id }));
            let all = cx.kms.first_account()?;
            Ok((Change::new(record.created).touch(&all).insert(record), ()))
        })
        .await?;
        Ok(Output { custom_key_store_id: id })
    }
}

impl CreateCustomKeyStore {
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

    fn check_type(&self) -> Result<(), Error> {
        match self.custom_key_store_type.as_deref() {
            Some("EXTERNAL_KEY_STORE") => {
                Err(Error::UnsupportedOperation("External key stores are not offered by this service.".into()))
            }
            _ => self.check_not_external(),
        }
    }

    fn record(&self, cx: &Context, account: AccountId, id: &CustomKeyStoreId) -> Result<CustomKeyStoreRecord, Error> {
        Ok(CustomKeyStoreRecord {
            region: cx.request.region.clone(),
            account,
            id: id.clone(),
            name: self.custom_key_store_name.clone(),
            cluster: cluster_id(given(&self.cloud_hsm_cluster_id, "CloudHsmClusterId")?)?,
            trust_anchor: given(&self.trust_anchor_certificate, "TrustAnchorCertificate")?.clone(),
            connection: Connection::Disconnected,
            created: cx.kms.now(),
            standing: PasswordStanding::Unproven,
            password: given(&self.key_store_password, "KeyStorePassword")?.0.clone(),
            serial: None,
            tries: PasswordTries::default(),
        })
    }
}

/// Refuses a cluster that is related to that of another custom key store of the account, as AWS does with clusters that
/// share a backup.
fn check_unrelated(kms: &Kms, record: &CustomKeyStoreRecord) -> Result<(), Error> {
    let mut others = kms.store.custom_key_stores().into_iter().filter(|row| row.record.account == record.account);
    match others.any(|row| kms.custom_key_stores.are_related(&row.record.cluster, &record.cluster)) {
        true => Err(Error::CloudHsmClusterInUse(record.cluster.to_string())),
        false => Ok(()),
    }
}

/// A member that this type of custom key store must have. AWS's wording is not known.
fn given<'m, T>(member: &'m Option<T>, name: &str) -> Result<&'m T, Error> {
    member.as_ref().ok_or_else(|| {
        Error::Validation(format!(
            "{name} is required for a custom key store with a CustomKeyStoreType of AWS_CLOUDHSM."
        ))
    })
}

/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
const KEY_STORES_PER_REGION: usize = 10;
