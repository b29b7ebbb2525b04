//! amtool, with the same script against Alertmanager and against Squelch.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Pair, inhibited, plain};
use crate::tools;

/// One call: its arguments, and its input. `ID1` stands for the first id that was printed, and `<` for the
/// output of the call before it.
type Step = (&'static [&'static str], &'static str);

/// Alerts, and one that inhibits another one.
const ALERTS: &[Step] = &[
    (
        &[
            "alert",
            "add",
            "alertname=Down",
            "severity=page",
            "--annotation=summary='it is down'",
            "--generator-url=http://p/g?a=1&b=2",
        ],
        "",
    ),
    (&["alert", "add", "Slow", "team=db", "job=b", "--annotation=summary='slow <&>'"], ""),
    (&["alert", "add", "Slow", "team=db", "job=a", "--start=2026-01-01T00:00:00Z"], ""),
    (&["alert", "add", "Source", "severity=page"], ""),
    (&["alert", "add", "Target"], ""),
];

/// The calls of a person.
const SCRIPT: &[Step] = &[
    (&["alert", "query"], ""),
    (&["alert"], ""),
    (&["alert", "query", "-o", "extended"], ""),
    (&["alert", "query", "-o", "json"], ""),
    (&["alert", "query", "Slow"], ""),
    (&["alert", "query", "alertname=~Down|Slow", "job!=a"], ""),
    (&["alert", "query", "severity!~p.*"], ""),
    (&["alert", "query", "team=\"\""], ""),
    (&["alert", "query", "team!=\"\""], ""),
    (&["alert", "query", "Nothing"], ""),
    (&["alert", "query", "-a"], ""),
    (&["alert", "query", "-i"], ""),
    (&["alert", "query", "-s"], ""),
    (&["alert", "query", "-u"], ""),
    (&["alert", "query", "-a", "-s", "-i", "-u", "-o", "json"], ""),
    (&["alert", "query", "--receiver=pager"], ""),
    (&["alert", "query", "--receiver=pag.*|none"], ""),
    (&["alert", "query", "--receiver=none", "-o", "json"], ""),
    (&["silence", "query"], ""),
    (&["silence", "add", "--author=ada", "--comment=disk swap", "Slow", "job=~a|b"], ""),
    (
        &["silence", "add", "--author=bob", "--comment=night", "--duration=3h", "team!=db", "severity!~x|y"],
        "",
    ),
    (&["alert", "query"], ""),
    (&["alert", "query", "-s", "-o", "extended"], ""),
    (&["alert", "query", "-s", "-o", "json"], ""),
    (&["silence", "query"], ""),
    (&["silence", "query", "-o", "extended"], ""),
    (&["silence", "query", "-q"], ""),
    (&["silence", "query", "Slow"], ""),
    (&["silence", "query", "alertname=Other"], ""),
    (&["silence", "query", "--created-by=bob"], ""),
    (&["silence", "query", "--within=2h"], ""),
    (&["silence", "update", "--duration=2h", "--comment=longer", "ID1"], ""),
    (&["silence", "query", "-o", "json"], ""),
    (&["silence", "import", "--worker=1"], "<"),
    (&["silence", "expire", "ID1"], ""),
    (&["silence", "query"], ""),
    (&["silence", "query", "--expired"], ""),
    (&["alert", "query"], ""),
    (
        &["silence", "import"],
        r#"[{"id":"11111111-2222-4333-8444-555555555555","matchers":[{"name":"a","value":"b","isRegex":false}],
            "startsAt":"2026-01-01T00:00:00Z","endsAt":"2199-01-01T00:00:00Z","createdBy":"c","comment":"d"}]"#,
    ),
    (&["silence", "query"], ""),
    (&["cluster"], ""),
    (&["cluster", "show", "-o", "extended"], ""),
    (&["cluster", "show", "-o", "json"], ""),
    (&["config", "routes"], ""),
    (&["config", "routes", "show"], ""),
    (&["config", "routes", "test", "severity=page", "team=db"], ""),
    (&["config", "routes", "test", "--verify.receivers=web", "team=db"], ""),
];

/// One side of the comparison.
struct Side {
    address: SocketAddr,
    ids: BTreeMap<String, usize>,
    last: String,
}

impl Side {
    /// The output of a step, or nothing without amtool.
    async fn run(&mut self, (args, input): &Step) -> Option<String> {
        let url = format!("--alertmanager.url=http://{}", self.address);
        let named = |arg: &&str| {
            let id = self.ids.iter().find(|(_, n)| **arg == format!("ID{n}"));
            id.map_or((*arg).to_owned(), |(id, _)| id.clone())
        };
        let args: Vec<String> =
            [url, "--no-version-check".into()].into_iter().chain(args.iter().map(named)).collect();
        let input = if *input == "<" { self.last.clone() } else { (*input).to_owned() };
        let ask = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            tools::ask("amtool", &args, &input)
        };
        let verdict = tokio::task::spawn_blocking(ask).await.unwrap()?;
        self.last = verdict.said.clone();
        let said = plain(&verdict.said, &mut self.ids);
        Some(format!("passed: {}\n{said}", verdict.passed))
    }
}

/// Each line that amtool prints of Squelch is the line that it prints of Alertmanager, but for times and ids.
#[tokio::test(flavor = "multi_thread")]
async fn amtool_prints_of_squelch_what_it_prints_of_alertmanager() {
    let Some(pair) = Pair::start().await else { return };
    let mut sides = pair.both().map(|address| Side { address, ids: BTreeMap::new(), last: String::new() });
    for (number, step) in ALERTS.iter().chain(SCRIPT).enumerate() {
        if number == ALERTS.len() {
            for side in &sides {
                inhibited(side.address).await;
            }
        }
        let [theirs, ours] = &mut sides;
        let Some(expected) = theirs.run(step).await else { return };
        assert_eq!(ours.run(step).await.unwrap(), expected, "step {number}: amtool {:?}", step.0);
    }
    pair.ours.stop().await;
}

/// amtool reads the configuration that Squelch shows: secrets are masked, and it has no unknown key.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_that_squelch_shows_is_one_of_alertmanager() {
    let own = "noise: {mine: {wait: 1m}}\nglobal: {stale_after: 13h, resolve_timeout: 6m}\nstorage: {}\n";
    let config = format!(
        "{}{own}",
        super::CONFIG.replace("  receiver: web\n  group_by", "  noise: mine\n  receiver: web\n  group_by")
    );
    let home = crate::e2e::squelch::Home::new(&config);
    let squelch = home.serve().await;
    let mut side = Side { address: squelch.address, ids: BTreeMap::new(), last: String::new() };
    let Some(shown) = side.run(&(&["config", "show"], "")).await else { return };
    assert!(shown.starts_with("passed: true\n"), "{shown}");
    for part in
        ["routing_key: <secret>", "resolve_timeout: 6m", "# stale_after: 13h", "# noise: mine", "# noise:"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    let file = home.path("shown.yml");
    std::fs::write(&file, &side.last).unwrap();
    let checked = tools::ask("amtool", &["check-config", file.to_str().unwrap()], "").unwrap();
    assert!(checked.passed && checked.said.contains("2 receivers"), "{}", checked.said);
    squelch.stop().await;
}
