//! The outbox: one node carries one mail, what fails is tried again, and what is over says nothing any more.

use std::collections::BTreeSet;

use identity::SecretDigest;
use store::{Asker, Letters, MailOutcome, NewMail, Store, StoreError};
use uuid::Uuid;

use crate::engines::{Database, at, on_both_engines, person};

on_both_engines!(
    nodes_that_look_at_once_never_take_the_same_mail,
    what_a_dead_node_took_with_it_is_due_again,
    what_is_over_is_wiped_kept_for_a_while_and_forgotten,
    letters_to_an_account_that_is_deleted_are_counted_for_an_hour,
    a_wish_is_granted_once,
    letters_are_counted_by_address_and_kind_and_wishes_are_not,
    letters_are_counted_by_who_asked_for_them,
);

async fn post(store: &Store, address: &str, is_wish: bool, second: i64) -> Uuid {
    let id = Uuid::now_v7();
    store.post(&mail(id, address, is_wish, second)).await.unwrap();
    id
}

fn mail(id: Uuid, address: &str, is_wish: bool, second: i64) -> NewMail {
    let (address, sealed, now) = (address.to_owned(), Some(b"sealed".to_vec()), at(second));
    NewMail { id, template: "reset_password", address, is_wish, sealed, asker: None, now }
}

async fn nodes_that_look_at_once_never_take_the_same_mail(database: &Database) {
    let store = database.open().await;
    let mut posted = BTreeSet::new();
    for second in 0..20 {
        posted.insert(post(&store, "ada@example.com", false, second).await);
    }
    let nodes: Vec<_> = [database.connect().await, database.connect().await, database.connect().await]
        .into_iter()
        .map(|node| {
            tokio::spawn(async move {
                let mut taken = Vec::new();
                let mut found_nothing = 0;
                // Who looks at the same moment as another may find nothing although there is more.
                while found_nothing < 20 {
                    match node.claim_mail(at(100), at(200)).await.unwrap() {
                        Some(due) => taken.push(due.id),
                        None => found_nothing += 1,
                    }
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for node in nodes {
        taken.extend(node.await.unwrap());
    }
    assert_eq!(taken.len(), 20, "each of them once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), posted);
}

async fn what_a_dead_node_took_with_it_is_due_again(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.next_mail_due().await.unwrap(), None);
    let id = post(&store, "ada@example.com", false, 0).await;
    assert_eq!(store.next_mail_due().await.unwrap(), Some(at(0)));
    assert_eq!(store.claim_mail(at(-1), at(100)).await.unwrap(), None, "it is not due yet");
    let due = store.claim_mail(at(1), at(100)).await.unwrap().unwrap();
    assert_eq!((due.id, due.attempts, due.sealed.as_deref()), (id, 1, Some(&b"sealed"[..])));
    assert_eq!(store.claim_mail(at(99), at(200)).await.unwrap(), None);
    assert_eq!(store.claim_mail(at(100), at(200)).await.unwrap().unwrap().attempts, 2);
    store.retry_mail(id, at(150)).await.unwrap();
    assert_eq!(store.next_mail_due().await.unwrap(), Some(at(150)));
    assert_eq!(store.claim_mail(at(149), at(300)).await.unwrap(), None);
    assert_eq!(store.claim_mail(at(150), at(300)).await.unwrap().unwrap().attempts, 3);
}

async fn what_is_over_is_wiped_kept_for_a_while_and_forgotten(database: &Database) {
    const SAID: &str = "SELECT sealed, outcome FROM outbox ORDER BY outcome";
    let store = database.open().await;
    let (sent, failed) = (post(&store, "a@example.com", false, 0).await, post(&store, "b@example.com", false, 0).await);
    let waits = post(&store, "c@example.com", false, 0).await;
    store.end_mail(sent, MailOutcome::Sent, at(10)).await.unwrap();
    store.end_mail(failed, MailOutcome::Failed, at(20)).await.unwrap();
    assert_eq!(store.mails_waiting().await.unwrap(), 1);
    let said: Vec<(Option<Vec<u8>>, Option<String>)> = database.rows(SAID, SAID).await;
    let over: Vec<_> = said.iter().filter(|(_, outcome)| outcome.is_some()).collect();
    assert_eq!(over.len(), 2);
    assert!(over.iter().all(|(sealed, _)| sealed.is_none()), "a link in a mail that was sent is not kept");
    // To try again what is over changes nothing.
    store.retry_mail(sent, at(0)).await.unwrap();
    assert_eq!(store.claim_mail(at(1000), at(2000)).await.unwrap().unwrap().id, waits);
    assert_eq!(store.claim_mail(at(1000), at(2000)).await.unwrap(), None);

    assert_eq!(store.forget_mails(at(11)).await.unwrap(), 1);
    assert_eq!(store.forget_mails(at(100_000)).await.unwrap(), 1);
    assert_eq!(store.mails_waiting().await.unwrap(), 1, "what waits is never forgotten");
}

async fn letters_to_an_account_that_is_deleted_are_counted_for_an_hour(database: &Database) {
    const LEFT: &str = "SELECT sealed, outcome FROM outbox";
    const ADDRESSES: &str = "SELECT COUNT(*) FROM outbox WHERE address LIKE '%@%'";
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    for (is_wish, seconds) in [(true, 5000), (false, 10), (false, 5000)] {
        post(&store, "ada@example.com", is_wish, seconds).await;
    }
    store.delete_account(ada.id, None, at(5010)).await.unwrap();
    let left: Vec<(Option<Vec<u8>>, Option<String>)> = database.rows(LEFT, LEFT).await;
    assert_eq!(left, [(None, Some("deleted".to_owned()))]);
    assert_eq!(store.mails_waiting().await.unwrap(), 0, "nothing is sent any more");
    let addresses: Vec<(i64,)> = database.rows(ADDRESSES, ADDRESSES).await;
    assert_eq!(addresses, [(0,)], "they are counted by a digest");
    let count = async |address| store.letters_since(address, "reset_password", None, at(4000)).await.unwrap().all;
    assert_eq!((count("ada@example.com").await, count("bob@example.com").await), (1, 0));
    assert_eq!(store.forget_begun(at(5010)).await.unwrap(), 0);
    assert_eq!(store.forget_begun(at(5011)).await.unwrap(), 1);
}

async fn a_wish_is_granted_once(database: &Database) {
    let store = database.open().await;
    let wish = post(&store, "ada@example.com", true, 0).await;
    let letter = mail(Uuid::now_v7(), "ada@example.com", false, 1);
    store.grant_wish(wish, &letter).await.unwrap();
    let again = mail(Uuid::now_v7(), "ada@example.com", false, 2);
    assert!(matches!(store.grant_wish(wish, &again).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.claim_mail(at(5), at(100)).await.unwrap().unwrap().id, letter.id);
    assert_eq!(store.claim_mail(at(5), at(100)).await.unwrap(), None);
    let dropped = post(&store, "nobody@example.com", true, 0).await;
    store.drop_wish(dropped).await.unwrap();
    assert_eq!(store.mails_waiting().await.unwrap(), 1);
    // A letter is no wish.
    store.drop_wish(letter.id).await.unwrap();
    assert_eq!(store.mails_waiting().await.unwrap(), 1);
}

async fn letters_are_counted_by_address_and_kind_and_wishes_are_not(database: &Database) {
    let store = database.open().await;
    for second in [0, 10, 20] {
        post(&store, "ada@example.com", false, second).await;
    }
    post(&store, "ada@example.com", true, 20).await;
    post(&store, "bob@example.com", false, 20).await;
    let count =
        async |template, since| store.letters_since("ada@example.com", template, None, at(since)).await.unwrap().all;
    assert_eq!((count("reset_password", -1).await, count("reset_password", 10).await), (3, 1));
    assert_eq!(count("magic_link", -1).await, 0);
}

async fn letters_are_counted_by_who_asked_for_them(database: &Database) {
    const PLACES: &str = "SELECT COUNT(*) FROM outbox WHERE place IS NOT NULL";
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let [home, far] = ["home", "far"].map(|place| SecretDigest::of(place.as_bytes()));
    let asked = [(Some(home), true), (Some(far), false), (Some(far), false), (None, false)];
    for (place, is_familiar) in asked {
        let wish = post(&store, "ada@example.com", true, 0).await;
        let letter = NewMail {
            asker: place.map(|place| Asker { place, is_familiar }),
            ..mail(Uuid::now_v7(), "ada@example.com", false, 1)
        };
        store.grant_wish(wish, &letter).await.unwrap();
    }
    let count = async |place: Option<&SecretDigest>| {
        store.letters_since("ada@example.com", "reset_password", place, at(0)).await.unwrap()
    };
    assert_eq!(count(Some(&home)).await, Letters { all: 4, of_strangers: 3, of_place: 1 });
    assert_eq!(count(Some(&far)).await, Letters { all: 4, of_strangers: 3, of_place: 2 });
    assert_eq!(count(None).await, Letters { all: 4, of_strangers: 3, of_place: 0 });
    // Of somebody who is deleted it is not kept where they were.
    store.delete_account(ada.id, None, at(10)).await.unwrap();
    let places: Vec<(i64,)> = database.rows(PLACES, PLACES).await;
    assert_eq!((places, count(Some(&far)).await.of_strangers), (vec![(0,)], 3));
}
