//! Whoever counts the letters to an address, and adds to them, does so alone. On Postgres, where others count meanwhile.

use sqlx::Executor as _;
use store::{Allowance, Letters, Most, NewMail, Store};
use uuid::Uuid;

use crate::{
    engines::{Database, anyway, wait_for_lock_waiters},
    outbox::{mail, post},
};

/// Whoever puts a letter into the outbox waits here, having counted, until whoever holds the lock lets go.
const GATE: &str = "CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$; \
                    CREATE TRIGGER gate BEFORE INSERT ON outbox FOR EACH ROW WHEN (NOT NEW.is_wish) EXECUTE FUNCTION wait_at_the_gate()";

/// How a letter comes to be written.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With what it tells of.
    Posted,
    /// In the place of a wish; it is of a kind that is posted too.
    Told,
    /// In the place of a wish.
    Wished,
}

/// Writes a letter if there is none yet.
async fn write(store: Store, way: Way, wish: Uuid, address: String) {
    let most = Some(Most { letters: 1, kinds: vec!["identity_linked"] });
    let letter = NewMail { template: "identity_linked", ..mail(Uuid::now_v7(), &address, false, 0) };
    let has_room = |made: Letters| made.all == 0;
    let allowance = Allowance { has_room: &has_room, ..anyway() };
    match way {
        Way::Posted => store.post(&NewMail { most, ..letter }).await,
        Way::Told => store.grant_wish(wish, &NewMail { most, ..letter }, anyway()).await.map(drop),
        Way::Wished => store.grant_wish(wish, &letter, allowance).await.map(drop),
    }
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_write_at_once_the_second_counts_what_the_first_has_written() {
    const WRITTEN: &str = "SELECT address, COUNT(*) FROM outbox WHERE NOT is_wish GROUP BY address ORDER BY address";
    let database = Database::postgres().await;
    let store = database.open().await;
    database.run_beside(GATE).await;
    let mut gate = database.beside().await;
    let pairs =
        [[Way::Posted, Way::Posted], [Way::Posted, Way::Told], [Way::Told, Way::Told], [Way::Wished, Way::Wished]];
    for (round, pair) in pairs.into_iter().enumerate() {
        gate.execute("SELECT pg_advisory_lock(1)").await.unwrap();
        let address = format!("ada{round}@example.com");
        let mut writing = Vec::new();
        for way in pair {
            let wish = post(&store, &address, true, 0).await;
            writing.push(tokio::spawn(write(database.connect().await, way, wish, address.clone())));
        }
        // One at the gate, the other for its turn; without turns both at the gate, and neither has found a letter.
        wait_for_lock_waiters(&database, 2).await;
        gate.execute("SELECT pg_advisory_unlock(1)").await.unwrap();
        for written in writing {
            written.await.unwrap();
        }
        let written: Vec<(String, i64)> = database.rows(WRITTEN, WRITTEN).await;
        assert_eq!(written[round], (address, 1), "{pair:?}");
    }
}
