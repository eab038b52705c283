//! Logins that hang.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hsm_kms::token::{Error, Settings, Token};

use super::process::*;
use crate::shim::{Shim, module};

/// A token that is given up while its login hangs, and opened anew: the second login waits for the end of the first one.
#[test]
fn nobody_logs_in_while_another_login_hangs() {
    in_own_process("logins::nobody_logs_in_while_another_login_hangs", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let settings = Settings { module: module(), ..settings(dir) };
        // In a thread: a login too many would never come back.
        let connect = || {
            let ((done, connected), settings) = (channel(), settings.clone());
            std::thread::spawn(move || done.send(Token::connect(&settings, &pin(PIN), false, |_| Ok(()), || {})));
            connected.recv_timeout(Duration::from_secs(10)).expect("an answer")
        };
        let token = connect().unwrap();
        assert_eq!(shim.calls("C_Login"), 1);
        shim.rules("hang C_Login\nclose_sessions");
        assert!(block_on(token.exists(&name(1), Instant::now() + Duration::from_millis(100))).is_err());
        until("the keeper logs in", || shim.calls("C_Login") == 2);
        assert!(!token.shutdown(Duration::from_millis(50)), "its keeper is inside the call");
        let refused = connect().unwrap_err();
        assert!(refused.to_string().contains("an earlier login to it has not come back"), "{refused}");
        assert_eq!(shim.calls("C_Login"), 2, "one at a time");
        shim.rules("");
        let mut again = connect();
        // Until the first one has ended, the process is logged in by its login.
        until("the first one has ended", || {
            let left = matches!(again, Err(Error::LoggedIn { .. }));
            if left {
                again = connect();
            }
            !left
        });
        let again = again.unwrap();
        assert!(!block_on(again.exists(&name(1), soon())).unwrap());
        assert_eq!(shim.calls("C_Login"), 3);
        assert!(again.shutdown(Duration::from_secs(5)));
    });
}
