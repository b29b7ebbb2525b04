//! Secrets: the form of each, and the files that hold them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{SigningKeys, is_template};
use crate::outside::{self, FileError};

/// The text that Alertmanager writes in place of a secret, and reads again.
const PLACEHOLDER: &str = "<secret>";

/// The largest secret file, in bytes. A larger file is no secret.
const MOST_BYTES: u64 = 64 * 1024;

/// A secret: given inline, or a file that is read each time it is needed.
///
/// It has no `Serialize`. `Debug` and `Display` print `<secret>`.
#[derive(Clone)]
pub enum Secret {
    /// The value itself, which was checked when the configuration was read.
    Inline(Arc<str>),
    /// Where the value stands.
    File(Arc<SecretFile>),
}

/// A file that holds one secret, and the key of the configuration that names it.
pub struct SecretFile {
    /// The file.
    pub path: PathBuf,
    /// The key.
    pub key: SmolStr,
    /// The line of the key, from 1. It is 0 if it is not known.
    pub line: u32,
    /// The form of the file's content.
    pub form: SecretForm,
}

/// The form of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretForm {
    /// An integration key of PagerDuty, or of a compatible service.
    RoutingKey,
    /// An http or https URL.
    Url,
    /// The value of a header, or a part of one.
    Header,
    /// A password: any characters on one line.
    Password,
    /// Standard Webhooks secrets, with blanks or line breaks between them.
    Signing,
    /// A private key in PEM.
    Key,
    /// A shared credentials file of AWS, with the credentials of several profiles.
    Profiles,
}

/// A secret file that cannot be used. It names the file and never the secret.
#[derive(Debug, thiserror::Error)]
#[error("secret file {} ({key}) {reason}", path.display())]
pub struct SecretError {
    path: PathBuf,
    key: SmolStr,
    reason: SecretReason,
}

/// Why a file holds no secret that can be used.
#[derive(Debug, thiserror::Error)]
enum SecretReason {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Wrong(String),
}

impl SecretError {
    /// Whether the file is not there or may not be read, and so may be well where the program runs.
    pub fn is_absent(&self) -> bool {
        matches!(self.reason, SecretReason::File(FileError::Open(_)))
    }

    /// Whether nothing answers when the file is read.
    pub fn hangs(&self) -> bool {
        matches!(self.reason, SecretReason::File(FileError::Hangs(_)))
    }
}

impl Secret {
    /// The value, for delivery. A file is read now, which blocks the thread for at most
    /// [`outside::PATIENCE`].
    ///
    /// # Errors
    /// The file cannot be read, or its content cannot be this secret.
    pub fn reveal(&self) -> Result<Arc<str>, SecretError> {
        match self {
            Secret::Inline(value) => Ok(value.clone()),
            Secret::File(file) => file.secret(outside::read(&file.path, MOST_BYTES)),
        }
    }

    /// The same within `patience`. It blocks nothing.
    ///
    /// # Errors
    /// The same.
    pub async fn reveal_apart(&self, patience: std::time::Duration) -> Result<Arc<str>, SecretError> {
        match self {
            Secret::Inline(value) => Ok(value.clone()),
            Secret::File(file) => file.secret(outside::read_apart(&file.path, MOST_BYTES, patience).await),
        }
    }
}

impl SecretFile {
    /// The secret in the bytes of a file.
    fn secret(&self, read: Result<Arc<[u8]>, FileError>) -> Result<Arc<str>, SecretError> {
        let secret = read.map_err(SecretReason::from).and_then(|bytes| {
            let wrong = |reason: String| SecretReason::Wrong(reason);
            let text = std::str::from_utf8(&bytes);
            let text = text.map_err(|_| wrong("is not UTF-8. Save it as UTF-8".into()))?;
            // Editors on Windows put a mark at the beginning, which cannot be seen.
            let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
            self.form.check(text).map_err(wrong)?;
            Ok(text.into())
        });
        secret.map_err(|reason| SecretError { path: self.path.clone(), key: self.key.clone(), reason })
    }
}

impl SecretForm {
    /// Whether `text` can be such a secret.
    ///
    /// # Errors
    /// The error and the right form, behind the name of the key or the file. It does not show the text.
    pub fn check(self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("is empty. Write a value, or remove it".into());
        }
        if self == SecretForm::Signing {
            return SigningKeys::parse(text).map(|_| ()).map_err(|wrong| format!("is wrong: {wrong}"));
        }
        if self == SecretForm::Key {
            let right = "Write the private key with its lines -----BEGIN PRIVATE KEY----- and END";
            let is_pem = text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----");
            return if is_pem { Ok(()) } else { Err(format!("is not PEM. {right}")) };
        }
        if self == SecretForm::Profiles {
            let right = "Write the line [default] and the keys of that profile below it";
            let names_one = text.lines().any(|line| line.trim_start().starts_with('['));
            return if names_one { Ok(()) } else { Err(format!("names no profile. {right}")) };
        }
        match text.lines().count() {
            1 => {}
            lines => return Err(format!("holds {lines} lines. Write the secret alone, on one line")),
        }
        if let Some(found) = text.chars().find(|c| c.is_control() || is_invisible(*c)) {
            let code = u32::from(found);
            return Err(format!("holds a character that cannot be seen (U+{code:04X}). Remove it"));
        }
        if self != SecretForm::Password && in_quotes(text) {
            return Err("stands in quotes. Write it without them".into());
        }
        let graphic = text.chars().all(|c| c.is_ascii_graphic());
        match self {
            SecretForm::Url => match super::url::check_url(text) {
                Ok(None) => Ok(()),
                Ok(Some(why)) | Err(why) => Err(format!("{why}. Write an http or https URL")),
            },
            SecretForm::RoutingKey if is_template(text) => {
                Err("holds a template. Write it inline, as routing_key".into())
            }
            SecretForm::RoutingKey if !graphic => {
                Err("holds what no integration key does. Write letters and digits only".into())
            }
            SecretForm::Header if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
                Err("holds what a header cannot carry. Write printable ASCII on one line".into())
            }
            _ => Ok(()),
        }
    }

    /// The same for a text that stands in the configuration. Alertmanager takes any text there but a URL
    /// that is none, so the rest only makes a person doubt. `Some` is why nothing can be sent with it.
    ///
    /// # Errors
    /// Why Alertmanager refuses it too, or for a secret of ours why it cannot be one.
    pub(crate) fn check_inline(self, text: &str) -> Result<Option<String>, String> {
        let wrong = self.check(text).err();
        match self {
            _ if text == PLACEHOLDER => Ok(Some("is a placeholder. Write the value".into())),
            SecretForm::Signing => wrong.map_or(Ok(None), Err),
            SecretForm::Url => {
                super::url::check_url(text).map_err(|why| format!("{why}. Write an http or https URL"))?;
                Ok(wrong)
            }
            SecretForm::RoutingKey
            | SecretForm::Header
            | SecretForm::Password
            | SecretForm::Key
            | SecretForm::Profiles => Ok(wrong),
        }
    }

    /// A valid form of such a secret that is probably a mistake.
    pub(crate) fn doubt(self, text: &str) -> Option<&'static str> {
        (self == SecretForm::Password && in_quotes(text))
            .then_some("stands in quotes, which then are a part of the password. Remove them")
    }
}

fn in_quotes(text: &str) -> bool {
    text.len() > 1 && ['"', '\'', '`'].into_iter().any(|q| text.starts_with(q) && text.ends_with(q))
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || c == '\u{feff}'
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(form: SecretForm, bytes: &[u8]) -> Result<Arc<str>, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        Secret::File(Arc::new(SecretFile { path, key: "key_file".into(), line: 1, form })).reveal()
    }

    #[test]
    fn a_secret_file_that_cannot_be_the_secret_is_refused_without_showing_it() {
        use SecretForm::*;
        let table: [(SecretForm, &[u8], &str); 21] = [
            (RoutingKey, b"", "is empty"),
            (Url, b"\n", "is empty"),
            (Password, b"\xef\xbb\xbf\n", "is empty"),
            (RoutingKey, b"hunter2\n# rotated in January\n", "holds 2 lines"),
            (Password, b"hunter2\nhunter3", "holds 2 lines"),
            (Header, b"hunter2\r\n\r\nx", "holds 3 lines"),
            (RoutingKey, b"\"hunter2\"", "in quotes"),
            (Header, b"'hunter2'\n", "in quotes"),
            (Url, b"\"http://127.0.0.1/hunter2\"\n", "in quotes"),
            (RoutingKey, b"hunter2\x00", "U+0000"),
            (Password, "hunter2\u{200b}".as_bytes(), "U+200B"),
            (RoutingKey, "\u{feff}\u{feff}hunter2".as_bytes(), "U+FEFF"),
            (RoutingKey, b"key: hunter2", "letters and digits"),
            (RoutingKey, b"{{.CommonLabels.hunter2}}", "holds a template"),
            (Header, "hünter2".as_bytes(), "a header cannot carry"),
            (Password, b"hunter2\xff", "not UTF-8"),
            (Url, b"hunter2.example/x", "Write an http or https URL"),
            (Url, b"ftp://hunter2/", "is not an http or https URL"),
            (Signing, b"hunter2", "signing secret 1"),
            (Key, b"hunter2\n", "is not PEM"),
            (Profiles, b"aws_secret_access_key = hunter2\n", "names no profile"),
        ];
        for (form, bytes, says) in table {
            let error = file(form, bytes).expect_err(says);
            let said = error.to_string();
            assert!(said.contains(says) && said.contains("(key_file)"), "{said}");
            assert!(!said.contains("hunter2") && !error.is_absent(), "{said}");
        }
        let large = vec![b'x'; 70_000];
        assert!(file(Password, &large).unwrap_err().to_string().contains("larger than 65536 bytes"));
    }

    #[test]
    fn a_secret_file_is_read_without_the_mark_and_the_blanks_round_it() {
        let key = "R0UT1NGKEY0123456789abcdef000001";
        let read = |form, text: String| file(form, text.as_bytes()).unwrap().to_string();
        assert_eq!(read(SecretForm::RoutingKey, format!("\u{feff}{key}\r\n")), key);
        assert_eq!(read(SecretForm::Password, " pass word ü \n".into()), "pass word ü");
        assert_eq!(read(SecretForm::Password, "'quoted'".into()), "'quoted'");
        assert_eq!(
            read(SecretForm::Url, "http://127.0.0.1:1/x?token=a\n".into()),
            "http://127.0.0.1:1/x?token=a"
        );
        let keys = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(read(SecretForm::Signing, format!("{keys}\n")), keys);
    }

    #[test]
    fn a_secret_file_that_is_not_there_is_told_from_a_wrong_one() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path| {
            let form = SecretForm::Password;
            Secret::File(Arc::new(SecretFile { path, key: "k".into(), line: 1, form })).reveal().unwrap_err()
        };
        assert!(read(folder.path().join("none")).is_absent());
        assert!(!read(folder.path().to_owned()).is_absent(), "a folder is no file");
    }
}
