//! Keys made, searched and destroyed at the same time.

use std::sync::atomic::{AtomicU8, Ordering};

use super::process::*;

/// SoftHSM lists its folder while another thread makes a file there, and neither waits for the other: a call fails
/// with `CKR_GENERAL_ERROR`, or one object gets two handles. The workers keep these calls apart.
#[test]
fn keys_are_made_while_others_are_used_for_the_first_time() {
    in_own_process("race::keys_are_made_while_others_are_used_for_the_first_time", |dir| {
        let token = new_token(dir);
        let next = AtomicU8::new(0);
        let make_and_use = || async {
            while let Ok(number) =
                next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < KEYS).then_some(n + 1))
            {
                let name = name(number);
                token.generate(&name, soon()).await.unwrap();
                let wrapped = token.wrap_seed(&name, 1, b"", &[7; 32], soon()).await.unwrap();
                assert_eq!(*token.unwrap_seed(&name, 1, b"", &wrapped, soon()).await.unwrap(), [7; 32]);
                if number % 3 == 0 {
                    token.destroy(&name, soon()).await.unwrap();
                }
            }
        };
        block_on(async { tokio::join!(make_and_use(), make_and_use(), make_and_use(), make_and_use()) });
        assert_eq!(block_on(token.objects(soon())).unwrap().ours.len(), usize::from(KEYS - KEYS / 3));
        assert_eq!(token.counts().recoveries, 0);
        assert!(token.shutdown(std::time::Duration::from_secs(5)));
    });
}

const KEYS: u8 = 99;
