//! `severities`: the default level, the receivers that levels escalate to, and their errors.

use std::path::Path;

use squelch::config;

const RECEIVERS: &str = "\
receivers:
  - {name: ops, pagerduty_configs: [{routing_key: k}]}
  - {name: chat, slack_configs: [{api_url: 'http://127.0.0.1:9/'}]}
  - {name: lead, pagerduty_configs: [{routing_key: other}]}
  - {name: twin, pagerduty_configs: [{routing_key: k}]}
  - {name: nobody}
";

fn load(severities: &str, route: &str) -> Result<config::Config, String> {
    let text = format!("severities: {{{severities}}}\nroute: {{receiver: ops{route}}}\n{RECEIVERS}");
    config::parse(&text, "f.yml", Path::new("/")).map_err(|error| error.to_string())
}

fn escalating(to: &str) -> String {
    format!("levels: [{{name: critical, respond_within: 5m, escalate_to: {to}}}, {{name: warning}}]")
}

#[test]
fn levels_escalate_to_receivers_that_are_not_notified_anyway() {
    let config = load(&escalating("lead"), "").unwrap();
    assert_eq!(config.policy.severities.levels[0].escalate_to.as_deref(), Some("lead"));
    // Only warnings go to the chat.
    let warnings =
        ", routes: [{receiver: chat, matchers: ['severity=warning'], continue: true}, {receiver: ops}]";
    load(&escalating("chat"), warnings).unwrap();
    for (severities, route, said) in [
        (escalating("leed"), "", "f.yml:1: receiver \"leed\" is not defined. Did you mean lead?"),
        (escalating("nobody"), "", "f.yml:1: escalate_to \"nobody\" has no integration"),
        (
            escalating("ops"),
            "",
            "f.yml:1: level critical escalates to \"ops\", and the route on line 2 notifies",
        ),
        (escalating("twin"), "", "which leads to the same services as \"ops\" of the route on line 2"),
        (
            escalating("chat"),
            ", routes: [{receiver: chat, matchers: ['severity=~critical|warning']}]",
            "level critical escalates to \"chat\", and the route on line 2 notifies",
        ),
        (
            "levels: [{name: critical, escalate_to: lead}]".into(),
            "",
            "f.yml:1: escalate_to needs respond_within. Write respond_within: 15m or the like",
        ),
    ] {
        let found = load(&severities, route).err().unwrap_or_default();
        assert!(found.contains(said), "{severities}: {found}");
    }
}

#[test]
fn a_default_is_the_level_of_unknown_values() {
    let level = |severities: &str, value: &str| {
        let policy = load(severities, "").unwrap().policy;
        let labels = squelch::model::LabelSet::from_pairs([("severity", value)]);
        policy.severities.level(&labels).name.to_string()
    };
    assert_eq!(level("label: severity", "odd"), "critical");
    assert_eq!(
        (level("default: warning", "odd"), level("default: warning", "page")),
        ("warning".into(), "critical".into())
    );
    let found = load("default: warnin", "").unwrap_err();
    assert!(
        found.contains("f.yml:1: default is \"warnin\", which is no level. Did you mean warning?"),
        "{found}"
    );
}
