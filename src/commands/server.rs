//! A running server, as the commands that read it ask it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{self, HttpConfig};
use crate::deliver::HttpClient;

/// The largest answer that is taken.
const ANSWER_BYTES: usize = 64 << 20;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the server is, and how to be let in. Credentials stand in a file, or in the URL as
/// `http://user:password@host`, as for amtool.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Base URL of a running server, with its path prefix.
    #[arg(long, default_value = "http://127.0.0.1:9096", value_name = "URL")]
    pub url: String,
    /// Options of the HTTP client, such as basic_auth or authorization, as amtool and promtool take them.
    #[arg(long = "http.config.file", value_name = "FILE")]
    pub http_config: Option<PathBuf>,
}

/// What a server answers is read with these.
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
        let client = HttpClient::new(&config, TIMEOUT).map_err(|e| e.to_string())?;
        Ok(Server { client, url: args.url.trim_end_matches('/').to_owned() })
    }

    /// What is at `path` with these parameters, as JSON.
    ///
    /// # Errors
    /// There is no answer, or it says no, for the reason given.
    pub async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<T, String> {
        let mut url = format!("{}{path}", self.url);
        for (n, (name, value)) in parameters.iter().enumerate() {
            url.push(if n == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", encoded(value)));
        }
        let answer = self.client.get(&url, ANSWER_BYTES).await;
        let answer = answer.map_err(|e| format!("asking the server: {}", e.detail))?;
        match answer.status {
            200 if !answer.truncated => serde_json::from_slice(&answer.body)
                .map_err(|e| format!("the server's answer is not what this version reads: {e}")),
            200 => Err(format!("the server's answer is longer than {ANSWER_BYTES} bytes; ask for less")),
            status => Err(format!("the server answered {status}: {}", answer.excerpt())),
        }
    }
}

/// A parameter's value as it stands in a URL.
fn encoded(text: &str) -> String {
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
