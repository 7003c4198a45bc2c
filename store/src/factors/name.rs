//! What the owner of a factor calls it. It decides over nothing.

use identity::{AccountId, FactorId};

use crate::{Store, StoreError, db::on_tx};

impl Store {
    /// Calls a factor something else, or nothing; [`StoreError::NotFound`] if the account has no such factor.
    pub async fn rename_factor(&self, account: AccountId, id: FactorId, name: Option<&str>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE factors SET name = $3 WHERE id = $1 AND account_id = $2 AND confirmed_at IS NOT NULL";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let named = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(account.uuid())
                .bind(name)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if named == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit(tx).await
        })
        .await
    }
}
