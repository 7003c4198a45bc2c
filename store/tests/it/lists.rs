//! What Postgres reads for a page of a large tenant's is a page, also where row-level security holds whoever asks.

use std::time::Duration;

use identity::{AccountId, TenantId};
use store::{AgentsWanted, Belonging, Cursor, PoolSettings, Store, UsageAsked, UsageBy};

use crate::{
    agents::account,
    engines::{Database, at, settings},
};

/// A tenant that has twenty thousand of everything, and somebody in a hundred of its groups, among two thousand that have three each: a plan for the average one would do for none of
/// the large one's.
const ROWS: &str = "INSERT INTO tenants (id, name, created_at) SELECT gen_random_uuid(), n::text, now() FROM generate_series(1, 2000) n; \
    CREATE TEMPORARY TABLE many AS SELECT t.id AS tenant_id, n FROM tenants t, generate_series(1, 3) n WHERE t.name <> 'large' \
    UNION ALL SELECT t.id, n FROM tenants t, generate_series(1, 20000) n WHERE t.name = 'large'; \
    INSERT INTO agents (id, tenant_id, name, description, is_published, on_platform, created_at, updated_at) \
    SELECT gen_random_uuid(), tenant_id, n::text, '', TRUE, n <= 3, now(), now() FROM many; \
    INSERT INTO teams (tenant_id, id, name, name_folded, is_active, created_at) \
    SELECT tenant_id, gen_random_uuid(), n::text, n::text, TRUE, now() FROM many; \
    INSERT INTO team_memberships (tenant_id, team_id, account_id, role, created_at) \
    SELECT t.tenant_id, t.id, m.account_id, 'member', now() FROM teams t JOIN tenant_members m ON m.tenant_id = t.tenant_id WHERE t.name::bigint <= 100; \
    INSERT INTO domains (tenant_id, id, key, key_folded, name, is_active, created_at) \
    SELECT tenant_id, gen_random_uuid(), n::text, n::text, n::text, TRUE, now() FROM many; \
    INSERT INTO account_domains (tenant_id, domain_id, account_id, created_at) \
    SELECT d.tenant_id, d.id, m.account_id, now() FROM domains d JOIN tenant_members m ON m.tenant_id = d.tenant_id WHERE d.name::bigint <= 100; \
    INSERT INTO usage_days (tenant_id, day, account_id, key_id, route, service, model, request_type, requests, tokens, cost) \
    SELECT tenant_id, '2026-01-' || 10 + n % 10, md5((n / 10)::text)::uuid, \
    CASE WHEN n / 10 % 2 = 0 THEN md5((n / 10)::text)::uuid ELSE '00000000-0000-0000-0000-000000000000' END, \
    'demo', '', '', '', 1, 1, 1 FROM many; \
    INSERT INTO usage_sums (tenant_id, day, route, service, model, request_type, requests, tokens, cost) \
    SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days GROUP BY 1, 2, 3, 4, 5, 6; \
    INSERT INTO usage_keyless (tenant_id, day, route, service, model, request_type, requests, tokens, cost) \
    SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days \
    WHERE key_id = '00000000-0000-0000-0000-000000000000' GROUP BY 1, 2, 3, 4, 5, 6; \
    INSERT INTO usage_months (tenant_id, month, requests, tokens, cost, summed_requests, summed_tokens, summed_cost) \
    SELECT tenant_id, '2026-01', SUM(requests), SUM(tokens), SUM(cost), SUM(requests), SUM(tokens), SUM(cost) \
    FROM usage_days GROUP BY 1; ANALYZE";
/// A table, the rows that were read of it, and in how many scans.
type Read = (String, i64, i64);
const READ: &str = "SELECT relname::text, (seq_tup_read + COALESCE(idx_tup_fetch, 0))::bigint, (seq_scan + COALESCE(idx_scan, 0))::bigint \
    FROM pg_stat_user_tables WHERE relname IN ('agents', 'teams', 'team_memberships', 'domains', 'account_domains', 'usage_days', 'usage_keyless', 'usage_sums') \
    ORDER BY relname";
const LIMIT: u32 = 50;
/// Of usage, which adds up several for a line.
const MOST_ROWS: u32 = 300;
/// Postgres plans a named statement anew five times before it thinks of a plan for all.
const TIMES: i64 = 8;

/// A database of such tenants, and the large one with somebody in it.
async fn large_tenant() -> (Database, TenantId, AccountId) {
    let database = Database::postgres().await;
    let store = database.open().await;
    let (ada, tenant) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    database.run_beside(&format!("UPDATE tenants SET name = 'large' WHERE id = '{tenant}'; {ROWS}")).await;
    (database, tenant, ada)
}

/// A node of one connection, since each has plans of its own.
async fn node(database: &Database) -> Store {
    Store::connect(&database.url, PoolSettings { max_connections: 1, ..settings() }).await.unwrap()
}

async fn read(database: &Database) -> Vec<Read> {
    database.rows(READ, "").await
}

async fn ask(store: &Store, tenant: TenantId, ada: AccountId) {
    let middle: Option<Cursor> = Some("80000000000000000000000000000000".parse().unwrap());
    let full = LIMIT as usize;
    for wanted in [AgentsWanted::All, AgentsWanted::SeenBy(ada)] {
        assert_eq!(store.list_agents(tenant, wanted, true, middle, LIMIT).await.unwrap().items.len(), full);
    }
    assert_eq!(store.list_teams(tenant, ada, middle, LIMIT).await.unwrap().items.len(), full);
    assert_eq!(store.teams_of(tenant, ada, None, LIMIT).await.unwrap().items.len(), full);
    assert_eq!(store.list_domains(tenant, middle, LIMIT).await.unwrap().items.len(), full);
    assert_eq!(store.domains_of(tenant, ada, None, LIMIT).await.unwrap().items.len(), full);
    for (account, by, after) in questions(ada) {
        let days = ("2026-01-01".to_owned(), "2026-01-30".to_owned());
        let lines = if by == [UsageBy::Day] { 10 } else { full };
        // Fewer rows than ten days of a page's lines.
        let most_rows = MOST_ROWS;
        let asked = UsageAsked { tenant: Some(tenant), account, days, by, after, limit: LIMIT, most_rows };
        let page = store.usage(&asked).await.unwrap();
        if account.is_none() {
            assert_eq!((page.totals.len().min(lines / 3), page.totals.len() <= lines), (lines / 3, true), "{asked:?}");
        }
    }
}

/// Whose, added up by what, and after which line.
type Question = (Option<AccountId>, Vec<UsageBy>, Option<Vec<String>>);

/// One of each kind.
fn questions(ada: AccountId) -> Vec<Question> {
    let middle = || "80000000-0000-0000-0000-000000000000".to_owned();
    vec![
        (None, vec![UsageBy::Day], None),
        (None, vec![UsageBy::Account], None),
        (None, vec![UsageBy::Account], Some(vec![middle()])),
        (None, vec![UsageBy::Model, UsageBy::Account], Some(vec![String::new(), middle()])),
        (None, vec![UsageBy::Day, UsageBy::Account], None),
        (None, vec![UsageBy::Key], None),
        (None, vec![UsageBy::Key], Some(vec![middle()])),
        (None, vec![UsageBy::Model, UsageBy::Key], Some(vec![String::new(), middle()])),
        (None, vec![UsageBy::Day, UsageBy::Key], None),
        (None, vec![UsageBy::Key, UsageBy::Account], Some(vec![middle(), middle()])),
        (None, UsageBy::ALL.to_vec(), None),
        (Some(ada), vec![UsageBy::Key], None),
        (Some(ada), vec![UsageBy::Model], None),
    ]
}

/// What was read since, of each table that `is_asked` is true of in so many scans at least: a connection tells of it when it goes.
async fn read_since(before: &[Read], database: &Database, scans: i64, is_asked: fn(&str) -> bool) -> Vec<Read> {
    let is_told = |(after, before): (&Read, &Read)| !is_asked(&after.0) || after.2 - before.2 >= scans;
    let mut after = Vec::new();
    let told = async {
        while after.is_empty() || !after.iter().zip(before).all(is_told) {
            after = read(database).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    assert!(told.is_ok(), "of what was read nothing is told: {before:?} {after:?}");
    after
}

#[tokio::test]
async fn what_is_kept_no_longer_is_found_without_what_is_kept() {
    let (database, ..) = large_tenant().await;
    let before = read(&database).await;
    let store = node(&database).await;
    // A day on which there was nothing yet.
    assert_eq!(store.forget_usage_days(at(-30_000_000)).await.unwrap(), 0);
    drop(store);
    let after = read_since(&before, &database, 1, |table| table.starts_with("usage_")).await;
    for ((table, after, _), (_, before, _)) in after.iter().zip(&before) {
        // The planner may look at the ends of an index.
        assert!(after - before <= 30, "{table}: {}", after - before);
    }
}

#[tokio::test]
async fn a_page_of_a_large_tenants_reads_a_page() {
    let (database, tenant, ada) = large_tenant().await;
    // Of what was written here, and told late, nothing counts.
    let before = read(&database).await;
    let store = node(&database).await;
    for _ in 0..TIMES {
        ask(&store, tenant, ada).await;
    }
    drop(store);
    let after = read_since(&before, &database, TIMES, |_| true).await;
    for ((table, after, _), (_, before, _)) in after.iter().zip(&before) {
        // Of usage a page has up to ten days of each line.
        let most = TIMES
            * match table.as_str() {
                "usage_days" => i64::try_from(questions(ada).len()).unwrap() * i64::from(MOST_ROWS + 1),
                _ => 4 * i64::from(LIMIT + 1),
            };
        assert!(after - before <= most, "{table}: {} rows were read, {most} at most", after - before);
    }
}
