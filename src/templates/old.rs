//! The words of the templates that Squelch had before Go's, and their forms in Go.

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
