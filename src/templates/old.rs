//! Words of other templates, and their forms in Alertmanager's: those that Squelch had before Go's, and
//! functions of Helm and of Prometheus' rules.

/// The Go form of an old name.
pub(super) fn go_form(name: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 15] = [
        ("common_labels", "{{ .CommonLabels.alertname }}"),
        ("group_labels", "{{ .GroupLabels.alertname }}"),
        ("common_annotations", "{{ .CommonAnnotations.summary }}"),
        ("alerts", "{{ range .Alerts }}{{ .Labels.alertname }}{{ end }}"),
        ("alert", "{{ range .Alerts }}{{ .Labels.alertname }}{{ end }}"),
        ("status", "{{ .Status }}"),
        ("kind", "{{ .Kind }}"),
        ("receiver", "{{ .Receiver }}"),
        ("external_url", "{{ .ExternalURL }}"),
        ("severity", "{{ .Severity }}"),
        ("why", "{{ .Why }}"),
        ("dedup_key", "{{ .DedupKey }}"),
        ("num_firing", "{{ len .Alerts.Firing }}"),
        ("num_resolved", "{{ len .Alerts.Resolved }}"),
        ("possible_repeat", "{{ .PossibleRepeat }}"),
    ];
    NAMES.into_iter().find(|(old, _)| *old == name).map(|(_, form)| form)
}

/// The form of a function that Helm or a rule of Prometheus has, and Alertmanager not.
pub(super) fn foreign_form(name: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 10] = [
        ("coalesce", r#"{{ or .CommonLabels.service "none" }}"#),
        ("contains", r#"{{ match "text" .CommonLabels.service }}"#),
        ("default", r#"{{ or .CommonLabels.service "none" }}"#),
        ("hasPrefix", r#"{{ match "^text" .CommonLabels.service }}"#),
        ("quote", r#"{{ printf "%q" .CommonLabels.service }}"#),
        ("replace", r#"{{ reReplaceAll "old" "new" .CommonLabels.service }}"#),
        ("ternary", r#"{{ if eq .Status "firing" }}yes{{ else }}no{{ end }}"#),
        ("trim", "{{ trimSpace .CommonLabels.service }}"),
        ("trunc", r#"{{ printf "%.20s" .CommonLabels.service }}"#),
        ("truncate", r#"{{ printf "%.20s" .CommonLabels.service }}"#),
    ];
    NAMES.into_iter().find(|(foreign, _)| *foreign == name).map(|(_, form)| form)
}
