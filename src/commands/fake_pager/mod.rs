//! `squelch fake-pager`: a pager to practise on.
//!
//! It speaks PagerDuty's Events API v2, Slack's incoming webhooks and Alertmanager's webhook, and keeps a
//! person's view. This is which incidents opened, merged and closed, and how often a page interrupted the
//! person.

mod events;
mod fault;
mod page;
mod server;
mod state;
mod webhook;

use std::io::{self, Write as _};
use std::net::SocketAddr;

pub use events::{Answered, change, enqueue};
pub use fault::Fault;
pub use server::FakePager;
pub use state::{Incident, Message, Requests, State};
pub use webhook::Webhook;

/// Options of `squelch fake-pager`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on.
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9196", value_name = "ADDRESS",
          value_parser = super::address)]
    pub listen_address: SocketAddr,
    /// Events that one PagerDuty routing key may send in 60 seconds before the answer is 429. 0 = any
    /// number. PagerDuty's own limit is about 120.
    #[arg(long = "pagerduty.rate-limit", default_value_t = 0, value_name = "EVENTS")]
    pub rate_limit: u32,
    /// Where the pager sends PagerDuty's webhook of version 3 when a person acknowledges an incident. It is
    /// an `http://` URL, such as that of Squelch with the path `/pagerduty/v3/webhook`.
    #[arg(long = "pagerduty.webhook-url", value_name = "URL", requires = "webhook_secret")]
    pub webhook_url: Option<String>,
    /// The secret that signs these webhooks: `webhook_secret` of `pagerduty_configs`.
    #[arg(long = "pagerduty.webhook-secret", value_name = "SECRET", requires = "webhook_url")]
    pub webhook_secret: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  Listen at http://127.0.0.1:9196/, and print each page:
    squelch fake-pager
  Refuse events above PagerDuty's own rate:
    squelch fake-pager --pagerduty.rate-limit=120";

/// Serves until the process is stopped. Fails if it cannot listen on the address.
pub async fn run(args: Args) -> io::Result<()> {
    let address = args.listen_address;
    let pager = FakePager::bind(address).await.map_err(|error| {
        let free = "Give a free address in --web.listen-address";
        io::Error::other(format!("cannot listen on {address}: {error}. {free}"))
    })?;
    pager.limit_rate(args.rate_limit);
    pager.tell(print);
    if let (Some(url), Some(secret)) = (&args.webhook_url, &args.webhook_secret) {
        pager.send_webhooks(Webhook::new(url, secret).map_err(io::Error::other)?);
    }
    let at = pager.url("");
    let text = format!(
        "fake pager on {at}
  PagerDuty  url: {at}/v2/enqueue
  Slack      api_url: {at}/slack/any
  webhook    url: {at}/webhook/any
  see        {at}/ in a browser, {at}/incidents  {at}/messages  {at}/requests as JSON
  take on    POST {at}/acknowledge?key=DEDUP_KEY&by=NAME  (or /unacknowledge)
"
    );
    // It serves whether its addresses are read or not.
    let _ = io::stdout().write_all(text.as_bytes());
    pager.serve_forever().await;
    Ok(())
}

/// Prints a line about an event. A closed output stops nothing.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
