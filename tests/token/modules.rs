//! Modules in one process: one that hangs holds up no other, and two names of a file are one.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use hsm_kms::token::{Settings, Token, tokens};

use super::process::*;
use crate::shim::{Shim, module};

/// `C_Initialize` of one module does not return: who uses another one notices nothing.
#[test]
fn a_module_that_does_not_start_holds_up_no_other() {
    in_own_process("modules::a_module_that_does_not_start_holds_up_no_other", |dir| {
        make_token(LABEL);
        let shim = Shim::in_dir(dir);
        let (well, hung) = (dir.join("well.so"), dir.join("hung.so"));
        std::fs::copy(module(), &well).unwrap();
        std::fs::copy(module(), &hung).unwrap();
        let token = Token::open(&Settings { module: well.clone(), ..settings(dir) }, pin(PIN), || {}).unwrap();
        shim.rules("hang C_Initialize");
        let (nobody, (done, ended)) = (Some("nobody".to_owned()), channel());
        let unknown = move |module| Settings { module, label: nobody.clone(), ..settings(dir) };
        let hanging = unknown(hung);
        let thread = std::thread::spawn(move || done.send(Token::open(&hanging, pin(PIN), || {}).is_err()).unwrap());
        until("the module is loaded", || std::fs::read_to_string("/proc/self/maps").unwrap().contains("hung.so"));
        let (path, (done, listed)) = (well.clone(), channel());
        std::thread::spawn(move || done.send(tokens(&path, None)).unwrap());
        let listed = listed.recv_timeout(Duration::from_secs(5)).expect("the other module's tokens").unwrap();
        assert!(listed.iter().any(|token| token.label == LABEL));
        let (opening, (done, opened)) = (unknown(well), channel());
        std::thread::spawn(move || done.send(Token::open(&opening, pin(PIN), || {}).is_err()).unwrap());
        assert!(opened.recv_timeout(Duration::from_secs(5)).expect("the other module's answer"));
        block_on(token.generate(&name(1), soon())).unwrap();
        assert!(ended.try_recv().is_err(), "it hangs all the while");
        shim.rules("");
        assert!(ended.recv_timeout(Duration::from_secs(10)).expect("it goes on"));
        thread.join().unwrap();
    });
}

/// By a link, the module is the one that is there: not initialised once more, nor finalised below its other users.
#[test]
fn a_module_by_two_names_is_one() {
    in_own_process("modules::a_module_by_two_names_is_one", |dir| {
        make_token(LABEL);
        let (shim, link) = (Shim::in_dir(dir), dir.join("link.so"));
        std::os::unix::fs::symlink(module(), &link).unwrap();
        let open =
            |path: &Path| Token::open(&Settings { module: path.to_owned(), ..settings(dir) }, pin(PIN), || {}).unwrap();
        let token = open(&module());
        tokens(&link, None).unwrap();
        tokens(&dir.join("../").join(dir.file_name().unwrap()).join("link.so"), None).unwrap();
        assert_eq!((shim.calls("C_Initialize"), shim.calls("C_Finalize")), (1, 0));
        block_on(token.generate(&name(1), soon())).unwrap();
        let other = open(&link);
        assert!(token.shutdown(Duration::from_secs(5)));
        assert_eq!(shim.calls("C_Finalize"), 0, "the other one uses it");
        block_on(other.exists(&name(1), soon())).unwrap();
        assert!(other.shutdown(Duration::from_secs(5)));
        assert_eq!((shim.calls("C_Initialize"), shim.calls("C_Finalize")), (1, 1));
    });
}
