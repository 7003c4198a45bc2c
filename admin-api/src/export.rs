//! Everything, as it is sent: what was used may be a great deal, and is read while the rest is on its way, some lines at a time.

use std::{collections::VecDeque, sync::Arc};

use futures_util::stream::{Stream, try_unfold};
use identity::{AccountId, TenantId};
use serde::Serialize;
use store::UsageAsked;

use crate::{
    error::ApiError,
    office::Office,
    routes::list_usage::{UsageItem, all_of, next_of},
};

/// After the last line.
const END: &[u8] = b"]}";

/// What is still to be written.
struct Writing {
    office: Arc<Office>,
    account: AccountId,
    /// The whole but what was used, and the beginning of that.
    head: Option<Vec<u8>>,
    /// More of the tenant that was last begun with.
    asked: Option<UsageAsked>,
    /// Tenants that have not been begun with.
    used_in: VecDeque<Option<TenantId>>,
    has_lines: bool,
    is_over: bool,
}

/// The whole, whose last member is an empty list `usage`, with all that an account has used in these tenants. Where what was used cannot be read any
/// more the answer breaks off, so that nobody takes it for the whole.
pub(crate) fn written<T: Serialize>(
    office: Arc<Office>,
    whole: &T,
    account: AccountId,
    used_in: Vec<Option<TenantId>>,
) -> Result<impl Stream<Item = Result<Vec<u8>, ApiError>> + use<T>, ApiError> {
    let broken = |why: String| ApiError::Internal(why);
    let mut head = serde_json::to_vec(whole).map_err(|error| broken(error.to_string()))?;
    if !head.ends_with(br#""usage":[]}"#) {
        return Err(broken("what was used is not the last of an export, or not empty".to_owned()));
    }
    head.truncate(head.len() - END.len());
    let writing = Writing {
        office,
        account,
        head: Some(head),
        asked: None,
        used_in: used_in.into(),
        has_lines: false,
        is_over: false,
    };
    Ok(try_unfold(writing, async |mut writing| {
        let piece = writing.next().await.inspect_err(|error| {
            tracing::warn!(%error, account = %writing.account, "an export has broken off");
        });
        Ok(piece?.map(|piece| (piece, writing)))
    }))
}

// === impl Writing ===

impl Writing {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        loop {
            let begun = self.asked.take();
            let Some(asked) = begun.or_else(|| Some(all_of(self.used_in.pop_front()?, self.account))) else {
                let was_over = std::mem::replace(&mut self.is_over, true);
                return Ok((!was_over).then(|| END.to_vec()));
            };
            let (lines, more) = next_of(&self.office, asked).await?;
            self.asked = more;
            if !lines.is_empty() {
                return self.lines(&lines).map(Some);
            }
        }
    }

    fn lines(&mut self, lines: &[UsageItem]) -> Result<Vec<u8>, ApiError> {
        let mut piece = Vec::new();
        for line in lines {
            if std::mem::replace(&mut self.has_lines, true) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, line).map_err(|error| ApiError::Internal(error.to_string()))?;
        }
        Ok(piece)
    }
}
