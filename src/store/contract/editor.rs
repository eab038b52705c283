//! Whatever an editor of the database does to single rows, to the root or to everything is noticed.

use super::super::{OutboxRecord, PrincipalKind};
use super::*;

/// The database of one test: its past, what is in it now, and a store that has it open.
struct Scene<F> {
    fixture: F,
    store: Store,
    /// Two transactions ago.
    before: (Ends, Vec<RawRow>),
    now: (Ends, Vec<RawRow>),
}

impl<F: Fixture> Scene<F> {
    /// Every row of the past has been written again or removed since, and every row has a neighbour in its table.
    async fn new() -> Self {
        let (fixture, store) = populated::<F>().await;
        let more = Change::new(now())
            .insert(samples::key(&region(), 8))
            .insert(samples::alias(&region(), "alias/c", 8))
            .insert(samples::access_key("AKIASECOND"))
            .insert(samples::intent(&region(), 8, 2))
            .insert(samples::outbox("e-2"))
            .insert(samples::account_record("444455556666"))
            .insert(samples::user("Bob"))
            .insert(samples::role("Writer"))
            .insert(samples::policy("Wide"))
            .insert(samples::grant(&region(), 7, 'b'))
            .insert(samples::outbox("e-gone"));
        store.commit(more).await.unwrap();
        let before = snapshot(&*fixture.open().await).await;

        let mut change = Change::new(now()).delete(&find(store.outbox(), "e-gone"));
        change = rewritten(change, &store.all_keys());
        change = rewritten(change, &store.access_keys());
        change = rewritten(change, &store.intents());
        change = rewritten(change, &store.aliases_of(&region(), &account(), None, 9));
        change = rewritten(change, &[find(store.outbox(), "e-1"), find(store.outbox(), "e-2")]);
        change = rewritten(change, &store.accounts());
        change = rewritten(change, &store.principals_of(&account(), PrincipalKind::User));
        change = rewritten(change, &store.principals_of(&account(), PrincipalKind::Role));
        change = rewritten(change, &store.policies_of(&account()));
        change = rewritten(change, &store.grants_on(&region(), &key_id(7), None, 9));
        change = rewritten(change, &store.wrapping_keys());
        change = rewritten(change, &store.custom_key_stores());
        store.commit(change).await.unwrap();
        let now = snapshot(&*fixture.open().await).await;
        store.check().await.unwrap();
        Scene { fixture, store, before, now }
    }

    /// Every single thing that can be done to these rows: what it is, and how.
    fn edits(&self) -> Vec<(String, Vec<Edit>)> {
        let (old_ends, old_rows) = &self.before;
        let (ends, rows) = &self.now;
        assert_eq!((rows.len(), old_rows.len()), (22, 23));
        let mut all = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let name = |what: &str| format!("{} {} {what}", row.table, row.key);
            let neighbour = rows.get(at ^ 1).unwrap_or(&rows[0]);
            let old = old_rows.iter().find(|old| (&old.table, &old.key) == (&row.table, &row.key)).unwrap();
            let with = |sealed: &[u8]| RawRow { sealed: sealed.to_vec(), ..row.clone() };
            for (what, byte) in [("format", 0), ("salt", 5), ("body", 20), ("tag", row.sealed.len() - 1)] {
                let mut sealed = row.sealed.clone();
                sealed[byte] ^= 1;
                all.push((name(&format!("edited in its {what}")), vec![Edit::Put(with(&sealed))]));
            }
            all.push((name("with nothing in it"), vec![Edit::Put(with(&[]))]));
            all.push((
                name("of a later revision"),
                vec![Edit::Put(RawRow { revision: row.revision + 1, ..row.clone() })],
            ));
            all.push((name("removed"), vec![Edit::Remove(row.clone())]));
            all.push((name("put back to an older revision"), vec![Edit::Put(old.clone())]));
            all.push((name("copied to another key"), vec![Edit::Put(RawRow { key: "other".into(), ..row.clone() })]));
            all.push((
                name("copied to another table"),
                vec![Edit::Put(RawRow { table: "other".into(), ..row.clone() })],
            ));
            all.push((
                name("copied to nowhere"),
                vec![Edit::Put(RawRow { table: String::new(), key: String::new(), ..row.clone() })],
            ));
            let swapped = [with(&neighbour.sealed), RawRow { sealed: row.sealed.clone(), ..neighbour.clone() }];
            all.push((name("swapped with its neighbour"), swapped.map(Edit::Put).to_vec()));
            let moved = RawRow { key: neighbour.key.clone(), ..row.clone() };
            all.push((name("moved over its neighbour"), vec![Edit::Remove(row.clone()), Edit::Put(moved)]));
        }
        let gone = old_rows.iter().find(|row| row.key == "e-gone").unwrap();
        all.push(("a removed row put back".into(), vec![Edit::Put(gone.clone())]));
        all.push(("all rows put back, not the root".into(), old_rows.iter().cloned().map(Edit::Put).collect()));
        all.push(("all rows removed".into(), rows.iter().cloned().map(Edit::Remove).collect()));
        all.push(("the root put back, not the rows".into(), vec![Edit::Root(old_ends.root.clone())]));
        all.push(("the root of another epoch".into(), vec![Edit::Root(RootRow { epoch: 9, ..ends.root.clone() })]));
        let mut sealed = ends.root.sealed.clone();
        sealed[30] ^= 1;
        all.push(("the root edited".into(), vec![Edit::Root(RootRow { sealed, ..ends.root.clone() })]));
        let meta = String::from_utf8(ends.meta.clone()).unwrap();
        all.push(("the meta row edited".into(), vec![Edit::Meta(meta.replace("kms", "KMS").into())]));
        all.push(("the meta row unreadable".into(), vec![Edit::Meta(b"{".to_vec())]));
        all
    }
}

pub(crate) async fn every_edit_is_refused_at_open<F: Fixture>() {
    let scene = Scene::<F>::new().await;
    for (what, edits) in scene.edits() {
        scene.fixture.edit(&edits).await;
        match try_reopen(&scene.fixture).await {
            Err(Error::Tampered { what: told }) => assert!(names_the_row(&edits, &told), "{what}: {told}"),
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what}: it opened"),
        }
        put_right(&scene, &edits).await;
        reopened(&scene.fixture).await;
    }
}

pub(crate) async fn every_edit_is_refused_at_run_time<F: Fixture>() {
    let scene = Scene::<F>::new().await;
    for (what, edits) in scene.edits() {
        let store = reopened(&scene.fixture).await;
        scene.fixture.edit(&edits).await;
        let error = store.check().await.expect_err(&what);
        assert!(matches!(&error, Error::Tampered { .. }), "{what}: {error}");
        assert_eq!(store.tampered().map(|told| Error::Tampered { what: told }.to_string()), Some(error.to_string()));
        put_right(&scene, &edits).await;
        // It was seen once, and stays refused although all is as it was.
        assert!(matches!(store.guard(), Err(Error::Tampered { .. })), "{what}");
        assert!(matches!(store.check().await, Err(Error::Tampered { .. })), "{what}");
        assert!(matches!(store.scrub().await, Err(Error::Tampered { .. })), "{what}");
        assert!(matches!(store.commit(Change::new(now())).await, Err(Error::Tampered { .. })), "{what}");
    }
}

pub(crate) async fn an_edit_is_refused_by_the_next_commit<F: Fixture>() {
    for at in 0..20 {
        let scene = Scene::<F>::new().await;
        let mut row = scene.now.1[at].clone();
        row.sealed[20] ^= 1;
        scene.fixture.edit(&[Edit::Put(row.clone())]).await;
        let change = Change::new(now()).insert(samples::outbox("e-new"));
        let error = scene.store.commit(change).await.unwrap_err();
        assert!(matches!(&error, Error::Tampered { what } if what.contains(&row.key)), "{error}");
        assert_eq!(scene.store.epoch(), 3);
        assert_eq!(snapshot(&*scene.fixture.open().await).await.0.root, scene.now.0.root, "nothing was written");
    }
}

/// Everything put back, consistent in itself: only who knows the epoch can tell at open; a store that is open knows.
pub(crate) async fn an_older_whole_store_is_seen<F: Fixture>() {
    let scene = Scene::<F>::new().await;
    let mut edits: Vec<Edit> = scene.now.1.iter().cloned().map(Edit::Remove).collect();
    edits.extend(scene.before.1.iter().cloned().map(Edit::Put));
    edits.push(Edit::Root(scene.before.0.root.clone()));
    scene.fixture.edit(&edits).await;
    assert_eq!((reopened(&scene.fixture).await.epoch(), scene.store.epoch()), (2, 3));
    assert!(matches!(scene.store.check().await, Err(Error::Tampered { .. })));
    assert!(scene.store.tampered().is_some());
}

async fn put_right<F: Fixture>(scene: &Scene<F>, edits: &[Edit]) {
    let (ends, rows) = &scene.now;
    let added = edits.iter().filter_map(|edit| match edit {
        Edit::Put(row) => Some(Edit::Remove(row.clone())),
        _ => None,
    });
    let mut all: Vec<Edit> = added.collect();
    all.extend(rows.iter().cloned().map(Edit::Put));
    all.extend([Edit::Root(ends.root.clone()), Edit::Meta(ends.meta.clone())]);
    scene.fixture.edit(&all).await;
    assert_eq!(snapshot(&*scene.fixture.open().await).await, scene.now);
}

/// An error at open names the row, or the table, where that can be known; an older row can be any.
fn names_the_row(edits: &[Edit], told: &str) -> bool {
    let older = told.contains("older than the root");
    edits.iter().any(|edit| match edit {
        Edit::Put(row) => told.contains(&row.key) || told.contains(&format!("table {}", row.table)) || older,
        Edit::Remove(row) => told.contains(&format!("table {}", row.table)) || told.contains(&row.key),
        Edit::Root(_) => told.contains("root"),
        Edit::Meta(_) => told.contains("meta"),
        Edit::Loose(_) => false,
    })
}

fn rewritten<R: Record>(change: Change, rows: &[Arc<Row<R>>]) -> Change {
    rows.iter().fold(change, |change, row| change.update(row, row.record.clone()))
}

fn find(rows: Vec<Arc<Row<OutboxRecord>>>, event_id: &str) -> Arc<Row<OutboxRecord>> {
    rows.into_iter().find(|row| row.record.event_id == event_id).unwrap()
}
