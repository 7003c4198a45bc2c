//! Whether what somebody does has written anything: what fails after that is not as if it had never been tried.

use std::cell::Cell;

tokio::task_local! {
    static HAS_WRITTEN: Cell<bool>;
}

/// Does it, and says too whether anything was written with it, or may have been: whether a commit that was broken off came through,
/// nobody knows.
pub async fn noticing_writes<T>(work: impl Future<Output = T>) -> (T, bool) {
    HAS_WRITTEN
        .scope(Cell::new(false), async {
            let done = work.await;
            (done, HAS_WRITTEN.with(Cell::get))
        })
        .await
}

/// Something is about to be committed.
pub(crate) fn writing() {
    HAS_WRITTEN.try_with(|has_written| has_written.set(true)).ok();
}
