//! Standard Webhooks secrets: `whsec_` and base64 of 24 to 64 bytes.
//!
//! Rule: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The most secrets at a time. Each adds a signature to a header.
const MOST: usize = 8;

/// The keys with which a webhook is signed, the present one first.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeys(Vec<Vec<u8>>);

/// Why a text is no signing secret. It does not show the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningSecretError {
    /// Not base64.
    #[error("signing secret {0} is not base64. Write whsec_ and base64 of 24 to 64 random bytes")]
    NotBase64(usize),
    /// Too easily guessed, or longer than the standard allows.
    #[error("signing secret {position} has {bytes} bytes. Write whsec_ and base64 of 24 to 64 random bytes")]
    Length {
        /// Its position, from 1.
        position: usize,
        /// The decoded length.
        bytes: usize,
    },
    /// None, or too many.
    #[error("there are {0} signing secrets. Write 1 to {MOST}, with blanks or line breaks between them")]
    Count(usize),
}

impl SigningKeys {
    /// Reads secrets with blanks or line breaks between them. `whsec_` before each is optional.
    ///
    /// # Errors
    /// There is none or too many, or one is not base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let mut keys = Vec::new();
        for (i, secret) in text.split_whitespace().enumerate() {
            let position = i + 1;
            let secret = secret.strip_prefix("whsec_").unwrap_or(secret);
            let key = STANDARD.decode(secret).map_err(|_| SigningSecretError::NotBase64(position))?;
            if !(24..=64).contains(&key.len()) {
                return Err(SigningSecretError::Length { position, bytes: key.len() });
            }
            keys.push(key);
        }
        if !(1..=MOST).contains(&keys.len()) {
            return Err(SigningSecretError::Count(keys.len()));
        }
        Ok(SigningKeys(keys))
    }

    /// The keys, for the signer.
    pub fn reveal(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_with_and_without_prefix_and_several_at_a_time() {
        let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let keys = SigningKeys::parse(&format!("{one}\nMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")).unwrap();
        assert_eq!(keys.reveal().map(<[u8]>::len).collect::<Vec<_>>(), [24, 24]);
        assert_eq!(format!("{keys:?}"), "<secret>");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for (text, says) in [
            ("", "there are 0"),
            ("whsec_aGVsbG8=", "has 5 bytes"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw tops3cret!", "signing secret 2 is not base64"),
        ] {
            let said = SigningKeys::parse(text).unwrap_err().to_string();
            assert!(said.contains(says) && !said.contains("tops3cret"), "{said}");
        }
    }
}
