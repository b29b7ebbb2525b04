//! A running server, as the commands that read it ask it.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{self, HttpConfig};
use crate::decision_log::MAX_LIMIT;
use crate::deliver::{Answer, AttemptError, HttpClient};
use crate::node::clock::wall;

/// The largest answer that is taken.
const ANSWER_BYTES: usize = 64 << 20;
/// So many further pages of a list are counted.
const COUNTED: usize = 10;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the server is, and the credentials for it. Credentials stand in a file, or in the URL as
/// `http://user:password@host`, as for amtool. A client file holds defaults: `client_file.rs`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Base URL of a running server, with its path prefix.
    #[arg(long, env = "SQUELCH_URL", default_value = "http://127.0.0.1:9096", value_name = "URL")]
    pub url: String,
    /// Options of the HTTP client, such as basic_auth or authorization, as amtool and promtool take them.
    #[arg(long = "http.config.file", value_name = "FILE")]
    pub http_config: Option<PathBuf>,
}

/// A server, and the client that reads its answers.
pub struct ServerClient {
    client: HttpClient,
    url: String,
}

/// The entries of a list, up to a limit.
pub struct Listed<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// How many more there are. Counted up to ten pages.
    pub more: usize,
    /// Whether there are still more, beyond those that are counted.
    pub beyond: bool,
}

impl<T> Listed<T> {
    /// A sentence about the entries that the list leaves out, or nothing. `what` names one of them.
    pub fn left_out(&self, what: &str) -> Option<String> {
        let least = if self.beyond { "at least " } else { "" };
        match (self.more, self.beyond) {
            (0, false) => None,
            (0, true) => Some(format!("the list leaves out some {what}s. Use --limit for more")),
            (1, false) => Some(format!("the list leaves out 1 {what}. Use --limit for more")),
            (more, _) => Some(format!("the list leaves out {least}{more} {what}s. Use --limit for more")),
        }
    }
}

impl ServerClient {
    /// A client of the server that `args` name.
    ///
    /// # Errors
    /// The file of options is wrong, for the reason given.
    pub fn new(args: &Args) -> Result<ServerClient, String> {
        let config = match &args.http_config {
            Some(file) => config::load_http(file).map_err(|e| e.to_string())?,
            None => HttpConfig::default(),
        };
        let client = HttpClient::new(&config, TIMEOUT, wall).map_err(|e| e.to_string())?;
        Ok(ServerClient { client, url: args.url.trim_end_matches('/').to_owned() })
    }

    /// The JSON at `path` with these parameters.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<T, String> {
        let mut url = self.at(path);
        for (n, (name, value)) in parameters.iter().enumerate() {
            url.push(if n == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", encoded(value)));
        }
        self.answered(self.client.get(&url, ANSWER_BYTES).await)
    }

    /// The entries on the pages of a list, up to `limit`, and with `count` the number of the others. `open`
    /// takes a page apart into its entries and the cursor of the next.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn list<P: DeserializeOwned, T>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        (limit, count): (usize, bool),
        open: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Listed<T>, String> {
        let (mut entries, mut more, mut counted) = (Vec::new(), 0, 0);
        let mut cursor = None::<String>;
        loop {
            let room = limit - entries.len();
            if room == 0 && (!count || counted == COUNTED) {
                break;
            }
            let mut asked = parameters.to_vec();
            let size = if room == 0 { MAX_LIMIT } else { room.min(MAX_LIMIT) };
            asked.push(("limit", size.to_string()));
            asked.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let (found, next) = open(self.get(path, &asked).await?);
            match room {
                0 => (more, counted) = (more + found.len(), counted + 1),
                _ => entries.extend(found),
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Listed { entries, more, beyond: cursor.is_some() })
    }

    /// The address of a page of the server, without credentials.
    pub fn page(&self, path: &str) -> String {
        format!("{}{path}", bare(&self.url))
    }

    /// The server's answer to a JSON body at `path`.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        self.answered(self.client.change(Method::POST, &self.at(path), body, ANSWER_BYTES).await)
    }

    /// The server's answer to a DELETE at `path`.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.answered(self.client.change(Method::DELETE, &self.at(path), Vec::new(), ANSWER_BYTES).await)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn answered<T: DeserializeOwned>(&self, answer: Result<Answer, AttemptError>) -> Result<T, String> {
        match answer {
            Ok(answer) => read(&answer),
            Err(error) => {
                let (url, why) = (bare(&self.url), &error.detail);
                Err(match tls_hint(&self.url, why) {
                    "" => format!(
                        "cannot reach {url} ({why}). Set --url or SQUELCH_URL to the address of the server"
                    ),
                    hint => format!("cannot reach {url} ({why}){hint}"),
                })
            }
        }
    }
}

/// The remedy if `why` says that both sides do not agree on TLS. It is empty otherwise.
pub(super) fn tls_hint(url: &str, why: &str) -> &'static str {
    if why.contains("certificate") {
        ". Name the file of its authority as tls_config.ca_file in the file of --http.config.file"
    } else if url.starts_with("http://") && why.contains("invalid HTTP version") {
        ". It may serve TLS: write https:// in the URL"
    } else {
        ""
    }
}

/// A URL without the credentials in it.
pub(super) fn bare(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    match answer.status {
        200 if !answer.truncated => serde_json::from_slice(&answer.body)
            .map_err(|e| format!("the server's answer is not what this version reads: {e}")),
        200 => Err(format!("the server's answer is longer than {ANSWER_BYTES} bytes. Ask for less")),
        status => {
            let Ok(problem) = serde_json::from_slice::<Problem>(&answer.body) else {
                let why = answer.excerpt();
                return Err(format!(
                    "the server answered {status}: {why}. Is --url the address of a Squelch?"
                ));
            };
            Err(format!("the server answered {status}: {}", problem.detail))
        }
    }
}

/// Problem details, of which a person wants the detail.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// A parameter's value in its encoded form for a URL.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Answer, Listed, bare, encoded, read, tls_hint};

    #[test]
    fn an_unreachable_server_is_named_without_its_credentials() {
        assert_eq!(bare("http://ada:s3cret@[::1]:9096/squelch"), "http://[::1]:9096/squelch");
        assert_eq!(bare("http://127.0.0.1:9096"), "http://127.0.0.1:9096");
        assert_eq!(bare("https://squelch/a@b"), "https://squelch/a@b");
    }

    #[test]
    fn an_answer_that_is_not_of_squelch_asks_for_the_right_address() {
        let answer = |body: &str| Answer::new(404, None, body.as_bytes().to_vec());
        let why = read::<()>(&answer("404 page not found")).unwrap_err();
        assert_eq!(why, "the server answered 404: 404 page not found. Is --url the address of a Squelch?");
        let why = read::<()>(&answer(r#"{"detail": "no such incident"}"#)).unwrap_err();
        assert_eq!(why, "the server answered 404: no such incident");
    }

    #[test]
    fn a_disagreement_on_tls_names_its_remedy() {
        assert!(
            tls_hint("https://a:1", "invalid peer certificate: UnknownIssuer").contains("tls_config.ca_file")
        );
        let http = "client error (SendRequest): invalid HTTP version parsed";
        assert!(tls_hint("http://a:1", http).contains("https://"));
        assert_eq!(tls_hint("http://a:1", "Connection refused"), "");
    }

    #[test]
    fn a_list_says_how_much_it_leaves_out() {
        let said = |more, beyond| Listed::<()> { entries: vec![], more, beyond }.left_out("alert");
        assert_eq!(said(0, false), None);
        assert_eq!(said(0, true).unwrap(), "the list leaves out some alerts. Use --limit for more");
        assert_eq!(said(1, false).unwrap(), "the list leaves out 1 alert. Use --limit for more");
        assert_eq!(
            said(10_000, true).unwrap(),
            "the list leaves out at least 10000 alerts. Use --limit for more"
        );
    }

    #[test]
    fn what_stands_in_a_matcher_is_escaped() {
        assert_eq!(encoded("a=~\"x y|é\"&b+1"), "a%3D~%22x%20y%7C%C3%A9%22%26b%2B1");
    }
}
