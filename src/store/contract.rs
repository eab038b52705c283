//! What every backend must do, and what the store must notice whatever the backend. One list of tests, run for each.

mod editor;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::backend::{After, Batch, Fingerprint, LooseRow, RawRow, RootRow, RowChange};
use super::samples::{self, account, key_id, now, region};
use super::{Backend, Change, Ends, Error, KeyRecord, Record, Row, Store, Usage};
use crate::model::Timestamp;

/// A database for one test, and whoever can edit it behind the service's back.
pub(super) trait Fixture: Sized {
    /// A new database with these two rows.
    async fn new(meta: &[u8], root: &RootRow) -> Self;

    /// A new backend for the same data.
    async fn open(&self) -> Arc<dyn Backend>;

    /// Does what an editor of the database can do, past the backends that are open.
    async fn edit(&self, edits: &[Edit]);
}

/// What an editor of the database can do.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Put(RawRow),
    Remove(RawRow),
    Root(RootRow),
    Meta(Vec<u8>),
    Loose(LooseRow),
}

/// Makes one test of every function in the list.
macro_rules! contract {
    ($fixture:ty) => {
        contract!($fixture:
            an_empty_store_opens, what_was_committed_is_read_now_and_after_opening, an_insert_needs_a_free_key,
            a_stale_row_is_a_conflict_and_nothing_changes, a_key_inserted_again_is_not_the_old_one,
            an_expected_row_must_stay_and_is_not_written, of_two_changes_that_touch_a_row_one_is_first, no_increment_is_lost, one_of_many_inserts_wins,
            a_dropped_commit_is_whole_or_absent, a_change_that_contradicts_itself_is_refused,
            lists_come_in_pages, the_last_use_is_kept_and_forgeries_are_ignored,
            a_backend_compares_every_byte_before_it_writes, a_closed_store_refuses_changes,
            every_edit_is_refused_at_open, every_edit_is_refused_at_run_time, an_older_whole_store_is_seen,
            an_edit_is_refused_by_the_next_commit);
    };
    ($fixture:ty: $($name:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::store::contract::$name::<$fixture>().await;
            }
        )+
    };
}
pub(super) use contract;
pub(super) use editor::{
    an_edit_is_refused_by_the_next_commit, an_older_whole_store_is_seen, every_edit_is_refused_at_open,
    every_edit_is_refused_at_run_time,
};

pub(super) async fn an_empty_store_opens<F: Fixture>() {
    let (_fixture, store) = empty::<F>().await;
    assert_eq!((store.epoch(), store.highest_time().as_millis()), (0, 0));
    assert_eq!(store.store_id(), samples::meta().store_id);
    assert!(store.all_keys().is_empty() && store.outbox().is_empty() && store.tampered().is_none());
    store.guard().unwrap();
    store.check().await.unwrap();
}

pub(super) async fn what_was_committed_is_read_now_and_after_opening<F: Fixture>() {
    let (fixture, store) = empty::<F>().await;
    assert_eq!(store.commit(one_of_each()).await.unwrap(), 1);
    assert_one_of_each(&store);
    assert_one_of_each(&reopened(&fixture).await);

    let row = store.key(&region(), &key_id(7)).unwrap();
    let changed = KeyRecord { description: "new".into(), ..row.record.clone() };
    let access_key = store.access_key("AKIAEXAMPLE").unwrap();
    let change = Change::new(Timestamp::from_millis(5)).update(&row, changed.clone()).delete(&access_key);
    assert_eq!(store.commit(change).await.unwrap(), 2);
    for store in [&store, &reopened(&fixture).await] {
        assert_eq!(*store.key(&region(), &key_id(7)).unwrap(), Row::new(2, changed.clone()));
        assert!(store.access_key("AKIAEXAMPLE").is_none() && store.access_keys().is_empty());
        assert_eq!((store.epoch(), store.highest_time()), (2, now()), "an earlier time changes nothing");
        store.scrub().await.unwrap();
    }
}

pub(super) async fn an_insert_needs_a_free_key<F: Fixture>() {
    let (_fixture, store) = populated::<F>().await;
    let epoch = store.epoch();
    let change = Change::new(now()).insert(samples::outbox("e-2")).insert(samples::key(&region(), 7));
    let error = store.commit(change).await.unwrap_err();
    let expected = samples::key(&region(), 7).primary_key();
    assert!(matches!(error, Error::Conflict { table: "keys", key } if key == expected));
    assert_eq!((store.epoch(), store.outbox().len()), (epoch, 1));
    store.scrub().await.unwrap();
}

pub(super) async fn a_stale_row_is_a_conflict_and_nothing_changes<F: Fixture>() {
    let (fixture, store) = populated::<F>().await;
    let stale = store.key(&region(), &key_id(7)).unwrap();
    store.commit(Change::new(now()).update(&stale, stale.record.clone())).await.unwrap();
    let epoch = store.epoch();
    for change in [
        Change::new(now()).insert(samples::outbox("e-2")).update(&stale, stale.record.clone()),
        Change::new(now()).insert(samples::outbox("e-2")).delete(&stale),
        Change::new(now()).insert(samples::outbox("e-2")).expect(&stale),
    ] {
        assert!(matches!(store.commit(change).await, Err(Error::Conflict { table: "keys", .. })));
    }
    assert_eq!((store.epoch(), reopened(&fixture).await.epoch()), (epoch, epoch));
    assert_eq!(reopened(&fixture).await.outbox().len(), 1);
}

pub(super) async fn a_key_inserted_again_is_not_the_old_one<F: Fixture>() {
    let (_fixture, store) = populated::<F>().await;
    let old = store.key(&region(), &key_id(7)).unwrap();
    store.commit(Change::new(now()).delete(&old)).await.unwrap();
    assert!(matches!(store.commit(Change::new(now()).delete(&old)).await, Err(Error::Conflict { .. })));
    store.commit(Change::new(now()).insert(old.record.clone())).await.unwrap();
    assert!(store.key(&region(), &key_id(7)).unwrap().revision > old.revision);
    assert!(matches!(store.commit(Change::new(now()).delete(&old)).await, Err(Error::Conflict { .. })));
}

pub(super) async fn an_expected_row_must_stay_and_is_not_written<F: Fixture>() {
    let (_fixture, store) = populated::<F>().await;
    let row = store.key(&region(), &key_id(7)).unwrap();
    let alias = samples::alias(&region(), "alias/new", 7);
    store.commit(Change::new(now()).expect(&row).insert(alias)).await.unwrap();
    assert_eq!(store.key(&region(), &key_id(7)).unwrap().revision, row.revision);
    assert_eq!(store.aliases_of_key(&region(), &key_id(7)).len(), 2);
}

pub(super) async fn of_two_changes_that_touch_a_row_one_is_first<F: Fixture>() {
    let (fixture, store) = populated::<F>().await;
    let row = store.key(&region(), &key_id(7)).unwrap();
    let change = |name: &str| Change::new(now()).touch(&row).insert(samples::alias(&region(), name, 7));
    let (expecting, later) = (Change::new(now()).expect(&row).insert(samples::outbox("e-1")), change("alias/second"));
    store.commit(change("alias/first")).await.unwrap();
    for late in [later, expecting] {
        assert!(matches!(store.commit(late).await, Err(Error::Conflict { table: "keys", .. })));
    }
    for store in [&store, &reopened(&fixture).await] {
        let touched = store.key(&region(), &key_id(7)).unwrap();
        assert!(touched.revision > row.revision && touched.record == row.record);
        assert_eq!(store.aliases_of_key(&region(), &key_id(7)).len(), 2);
    }
}

pub(super) async fn no_increment_is_lost<F: Fixture>() {
    let (fixture, store) = populated::<F>().await;
    let before = store.epoch();
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(increments(store.clone(), 50))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    for store in [&store, &reopened(&fixture).await] {
        assert_eq!(store.key(&region(), &key_id(7)).unwrap().record.next_material, 2 + 400);
        assert_eq!(store.epoch(), before + 400);
    }
}

pub(super) async fn one_of_many_inserts_wins<F: Fixture>() {
    let (_fixture, store) = empty::<F>().await;
    let insert = |n: u32| {
        let (store, mut record) = (store.clone(), samples::alias(&region(), "alias/x", 1));
        record.updated = Timestamp::from_millis(i64::from(n));
        tokio::spawn(async move { store.commit(Change::new(now()).insert(record)).await })
    };
    let (mut won, mut lost) = (0, 0);
    for task in (0..8).map(insert).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(Error::Conflict { .. }) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, lost), (1, 7));
}

pub(super) async fn a_dropped_commit_is_whole_or_absent<F: Fixture>() {
    let (fixture, store) = empty::<F>().await;
    for n in 0..30 {
        let change = Change::new(now()).insert(samples::outbox(&format!("e-{n}")));
        let change = change.insert(samples::key(&region(), n));
        let mut commit = Box::pin(store.commit(change));
        for _ in 0..n {
            if futures_poll(&mut commit).await {
                break;
            }
        }
    }
    // Behind every commit that is still under way.
    store.commit(Change::new(now()).insert(samples::outbox("last"))).await.unwrap();
    store.scrub().await.unwrap();
    let again = reopened(&fixture).await;
    assert_eq!(again.all_keys(), store.all_keys());
    assert_eq!(again.outbox(), store.outbox());
    assert_eq!(again.outbox().len(), again.all_keys().len() + 1, "both rows of a change or none");
}

pub(super) async fn a_change_that_contradicts_itself_is_refused<F: Fixture>() {
    let (_fixture, store) = populated::<F>().await;
    let row = store.key(&region(), &key_id(7)).unwrap();
    let twice = Change::new(now()).expect(&row).update(&row, row.record.clone());
    let renamed = Change::new(now()).update(&row, samples::key(&region(), 8));
    for change in [twice, renamed] {
        assert!(matches!(store.commit(change).await, Err(Error::Unsound { table: "keys", .. })));
    }
    assert_eq!(store.epoch(), 1);
}

pub(super) async fn lists_come_in_pages<F: Fixture>() {
    let (fixture, store) = empty::<F>().await;
    let mut other = samples::key(&region(), 9);
    other.account = "444455556666".parse().unwrap();
    let mut change = Change::new(now()).insert(other).insert(samples::key(&"us-east-1".parse().unwrap(), 3));
    for n in [5, 1, 4, 2] {
        change = change.insert(samples::key(&region(), n));
        change = change.insert(samples::alias(&region(), &format!("alias/{n}"), n));
    }
    store.commit(change).await.unwrap();
    for store in [&store, &reopened(&fixture).await] {
        let ids = |after: Option<u8>, limit| -> Vec<u8> {
            let rows = store.keys_of(&region(), &account(), after.map(key_id).as_ref(), limit);
            rows.iter().map(|row| row.record.key_id.as_bytes()[0]).collect()
        };
        assert_eq!(ids(None, 10), [1, 2, 4, 5]);
        assert_eq!(
            (ids(None, 2), ids(Some(2), 2), ids(Some(3), 1), ids(Some(5), 9)),
            (vec![1, 2], vec![4, 5], vec![4], vec![])
        );
        let names = |after: Option<&str>| -> Vec<String> {
            let after = after.map(|name| name.parse().unwrap());
            let rows = store.aliases_of(&region(), &account(), after.as_ref(), 2);
            rows.iter().map(|row| row.record.name.to_string()).collect()
        };
        assert_eq!(
            (names(None), names(Some("alias/2"))),
            (vec!["alias/1".into(), "alias/2".into()], vec!["alias/4".into(), "alias/5".into()])
        );
        assert_eq!(store.all_keys().len(), 6);
    }
    let row = store.alias(&region(), &account(), &"alias/1".parse().unwrap()).unwrap();
    let moved = samples::alias(&region(), "alias/1", 2);
    store.commit(Change::new(now()).update(&row, moved)).await.unwrap();
    assert_eq!(store.aliases_of_key(&region(), &key_id(1)).len(), 0);
    assert_eq!(store.aliases_of_key(&region(), &key_id(2)).len(), 2);
}

pub(super) async fn the_last_use_is_kept_and_forgeries_are_ignored<F: Fixture>() {
    let (fixture, store) = populated::<F>().await;
    let used = |millis| Usage {
        operation: "Decrypt".into(),
        at: Timestamp::from_millis(millis),
        event_id: format!("event {millis}"),
        request_id: "request".into(),
    };
    store.note_usage(&region(), &key_id(7), used(20));
    store.note_usage(&region(), &key_id(7), used(10));
    store.note_usage(&region(), &key_id(8), used(30));
    assert_eq!(store.usage(&region(), &key_id(7)), Some(used(20)), "an earlier use does not replace a later one");
    assert_eq!(reopened(&fixture).await.usage(&region(), &key_id(7)), None, "nothing was written yet");

    let epoch = store.epoch();
    store.flush_usage().await.unwrap();
    let again = reopened(&fixture).await;
    assert_eq!(again.usage(&region(), &key_id(7)), Some(used(20)));
    assert_eq!((store.epoch(), again.epoch()), (epoch, epoch), "a use is not a change");
    store.check().await.unwrap();

    let mut rows = fixture.open().await.loose().await.unwrap();
    rows.sort_by(|one, other| one.key.cmp(&other.key));
    let swapped = LooseRow { sealed: rows[1].sealed.clone(), ..rows[0].clone() };
    let forged = LooseRow { sealed: Some(vec![1; 40]), ..rows[1].clone() };
    let nameless = LooseRow { key: "no key".into(), ..rows[1].clone() };
    fixture.edit(&[Edit::Loose(swapped), Edit::Loose(forged), Edit::Loose(nameless)]).await;
    store.check().await.unwrap();
    let again = reopened(&fixture).await;
    assert_eq!((again.usage(&region(), &key_id(7)), again.usage(&region(), &key_id(8))), (None, None));
    again.note_usage(&region(), &key_id(7), used(40));
    again.flush_usage().await.unwrap();
    assert_eq!(reopened(&fixture).await.usage(&region(), &key_id(7)), Some(used(40)));
}

pub(super) async fn a_backend_compares_every_byte_before_it_writes<F: Fixture>() {
    let (fixture, _store) = populated::<F>().await;
    let backend = fixture.open().await;
    let (ends, rows) = snapshot(&*backend).await;
    let live = rows[0].fingerprint();
    let good = Batch {
        believed: ends.root.clone(),
        root: RootRow { epoch: ends.root.epoch + 1, sealed: vec![1] },
        rows: vec![RowChange {
            table: "access-keys",
            key: rows[0].key.clone(),
            before: Some(live),
            after: After::Kept,
        }],
    };
    let with_row = |change: RowChange| Batch { rows: vec![change, good.rows[0].clone()], ..good.clone() };
    let new = RowChange { table: "keys", key: "new".into(), before: None, after: After::Sealed(vec![2]) };
    let wrong = [
        Batch { believed: RootRow { epoch: 0, ..ends.root.clone() }, ..good.clone() },
        Batch { believed: RootRow { sealed: vec![0], ..ends.root.clone() }, ..good.clone() },
        with_row(RowChange { before: Some(live), ..new.clone() }),
        Batch { rows: vec![new.clone(), RowChange { before: None, ..good.rows[0].clone() }], ..good.clone() },
        with_row(RowChange { key: rows[1].key.clone(), ..good.rows[0].clone() }),
        Batch {
            rows: vec![new.clone(), with_before(&good.rows[0], Fingerprint { revision: 9, ..live })],
            ..good.clone()
        },
        Batch {
            rows: vec![new.clone(), with_before(&good.rows[0], Fingerprint { digest: [0; 32], ..live })],
            ..good.clone()
        },
    ];
    for batch in wrong {
        let result = backend.apply(batch.clone()).await;
        assert!(matches!(result, Err(Error::Tampered { .. })), "{result:?} for {batch:?}");
        assert_eq!(snapshot(&*backend).await, (ends.clone(), rows.clone()), "{batch:?}");
    }
    backend.apply(with_row(new)).await.unwrap();
    let (after, more) = snapshot(&*backend).await;
    assert_eq!((after.root, more.len()), (good.root, rows.len() + 1));
}

pub(super) async fn a_closed_store_refuses_changes<F: Fixture>() {
    let (fixture, store) = populated::<F>().await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let change = Change::new(now()).insert(samples::outbox("e-2"));
    assert!(matches!(store.commit(change).await, Err(Error::Closed)));
    assert_one_of_each(&store);
    assert_one_of_each(&reopened(&fixture).await);
}

async fn increments(store: Store, count: u32) {
    let mut done = 0;
    while done < count {
        let row = store.key(&region(), &key_id(7)).unwrap();
        let next = KeyRecord { next_material: row.record.next_material + 1, ..row.record.clone() };
        match store.commit(Change::new(now()).update(&row, next)).await {
            Ok(_) => done += 1,
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Polls once, lets other tasks run, and answers whether the future has ended.
async fn futures_poll<T: Unpin + Future>(future: &mut T) -> bool {
    let ended = std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    });
    let ended = ended.await;
    tokio::task::yield_now().await;
    ended
}

fn with_before(change: &RowChange, before: Fingerprint) -> RowChange {
    RowChange { before: Some(before), ..change.clone() }
}

async fn empty<F: Fixture>() -> (F, Store) {
    let keys = super::Keys::new(&samples::store_key()).unwrap();
    let (meta, root) = super::first_rows(&samples::meta(), &keys).unwrap();
    let fixture = F::new(&meta, &root).await;
    let store = reopened(&fixture).await;
    (fixture, store)
}

async fn populated<F: Fixture>() -> (F, Store) {
    let (fixture, store) = empty::<F>().await;
    store.commit(one_of_each()).await.unwrap();
    (fixture, store)
}

async fn reopened<F: Fixture>(fixture: &F) -> Store {
    try_reopen(fixture).await.unwrap()
}

async fn try_reopen<F: Fixture>(fixture: &F) -> Result<Store, Error> {
    Store::open_on(fixture.open().await, &samples::store_key()).await
}

/// The two rows at the ends, and all others in order.
async fn snapshot(backend: &dyn Backend) -> (Ends, Vec<RawRow>) {
    let mut rows = Vec::new();
    let mut visit = |row| {
        rows.push(row);
        Ok(())
    };
    let ends = backend.scan(&mut visit).await.unwrap();
    let places: BTreeSet<_> = rows.iter().map(|row: &RawRow| (row.table.clone(), row.key.clone())).collect();
    let visited: Vec<_> = rows.iter().map(|row| (row.table.clone(), row.key.clone())).collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), visited, "in ascending order, each once");
    (ends, rows)
}

fn one_of_each() -> Change {
    Change::new(now())
        .insert(samples::key(&region(), 7))
        .insert(samples::alias(&region(), "alias/a/b", 7))
        .insert(samples::access_key("AKIAEXAMPLE"))
        .insert(samples::intent(&region(), 7, 2))
        .insert(samples::outbox("e-1"))
        .insert(samples::account_record("111122223333"))
        .insert(samples::user("Ann"))
        .insert(samples::role("Reader"))
        .insert(samples::policy("Shared"))
        .insert(samples::grant(&region(), 7, 'a'))
        .insert(samples::wrapping_key(&region(), 7))
        .insert(samples::custom_key_store(&region()))
}

fn assert_one_of_each(store: &Store) {
    let alias = samples::alias(&region(), "alias/a/b", 7);
    assert_eq!(store.key(&region(), &key_id(7)).unwrap().record, samples::key(&region(), 7));
    assert_eq!(store.alias(&region(), &account(), &alias.name).unwrap().record, alias);
    assert_eq!(store.aliases_of_key(&region(), &key_id(7))[0].record, alias);
    assert_eq!(store.access_key("AKIAEXAMPLE").unwrap().record, samples::access_key("AKIAEXAMPLE"));
    let intent = samples::intent(&region(), 7, 2);
    assert_eq!(store.intents()[0].record, intent);
    assert_eq!(store.intent(&intent.name).unwrap().record, intent);
    assert_wrapping_keys(store);
    let custom = samples::custom_key_store(&region());
    assert_eq!(store.custom_key_store(&region(), &account(), &custom.id).unwrap().record, custom);
    assert_eq!(store.custom_key_stores_of(&region(), &account())[0].record, custom);
    assert_eq!(store.custom_key_stores()[0].record, custom);
    assert_eq!(store.outbox()[0].record, samples::outbox("e-1"));
    assert_principals(store);
    assert_eq!((store.epoch(), store.highest_time()), (1, now()));
    assert!(store.key(&region(), &key_id(8)).is_none());
}

fn assert_wrapping_keys(store: &Store) {
    let record = samples::wrapping_key(&region(), 7);
    let found = store.wrapping_key(&region(), &key_id(7), &record.wrapping_key_id);
    for row in
        [found.unwrap(), store.wrapping_keys().remove(0), store.wrapping_keys_of(&region(), &key_id(7)).remove(0)]
    {
        assert_eq!(row.record, record);
    }
    assert!(store.wrapping_keys_of(&region(), &key_id(8)).is_empty());
}

fn assert_principals(store: &Store) {
    let (user, role, policy) = (samples::user("Ann"), samples::role("Reader"), samples::policy("Shared"));
    assert_eq!(store.account(&account()).unwrap().record, samples::account_record("111122223333"));
    for principal in [&user, &role] {
        assert_eq!(store.principal(&account(), principal.kind, &principal.name).unwrap().record, *principal);
        assert_eq!(store.principal_by_id(&principal.unique_id).unwrap().record, *principal);
        assert_eq!(store.principals_of(&account(), principal.kind).len(), 1);
    }
    assert_eq!(store.policy(&account(), &policy.name).unwrap().record, policy);
    let grant = samples::grant(&region(), 7, 'a');
    assert_eq!(store.grant(&region(), &key_id(7), &grant.grant_id).unwrap().record, grant);
    assert_eq!(store.twin_of(&grant).unwrap().record, grant);
    assert_eq!(store.count_grants(&region(), &key_id(7)), 1);
}
