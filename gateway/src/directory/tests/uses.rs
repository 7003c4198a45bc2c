//! When keys and cookies were used is written down.

use super::{
    house::{later, now},
    *,
};

#[tokio::test]
async fn tidying_drops_what_has_expired_and_writes_down_when_keys_were_used() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    let key = house.key(&ada, None).await;
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), later(7)).await, "ok");
    let kept = async |at| {
        house.directory.tidy(at).await;
        house.directory.known.run_pending_tasks().await;
        house.directory.len()
    };
    assert_eq!(kept(later(59)).await, 2);
    assert_eq!(kept(later(60)).await, 1, "the token's time is over");
    let listed = house.store.list_keys(ada.id).await.unwrap();
    assert_eq!(listed[0].last_used_at, Some(later(7)));
    let known = house.shown(Credential::ApiKey(key.expose()), later(8)).await.ok().unwrap();
    assert_eq!(known.unwritten_use(), Some((key.id(), later(8))));
    house.directory.tidy(later(61)).await;
    assert_eq!(known.unwritten_use(), None, "it is written down once");
}

#[tokio::test]
async fn a_use_that_the_database_did_not_take_is_written_down_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("house.db").display());
    let house = House::on(&file).await;
    house.store.migrate().await.unwrap();
    let ada = house.person("ada@example.com").await;
    let (key, cookie) = (house.key(&ada, None).await, house.cookie(&ada, later(600), later(86_400)).await);
    let takes_no_writes = House::on(&format!("{file}?mode=ro")).await;
    for credential in [Credential::ApiKey(key.expose()), Credential::Cookie(cookie.expose())] {
        let known = takes_no_writes.shown(credential, later(7)).await.ok().unwrap();
        house.directory.known.insert(digest_of(&credential), known).await;
    }
    takes_no_writes.directory.tidy(later(8)).await;
    house.directory.tidy(later(18)).await;
    let used_at = house.store.list_keys(ada.id).await.unwrap()[0].last_used_at;
    let good_until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!((used_at, good_until), (Some(later(7)), Some(later(607))));
}
