//! The outbox: one node carries one mail, what fails is tried again, and what is over says nothing any more.

use std::{collections::BTreeSet, sync::Mutex};

use identity::{OneTimePurpose, SecretDigest};
use store::{Allowance, Asker, Letters, MailOutcome, Most, NewMail, NewOneTime, Store, StoreError, WishOutcome};
use uuid::Uuid;

use crate::{
    changed_hands::{self, one_time, shown},
    engines::{Database, anyway, at, hash, notice, on_both_engines, person},
};

on_both_engines!(
    nodes_that_look_at_once_never_take_the_same_mail,
    what_a_dead_node_took_with_it_is_due_again,
    what_is_over_is_wiped_kept_for_a_while_and_forgotten,
    letters_to_an_account_that_is_deleted_are_counted_for_an_hour,
    a_wish_is_granted_once,
    letters_are_counted_by_address_and_kind_and_wishes_are_not,
    letters_are_counted_by_who_asked_for_them,
    links_that_serve_nobody_any_more_are_counted_with_their_letters,
    what_tells_of_one_thing_too_many_is_not_posted,
    of_many_who_write_at_once_none_writes_one_too_many,
);

pub(crate) async fn post(store: &Store, address: &str, is_wish: bool, second: i64) -> Uuid {
    let id = Uuid::now_v7();
    store.post(&mail(id, address, is_wish, second)).await.unwrap();
    id
}

pub(crate) fn mail(id: Uuid, address: &str, is_wish: bool, second: i64) -> NewMail {
    let (address, sealed, now) = (address.to_owned(), Some(b"sealed".to_vec()), at(second));
    NewMail { id, template: "reset_password", address, is_wish, sealed, asker: None, most: None, now }
}

/// What whoever grants a wish at that second finds that was made before it.
async fn made(
    store: &Store,
    template: &'static str,
    (address, place): (&str, Option<SecretDigest>),
    (second, late): (i64, i64),
) -> Letters {
    let wish = post(store, address, true, second).await;
    let asker = place.map(|place| Asker { place, is_familiar: false });
    let letter = NewMail { template, asker, ..mail(Uuid::now_v7(), address, false, second) };
    let found = Mutex::new(None);
    let has_room = |made| {
        *found.lock().unwrap() = Some(made);
        false
    };
    let outcome = store.grant_wish(wish, &letter, Allowance { late: at(late), has_room: &has_room }).await.unwrap();
    assert_eq!(outcome, WishOutcome::TooMany);
    found.into_inner().unwrap().unwrap()
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
    assert_eq!(database.mails_waiting().await, 1);
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
    assert_eq!(database.mails_waiting().await, 1, "what waits is never forgotten");
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
    assert_eq!(database.mails_waiting().await, 0, "nothing is sent any more");
    let addresses: Vec<(i64,)> = database.rows(ADDRESSES, ADDRESSES).await;
    assert_eq!(addresses, [(0,)], "they are counted by a digest");
    let count = async |address| made(&store, "reset_password", (address, None), (7600, 7600)).await.all;
    assert_eq!((count("ada@example.com").await, count("bob@example.com").await), (1, 0));
    assert_eq!(store.forget_begun(at(5010)).await.unwrap(), 0);
    assert_eq!(store.forget_begun(at(5011)).await.unwrap(), 1);
}

async fn a_wish_is_granted_once(database: &Database) {
    let store = database.open().await;
    let wish = post(&store, "ada@example.com", true, 0).await;
    let letter = mail(Uuid::now_v7(), "ada@example.com", false, 1);
    assert_eq!(store.grant_wish(wish, &letter, anyway()).await.unwrap(), WishOutcome::Written);
    let again = mail(Uuid::now_v7(), "ada@example.com", false, 2);
    assert!(matches!(store.grant_wish(wish, &again, anyway()).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.claim_mail(at(5), at(100)).await.unwrap().unwrap().id, letter.id);
    assert_eq!(store.claim_mail(at(5), at(100)).await.unwrap(), None);
    let dropped = post(&store, "nobody@example.com", true, 0).await;
    store.drop_wish(dropped).await.unwrap();
    assert_eq!(database.mails_waiting().await, 1);
    // A letter is no wish.
    store.drop_wish(letter.id).await.unwrap();
    assert_eq!(database.mails_waiting().await, 1);
    // One for which there is no room is gone all the same.
    made(&store, "reset_password", ("ada@example.com", None), (2, 0)).await;
    assert_eq!(database.mails_waiting().await, 1);
}

async fn letters_are_counted_by_address_and_kind_and_wishes_are_not(database: &Database) {
    let store = database.open().await;
    for second in [0, 10, 20] {
        post(&store, "ada@example.com", false, second).await;
    }
    post(&store, "ada@example.com", true, 20).await;
    post(&store, "bob@example.com", false, 20).await;
    let count = async |template, second, late| {
        let made = made(&store, template, ("ada@example.com", None), (second, late)).await;
        (made.all, made.of_late)
    };
    assert_eq!(count("reset_password", 3599, 0).await, (3, 2), "within the hour, and after second 0");
    assert_eq!(count("reset_password", 3610, 3600).await, (1, 0));
    assert_eq!(count("magic_link", 3599, 0).await, (0, 0));
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
        store.grant_wish(wish, &letter, anyway()).await.unwrap();
    }
    let count = async |place| made(&store, "reset_password", ("ada@example.com", place), (2, 0)).await;
    let found = Letters { all: 4, of_strangers: 3, of_late: 4, ..Letters::default() };
    assert_eq!(count(Some(home)).await, Letters { of_place: 1, ..found });
    assert_eq!(count(Some(far)).await, Letters { of_place: 2, ..found });
    assert_eq!(count(None).await, found);
    // Of somebody who is deleted it is not kept where they were.
    store.delete_account(ada.id, None, at(10)).await.unwrap();
    let places: Vec<(i64,)> = database.rows(PLACES, PLACES).await;
    assert_eq!((places, count(Some(far)).await.of_strangers), (vec![(0,)], 3));
}

async fn links_that_serve_nobody_any_more_are_counted_with_their_letters(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    // Sends a link; says what was found before it, of late and ended.
    let send = async |purpose, second, late| {
        let (wish, token) = (post(&store, &ada.email, true, second).await, changed_hands::token());
        let letter = mail(Uuid::now_v7(), &ada.email, false, second);
        let new = NewOneTime { now: at(second), ..one_time(&token, purpose, ada.id, &ada.email) };
        let found = Mutex::new(Letters::default());
        let has_room = |made| {
            *found.lock().unwrap() = made;
            true
        };
        let allowance = Allowance { late: at(late), has_room: &has_room };
        store.grant_wish_with(wish, &letter, allowance, &new).await.unwrap();
        let found = found.into_inner().unwrap();
        (shown(&token, purpose), (found.of_late, found.ended))
    };
    let (reset, verify) = (OneTimePurpose::ResetPassword, OneTimePurpose::VerifyEmail);
    let (first, found) = send(reset, 0, -1).await;
    assert_eq!(found, (0, 0));
    assert_eq!(send(reset, 1, -1).await.1, (1, 0));
    store.take_one_time(&first, at(2)).await.unwrap().unwrap();
    assert_eq!(send(reset, 3, -1).await.1, (2, 1));
    assert_eq!(send(reset, 4, 0).await.1, (2, 0), "the first is not of late");
    assert_eq!(send(verify, 5, -1).await.1, (4, 0), "it was for something else");
    store.set_password(ada.id, &hash("a hash"), hash("another"), None, &notice(), at(6)).await.unwrap();
    assert_eq!(send(reset, 7, -1).await.1, (5, 4));
}

async fn what_tells_of_one_thing_too_many_is_not_posted(database: &Database) {
    let store = database.open().await;
    let tell = async |template, address: &str, kinds: &[&'static str], second| {
        let most = Some(Most { letters: 2, kinds: kinds.to_vec() });
        store.post(&NewMail { template, most, ..mail(Uuid::now_v7(), address, false, second) }).await.unwrap();
        database.mails_waiting().await
    };
    let ada = "ada@example.com";
    let all: &[_] = &["key_made", "password_changed"];
    assert_eq!(tell("key_made", ada, &["key_made"], 0).await, 1);
    assert_eq!(tell("key_made", ada, &["key_made"], 1).await, 2);
    assert_eq!(tell("key_made", ada, &["key_made"], 2).await, 2, "one too many");
    assert_eq!(tell("password_changed", ada, all, 2).await, 2, "where kinds are one, all of them are counted");
    assert_eq!(tell("password_changed", ada, &["password_changed"], 2).await, 3);
    assert_eq!(tell("key_made", "bob@example.com", &["key_made"], 2).await, 4);
    assert_eq!(tell("key_made", ada, &["key_made"], 3600).await, 5, "the first is as old as an hour");
    // To make an account anew makes no room.
    let account = person(&store, ada).await;
    store.delete_account(account.id, None, at(3601)).await.unwrap();
    assert_eq!(database.mails_waiting().await, 1, "none of hers is sent any more");
    assert_eq!(tell("key_made", ada, &["key_made"], 3601).await, 2, "the second is no more within the hour");
    assert_eq!(tell("key_made", ada, &["key_made"], 3602).await, 2);
}

async fn of_many_who_write_at_once_none_writes_one_too_many(database: &Database) {
    const LETTERS: &str = "SELECT template, COUNT(*) FROM outbox GROUP BY template ORDER BY template";
    let store = database.open().await;
    let mut nodes = Vec::new();
    for _ in 0..10 {
        nodes.push(database.connect().await);
    }
    for round in 0..10 {
        let mut writing = Vec::new();
        for node in nodes.clone() {
            let wish = post(&store, "ada@example.com", true, round * 10_000).await;
            writing.push(async move {
                let letter = mail(Uuid::now_v7(), "ada@example.com", false, round * 10_000);
                let has_room = |made: Letters| made.all < 5;
                let allowance = Allowance { late: at(0), has_room: &has_room };
                node.grant_wish(wish, &letter, allowance).await.unwrap();
                let most = Some(Most { letters: 5, kinds: vec!["key_made"] });
                let id = Uuid::now_v7();
                node.post(&NewMail { id, template: "key_made", most, ..letter }).await.unwrap();
            });
        }
        let writing: Vec<_> = writing.into_iter().map(tokio::spawn).collect();
        for done in writing {
            done.await.unwrap();
        }
        let written: Vec<(String, i64)> = database.rows(LETTERS, LETTERS).await;
        let most = 5 * (round + 1);
        assert_eq!(written, [("key_made".to_owned(), most), ("reset_password".to_owned(), most)]);
    }
}
