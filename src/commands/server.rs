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
pub struct Server {
    client: HttpClient,
    url: String,
}

impl Server {
    /// A client of the server that `args` name.
    ///
    /// # Errors
    /// The file of options is wrong, for the reason given.
    pub fn new(args: &Args) -> Result<Server, String> {
        let config = match &args.http_config {
            Some(file) => config::load_http(file).map_err(|e| e.to_string())?,
            None => HttpConfig::default(),
        };
        let client = HttpClient::new(&config, TIMEOUT, wall).map_err(|e| e.to_string())?;
        Ok(Server { client, url: args.url.trim_end_matches('/').to_owned() })
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
        answered(self.client.get(&url, ANSWER_BYTES).await)
    }

    /// The entries on the pages of a list, up to `limit`. `open` takes a page apart into its entries and
    /// the cursor of the next.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn list<P: DeserializeOwned, T>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        limit: usize,
        open: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, String> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        while all.len() < limit {
            let mut asked = parameters.to_vec();
            asked.push(("limit", (limit - all.len()).min(MAX_LIMIT).to_string()));
            asked.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let (entries, next) = open(self.get(path, &asked).await?);
            all.extend(entries);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// The server's answer to a JSON body at `path`.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        answered(self.client.change(Method::POST, &self.at(path), body, ANSWER_BYTES).await)
    }

    /// The server's answer to a DELETE at `path`.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        answered(self.client.change(Method::DELETE, &self.at(path), Vec::new(), ANSWER_BYTES).await)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

fn answered<T: DeserializeOwned>(answer: Result<Answer, AttemptError>) -> Result<T, String> {
    let answer = answer.map_err(|e| format!("asking the server: {}", e.detail))?;
    match answer.status {
        200 if !answer.truncated => serde_json::from_slice(&answer.body)
            .map_err(|e| format!("the server's answer is not what this version reads: {e}")),
        200 => Err(format!("the server's answer is longer than {ANSWER_BYTES} bytes. Ask for less")),
        status => {
            let problem = serde_json::from_slice::<Problem>(&answer.body);
            let why = problem.map_or_else(|_| answer.excerpt().to_owned(), |problem| problem.detail);
            Err(format!("the server answered {status}: {why}"))
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
    use super::encoded;

    #[test]
    fn what_stands_in_a_matcher_is_escaped() {
        assert_eq!(encoded("a=~\"x y|é\"&b+1"), "a%3D~%22x%20y%7C%C3%A9%22%26b%2B1");
    }
}
