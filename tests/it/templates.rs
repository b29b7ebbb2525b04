//! Go templates: the same text as Alertmanager's own renderer, for templates in the shapes that people write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use squelch::model::{AlertView, Kind, LabelSet, Notification, Status, Timestamp};
use squelch::receivers::View;
use squelch::templates::{Compiled, Data, Facts, Library, TemplateFile, TemplateText, as_it_is};

use crate::deliver::notification;
use crate::tools::missing;

const FILE: &str = "tests/data/templates/team.tmpl";
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Each a text of a configuration, after the shapes that public repositories have.
const TEXTS: &[&str] = &[
    // Titles.
    r#"[{{ .Status | toUpper }}{{ if eq .Status "firing" }}:{{ .Alerts.Firing | len }}{{ end }}] {{ .CommonLabels.alertname }}"#,
    r#"{{ .GroupLabels.SortedPairs.Values | join " " }} {{ if gt (len .CommonLabels) (len .GroupLabels) }}({{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join " " }}{{ end }}){{ end }}"#,
    r#"{{ if eq .Status "firing" }}🔥{{ else }}✅{{ end }} {{ .CommonLabels.alertname }} in {{ .CommonLabels.cluster | toUpper }}"#,
    r#"{{ template "team.title" . }}"#,
    r#"{{ .Status | title }}: {{ range .GroupLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}"#,
    r#"{{ .Receiver }} {{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}"#,
    // Lists of alerts.
    r#"{{ range .Alerts }}*{{ .Annotations.summary }}*{{ "\n" }}{{ .Annotations.description }}{{ "\n" }}{{ end }}"#,
    r#"{{ range .Alerts -}}
*Alert:* {{ .Annotations.title }}{{ if .Labels.severity }} - `{{ .Labels.severity }}`{{ end }}

*Details:*
  {{ range .Labels.SortedPairs }} • *{{ .Name }}:* `{{ .Value }}`
  {{ end }}
{{ end }}"#,
    r#"{{ range $i, $alert := .Alerts }}{{ if $i }}, {{ end }}{{ $alert.Labels.instance }}{{ end }}"#,
    r#"{{ range .Alerts.Firing }}{{ template "__single_message" . }}{{ else }}none{{ end }}"#,
    r#"{{ template "team.list" .Alerts.Firing }}{{ template "team.list" .Alerts.Resolved }}"#,
    r#"{{ template "team.text" . }}"#,
    r#"{{ template "team.message" . }}"#,
    r#"{{ range .Alerts }}{{ if eq .Labels.instance "b:9100" }}{{ continue }}{{ end }}{{ .Labels.instance }} {{ end }}"#,
    r#"{{ range .Alerts }}{{ .Labels.instance }}{{ if eq .Status "firing" }}{{ break }}{{ end }}{{ end }}"#,
    // Links.
    r#"{{ if .CommonAnnotations.runbook_url }}<{{ .CommonAnnotations.runbook_url }}|:notebook:>{{ end }}{{ range .Alerts }} <{{ .GeneratorURL }}|:chart:>{{ end }}"#,
    r#"{{ .ExternalURL }}/#/silences/new?filter=%7B{{ range .CommonLabels.SortedPairs }}{{ if ne .Name "alertname" }}{{ .Name }}%3D%22{{ .Value | urlquery }}%22%2C{{ end }}{{ end }}alertname%3D%22{{ .CommonLabels.alertname }}%22%7D"#,
    r#"{{ with index .Alerts 0 }}<{{ .GeneratorURL }}|{{ .Labels.alertname }}>{{ end }}"#,
    r#"{{ (index .Alerts 0).GeneratorURL | reReplaceAll "^https?://[^/]+" "https://prom" }}"#,
    // Functions.
    r#"{{ printf "%s|%-10s|%5d|%q|%v" .Status .CommonLabels.cluster (len .Alerts) .CommonLabels.alertname .GroupLabels.Names }}"#,
    r#"{{ print .Status " " (len .Alerts) }}{{ println }}{{ .Status | printf "%s!" | len }}"#,
    r#"{{ reReplaceAll "(.*):([0-9]+)" "$2 at $1" (index .Alerts 0).Labels.instance }} {{ match "^High" .CommonLabels.alertname }}"#,
    r#"{{ .CommonLabels.Values | join ", " | toUpper }}{{ stringSlice "a" "b" | join "-" }}{{ toLower "ABC" }}"#,
    r#"{{ (.CommonLabels.Remove (stringSlice "cluster" "severity")).SortedPairs.Names | join "," }}"#,
    r#"{{ html "<b>&\"'" }} {{ js "it's <x>" }} {{ "a b&c" | urlquery }} {{ "x<y" | html | len }}"#,
    r#"{{ index .CommonLabels "severity" }}/{{ index .CommonLabels "nothing" }}/{{ .CommonLabels.nothing }}/{{ (index .Alerts 0).Labels.nothing }}"#,
    r#"{{ len .CommonLabels }} {{ len .GroupLabels.SortedPairs }} {{ len "äb" }} {{ slice "abcdef" 1 3 }} {{ title "hello wORLD-wide it's" }}"#,
    // Conditions.
    r#"{{ if and (eq .Status "firing") (gt (len .Alerts) 1) }}many{{ else if or .CommonLabels.none .CommonLabels.cluster }}some{{ end }}"#,
    r#"{{ if not (eq .CommonLabels.severity "critical" "page") }}low{{ else }}high{{ end }} {{ eq 1 1 }} {{ ne "a" "b" }} {{ lt 1 2 }} {{ le 2 2 }} {{ ge 1 2 }} {{ lt "a" "b" }}"#,
    r#"{{ with .CommonAnnotations.nothing }}{{ . }}{{ else }}no text{{ end }} {{ or .CommonLabels.nothing "default" }} {{ and .Status "x" }}"#,
    r#"{{ if .CommonLabels.severity | match "crit.*" }}danger{{ else }}warning{{ end }}"#,
    r#"{{ if gt (len .Alerts.Resolved) 0 -}} resolved: {{ len .Alerts.Resolved }} {{- end }}"#,
    // Variables.
    r#"{{ $n := len .Alerts }}{{ $s := "" }}{{ range .Alerts }}{{ if gt $n 1 }}{{ $s = printf "%s[%s]" $s .Labels.instance }}{{ end }}{{ end }}{{ $s }} {{ $.Status }}"#,
    r#"{{ range $name, $value := .CommonLabels }}{{ $name }}={{ $value }} {{ end }}"#,
    r#"{{ $severity := .CommonLabels.severity }}{{ if eq $severity "critical" }}:red_circle:{{ else }}{{ $severity }}{{ end }}"#,
    r#"{{ define "inner" }}<{{ . }}>{{ end }}{{ range .GroupLabels.Values }}{{ template "inner" . }}{{ end }}{{ block "b" .Status }}{{ . }}{{ end }}"#,
    r#"{{ template "__severity_mark" .CommonLabels.severity }}{{ define "empty" }}[{{ . }}]{{ end }}{{ template "empty" }}"#,
    // Times.
    r#"{{ range .Alerts }}{{ .StartsAt }} {{ .StartsAt.Format "Mon Jan _2 15:04:05.000 MST 2006" }} {{ .StartsAt.Unix }} {{ .StartsAt.Year }} {{ .StartsAt.Weekday }} {{ .StartsAt.UTC.Hour }}{{ "\n" }}{{ end }}"#,
    r#"{{ range .Alerts }}{{ (.StartsAt.Add 3600000000000).Format "15:04" }} {{ if .EndsAt.After .StartsAt }}{{ .EndsAt.Sub .StartsAt }} {{ (.EndsAt.Sub .StartsAt).Minutes }}{{ end }}{{ .EndsAt.IsZero }} {{ end }}"#,
    r#"{{ with index .Alerts 0 }}{{ (.StartsAt.Add 28800e9).Format "2006-01-02 15:04" }} {{ .StartsAt.Truncate 6e10 }} {{ .StartsAt.Round 36e11 }} {{ .StartsAt.AddDate 0 0 1.0 }} {{ .StartsAt.AddDate 0 1e0 0 }}{{ end }}"#,
    r#"{{ range .Alerts }}{{ .Labels.instance | urlquery }} {{ urlquery "a b" }} {{ .Labels.instance | urlquery | len }}{{ end }}"#,
    r#"{{ with index .Alerts 0 }}{{ .StartsAt.Add 1.5 }}{{ end }}"#,
    r#"{{ with index .Alerts 0 }}{{ .StartsAt.Add 1e19 }}{{ end }}"#,
    r#"{{ with index .Alerts 0 }}{{ .StartsAt.AddDate 0 0 }}{{ end }}"#,
    r#"{{ with index .Alerts 0 }}{{ .StartsAt.AddDate 0 0.5 0 }}{{ end }}"#,
    // White space and texts.
    "a  {{- /* comment */ -}}  b\n{{- \"\\t\" }} {{ `raw \\n {{` }} {{ '\\n' }} {{ 0x10 }} {{ 1.5 }} {{ true }}",
    r#"{{ .Alerts.Firing | len | printf "%d firing" }}{{ if .Alerts.Firing }}{{ "\n" -}}   {{ range .Alerts.Firing }}{{ .Labels.instance }}{{ "\n" }}{{ end }}{{ end }}"#,
    "plain text without any action, with } and {",
    r#"{{ "{{" }} .CommonLabels.x {{ "}}" }} {{ `{{ template "x" . }}` }}"#,
    // Failures fail in both.
    r#"{{ .Labels.job }}"#,
    r#"{{ index .Alerts 99 }}"#,
    r#"{{ template "nowhere" . }}"#,
    r#"{{ nothing .Status }}"#,
    r#"{{ .Status.Length }}"#,
    r#"{{ if }}x{{ end }}"#,
    r#"{{ range .Alerts }}"#,
    r#"{{ $x }}"#,
    r#"{{ (index .Alerts 0).Summary }}"#,
    r#"{{ lt 1 "a" }}"#,
];

fn library() -> Arc<Library> {
    let text = std::fs::read_to_string(FILE).unwrap();
    Library::with_files(&[TemplateFile { file: FILE.into(), text: text.into() }]).unwrap()
}

fn rendered(library: &Library, source: &str, data: &Data) -> Result<String, String> {
    let text = TemplateText { key: "text".into(), source: source.into(), escape: as_it_is, html: false };
    Compiled::new(library, vec![text], as_it_is).render("text", data, NOW).unwrap()
}

/// A notification with three alerts. One of them resolved, or all.
fn group(firing: bool) -> Notification {
    let kind = if firing { Kind::Page } else { Kind::Resolve };
    let mut group = notification(1, "team-X (a)", "webhook[0]", kind);
    let alert = group.alerts[0].clone();
    let one = |instance: &str, annotations: &[(&str, &str)], resolved: bool, minute: i64| {
        let labels =
            [("alertname", "HighCPU"), ("cluster", "eu-1"), ("instance", instance), ("severity", "critical")];
        let mut alert = alert.clone();
        alert.labels = LabelSet::from_pairs(labels);
        alert.annotations = LabelSet::from_pairs(annotations.iter().copied());
        alert.starts_at = Timestamp::from_millis(NOW.as_millis() + minute * 60_000);
        alert.status = if resolved { Status::Resolved } else { Status::Firing };
        alert.ends_at =
            resolved.then(|| Timestamp::from_millis(NOW.as_millis() + (minute + 5) * 60_000 + 250));
        alert.generator_url = format!("http://prometheus:9090/graph?g0.expr=up&instance={instance}").into();
        alert
    };
    let runbook = ("runbook_url", "https://runbooks.example/cpu?a=1&b=2");
    group.alerts = vec![
        one(
            "a:9100",
            &[("summary", "CPU <b>& \"hot\"</b>"), ("description", "one\ntwo"), runbook],
            !firing,
            0,
        ),
        one("b:9100", &[("summary", "x"), runbook], !firing, 1),
        one("c:9100", &[("description", "é <!channel>"), runbook], true, 2),
    ];
    group.group_labels = LabelSet::from_pairs([("alertname", "HighCPU"), ("cluster", "eu-1")]);
    group
}

fn data(group: &Notification) -> Data {
    data_with(&Library::built_in(), group)
}

/// The data where the labels of the route may call the templates of this library.
fn data_with(library: &Library, group: &Notification) -> Data {
    let view = View::new(group, "https://alerts.example", false);
    let facts = Facts {
        status: view.status(),
        external_url: view.external_url,
        possible_repeat: false,
        readings: view.readings,
    };
    Data::new(group, facts, library, NOW)
}

/// The output of amtool for a text, with the data of a file.
fn by_amtool(text: &str, data: &Path) -> Option<Result<String, String>> {
    // Debian's amtool has no default templates in it.
    let defaults = ["--template.glob", "/usr/share/prometheus/alertmanager/default.tmpl"];
    let defaults = defaults.into_iter().filter(|_| Path::new(defaults[1]).exists());
    let output = Command::new("amtool")
        .args(["template", "render"])
        .args(defaults)
        .args(["--template.glob", FILE, "--template.text", text, "--template.data"])
        .arg(data)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match output {
        Ok(output) if output.status.success() => Some(Ok(String::from_utf8(output.stdout).unwrap())),
        Ok(output) => Some(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => {
            missing("amtool", &error);
            None
        }
    }
}

/// The data of a notification in a file for amtool.
fn data_file(library: &Library, group: &Notification, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{}.json", group.kind.as_str()));
    std::fs::write(&path, rendered(library, "{{ toJson . }}", &data(group)).unwrap()).unwrap();
    path
}

#[test]
fn texts_are_those_of_amtool() {
    let folder = tempfile::tempdir().unwrap();
    let library = library();
    let mut wrong = Vec::new();
    for group in [group(true), group(false)] {
        let (file, data) = (data_file(&library, &group, folder.path()), data(&group));
        for text in TEXTS {
            let Some(theirs) = by_amtool(text, &file) else { return };
            let ours = rendered(&library, text, &data);
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) if ours == theirs => {}
                (Err(_), Err(_)) => {}
                _ => wrong.push(format!("{text}\n ours:   {ours:?}\n amtool: {theirs:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The time zone of a process is fixed, so a process of its own renders in another one.
#[test]
fn local_times_are_in_the_zone_of_the_machine() {
    const INSIDE: &str = "SQUELCH_TEST_IN_SHANGHAI";
    if std::env::var_os(INSIDE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "templates::local_times_are_in_the_zone_of_the_machine"])
            .envs([("TZ", "Asia/Shanghai"), (INSIDE, "1")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (library, group) = (library(), group(true));
    let file = data_file(&library, &group, folder.path());
    let text = r#"{{ with index .Alerts 2 }}{{ .StartsAt.Local }} {{ .StartsAt.Local.Format "15:04 MST" }} {{ .StartsAt }} {{ .StartsAt.Local.UTC.Hour }}{{ end }}"#;
    let ours = rendered(&library, text, &data(&group));
    let known = "2023-11-15 06:15:20 +0800 CST 06:15 CST 2023-11-14 22:15:20 +0000 UTC 22";
    assert_eq!(ours.as_deref(), Ok(known));
    if let Some(theirs) = by_amtool(text, &file) {
        assert_eq!(ours, theirs);
    }
}

/// Default templates of Alertmanager 0.25 whose text Squelch's has too.
const SAME: [&str; 16] = [
    "__subject",
    "__description",
    "slack.default.title",
    "slack.default.color",
    "slack.default.pretext",
    "pagerduty.default.description",
    "opsgenie.default.message",
    "opsgenie.default.description",
    "victorops.default.entity_display_name",
    "victorops.default.state_message",
    "pushover.default.title",
    "pushover.default.message",
    "sns.default.message",
    "telegram.default.message",
    "discord.default.message",
    "webex.default.message",
];

#[test]
fn default_texts_are_those_of_alertmanager() {
    let folder = tempfile::tempdir().unwrap();
    let library = library();
    let calls = SAME.map(|name| format!("{{{{ template {name:?} . }}}}"));
    let lists = ["__text_alert_list", "pagerduty.default.instances"];
    let lists = lists.map(|name| format!("{{{{ template {name:?} .Alerts.Firing }}}}"));
    let mut newer = 0;
    for group in [group(true), group(false)] {
        let (file, data) = (data_file(&library, &group, folder.path()), data(&group));
        for text in calls.iter().chain(&lists) {
            let Some(theirs) = by_amtool(text, &file) else { return };
            // Alertmanager 0.25 does not have every template of today.
            if theirs.as_ref().is_err_and(|error| error.contains("not defined")) {
                newer += 1;
                continue;
            }
            assert_eq!(rendered(&library, text, &data), theirs, "{text}");
        }
    }
    let all = 2 * (calls.len() + lists.len());
    assert!(newer < all / 3, "amtool knows {} of {all} texts", all - newer);
}

#[test]
fn squelch_adds_to_the_default_texts_what_only_it_knows() {
    let library = Library::built_in();
    let mut group = group(true);
    group.alerts[0].flaps = Some(4);
    (group.truncated, group.truncated_firing) = (3, 3);
    let alert = group.alerts[0].clone();
    group.alerts.extend(std::iter::repeat_n(alert, 12));
    let shown = |text: &str, group: &Notification| rendered(&library, text, &data(group)).unwrap();
    let message = shown("{{ template \"discord.default.message\" . }}", &group);
    assert!(message.contains("\nFlapping: 4 changes so far\nSource: "), "{message}");
    assert!(message.contains("\n… and 7 more\n"), "{message}");
    group.kind = Kind::Digest;
    let digest = shown("{{ template \"__subject\" . }}\n{{ template \"slack.default.text\" . }}", &group);
    assert!(digest.starts_with("[DIGEST:18] "), "{digest}");
    let why = shown("{{ .Why }}", &group);
    assert!(digest.contains(&why) && !why.is_empty(), "{digest}");
    assert_eq!(
        shown("{{ .Kind }} {{ .DedupKey }} {{ .PossibleRepeat }}", &group).split(' ').next(),
        Some("digest")
    );
}

/// The worst come first, as the engine has them. A list of ten must not hide them behind others.
#[test]
fn a_short_list_has_the_worst_alerts() {
    let mut group = group(true);
    let alert = group.alerts[0].clone();
    let labels = |instance: &str| LabelSet::from_pairs([("instance", instance)]);
    let named = |instance: &str| AlertView { labels: labels(instance), ..alert.clone() };
    group.alerts = vec![named("z-critical")];
    group.alerts.extend((0..60).map(|n| named(&format!("a-{n:02}"))));
    let shown = |text: &str| rendered(&Library::built_in(), text, &data(&group)).unwrap();
    for name in ["slack.default.text", "discord.default.message", "email.default.html"] {
        let text = shown(&format!("{{{{ template \"{name}\" . }}}}"));
        let places = ["z-critical", "a-00"].map(|instance| text.find(instance));
        assert!(places[0].is_some() && places[0] < places[1], "{name}: {text}");
    }
    let all = shown("{{ range .Alerts }}{{ .Labels.instance }} {{ end }}");
    assert!(all.starts_with("a-00 a-01 ") && all.ends_with("z-critical "), "as in Alertmanager: {all}");
}

#[test]
fn every_name_of_alertmanagers_default_templates_is_there() {
    let library = Library::built_in();
    let names: Vec<&str> = library.names().collect();
    for receiver in [
        "slack.default.{title username fallback callbackid pretext titlelink iconemoji iconurl text footer color}",
        "pagerduty.default.{description client clientURL instances}",
        "opsgenie.default.{message description source}",
        "wechat.default.{message to_user to_party to_tag agent_id}",
        "victorops.default.{state_message entity_display_name monitoring_tool}",
        "pushover.default.{title message url}",
        "sns.default.{subject message}",
        "telegram.default.{message}",
        "discord.default.{content title message}",
        "webex.default.{message}",
        "msteams.default.{summary title text}",
        "msteamsv2.default.{title text}",
        "jira.default.{summary description priority}",
        "rocketchat.default.{title alias titlelink emoji iconurl text}",
        "mattermost.default.{color username title titlelink fallback text}",
        "email.default.{subject html}",
        "__{alertmanager alertmanagerURL subject description text_alert_list text_alert_list_markdown}",
    ] {
        let (prefix, keys) = receiver.trim_end_matches('}').split_once('{').unwrap();
        for name in keys.split(' ').map(|key| format!("{prefix}{key}")) {
            assert!(names.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn a_definition_of_a_file_replaces_a_default_text() {
    let text = "{{ define \"__subject\" }}{{ .CommonLabels.alertname }}!{{ end }}";
    let file = TemplateFile { file: "mine.tmpl".into(), text: text.into() };
    let library = Library::with_files(&[file]).unwrap();
    let title = rendered(&library, "{{ template \"pagerduty.default.description\" . }}", &data(&group(true)));
    assert_eq!(title.as_deref(), Ok("HighCPU!"));
}

#[test]
fn functions_and_methods_of_later_versions_work() {
    let library = Library::built_in();
    let data = data(&group(true));
    for (text, shown) in [
        (r#"{{ (index .Alerts 2).StartsAt | tz "Europe/Berlin" | date "15:04 MST" }}"#, "23:15 CET"),
        (r#"{{ date "2006-01-02" (index .Alerts 2).EndsAt }}"#, "2023-11-14"),
        (
            r#"{{ since (index .Alerts 0).StartsAt }} {{ now.Unix }} {{ humanizeDuration 3661 }}"#,
            "0s 1700000000 1h 1m 1s",
        ),
        (r#"{{ ((index .Alerts 2).EndsAt.Sub (index .Alerts 2).StartsAt) | humanizeDuration }}"#, "5m 0s"),
        (r#"{{ gt ((index .Alerts 2).EndsAt.Sub (index .Alerts 2).StartsAt).Minutes 4.5 }}"#, "true"),
        (
            r#"{{ toJson .GroupLabels }}{{ toJson (list 1 "a<" nil) }}"#,
            r#"{"alertname":"HighCPU","cluster":"eu-1"}[1,"a\u003c",null]"#,
        ),
        (
            r#"{{ $d := dict "a" 1 "b" (list "x" "y") }}{{ $d.a }}{{ index $d "b" 1 }}{{ len (append $d.b "z") }}"#,
            "1y3",
        ),
        (
            r#"{{ trimSpace "  a " }}|{{ urlUnescape "a%20b+c" }}|{{ safeHtml "<b>" }}|{{ safeUrl "x" }}"#,
            "a|a b c|<b>|x",
        ),
        (r#"{{ base64encode "a?b>" }} {{ base64decode "YT9iPg==" }}"#, "YT9iPg== a?b>"),
        (
            r#"{{ (toDate "2006-01-02" "2024-03-05").Format "Jan 2" }} {{ (toDate "2006" "x").IsZero }}"#,
            "Mar 5 true",
        ),
        (
            r#"{{ .CommonLabels.Values.Join "-" }} {{ .GroupLabels }}"#,
            "HighCPU-eu-1-critical alertname=HighCPU, cluster=eu-1",
        ),
        (r#"{{ .NotificationReason }} {{ routeLabels "x" }}{{ len .RouteLabels }}"#, "first notification 0"),
    ] {
        assert_eq!(rendered(&library, text, &data).as_deref(), Ok(shown), "{text}");
    }
}

#[test]
fn the_labels_of_a_route_are_templates_that_may_name_each_other() {
    let library = library();
    let mut group = group(true);
    group.route_labels = LabelSet::from_pairs([
        ("a", r#"<{{ routeLabels "reason" }}> {{ routeLabels "owner" }}{{ routeLabels "nobody" }}"#),
        ("owner", "<!channel>"),
        ("raw", r#"{{ .RouteLabels.reason }}"#),
        ("reason", r#"{{ .GroupLabels.alertname }} {{ len .Alerts.Firing }} {{ routeLabels "why" }}"#),
        ("title", r#"{{ template "team.title" . }}"#),
        ("why", "{{ .NotificationReason }}"),
    ]);
    let data = data_with(&library, &group);
    let team = rendered(&library, r#"{{ template "team.title" . }}"#, &data).unwrap();
    let reason = r#"{{ .GroupLabels.alertname }} {{ len .Alerts.Firing }} {{ routeLabels "why" }}"#;
    for (text, shown) in [
        (r#"{{ routeLabels "a" }}"#, "<HighCPU 2 unknown> <!channel>"),
        ("{{ .RouteLabels.a }}", "<HighCPU 2 unknown> <!channel>"),
        (r#"{{ "title" | routeLabels }}"#, team.as_str()),
        // The labels see each other's templates, as in Alertmanager.
        ("{{ .RouteLabels.raw }}", reason),
        (r#"{{ routeLabels "nothing" }}{{ .RouteLabels.nothing }}"#, ""),
        ("{{ range .RouteLabels.Names }}{{ . }} {{ end }}", "a owner raw reason title why "),
        ("{{ .NotificationReason }}", "first notification"),
    ] {
        assert_eq!(rendered(&library, text, &data).as_deref(), Ok(shown), "{text}");
    }
    assert_eq!(data.errors().count(), 0);
    // A message to people says the labels as it says other values.
    let text = TemplateText {
        key: "text".into(),
        source: r#"{{ .RouteLabels.owner }} {{ routeLabels "owner" }} <!here>"#.into(),
        escape: as_it_is,
        html: false,
    };
    let quiet = Compiled::new(&library, vec![text], |value| value.replace("<!", "<\u{2060}!"));
    let shown = quiet.render("text", &data, NOW).unwrap();
    assert_eq!(shown.as_deref(), Ok("<\u{2060}!channel> <\u{2060}!channel> <!here>"));
}

#[test]
fn a_label_of_a_route_that_fails_is_left_out_and_named() {
    let library = Library::built_in();
    let mut group = group(true);
    let chain: Vec<(String, String)> =
        (0..40).map(|i| (format!("c{i:02}"), format!("{{{{ routeLabels \"c{:02}\" }}}}", i + 1))).collect();
    let labels = [
        ("fine", "{{ .Status }}"),
        ("broken", "{{ index .Alerts 99 }}"),
        ("of_broken", r#"{{ routeLabels "broken" }}"#),
        ("x", r#"{{ routeLabels "y" }}"#),
        ("y", r#"{{ routeLabels "z" }}"#),
        ("z", r#"{{ routeLabels "y" }}"#),
        ("self", r#"{{ routeLabels "self" }}"#),
        ("endless", r#"{{ range 1000000000 }}{{ end }}"#),
        ("no_template", "{{ if }}"),
    ];
    let chain = chain.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    group.route_labels = LabelSet::from_pairs(labels.into_iter().chain(chain));
    let data = data(&group);
    let errors: Vec<String> = data.errors().collect();
    for (label, why) in [
        ("broken", "index"),
        ("of_broken", "the label \"broken\" of the route has no value"),
        ("x", "the label \"y\" of the route has no value"),
        ("z", "in a circle: y → z → y"),
        ("self", "in a circle: self → self"),
        ("endless", "loops take too many turns"),
        ("no_template", "line 1"),
        ("c00", "has no value"),
        ("c15", "more than 16 labels of the route ask for each other in a row"),
    ] {
        let of = format!("labels.{label} of the route, which is left out: ");
        let found =
            errors.iter().find(|error| error.starts_with(&of)).unwrap_or_else(|| panic!("{errors:?}"));
        assert!(found.contains(why), "{label}: {found}");
    }
    assert!(!errors.iter().any(|error| error.starts_with("labels.fine ")), "{errors:?}");
    let shown = |text| rendered(&library, text, &data);
    assert_eq!(shown(r#"{{ .RouteLabels.fine }}{{ routeLabels "x" }}"#).as_deref(), Ok("firing"));
}

#[test]
fn a_template_cannot_hang_or_flood_a_worker() {
    let library = Library::built_in();
    let data = data(&group(true));
    for (text, why) in [
        (r#"{{ range 1000000000 }}{{ end }}"#, "loops take too many turns"),
        (r#"{{ range 3000 }}{{ range 3000 }}{{ $x := 1 }}{{ end }}{{ end }}"#, "loops take too many turns"),
        (r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#, "more than 200 deep"),
        (
            r#"{{ define "a" }}{{ template "b" . }}{{ template "b" . }}{{ end }}{{ define "b" }}{{ if .Status }}{{ template "c" . }}{{ template "c" . }}{{ end }}{{ end }}{{ define "c" }}{{ range 400 }}{{ template "d" $ }}{{ end }}{{ end }}{{ define "d" }}{{ range 1000 }}{{ $x := len "" }}{{ end }}{{ end }}{{ template "a" . }}"#,
            "too many turns",
        ),
        (r#"{{ range 100000 }}{{ "0123456789" }}{{ end }}"#, "longer than 64 KiB"),
        (
            r#"{{ $x := "0123456789abcdef" }}{{ range 100 }}{{ $x = printf "%s%s" $x $x }}{{ end }}"#,
            "bytes of text",
        ),
        (
            r#"{{ $x := "0123456789abcdef" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}{{ $x }}"#,
            "bytes of text",
        ),
        (
            r#"{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 100 }}{{ $x = reReplaceAll "a" "aaaa" $x }}{{ end }}"#,
            "bytes of text",
        ),
        (
            r#"{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 100 }}{{ $x = join $x (stringSlice $x $x) }}{{ end }}"#,
            "bytes of text",
        ),
        (r#"{{ range 100000 }}{{ $x := printf "%65000d" 1 }}{{ end }}"#, "bytes of text"),
        (r#"{{ $l := list 1 }}{{ range 100000 }}{{ $l = append $l 1 }}{{ end }}"#, "bytes of text"),
        (r#"{{ range 100000 }}{{ $x := match (print "(a|b){1,50}" .) "ab" }}{{ end }}"#, "steps"),
        (r#"{{ match "((a{100}){100}){100}" "a" }}"#, "too large"),
    ] {
        let failed = rendered(&library, text, &data).unwrap_err();
        assert!(failed.contains(why), "{text}: {failed}");
    }
    // A group as large as a message has fits.
    let mut large = group(true);
    let alert = large.alerts[0].clone();
    large.alerts = std::iter::repeat_n(alert, 1_000).collect();
    let text =
        "{{ range .Alerts }}{{ range .Labels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}{{ end }}";
    assert!(rendered(&library, text, &self::data(&large)).unwrap().len() > 50_000);
}

#[test]
fn a_failure_has_its_place() {
    let file = TemplateFile {
        file: "d/team.tmpl".into(),
        text: "{{ define \"t\" }}\n  {{ index .Alerts 9 }}{{ end }}".into(),
    };
    let library = Library::with_files(&[file]).unwrap();
    let failed = |text: &str| rendered(&library, text, &data(&group(true))).unwrap_err();
    assert!(failed("a\n {{ template \"t\" . }}").starts_with("d/team.tmpl:2:6: index: "));
    assert!(failed("a\n {{ .Alerts.X }}").starts_with("line 2, column 5: a list has no .X. "));
    assert!(failed("{{ .StartAt }}").contains("the notification has no .StartAt"));
}

#[test]
fn html_may_encode_an_address_in_a_loop() {
    let library = Library::built_in();
    let mut group = group(true);
    group.alerts[0].labels = LabelSet::from_pairs([("instance", "a b&c:1")]);
    group.alerts.truncate(1);
    let html = |source: &str| {
        let text = TemplateText { key: "html".into(), source: source.into(), escape: as_it_is, html: true };
        Compiled::new(&library, vec![text], as_it_is).render("html", &data(&group), NOW).unwrap()
    };
    let encoded = "a+b%26c%3A1";
    for (source, shown) in [
        // Go's html/template escapes the + of a text.
        ("{{ range .Alerts }}{{ .Labels.instance | urlquery }}{{ end }}", "a&#43;b%26c%3A1".to_owned()),
        (
            "{{ range .Alerts }}<b>{{ urlquery .Labels.instance }}</b>{{ end }}",
            "<b>a&#43;b%26c%3A1</b>".into(),
        ),
        (
            r#"{{ range .Alerts }}<a href="http://a/?q={{ .Labels.instance | urlquery }}">x</a>{{ end }}"#,
            format!(r#"<a href="http://a/?q={}">x</a>"#, encoded.replace('+', "&#43;")),
        ),
        (
            r#"<a href="http://a/?q={{ (index .Alerts 0).Labels.instance | urlquery }}">x</a>"#,
            format!(r#"<a href="http://a/?q={}">x</a>"#, encoded.replace('+', "&#43;")),
        ),
    ] {
        assert_eq!(html(source), Ok(shown), "{source}");
    }
    let missing = html(r#"{{ template "nope" . }}"#).unwrap_err();
    assert!(missing.contains(r#"there is no template "nope""#), "{missing}");
    let unsafe_loop = html("{{ range .Alerts }}<a href='{{ end }}").unwrap_err();
    assert!(unsafe_loop.contains("different contexts"), "{unsafe_loop}");
}

#[test]
fn an_empty_definition_of_a_text_that_alertmanager_leaves_empty_leaves_it_empty() {
    let text = r#"{{ define "slack.default.text" }}{{ end }}{{ define "__subject" }}{{ end }}"#;
    let file = TemplateFile { file: "default.tmpl".into(), text: text.into() };
    let library = Library::with_files(&[file]).unwrap();
    let shown = |text: &str| rendered(&library, text, &data(&group(true))).unwrap();
    assert_eq!(shown(r#"{{ template "slack.default.text" . }}"#), "");
    assert!(shown(r#"{{ template "__subject" . }}"#).starts_with("[FIRING:2] "));
}

#[test]
fn html_escapes_by_where_a_value_stands() {
    let library = Library::built_in();
    let mut group = group(true);
    group.alerts[0].annotations = LabelSet::from_pairs([
        ("summary", "<script>alert(1)</script>"),
        ("runbook_url", "javascript:alert(1)"),
    ]);
    let html = |source: &str| {
        let text = TemplateText { key: "html".into(), source: source.into(), escape: as_it_is, html: true };
        Compiled::new(&library, vec![text], as_it_is).render("html", &data(&group), NOW).unwrap()
    };
    let mail = html("{{ template \"email.default.html\" . }}").unwrap();
    assert!(mail.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !mail.contains("<script"), "{mail}");
    assert!(mail.contains("<a href=\"#ZgotmplZ\"") && !mail.contains("\"javascript:"), "{mail}");
    assert!(mail.contains("CPU") || mail.contains("Firing</h2>"), "{mail}");
    assert!(mail.trim_end().ends_with("</html>"));
    let own = r#"<a href="{{ .ExternalURL }}/?x={{ .Status }}" title="{{ .CommonLabels }}">{{ safeHtml "<b>" }}{{ "<i>" }}</a>"#;
    let shown = r#"<a href="https://alerts.example/?x=firing" title="alertname=HighCPU, cluster=eu-1, severity=critical"><b>&lt;i&gt;</a>"#;
    assert_eq!(html(own).as_deref(), Ok(shown));
}
