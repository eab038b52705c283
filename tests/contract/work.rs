//! What is done with a token, whosever it is.

use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use hsm_kms::blob;
use hsm_kms::crypto::{self, Agreement, KeyPair, Message, PublicKey};
use hsm_kms::model::{
    EncryptionAlgorithm, HmacSpec, KeyPairSpec, ObjectName, Purpose, Secret, SigningAlgorithm, WrappingAlgorithm,
};
use hsm_kms::token::{Error, Import, KeyKind, Offer, Place as Where, ProbeRow, Token, self_test};

use crate::process::{block_on, name, soon};
use crate::tokens::Place;

/// The self-test's table is the one in `offers/`.
pub fn offers(place: &Place) {
    let token = place.open();
    let rows = block_on(self_test(&token, later())).unwrap();
    let told: String = rows.iter().map(|row| format!("{}\n", line(row))).collect();
    assert_eq!(told, listed(place), "tests/contract/offers says otherwise; the token does:\n{told}");
    assert!(rows.iter().all(|row| !row.needed || row.failure.is_none()), "without these, it does not serve");
    end(token);
}

fn line(row: &ProbeRow) -> String {
    match (&row.failure, row.place) {
        (Some(why), _) => format!("no   {}: {why}", row.what),
        (None, Some(Where::Token)) => format!("yes  {}: on the token", row.what),
        (None, Some(Where::Host)) => format!("yes  {}: on the host", row.what),
        (None, None) => format!("yes  {}", row.what),
    }
}

/// The token's list in `offers/`; an empty one if there is none.
fn listed(place: &Place) -> String {
    let path = format!("{}/tests/contract/offers/{}.txt", env!("CARGO_MANIFEST_DIR"), place.which.name());
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A key that wraps seeds: nobody else's to read, the same after a restart, and gone when it is destroyed.
pub fn seeds(place: &Place) {
    let token = place.open();
    let (first, other) = (name(1), name(2));
    let (wrapped, scheme) = block_on(async {
        for name in [&first, &other] {
            token.generate(name, soon()).await.unwrap();
        }
        let again = token.generate(&first, soon()).await.unwrap_err();
        assert!(matches!(again, Error::Exists(_)), "{again}");
        let wrapped = token.wrap_seed(&first, token.scheme(), b"aad", &[7; 32], soon()).await.unwrap();
        let twice = token.wrap_seed(&first, token.scheme(), b"aad", &[7; 32], soon()).await.unwrap();
        assert_ne!(wrapped, twice, "an IV is used once");
        assert!(!wrapped.windows(8).any(|part| part == [7; 8]), "it is encrypted");
        only_as_wrapped(&token, &first, &other, &wrapped).await;
        let (one, two) = (token.random(32, soon()).await.unwrap(), token.random(32, soon()).await.unwrap());
        assert_ne!(one.expose(), two.expose());
        (wrapped, token.scheme())
    });
    nobody_reads(place, &token.label(&first));
    end(token);

    let token = place.open();
    block_on(async {
        let seed = token.unwrap_seed(&first, scheme, b"aad", &wrapped, soon()).await.unwrap();
        assert_eq!(*seed, [7; 32], "after a restart");
        assert_eq!(token.objects(soon()).await.unwrap().ours.len(), 2);
        token.destroy(&first, soon()).await.unwrap();
        let gone = token.unwrap_seed(&first, scheme, b"aad", &wrapped, soon()).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound(_)), "{gone}");
        assert!(!token.exists(&first, soon()).await.unwrap());
        token.destroy(&first, soon()).await.expect("gone already is as good as destroyed");
        assert!(token.exists(&other, soon()).await.unwrap(), "another key is not touched");
        token.wrap_seed(&other, token.scheme(), b"", &[7; 32], soon()).await.unwrap();
    });
    assert_eq!((token.counts().logins, token.counts().recoveries), (1, 0));
    end(token);
}

/// What was wrapped comes back; nothing else does.
async fn only_as_wrapped(token: &Token, first: &ObjectName, other: &ObjectName, wrapped: &[u8]) {
    let unwrap = async |name, associated: &[u8], wrapped: &[u8]| {
        token.unwrap_seed(name, token.scheme(), associated, wrapped, soon()).await
    };
    assert_eq!(*unwrap(first, b"aad", wrapped).await.unwrap(), [7; 32]);
    let before = token.counts();
    let mut cases = vec![(other, b"aad".as_slice(), wrapped.to_vec()), (first, b"AAD", wrapped.to_vec())];
    for index in [0, wrapped.len() / 2, wrapped.len() - 1] {
        let mut forged = wrapped.to_vec();
        forged[index] ^= 0x40;
        cases.push((first, b"aad", forged));
    }
    for (name, associated, forged) in cases {
        // Without an AEAD, it is the blob's commitment that tells.
        match unwrap(name, associated, &forged).await {
            Err(Error::BadData) => {}
            Ok(seed) if token.scheme() == CBC => assert!(*seed != [7; 32] || associated != b"aad"),
            other => panic!("{other:?}"),
        }
    }
    for len in [0, wrapped.len() - 1, wrapped.len() + 1] {
        let mut cut = wrapped.to_vec();
        cut.resize(len, 0);
        assert!(matches!(unwrap(first, b"aad", &cut).await, Err(Error::BadData)), "{len} bytes");
    }
    assert_eq!(*unwrap(first, b"aad", wrapped).await.unwrap(), [7; 32]);
    let after = token.counts();
    assert_eq!((after.sessions, after.recoveries), (before.sessions, before.recoveries), "no session is lost");
}

/// The key's value is not to be had by any of the ways that PKCS#11 has, by someone who is logged in.
fn nobody_reads(place: &Place, label: &str) {
    let (_context, session) = other_session(place);
    let keys = session.find_objects(&[Attribute::Token(true), Attribute::Label(label.into())]).unwrap();
    let [key] = keys[..] else { panic!("{keys:?}") };
    let expected = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::NeverExtractable(true)];
    let types = expected.each_ref().map(Attribute::attribute_type);
    assert_eq!(session.get_attributes(key, &types).unwrap(), expected);
    assert_eq!(session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default(), []);
    for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
        assert!(session.update_attributes(key, std::slice::from_ref(&change)).is_err(), "{change:?}");
        assert!(session.copy_object(key, &[Attribute::Token(false), change]).is_err());
    }
    let wrapper = session.generate_key(
        &Mechanism::AesKeyGen,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(!place.which.has_session_objects()),
            Attribute::Wrap(true),
        ],
    );
    let wrapper = wrapper.unwrap();
    for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])] {
        assert!(session.wrap_key(&mechanism, wrapper, key).is_err(), "{mechanism:?}");
    }
    session.destroy_object(wrapper).unwrap();
}

/// A session of someone else in this process, in which the token is logged in.
fn other_session(place: &Place) -> (Pkcs11, Session) {
    let module = place.which.module();
    let listed = hsm_kms::token::tokens(&module, None).unwrap();
    let slot = listed.iter().find(|token| token.label == crate::process::LABEL).unwrap().slot;
    let context = Pkcs11::new(&module).unwrap();
    let slot = context.get_all_slots().unwrap().into_iter().find(|each| each.id() == slot).unwrap();
    let session = context.open_rw_session(slot).unwrap();
    (context, session)
}

/// Golden blobs open with what this token makes of their wrapped seeds, by every scheme that it does.
pub fn golden(place: &Place) {
    let token = place.open();
    let name = ObjectName { purpose: Purpose::Imported, ..name(1) };
    create(place, &token, &name, &crypto::sha256(&[b"golden schemes wrapping key\0"]));
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../vectors/blob/good-v1-schemes.json")).unwrap();
    let listed = listed(place);
    let mut known = 0;
    for vector in &vectors {
        let bytes = hex::decode(vector["blob"].as_str().unwrap()).unwrap();
        let blob = blob::parse(&bytes).unwrap();
        let scheme = blob.header().scheme;
        let associated = blob::wrap_associated_data(blob.header());
        let done = |scheme: u8| listed.contains(&format!("yes  seeds wrapped by scheme {scheme}, "));
        match block_on(token.unwrap_seed(&name, scheme, &associated, blob.wrapped_seed(), soon())) {
            Ok(seed) => {
                let context = serde_json::from_value(vector["context"].clone()).unwrap();
                let opened = blob::open(&blob, &seed, &context).unwrap();
                assert_eq!(hex::encode(opened.expose()), vector["plaintext"].as_str().unwrap());
                known += 1;
            }
            // What comes to AES-GCM with an IV that is given is opened by that, too.
            Err(Error::Scheme { asked, .. }) => {
                assert!(asked == scheme && !done(scheme) && (!done(1) || scheme == 3 || scheme == 7))
            }
            Err(error) => panic!("scheme {scheme}: {error}"),
        }
    }
    assert!((1..=vectors.len()).contains(&known), "{known} of {}", vectors.len());
    end(token);
}

/// An AES key with this value, as an import makes one.
fn create(place: &Place, token: &Token, name: &ObjectName, value: &[u8; 32]) {
    let (_context, session) = other_session(place);
    let (label, uses) = (token.label(name), [Attribute::Encrypt(true), Attribute::Decrypt(true)]);
    let no_uses = [Attribute::Wrap(false), Attribute::Unwrap(false), Attribute::Sign(false), Attribute::Verify(false)];
    let secret = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(value.to_vec()),
        Attribute::Token(true),
        Attribute::Derive(false),
    ];
    if label == name.cka_label() {
        template.push(Attribute::Id(name.cka_id().to_vec()));
    }
    template.push(Attribute::Label(label.into_bytes()));
    template.extend(uses.into_iter().chain(no_uses).chain(secret));
    session.create_object(&template).unwrap();
}

/// Where keys for HMAC have types of their own, each is made with its own, and one of another is not believed to be it.
pub fn hmac_types(place: &Place, has_sha_224: bool) {
    use HmacSpec::*;
    let token = place.open();
    let specs = [Hmac224, Hmac256, Hmac384, Hmac512];
    // CKK_SHA224_HMAC, CKK_SHA256_HMAC and so on.
    let types = [46_u64, 43, 44, 45];
    block_on(async {
        for (number, spec) in (0..).zip(specs).filter(|(_, spec)| has_sha_224 || *spec != Hmac224) {
            works(&token, &name(number + 1), KeyKind::Mac(spec)).await;
            let value = &HMAC_VALUE[..spec.algorithm().mac_len()];
            for (other, key_type) in (0..).zip(types).filter(|(other, _)| has_sha_224 || *other != 0) {
                let name = ObjectName { purpose: Purpose::Imported, ..name(10 * (number + 1) + other) };
                create_hmac(place, &token, &name, key_type, value);
                let mac = token.mac(&name, spec, MESSAGE, soon()).await;
                match mac {
                    Ok(mac) => {
                        assert_eq!(other, number, "type {key_type} is not that of {spec}");
                        assert!(crypto::verify_hmac(spec.algorithm(), value, MESSAGE, &mac));
                    }
                    Err(Error::NotProven { attribute, .. }) => assert!(other != number && attribute == "CKA_KEY_TYPE"),
                    Err(error) => panic!("{spec} with type {key_type}: {error}"),
                }
            }
        }
    });
    end(token);
}

/// A key for HMAC of this type, as an import makes one.
fn create_hmac(place: &Place, token: &Token, name: &ObjectName, key_type: u64, value: &[u8]) {
    let (_context, session) = other_session(place);
    let label = token.label(name);
    // By its number: `cryptoki` has the same one for all.
    let key_type = Attribute::VendorDefined((AttributeType::VendorDefined(0x100), key_type.to_ne_bytes().to_vec()));
    let no_uses = [
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        key_type,
        Attribute::Value(value.to_vec()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    template.extend((label == name.cka_label()).then(|| Attribute::Id(name.cka_id().to_vec())));
    template.push(Attribute::Label(label.into_bytes()));
    template.extend(no_uses);
    session.create_object(&template).unwrap();
}

/// Makes a key of every kind that is offered, does with it what it is for, and destroys it.
pub fn kinds(place: &Place) {
    let token = place.open();
    let listed = listed(place);
    block_on(async {
        for (number, (kind, what)) in (1..).zip(every_kind()) {
            let offered = token.offers(kind, later()).await.unwrap() == Offer::Yes;
            let line = listed.lines().find(|line| line[5..].starts_with(what));
            assert_eq!(offered, line.unwrap_or_else(|| panic!("{what} is not listed")).starts_with("yes"), "{what}");
            if matches!(kind, KeyKind::Mac(HmacSpec::Hmac256) | KeyKind::Sign(KeyPairSpec::EccNistP256)) {
                let told = listed.contains(&format!("yes  multi-Region keys: {what}\n"));
                assert_eq!(token.transfers(kind, later()).await.unwrap() == Offer::Yes, told, "{what}");
            }
            if offered {
                works(&token, &name(number), kind).await;
            } else {
                is_of_no_use(&token, &name(number), kind).await;
            }
        }
        let left = token.objects(soon()).await.unwrap();
        assert_eq!((left.ours.len(), left.foreign), (0, 0), "what was made is gone");
    });
    end(token);
}

/// Such a key cannot be made, or nothing can be done with it: some tokens make secrets for hashes that they do not have.
async fn is_of_no_use(token: &Token, name: &ObjectName, kind: KeyKind) {
    if let (Ok(_), KeyKind::Mac(spec)) = (token.generate_key(name, kind, later()).await, kind) {
        assert!(token.mac(name, spec, MESSAGE, soon()).await.is_err(), "{kind}");
        token.destroy(name, soon()).await.unwrap();
    }
    assert!(!token.has_key(name, kind, soon()).await.unwrap(), "{kind}");
}

async fn works(token: &Token, name: &ObjectName, kind: KeyKind) {
    let public = token.generate_key(name, kind, later()).await.unwrap();
    assert!(token.has_key(name, kind, soon()).await.unwrap(), "{kind}");
    match (kind, public) {
        (KeyKind::Sign(spec), Some(public)) => signs(token, name, spec, &public).await,
        (KeyKind::Decrypt(spec), Some(public)) => decrypts(token, name, spec, &public).await,
        (KeyKind::Agree(spec), Some(public)) => agrees(token, name, spec, &public).await,
        (KeyKind::Decapsulate(spec), Some(public)) => decapsulates(token, name, spec, &public).await,
        (KeyKind::Mac(spec), None) => macs(token, name, spec).await,
        (kind, public) => panic!("{kind} with {public:?}"),
    }
    token.destroy(name, soon()).await.unwrap();
    assert!(!token.has_key(name, kind, soon()).await.unwrap(), "{kind}");
}

async fn signs(token: &Token, name: &ObjectName, spec: KeyPairSpec, public: &PublicKey) {
    for algorithm in spec.signing_algorithms() {
        if *algorithm == SigningAlgorithm::Ed25519PhSha512 {
            prehashes(token, name, public).await;
            continue;
        }
        // What represents a message is signed by no mechanism of PKCS#11, and must not be signed as if it were the message.
        let of_mu = token.sign(name, spec, *algorithm, Message::Mu(&[7; 64]), soon()).await;
        assert!(matches!(of_mu, Err(Error::NotOffered(..))), "{spec}: {of_mu:?}");
        let signature = token.sign(name, spec, *algorithm, Message::Raw(MESSAGE), soon()).await.unwrap();
        public.verify(*algorithm, Message::Raw(MESSAGE), &signature).unwrap();
        assert!(public.verify(*algorithm, Message::Raw(b"another"), &signature).is_err(), "{algorithm}");
        let digest = crypto::digest(*algorithm, MESSAGE);
        if let Some(digest) = digest {
            let signature = token.sign(name, spec, *algorithm, Message::Digest(&digest), soon()).await.unwrap();
            public.verify(*algorithm, Message::Raw(MESSAGE), &signature).unwrap();
        }
    }
}

/// Ed25519ph, which is another signature than Ed25519's, or none at all.
async fn prehashes(token: &Token, name: &ObjectName, public: &PublicKey) {
    let (spec, prehashed) = (KeyPairSpec::EccNistEdwards25519, SigningAlgorithm::Ed25519PhSha512);
    let digest = crypto::digest(prehashed, MESSAGE).unwrap();
    let signature = token.sign(name, spec, prehashed, Message::Digest(&digest), soon()).await;
    match token.prehashes(soon()).await.unwrap() {
        Offer::No(_) => assert!(matches!(signature, Err(Error::NotOffered(..))), "{signature:?}"),
        Offer::Yes => {
            let signature = signature.unwrap();
            public.verify(prehashed, Message::Digest(&digest), &signature).unwrap();
            let plain = SigningAlgorithm::Ed25519Sha512;
            assert!(public.verify(plain, Message::Raw(&digest), &signature).is_err());
            assert!(public.verify(plain, Message::Raw(MESSAGE), &signature).is_err());
            assert!(public.verify(prehashed, Message::Digest(&[7; 64]), &signature).is_err());
        }
    }
}

async fn decapsulates(token: &Token, name: &ObjectName, spec: KeyPairSpec, public: &PublicKey) {
    let made = crypto::encapsulate(public).unwrap();
    assert_eq!(made.ciphertext.len(), spec.encapsulated_len().unwrap());
    let back = token.decapsulate(name, spec, &made.ciphertext, soon()).await.unwrap();
    assert_eq!((back.expose(), back.expose().len()), (made.secret.expose(), 32), "{spec}");
    for at in [0, 400, made.ciphertext.len() - 1] {
        let mut forged = made.ciphertext.clone();
        forged[at] ^= 1;
        let other = token.decapsulate(name, spec, &forged, soon()).await.unwrap();
        assert_ne!(other.expose(), made.secret.expose(), "{spec}");
        let again = token.decapsulate(name, spec, &forged, soon()).await.unwrap();
        assert_eq!(other.expose(), again.expose(), "what is rejected is rejected alike");
    }
    for wrong in [&made.ciphertext[1..], &[&made.ciphertext[..], &[0]].concat(), &[]] {
        assert!(matches!(token.decapsulate(name, spec, wrong, soon()).await, Err(Error::BadData)), "{spec}");
    }
}

async fn decrypts(token: &Token, name: &ObjectName, spec: KeyPairSpec, public: &PublicKey) {
    for algorithm in [EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256] {
        let most = vec![7; spec.max_plaintext(algorithm).unwrap()];
        for plaintext in [&b""[..], MESSAGE, &most] {
            let ciphertext = crypto::oaep_encrypt(public, algorithm, plaintext).unwrap();
            let back = token.rsa_decrypt(name, spec, algorithm, &ciphertext, soon()).await.unwrap();
            assert_eq!(back.expose(), plaintext, "{spec} {algorithm}");
        }
        let mut forged = crypto::oaep_encrypt(public, algorithm, MESSAGE).unwrap();
        forged[100] ^= 1;
        for wrong in [&forged[..], &vec![0; forged.len()], &vec![0xff; forged.len()], &forged[1..], &[]] {
            let refused = token.rsa_decrypt(name, spec, algorithm, wrong, soon()).await;
            assert!(matches!(refused, Err(Error::BadData)), "{spec} {algorithm}: {:?}", refused.err());
        }
    }
}

async fn agrees(token: &Token, name: &ObjectName, spec: KeyPairSpec, public: &PublicKey) {
    let peer = Agreement::new(spec).unwrap();
    let ours = token.derive(name, spec, &peer.public_key, soon()).await.unwrap();
    assert_eq!(ours.expose(), peer.agree(public).unwrap().expose(), "{spec}");
    let stranger = Agreement::new(spec).unwrap();
    assert_ne!(ours.expose(), token.derive(name, spec, &stranger.public_key, soon()).await.unwrap().expose());
}

async fn macs(token: &Token, name: &ObjectName, spec: HmacSpec) {
    let mac = async |message: &[u8]| token.mac(name, spec, message, soon()).await.unwrap();
    let one = mac(MESSAGE).await;
    assert_eq!(one.len(), spec.algorithm().mac_len());
    assert_eq!(one, mac(MESSAGE).await);
    assert_ne!(one, mac(b"another").await);
    mac(&[7; 4096]).await;
}

/// Material that was wrapped here comes in by every algorithm, as itself; a forged one does not.
pub fn imports(place: &Place) {
    let token = place.open();
    let wrapping = ObjectName { purpose: Purpose::ImportWrapping, ..name(99) };
    let spec = KeyPairSpec::Rsa2048;
    block_on(async {
        let kind = KeyKind::ImportWrapping(spec);
        let offered = token.offers(kind, later()).await.unwrap() == Offer::Yes;
        let all_by_sha_256 =
            |line: &str| line.starts_with("yes") || !(line.contains("of AES_256") && line.contains("SHA_256: "));
        assert_eq!(
            offered,
            listed(place).lines().all(all_by_sha_256),
            "without OAEP with SHA-256 there are no imports"
        );
        let made = token.generate_key(&wrapping, kind, later()).await;
        if !offered {
            return assert!(made.is_err());
        }
        let public = made.unwrap().unwrap();
        for algorithm in WrappingAlgorithm::ALL.iter().filter(|algorithm| algorithm.encryption().is_some()) {
            for (number, kind) in
                (1..).zip([KeyKind::Aes256, KeyKind::Mac(HmacSpec::Hmac256), KeyKind::Sign(KeyPairSpec::EccNistP256)])
            {
                if token.offers(kind, later()).await.unwrap() != Offer::Yes {
                    continue;
                }
                let import = Import {
                    name: ObjectName { purpose: Purpose::Imported, ..name(number) },
                    of_key: name(number).key_id,
                    kind,
                    wrapping,
                    wrapping_spec: spec,
                    algorithm: *algorithm,
                    encrypted: Vec::new(),
                    allow_host: true,
                };
                comes_in(&token, import, &public).await;
            }
        }
        token.destroy(&wrapping, soon()).await.unwrap();
        assert_eq!(token.objects(soon()).await.unwrap().ours, []);
    });
    end(token);
}

async fn comes_in(token: &Token, mut import: Import, public: &PublicKey) {
    let what = format!("{} by {}", import.kind, import.algorithm);
    let pair = match import.kind {
        KeyKind::Sign(spec) => Some(KeyPair::generate(spec).unwrap()),
        _ => None,
    };
    let material = pair.as_ref().map_or_else(|| Secret::new(MATERIAL.to_vec()), |pair| pair.private_key.clone());
    import.encrypted = wrapped(public, import.algorithm, &material);
    let unwrapped = token.unwrap_key(&import, soon()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    match (import.kind, pair) {
        (KeyKind::Mac(spec), _) => {
            let mac = token.mac(&import.name, spec, MESSAGE, soon()).await.unwrap();
            assert!(crypto::verify_hmac(spec.algorithm(), MATERIAL, MESSAGE, &mac), "{what}");
        }
        (KeyKind::Sign(spec), Some(pair)) => {
            assert_eq!(unwrapped.public_key.unwrap().spki(), pair.public_key.spki(), "{what}");
            signs(token, &import.name, spec, &pair.public_key).await;
        }
        _ => {
            let wrapped = token.wrap_seed(&import.name, token.scheme(), b"", &[7; 32], soon()).await.unwrap();
            let seed = token.unwrap_seed(&import.name, token.scheme(), b"", &wrapped, soon()).await.unwrap();
            assert_eq!(*seed, [7; 32], "{what}");
        }
    }
    token.destroy(&import.name, soon()).await.unwrap();
    import.encrypted[5] ^= 1;
    let refused = token.unwrap_key(&import, soon()).await;
    assert!(matches!(refused, Err(Error::BadData)), "{what}: {:?}", refused.err());
    assert!(!token.has_key(&import.name, import.kind, soon()).await.unwrap());
}

fn wrapped(public: &PublicKey, algorithm: WrappingAlgorithm, material: &Secret) -> Vec<u8> {
    let oaep = algorithm.encryption().unwrap();
    // RSA alone has no room for the private key of a pair with its public half, but for one of P-256.
    if !algorithm.has_aes_key() {
        return crypto::oaep_encrypt(public, oaep, material.expose()).unwrap();
    }
    let aes_key = Secret::new(vec![5; 32]);
    let key = crypto::oaep_encrypt(public, oaep, aes_key.expose()).unwrap();
    [key, crypto::aes_wrap(&aes_key, material).unwrap()].concat()
}

/// Every kind that is tried, by the words of the self-test.
fn every_kind() -> Vec<(KeyKind, &'static str)> {
    use KeyPairSpec::*;
    vec![
        (KeyKind::Sign(Rsa2048), "RSA signatures"),
        (KeyKind::Decrypt(Rsa2048), "RSA decryption"),
        (KeyKind::Sign(EccNistP256), "ECDSA with P-256"),
        (KeyKind::Sign(EccNistP384), "ECDSA with P-384"),
        (KeyKind::Sign(EccNistP521), "ECDSA with P-521"),
        (KeyKind::Sign(EccSecgP256k1), "ECDSA with secp256k1"),
        (KeyKind::Agree(EccNistP256), "ECDH with P-256"),
        (KeyKind::Agree(EccNistP384), "ECDH with P-384"),
        (KeyKind::Agree(EccNistP521), "ECDH with P-521"),
        (KeyKind::Sign(EccNistEdwards25519), "Ed25519"),
        (KeyKind::Sign(MlDsa44), "ML-DSA-44"),
        (KeyKind::Sign(MlDsa65), "ML-DSA-65"),
        (KeyKind::Sign(MlDsa87), "ML-DSA-87"),
        (KeyKind::Decapsulate(MlKem512), "ML-KEM-512"),
        (KeyKind::Decapsulate(MlKem768), "ML-KEM-768"),
        (KeyKind::Decapsulate(MlKem1024), "ML-KEM-1024"),
        (KeyKind::Mac(HmacSpec::Hmac224), "HMAC with SHA-224"),
        (KeyKind::Mac(HmacSpec::Hmac256), "HMAC with SHA-256"),
        (KeyKind::Mac(HmacSpec::Hmac384), "HMAC with SHA-384"),
        (KeyKind::Mac(HmacSpec::Hmac512), "HMAC with SHA-512"),
    ]
}

fn end(token: Token) {
    assert!(token.shutdown(Duration::from_secs(20)), "every call came back");
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

const MESSAGE: &[u8] = b"what is signed";
const MATERIAL: &[u8] = b"32 bytes of material, and so on.";
/// As long as the longest hash.
const HMAC_VALUE: [u8; 64] = [7; 64];
/// The scheme `aes_cbc_host_iv`.
const CBC: u8 = 4;
