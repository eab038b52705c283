//! What every token must do, on each that there is: what the room above asks for does not depend on whose token it is.
//!
//! Which kinds of keys a token has is written in `offers/`, one file for each; what is new there, and what is gone, is a
//! failure. Whatever is offered is then done, with keys that stay on the token.

#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/in_process.rs"]
mod in_process;
#[path = "../token/process.rs"]
#[allow(dead_code)] // for SoftHSM alone
mod process;
mod service;
#[path = "../support/shim.rs"]
mod shim;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod work;

/// The suite on one token.
macro_rules! on {
    ($name:ident, $token:expr) => {
        mod $name {
            use crate::{tokens, work};

            #[test]
            fn offers_what_its_list_says() {
                tokens::on($token, concat!(stringify!($name), "::offers_what_its_list_says"), work::offers);
            }

            #[test]
            fn keys_wrap_seeds_until_they_are_destroyed() {
                tokens::on(
                    $token,
                    concat!(stringify!($name), "::keys_wrap_seeds_until_they_are_destroyed"),
                    work::seeds,
                );
            }

            #[test]
            fn seeds_that_were_wrapped_elsewhere_come_back() {
                tokens::on(
                    $token,
                    concat!(stringify!($name), "::seeds_that_were_wrapped_elsewhere_come_back"),
                    work::golden,
                );
            }

            #[test]
            fn every_kind_that_is_offered_works() {
                tokens::on($token, concat!(stringify!($name), "::every_kind_that_is_offered_works"), work::kinds);
            }

            #[test]
            fn imported_keys_are_the_ones_that_were_wrapped() {
                tokens::on(
                    $token,
                    concat!(stringify!($name), "::imported_keys_are_the_ones_that_were_wrapped"),
                    work::imports,
                );
            }
        }
    };
}

on!(softhsm2, tokens::Which::SoftHsm);
on!(kryoptic, tokens::Which::Kryoptic);
on!(opencryptoki, tokens::Which::OpenCryptoki);
// These profiles, on SoftHSM with the quirks of the vendors: no hardware has run them.
on!(aws_cloudhsm, tokens::Which::AwsCloudHsm);
on!(luna, tokens::Which::Luna);
on!(yubihsm2, tokens::Which::YubiHsm2);

#[test]
fn keys_for_hmac_have_the_type_of_their_hash_on_a_yubihsm() {
    let name = "keys_for_hmac_have_the_type_of_their_hash_on_a_yubihsm";
    tokens::on(tokens::Which::YubiHsm2, name, |place| work::hmac_types(place, false));
}

#[test]
fn keys_for_hmac_have_the_type_of_their_hash_on_an_nshield() {
    let name = "keys_for_hmac_have_the_type_of_their_hash_on_an_nshield";
    tokens::on(tokens::Which::NShield, name, |place| work::hmac_types(place, true));
}
