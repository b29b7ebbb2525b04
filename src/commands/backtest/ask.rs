//! Asks a Prometheus-compatible server for its `ALERTS`, window by window.

use std::collections::VecDeque;
use std::time::Duration as StdDuration;

use tokio::sync::mpsc;

use super::progress::Shown;
use crate::commands::server::{bare, tls_hint};
use crate::config::HttpConfig;
use crate::deliver::HttpClient;
use crate::history::{HistoryError, Past, PrometheusHistory, Window, windows};
use crate::model::Duration;
use crate::node::clock::wall;

/// The largest answer that is taken. A window whose answer is larger is split into halves.
const ANSWER_BYTES: usize = 64 << 20;

/// How long one answer may take: servers give a query two minutes by default.
const TIMEOUT: StdDuration = StdDuration::from_secs(150);

/// A server, and the question for it.
pub(super) struct Question {
    pub(super) url: String,
    /// How the server lets us in.
    pub(super) http: HttpConfig,
    pub(super) since: Duration,
    pub(super) step: Duration,
    /// Labels that the server's alerts carry beyond those of the series.
    pub(super) external: Vec<(String, String)>,
}

/// Asks for all from `since` ago until now, and hands the events of each window to `out`, or the error that
/// ends it.
pub(super) async fn ask(
    question: Question,
    shown: &Shown,
    out: mpsc::Sender<Result<Vec<Past>, HistoryError>>,
) {
    let now = wall();
    let url = &question.url;
    let mut left: VecDeque<Window> = windows(now - question.since, now, question.step).into();
    shown.of(left.len() as u64);
    let client = match HttpClient::new(&question.http, TIMEOUT, wall) {
        Ok(client) => client,
        Err(error) => return drop(out.send(Err(HistoryError::Source(error.to_string()))).await),
    };
    let mut history = PrometheusHistory::new(question.external);
    while let Some(window) = left.pop_front() {
        let events = match one(&client, url, &window).await {
            Ok(Some(body)) => history.read(&window, &body),
            Ok(None) => match window.halves() {
                Some([first, second]) => {
                    shown.grow();
                    left.push_front(second);
                    left.push_front(first);
                    continue;
                }
                None => Err(HistoryError::Source(format!(
                    "{}: the server cannot answer for this one step within {ANSWER_BYTES} bytes",
                    window.start
                ))),
            },
            Err(why) => Err(HistoryError::Source(why)),
        };
        let failed = events.is_err();
        shown.add(1);
        if out.send(events).await.is_err() || failed {
            return;
        }
    }
}

/// The answer for one window. `None` if it is too much for the server or for Squelch.
async fn one(client: &HttpClient, url: &str, window: &Window) -> Result<Option<Vec<u8>>, String> {
    let url = format!("{}{}", url.trim_end_matches('/'), window.query());
    let answer = client.get(&url, ANSWER_BYTES).await.map_err(|e| {
        format!("cannot reach {} of --prometheus ({}){}", bare(&url), e.detail, tls_hint(&url, &e.detail))
    })?;
    match answer.status {
        _ if answer.truncated => Ok(None),
        200 => Ok(Some(answer.body)),
        // 422: more samples than the server may load. 503: it took too long.
        422 | 503 if window.halves().is_some() => Ok(None),
        401 | 403 => Err(format!(
            "the server answered {}: {}. Write its credentials into a file for --http.config.file",
            answer.status,
            answer.excerpt()
        )),
        status => Err(format!("the server answered {status}: {}", answer.excerpt())),
    }
}
