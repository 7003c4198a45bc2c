//! Records that are not there.

use store::StoreError;

use super::ApiError;

/// Says what is missing, where the store only says that something is.
pub(crate) trait OrMissing<T> {
    /// What was found, or `missing`.
    fn or_missing(self, missing: ApiError) -> Result<T, ApiError>;
}

impl<T> OrMissing<T> for Result<T, StoreError> {
    fn or_missing(self, missing: ApiError) -> Result<T, ApiError> {
        self.map_err(|error| if matches!(error, StoreError::NotFound) { missing } else { error.into() })
    }
}
