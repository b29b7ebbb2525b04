//! Secrets, read within the time of an attempt.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::Secret;
use crate::receivers::AttemptError;

/// The value of a secret, if its file can be read before `until`.
pub(super) async fn reveal(secret: &Secret, until: Instant) -> Result<Arc<str>, AttemptError> {
    let patience = until.saturating_duration_since(Instant::now());
    secret.reveal_apart(patience).await.map_err(|error| match error.hangs() {
        true => AttemptError::late(error.to_string()),
        false => AttemptError::ours(error.to_string()),
    })
}
