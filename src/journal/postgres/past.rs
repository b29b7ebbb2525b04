//! Reading the events of a database that replicas may be using.

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connect::DatabasePlace;
use super::{LONG_PATIENCE, OPEN_PATIENCE, failed, int, read, run, runtime, schema};
use crate::journal::past::{COMMITS, PastStore};
use crate::journal::{JournalError, Record, Seq};
use crate::settings::Secret;

/// The journal of a database. It takes no ownership and changes nothing.
pub(in crate::journal) struct PastDatabase {
    // Before the runtime, whose end closes the connection.
    client: Client,
    rt: Runtime,
    place: DatabasePlace,
}

impl PastDatabase {
    /// Opens the journal in the database for reading. `url` holds the URL of the database.
    pub(in crate::journal) fn open(url: &Secret) -> Result<Self, JournalError> {
        let (rt, place) = (runtime()?, DatabasePlace::new(url.clone()));
        let client = run(&rt, OPEN_PATIENCE, async {
            let client = place.connect().await?;
            schema::exact(&place, &client).await?;
            Ok(client)
        })?;
        Ok(PastDatabase { client, rt, place })
    }
}

impl PastStore for PastDatabase {
    fn after(&mut self, last: Seq) -> Result<Vec<Record>, JournalError> {
        let sql = "SELECT first_seq, last_seq, sha256, body FROM squelch_input WHERE first_seq > $1
             ORDER BY first_seq LIMIT $2";
        let values = &[(&int(last) as _, Type::INT8), (&i64::from(COMMITS) as _, Type::INT8)];
        let rows = run(&self.rt, LONG_PATIENCE, async {
            self.client.query_typed(sql, values).await.map_err(failed)
        })?;
        let mut records = Vec::new();
        for row in &rows {
            records.extend(read::events(row).map_err(|reason| self.place.unusable(reason))?);
        }
        Ok(records)
    }
}
