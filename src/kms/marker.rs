//! Pagination markers: opaque, and good only for the list that gave them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Context, Error};
use crate::crypto;
use crate::model::Secret;

/// Makes and reads markers under a key derived from the store's.
pub struct Markers {
    key: Secret,
}

impl Markers {
    /// Markers under this key.
    pub fn new(key: Secret) -> Self {
        Markers { key }
    }

    /// The marker behind which the list named `list` goes on, after the item named `last`.
    pub fn write(&self, cx: &Context, list: &str, last: &str) -> String {
        let mut bytes = self.mac(cx, list, last).to_vec();
        bytes.extend_from_slice(last.as_bytes());
        // Not the alphabet of URLs: to a command line, what begins with `-` is an option.
        STANDARD_NO_PAD.encode(bytes)
    }

    /// The last item that the caller has seen, if the marker is ours, for this list, account and Region.
    pub fn read(&self, cx: &Context, list: &str, marker: Option<&str>) -> Result<Option<String>, Error> {
        let Some(marker) = marker else { return Ok(None) };
        let bytes = STANDARD_NO_PAD.decode(marker).map_err(|_| Error::InvalidMarker)?;
        let (mac, last) = bytes.split_first_chunk::<32>().ok_or(Error::InvalidMarker)?;
        let last = std::str::from_utf8(last).map_err(|_| Error::InvalidMarker)?;
        if crypto::equal(mac, &self.mac(cx, list, last)) {
            Ok(Some(last.to_owned()))
        } else {
            Err(Error::InvalidMarker)
        }
    }

    /// Cuts a list that was read one item too long to `limit`, and gives the marker if something is left.
    pub fn page<T>(
        &self,
        cx: &Context,
        list: &str,
        items: &mut Vec<T>,
        limit: usize,
        name: impl Fn(&T) -> String,
    ) -> Option<String> {
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more)?;
        Some(self.write(cx, list, &name(last)))
    }

    fn mac(&self, cx: &Context, list: &str, last: &str) -> [u8; 32] {
        let account = cx.caller.account.as_str();
        let parts = [list, account, cx.request.region.as_str(), last];
        let framed: Vec<u8> = parts.iter().flat_map(|part| [part.as_bytes(), b"\0"].concat()).collect();
        crypto::hmac_sha256(self.key.expose(), &[&framed])
    }
}
