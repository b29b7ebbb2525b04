//! The configuration: the shipped files load, and errors are reported well.

use std::fs;
use std::path::{Path, PathBuf};

use squelch::config::{self, Config, GroupBy, Integration, KnownBy, Secret};
use squelch::receivers::discord::DiscordConfig;
use squelch::receivers::pagerduty::PagerdutyConfig;
use squelch::receivers::slack::{SlackAddress, SlackConfig};
use squelch::receivers::webhook::WebhookConfig;

use crate::repository::place;

fn parse(text: &str) -> Config {
    config::parse(text, "squelch.yml", Path::new("/etc/squelch")).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> String {
    config::parse(text, "squelch.yml", Path::new("/etc/squelch")).expect_err("should be refused").to_string()
}

const MINIMAL: &str = "route: {receiver: console}\nreceivers: [{name: console, console_configs: [{}]}]\n";

#[test]
fn what_ships_is_what_is_the_default() {
    let mut shipped = config::load(&place("config/squelch.yml")).unwrap_or_else(|e| panic!("{e}"));
    assert!(config::warnings(&shipped).is_empty());
    shipped.policy.routes[0].line = 1;
    shipped.policy.lines = Default::default();
    for (other, what) in [(parse(MINIMAL), "a minimal file"), (Config::default(), "Config::default")] {
        assert_eq!(shipped.policy, other.policy, "{what}");
        assert_eq!(format!("{:?}", shipped.receivers), format!("{:?}", other.receivers), "{what}");
    }
}

/// Every key that the shipped file leaves to its default is still named in it.
#[test]
fn what_ships_names_every_key() {
    let text = crate::repository::read("config/squelch.yml");
    let policy = serde_json::to_value(&Config::default().policy).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut names = keys(&policy["noise"]["default"]);
    names.extend(keys(&policy["severities"]["levels"][0]));
    names.extend(
        ["resolve_timeout", "stale_after", "ignore_labels", "group_by", "group_wait"].map(String::from),
    );
    names.extend(["group_interval", "repeat_interval", "continue", "send_updates"].map(String::from));
    for name in names {
        assert!(text.contains(&format!("{name}:")), "{name} is not explained in config/squelch.yml");
    }
}

#[test]
fn examples_load() {
    let mut seen = 0;
    for entry in fs::read_dir(place("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        // Their behaviour tests stand in a folder beside them.
        if path.is_dir() {
            continue;
        }
        let loaded = config::load(&path).unwrap_or_else(|e| panic!("{e}"));
        // Their secrets do not exist. There must be no other warning.
        for warning in config::warnings(&loaded) {
            assert!(warning.message.starts_with("secret file "), "{path:?}: {warning:?}");
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

const PAGED: &str = "\
noise:
  default: {resolve_hold: 1s}
  told: {digest: 1m}
route:
  receiver: ops
  routes: [{receiver: gw, noise: PROFILE}]
receivers:
  - {name: ops, console_configs: [{}]}
  - name: gw
    pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef, url: 'URL'}]
";

fn paged(profile: &str, url: &str) -> String {
    PAGED.replace("PROFILE", profile).replace("URL", url)
}

#[test]
fn a_digest_that_no_integration_can_show_fails_the_check_with_its_line() {
    for url in ["http://gw/egress/pagerduty", "http://gw/", "http://v2/enqueue", "http://gw/v2/enqueue/x"] {
        let lost = config::lost_digests(&parse(&paged("told", url)));
        assert!(
            lost.iter()
                .any(|l| l.line == 3
                    && l.message.starts_with("digest: receiver \"gw\" of the route on line 6")),
            "{url}: {lost:?}"
        );
        // The default profile has a digest too, and every alertmanager.yml loads.
        let warnings = config::warnings(&parse(&paged("default", url)));
        assert!(
            warnings.iter().any(|w| w.line == 6 && w.message.contains("gets no digest")),
            "{url}: {warnings:?}"
        );
        assert!(config::lost_digests(&parse(&paged("default", url))).is_empty(), "{url}");
        let both = paged("told", url) + "    webhook_configs: [{url: 'http://gw/hook'}]\n";
        let takes = &parse(&both).policy.receivers["gw"].integrations;
        assert_eq!(takes.iter().map(|i| i.takes_digests).collect::<Vec<_>>(), [false, true], "{url}");
    }
}

/// The keys of an integration that only its type has.
fn own<T: 'static>(integration: &Integration) -> Option<&T> {
    let notifier: &dyn std::any::Any = &*integration.notifier;
    notifier.downcast_ref()
}

#[test]
fn discord_and_teams_are_read_as_alertmanager_reads_them() {
    let config = parse(
        r#"
route: {receiver: r}
receivers:
  - name: r
    discord_configs:
      - {webhook_url: 'https://discord.example/api/webhooks/1/HUSH1', title: '{{ .Status }}', message: m, content: c}
      - {webhook_url_file: hook, send_resolved: false, username: u, avatar_url: 'https://i.example/x.png'}
    msteamsv2_configs: [{webhook_url: 'https://teams.example/w?sig=HUSH2', title: t, text: x, http_config: {}}]
"#,
    );
    let references = &config.policy.receivers["r"].integrations;
    let told: Vec<_> = references
        .iter()
        .map(|i| (i.name.as_str(), i.send_resolved, i.send_updates, i.takes_digests, i.most_alerts))
        .collect();
    assert_eq!(
        told,
        [
            ("discord[0]", true, false, true, 1000),
            ("discord[1]", false, false, true, 1000),
            ("msteamsv2[0]", true, false, true, 1000)
        ]
    );
    assert!(references.iter().all(|i| i.known_by == KnownBy::Nothing));
    let discord = own::<DiscordConfig>(&config.receivers["r"][0]).unwrap();
    assert_eq!(discord.message.as_deref(), Some("m"));
    for hushed in [&*config.masked, &format!("{config:?}")] {
        assert!(!hushed.contains("HUSH"), "a secret is shown: {hushed}");
    }
    for (integration, error) in [
        ("discord_configs: [{}]", "discord_configs has no URL. Write webhook_url_file (or webhook_url)"),
        ("msteamsv2_configs: [{}]", "msteamsv2_configs has no URL. Write webhook_url_file (or webhook_url)"),
        (
            "discord_configs: [{webhook_url: 'http://x/', text: y}]",
            "unknown key \"text\" in discord_configs. There are webhook_url",
        ),
        ("msteamsv2_configs: [{webhook_url: hook}]", "webhook_url is not a URL"),
    ] {
        let text = format!("route: {{receiver: r}}\nreceivers:\n  - name: r\n    {integration}\n");
        let wrong = config::parse(&text, "f", Path::new("")).unwrap_err().to_string();
        assert!(wrong.starts_with(&format!("f:4: {error}")), "{wrong}");
    }
}

#[test]
fn change_events_have_their_place_beside_v2_enqueue() {
    let table = [
        ("https://events.pagerduty.com/v2/enqueue", "https://events.pagerduty.com/v2/change/enqueue"),
        ("https://events.eu.pagerduty.com/v2/enqueue/", "https://events.eu.pagerduty.com/v2/change/enqueue/"),
        ("http://gw:8080/pd/v2/enqueue?team=a/b", "http://gw:8080/pd/v2/change/enqueue?team=a/b"),
    ];
    for (url, change) in table {
        let config = parse(&paged("told", url));
        let Some(pagerduty) = own::<PagerdutyConfig>(&config.receivers["gw"][0]) else { panic!("{url}") };
        assert_eq!(pagerduty.change_url().as_deref(), Some(change));
        assert!(config.policy.receivers["gw"].integrations[0].takes_digests);
    }
}

/// `tests/data/config/*.yml`, each with the expected errors beside it in `.err`.
#[test]
fn bad_files_are_refused_with_good_words() {
    let mut seen = 0;
    let mut wrong = String::new();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(place("tests/data/config")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yml")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let said = match config::parse(&text, &name, Path::new("")) {
            Ok(_) => "no error at all".to_owned(),
            Err(errors) => errors.to_string(),
        };
        let expected = fs::read_to_string(path.with_extension("err")).unwrap_or_default();
        if said.trim_end() != expected.trim_end() {
            wrong.push_str(&format!("--- {name}: said\n{said}\n--- expected\n{expected}\n"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen >= 15, "only {seen} bad files were found");
}

#[test]
fn routes_inherit_and_carry_alertmanagers_keys() {
    let config = parse(
        r#"
route:
  receiver: a
  group_by: [x, a]
  group_wait: 30s
  noise: quiet
  routes:
    - match: {team: db}
      match_re: {service: foo|bar}
      matchers: ['b!="2", a="1"']
      continue: yes
      repeat_interval: 1h
      routes:
        - matchers: ['"odd name"="x"']
          receiver: b
          group_by: []
    - {receiver: b, group_by: ['...'], noise: default}
receivers: [{name: a}, {name: b}]
noise: {quiet: {flapping: {suppress_at: 2.5}, growth: 0}}
"#,
    );
    let routes = &config.policy.routes;
    let keys: Vec<&str> = routes.iter().map(|route| route.key.as_str()).collect();
    let middle = r#"{}/{a="1",b!="2",service=~"^(?:foo|bar)$",team="db"}"#;
    assert_eq!(keys, ["{}", middle, &format!(r#"{middle}/{{"odd name"="x"}}"#), "{}/{}"]);
    let shape: Vec<_> = routes
        .iter()
        .map(|r| (r.receiver.as_str(), r.continue_, r.noise.as_str(), r.group_wait.to_string(), r.line))
        .collect();
    assert_eq!(
        shape,
        [
            ("a", false, "quiet", "30s".to_owned(), 3),
            ("a", true, "quiet", "30s".to_owned(), 8),
            ("b", false, "quiet", "30s".to_owned(), 14),
            ("b", false, "default", "30s".to_owned(), 17),
        ]
    );
    assert_eq!(routes[1].group_by, GroupBy::Labels(vec!["a".into(), "x".into()]));
    assert_eq!(routes[2].group_by, GroupBy::Labels(vec![]));
    assert_eq!(routes[3].group_by, GroupBy::All);
    assert_eq!([&routes[1], &routes[2]].map(|r| r.repeat_interval.to_string()), ["1h", "1h"]);
    assert_eq!((routes[0].children.clone(), routes[1].children.clone()), (vec![1, 3], vec![2]));
    let quiet = &config.policy.noise["quiet"];
    assert_eq!((quiet.flapping.suppress_at, quiet.growth), (2500, 0));
    let names: Vec<&str> = config.policy.noise.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["balanced", "calm", "default", "quiet"]);
    // The policy comes back from the journal unchanged.
    let stored = serde_json::to_string(&config.policy).unwrap();
    assert_eq!(serde_json::from_str::<config::Policy>(&stored).unwrap(), config.policy);
}

#[test]
fn integrations_take_what_global_lends() {
    let config = parse(
        r#"
global:
  slack_api_url: https://hooks.slack.example/x
  pagerduty_url: http://127.0.0.1:9097/v2/enqueue
  http_config: {basic_auth: {username: u, password_file: pw}}
route: {receiver: r}
receivers:
  - name: r
    webhook_configs:
      - url_file: hook
        max_alerts: 5
        send_resolved: false
        http_config: {http_headers: {X-Token: {secrets: [t]}}, tls_config: {ca_file: ca.pem}, follow_redirects: false}
    slack_configs: [{}, {api_url_file: /run/slack, send_updates: true}]
    pagerduty_configs: [{routing_key: "0123456789", timeout: 3s, details: {n: 1}}]
"#,
    );
    let names: Vec<String> = config.receivers["r"].iter().map(|i| i.name.to_string()).collect();
    assert_eq!(names, ["pagerduty[0]", "slack[0]", "slack[1]", "webhook[0]"]);
    let told: Vec<(bool, bool)> = config.policy.receivers["r"]
        .integrations
        .iter()
        .map(|reference| (reference.send_resolved, reference.send_updates))
        .collect();
    assert_eq!(told, [(true, true), (false, false), (false, true), (false, true)]);
    let file = |secret: &Secret| match secret {
        Secret::File(file) => file.path.display().to_string(),
        Secret::Inline(value) => format!("inline {value}"),
    };
    for integration in &config.receivers["r"] {
        if let Some(pagerduty) = own::<PagerdutyConfig>(integration) {
            assert_eq!(pagerduty.url.0, "http://127.0.0.1:9097/v2/enqueue");
            assert_eq!(file(&pagerduty.routing_key), "inline 0123456789");
            assert_eq!(integration.timeout.to_string(), "3s");
            assert_eq!(pagerduty.details[0].0, "n");
            assert!(integration.http.auth.is_some());
        } else if let Some(slack) = own::<SlackConfig>(integration) {
            let first = integration.name == "slack[0]";
            let url = if first { "inline https://hooks.slack.example/x" } else { "/run/slack" };
            let SlackAddress::Url(api_url) = &slack.to else { panic!("{slack:?}") };
            assert_eq!(file(&api_url.0), url);
        } else {
            let webhook = own::<WebhookConfig>(integration).expect("no other type is configured");
            assert_eq!(file(&webhook.url.0), "/etc/squelch/hook");
            assert_eq!(webhook.max_alerts, 5);
            assert!(integration.http.auth.is_none(), "an http_config of its own replaces the global one");
            let ca = integration.http.tls.ca.as_ref().map(ToString::to_string);
            assert_eq!(ca.as_deref(), Some("tls_config.ca_file /etc/squelch/ca.pem"));
            let (name, values) = &integration.http.headers[0];
            assert_eq!((name.as_str(), file(&values[0]).as_str()), ("X-Token", "inline t"));
            assert!(!integration.http.follow_redirects);
        }
    }
    assert!(!format!("{config:?}").contains("hooks.slack"), "a secret is printed");
}

#[test]
fn secrets_do_not_show_in_errors() {
    let said = refused(
        "route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs: [{url: 'htp://token-xyzzy@h/'}]\n  \
         pagerduty_configs: [{routing_key: xyzzy, routing_key_file: f}]\n  \
         slack_configs: [{api_url: 'https://u:xyzzy@h:p/'}]\n",
    );
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(!said.contains("xyzzy"), "{said}");
}

#[test]
fn too_large_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squelch.yml");
    fs::write(&path, vec![b'#'; usize::try_from(config::MAX_FILE).unwrap() + 1]).unwrap();
    assert!(config::load(&path).unwrap_err().to_string().ends_with("Make it smaller"));
    assert!(config::load(&dir.path().join("none.yml")).unwrap_err().to_string().contains("cannot be opened"));
}

#[test]
fn alias_bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    assert!(refused(&bomb).contains("not valid YAML"));
}

#[test]
fn many_problems_are_all_counted() {
    let mut text = MINIMAL.to_owned();
    for i in 0..60 {
        text.push_str(&format!("zzzzzzzz{i}: 1\n"));
    }
    let said = refused(&text);
    assert_eq!(said.lines().count(), 51);
    assert!(said.ends_with("10 more problems are not shown"), "{said}");
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let config = parse(
        "global: {stale_after: 5h}\nroute:\n  receiver: a\n  repeat_interval: 1h\n  routes:\n  - receiver: a\n    \
         repeat_interval: 2h\n  - matchers: [a=b]\nreceivers: [{name: a}, {name: b, webhook_configs: [{url_file: none}]}]\n",
    );
    let said: Vec<String> =
        config::warnings(&config).iter().map(|w| format!("{}: {}", w.line, w.message)).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].starts_with(r#"0: receiver "b" gets nothing: no route,"#), "{said:#?}");
    assert!(said[1].starts_with("6: stale_after 5h"), "{said:#?}");
    assert!(said[2].starts_with("8: no alert gets to this route: the one on line 6"), "{said:#?}");
    assert!(said[3].starts_with("9: secret file /etc/squelch/none (url_file) cannot be opened"), "{said:#?}");
}

#[test]
fn a_receiver_that_anything_names_is_not_called_unused() {
    let text = "route: {receiver: a}\nseverities: {levels: [{name: a, respond_within: 5m, escalate_to: c}]}\n\
                self_check: {receiver: d}\nreport: {receiver: e}\nreceivers: [{name: a, fallback: b, \
                console_configs: [{}]}, {name: b, console_configs: [{}]}, {name: c, console_configs: [{}]}, \
                {name: d}, {name: e}]\n";
    assert_eq!(config::warnings(&parse(text)).len(), 0);
}

/// The warnings about `MINIMAL` and `more`, which begins on line 3.
fn warned(more: &str) -> Vec<String> {
    config::warnings(&parse(&format!("{MINIMAL}{more}")))
        .iter()
        .map(|w| format!("{}: {}", w.line, w.message))
        .collect()
}

#[test]
fn a_heartbeat_that_takes_ordinary_or_critical_alerts_is_warned_of() {
    for (matchers, says) in [
        ("'job=\"prometheus\"'", "no matcher for alertname"),
        ("'severity=\"critical\"'", "no matcher for alertname"),
        ("'alertname=~\".+\"'", "ordinary alerts such as InstanceDown"),
        ("'alertname!=\"Other\"', 'team=\"a\"'", "ordinary alerts such as InstanceDown"),
        ("'alertname=~\".*Down|Watchdog\"'", "ordinary alerts such as InstanceDown"),
        ("'alertname=\"QueueStuck\"', 'severity=\"P1\"'", "severity critical"),
        ("'alertname=\"QueueStuck\"', 'severity=~\"critical|warning\"'", "severity critical"),
    ] {
        let said = warned(&format!("heartbeat: {{name: beat, matchers: [{matchers}]}}\n"));
        assert_eq!(said.len(), 1, "{matchers}: {said:#?}");
        assert!(
            said[0].starts_with("3: heartbeat \"beat\" ") && said[0].contains(says),
            "{matchers}: {said:#?}"
        );
    }
    for matchers in [
        "'alertname=\"Watchdog\"'",
        "'alertname=\"Watchdog\"', 'severity=\"critical\"'",
        "'alertname=~\"Watchdog|DeadMansSwitch\"', 'job=\"a\"'",
        "'alertname=\"QueueStuck\"', 'severity=\"info\"'",
    ] {
        let said = warned(&format!("heartbeat: {{matchers: [{matchers}]}}\n"));
        assert!(said.is_empty(), "{matchers}: {said:#?}");
    }
}

#[test]
fn days_and_times_in_two_entries_of_an_interval_are_warned_of() {
    let interval =
        |entries: &str| warned(&format!("time_intervals:\n- name: x\n  time_intervals:\n{entries}"));
    let times = "times: [{start_time: '09:00', end_time: '17:00'}]";
    let said = interval(&format!("  - weekdays: ['monday:friday']\n  - {times}\n"));
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("7: time interval \"x\" holds on the whole of the days on line 6"),
        "{said:#?}"
    );
    assert_eq!(interval(&format!("  - {times}\n  - months: [may]\n")).len(), 1);
    for well_meant in [
        format!("  - weekdays: ['monday:friday']\n    {times}\n"),
        format!("  - weekdays: [saturday]\n  - weekdays: ['monday:friday']\n    {times}\n"),
        format!("  - {times}\n  - {times}\n"),
    ] {
        assert!(interval(&well_meant).is_empty(), "{well_meant}");
    }
}

#[test]
fn inhibit_rules_that_mute_each_other_are_warned_of() {
    let said = warned(
        "inhibit_rules:\n- {source_matchers: ['a=\"1\"'], target_matchers: ['b=\"1\"']}\n\
         - {source_match: {b: '1'}, target_match_re: {a: '1|2'}, equal: [cluster]}\n",
    );
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("4: this inhibit rule and the one on line 5 mute each other"), "{said:#?}");
}

#[test]
fn a_template_that_cannot_work_is_told_and_a_place_that_cannot_is_refused() {
    let receiver = |keys: &str| format!("route: {{receiver: a}}\nreceivers:\n- name: a\n  {keys}\n");
    let refusals = [
        (
            "slack_configs: [{api_url: 'http://a/', text: '{{ common_labels.team }}'}]",
            "write {{ .CommonLabels",
        ),
        ("pagerduty_configs: [{routing_key: '{{ pd_key }}'}]", "routing_key: line 1, column 4: there is no"),
        ("pagerduty_configs: [{routing_key: '{{ .CommonLables.pd_key }}'}]", "Did you mean .CommonLabels?"),
        ("webhook_configs: [{url: 'http://a/{{ .GroupLables.team }}'}]", "Did you mean .GroupLabels?"),
        ("webhook_configs: [{url: 'http://a/{{ .Status'}]", "url: line 1"),
    ];
    for (keys, says) in refusals {
        let said = refused(&receiver(keys));
        assert!(said.starts_with("squelch.yml:4: ") && said.contains(says), "{keys}: {said}");
    }
    let doubts = |keys: &str| {
        let config = parse(&receiver(keys));
        config::warnings(&config).into_iter().map(|w| w.message).collect::<Vec<_>>()
    };
    for (keys, says) in [
        ("channel: '#x-{{ .CommonLables.team }}'", "column 7: the notification has no .CommonLables. Did"),
        ("title: '{{ template \"slack.default.titel\" . }}'", "Did you mean \"slack.default.title\"?"),
        ("text: '{{ if .Status }}x'", "text: line 1, column 1: if has no end"),
        ("text: '{{ toUper .Status }}'", "Did you mean toUpper?"),
        ("text: '{{ .Status | default \"x\" }}'", "has no such function. Write {{ or .CommonLabels"),
        ("text: '{{ team }}'", "Write a field, such as .CommonLabels.team"),
        (
            "text: '{{ range .Alerts }}{{ .Lables.x }}{{ end }}'",
            "an alert has no .Lables. Did you mean .Labels?",
        ),
        ("text: '{{ if false }}{{ .Labels.x }}{{ end }}'", "the notification has no .Labels"),
        ("text: '{{ index .Alerts 7 }}'", "fails for a notification that fires: line 1, column 4"),
        ("text: '{% if x %}a{% endif %}'", "is no Go template, and is written as it stands"),
        ("text: '{{ $x }}'", "the variable $x is not declared"),
    ] {
        let said = doubts(&format!("slack_configs: [{{api_url: 'http://a/', {keys}}}]")).join("\n");
        assert!(said.contains(says), "{keys}: {said}");
    }
    let fine = "text: '{{ range .Alerts }}{{ .Labels.x | toUpper }}{{ with .Annotations.y }}{{ . }}{{ end }}{{ end }}'";
    assert!(doubts(&format!("slack_configs: [{{api_url: 'http://a/', {fine}}}]")).is_empty());
    let of_key = |key: &str| doubts(&format!("pagerduty_configs: [{{routing_key: '{key}'}}]"));
    assert!(of_key("{{ or .GroupLabels.pd_key \"KEY\" }}").is_empty());
    assert!(of_key("{{ with .GroupLabels.pd_key }}{{ . }}{{ else }}KEY{{ end }}").is_empty());
    assert!(of_key("{{ .GroupLabels.pd_key }}")[0].contains("is empty where the label is missing"));
    assert!(
        of_key("{{ or .CommonLabels.pd_key \"KEY\" }}")[0].contains("may change while an incident is open")
    );
    assert!(of_key("too-short")[0].contains("has 9 characters, and PagerDuty's have 32"));
}

#[test]
fn the_labels_of_a_route_are_checked_with_their_lines() {
    let text = r#"route:
  receiver: a
  labels:
    fine: '{{ .GroupLabels.team | toUpper }} {{ routeLabels "plain" }}'
    plain: x
    misspelt: '{{ .GrupLabels.team }}'
  routes:
  - labels:
      plain: '{{ routeLabels "deep" }}'
      deep: |-
        {{ with routeLabels "owner" }}{{ . }}{{ end }}
    routes:
    - labels: {misspelt: y}
  - labels:
      misspelt: ''
      owner: '{{ routeLabels "back" }}'
      back: '{{ routeLabels "owner" }}'
    routes:
    - labels: {other: '{{ index .Alerts 7 }}'}
receivers:
- name: a
"#;
    let config = parse(text);
    let said = config::warnings(&config).into_iter().filter(|warning| warning.message.starts_with("labels."));
    let said: Vec<(u32, String)> = said.map(|warning| (warning.line, warning.message)).collect();
    let expected = [
        (
            6,
            "labels.misspelt: line 1, column 4: the notification has no .GrupLabels. Did you mean .GroupLabels?",
        ),
        (16, "labels.owner: the labels of the route ask for each other in a circle: back → owner → back"),
        (17, "the label \"owner\" of the route has no value, because it fails"),
        (19, "labels.other: fails for a notification that fires: line 1, column 4: index"),
    ];
    let lines: Vec<u32> = said.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, expected.map(|(line, _)| line), "{said:#?}");
    for ((_, said), (_, expected)) in said.iter().zip(expected) {
        let end = " (the route goes without this label)";
        assert!(said.contains(expected) && said.ends_with(end), "{said}");
    }
}

#[test]
fn files_of_templates_are_read_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let text = "templates: ['none/*.tmpl', '*.tmpl']\nroute: {receiver: a}\nreceivers:\n- name: a\n  \
                slack_configs: [{api_url: 'http://a/', text: '{{ template \"team.text\" . }}'}]\n";
    let read = || config::parse(text, "squelch.yml", folder.path());
    let warned = |config: &Config| {
        let doubts = config::warnings(config).into_iter().map(|w| w.message);
        doubts.filter(|message| message.starts_with("text: ")).collect::<Vec<_>>()
    };
    // The files may come later.
    assert!(warned(&read().unwrap())[0].contains("there is no template \"team.text\""));
    write("a.tmpl", "{{ define \"team.text\" }}\n{{ .Alerts.Fireing }}{{ end }}");
    let said = warned(&read().unwrap());
    assert!(
        said[0].contains("a.tmpl:2:4: a list of alerts has no .Fireing. Did you mean .Firing?"),
        "{said:?}"
    );
    write("a.tmpl", "{{ define \"team.text\" }}{{ .Status }}{{ end }}");
    assert!(warned(&read().unwrap()).is_empty());
    write("b.tmpl", "{{ define \"x\" }}\n {{ if .A }}{{ end }}");
    let said = read().unwrap_err().to_string();
    assert!(
        said.starts_with("squelch.yml:1: templates: ") && said.contains("b.tmpl:1:1: define has no end"),
        "{said}"
    );
}

#[test]
fn what_is_refused_inline_is_found_in_every_secret_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad"), "\"x\"\ny\n").unwrap();
    let text = "global:\n  slack_api_url_file: bad\n  http_config: {authorization: {credentials_file: bad}}\n\
        route: {receiver: a}\nreceivers:\n- name: a\n  slack_configs: [{}]\n  pagerduty_configs:\n  \
        - routing_key_file: bad\n    http_config: {basic_auth: {username: u, password_file: bad}}\n  \
        webhook_configs:\n  - url_file: bad\n    signing_secret_file: bad\n    \
        http_config: {http_headers: {X-A: {files: [bad]}}}\n\
        sources:\n- {name: s, authorization: {credentials_file: bad}}\n\
        users:\n- {name: u, role: read, basic_auth: {username: u, password_file: bad}}\n";
    let config = config::parse(text, "squelch.yml", folder.path()).unwrap();
    let wrong = config::wrong_secrets(&config);
    let lines: Vec<u32> = wrong.iter().map(|w| w.line).collect();
    assert_eq!(lines, [2, 3, 9, 10, 12, 13, 14, 16, 18], "{wrong:#?}");
    assert!(config::warnings(&config).is_empty());
    fs::remove_file(folder.path().join("bad")).unwrap();
    assert!(config::wrong_secrets(&config).is_empty(), "a file that is not there may be where it is used");
    let absent = config::warnings(&config);
    assert_eq!(absent.len(), lines.len());
    let stops = absent.iter().filter(|w| w.message.ends_with("Squelch does not start until it is there"));
    assert_eq!(stops.map(|w| w.line).collect::<Vec<_>>(), [16, 18], "{absent:#?}");
}
