//! The engine's state as bytes: versioned, so that an older one is migrated and a newer refused.
//!
//! MessagePack with the names of the fields, so that fields may be added, compressed by zstd. Times,
//! identities and label sets are text for people. In a snapshot they are plain numbers and bytes.

use std::io::{BufReader, BufWriter};

use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Version of the format written here. 1 was JSON. 2 kept the states at the destinations apart. No release
/// had either.
const VERSION: u32 = 3;

/// zstd's fastest level. State is repetitive, and pages wait while a snapshot is written.
const LEVEL: i32 = 1;
/// How many bytes go to or come from the compressor at once.
const AT_ONCE: usize = 1 << 16;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    engine: &'a Engine,
}

/// The common beginning of every version.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct Body {
    version: u32,
    engine: Engine,
}

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Damaged.
    #[error("engine snapshot cannot be read: {0}")]
    Damaged(#[from] rmp_serde::decode::Error),
    /// Not compressed as this program does it.
    #[error("engine snapshot cannot be unpacked: {0}")]
    Packed(#[from] std::io::Error),
    /// Of a version that this program does not know.
    #[error(
        "engine snapshot has version {0}, and this program knows {VERSION}: run the program that wrote it"
    )]
    Version(u32),
}

impl Engine {
    /// The whole state. Taken between events.
    pub fn snapshot(&self) -> Vec<u8> {
        // Writing plain data into memory cannot fail: no type's Serialize returns an error of its own, and
        // a Vec takes all.
        let written = || -> Option<Vec<u8>> {
            // Each field is a write of its own. The compressor gets many at once.
            let mut packed = BufWriter::with_capacity(AT_ONCE, zstd::Encoder::new(Vec::new(), LEVEL).ok()?);
            let mut to = rmp_serde::Serializer::new(&mut packed).with_struct_map();
            Written { version: VERSION, engine: self }.serialize(&mut to).ok()?;
            packed.into_inner().ok()?.finish().ok()
        };
        written().unwrap_or_default()
    }

    /// The state that [`Self::snapshot`] wrote.
    ///
    /// # Errors
    /// It is damaged, or of another version.
    pub fn restore(bytes: &[u8]) -> Result<Engine, RestoreError> {
        let unpacked =
            || zstd::Decoder::with_buffer(bytes).map(|from| BufReader::with_capacity(AT_ONCE, from));
        match rmp_serde::from_read::<_, Body>(unpacked()?) {
            Ok(Body { version: VERSION, mut engine }) => {
                engine.reindex();
                Ok(engine)
            }
            Ok(Body { version, .. }) => Err(RestoreError::Version(version)),
            // Of another version nothing but its number may be understood.
            Err(e) => match rmp_serde::from_read::<_, Header>(unpacked()?) {
                Ok(Header { version }) if version != VERSION => Err(RestoreError::Version(version)),
                Ok(_) | Err(_) => Err(e.into()),
            },
        }
    }
}
