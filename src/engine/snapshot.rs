//! The engine's state as bytes: versioned, so that an older one is migrated and a newer refused.

use serde::{Deserialize, Serialize};

use super::Engine;

/// Version of the format written here.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    engine: &'a Engine,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct Body {
    engine: Engine,
}

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not a snapshot, or damaged.
    #[error("engine snapshot cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Of a version that this program does not know.
    #[error(
        "engine snapshot has version {0}, and this program knows {VERSION}: run the program that wrote it"
    )]
    Version(u32),
}

impl Engine {
    /// The whole state as JSON. Taken between events.
    pub fn snapshot(&self) -> Vec<u8> {
        // Serialising plain data into memory has no way to fail: no maps with other than string keys
        // are left, and no type's Serialize returns an error of its own.
        serde_json::to_vec(&Written { version: VERSION, engine: self }).unwrap_or_default()
    }

    /// The state that [`Self::snapshot`] wrote.
    pub fn restore(bytes: &[u8]) -> Result<Engine, RestoreError> {
        let header: Header = serde_json::from_slice(bytes)?;
        if header.version != VERSION {
            return Err(RestoreError::Version(header.version));
        }
        let mut engine = serde_json::from_slice::<Body>(bytes)?.engine;
        engine.reindex();
        Ok(engine)
    }
}
