//! Signature Version 4 of AWS, for a form that is posted to `/` or to another path without a query.
//!
//! Rule: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::model::{Timestamp, hex};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The type of the body, which the signature covers.
pub(super) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The identity that signs.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) session_token: Option<&'a str>,
    pub(super) region: &'a str,
    /// The service that is asked: `sns` or `sts`.
    pub(super) service: &'a str,
}

impl Signer<'_> {
    /// The headers that sign a body for `url`.
    pub(super) fn headers(&self, url: &str, body: &[u8], at: Timestamp) -> Vec<(&'static str, String)> {
        let (host, path) = host_and_path(url);
        let stamp = stamp(at);
        let day = &stamp[..8];
        let mut signed = vec![("content-type", CONTENT_TYPE.to_owned()), ("host", host)];
        signed.push(("x-amz-date", stamp.clone()));
        signed.extend(self.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n{path}\n\n{lines}\n{names}\n{}", hex(Sha256::digest(body).as_slice()));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text =
            format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex(Sha256::digest(request.as_bytes()).as_slice()));
        let start = format!("AWS4{}", self.secret_key).into_bytes();
        let key = [day, self.region, self.service, "aws4_request"];
        let key = key.iter().fold(start, |key, part| mac(&key, part.as_bytes()));
        let signature = hex(&mac(&key, text.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);
        let authorization =
            format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}");
        signed.retain(|(name, _)| name.starts_with("x-amz-"));
        signed.push(("authorization", authorization));
        signed
    }
}

/// As the client writes the header `Host`, and the path.
fn host_and_path(url: &str) -> (String, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let usual = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let host = host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
    (host, if path.is_empty() { "/" } else { path })
}

/// `20261123T100000Z`.
fn stamp(at: Timestamp) -> String {
    let whole = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000).to_string();
    whole.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `botocore` 1.29 made this signature.
    #[test]
    fn a_form_is_signed_as_aws_signs_it() {
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token: Some("token"),
            region: "us-east-1",
            service: "sns",
        };
        let at = Timestamp::parse("2026-11-23T10:00:00.25Z").unwrap();
        let headers = signer.headers("https://SNS.us-east-1.amazonaws.com:443/", b"Action=Publish", at);
        let expected = [
            ("x-amz-date", "20261123T100000Z"),
            ("x-amz-security-token", "token"),
            ("authorization", include_str!("../../../tests/data/sigv4.txt").trim_end()),
        ];
        assert_eq!(headers.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>(), expected);
    }
}
