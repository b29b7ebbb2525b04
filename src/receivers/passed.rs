//! An event that another program sent to Squelch in the form of a pager, and that Squelch forwards to a
//! pager by itself. Its own texts go on in place of Squelch's default texts.

use std::collections::BTreeMap;

use super::View;
use super::text::clean_text;
use crate::model::{AlertView, EVENT_KEY, INTEGRATION, Kind};

/// The annotation that holds the event's own summary.
pub const SUMMARY: &str = "summary";
/// The annotation that holds the description of an alert of Opsgenie.
pub const DESCRIPTION: &str = "description";
/// The annotation that holds the links of an event of PagerDuty, as JSON.
pub const LINKS: &str = "pagerduty_links";
/// The annotation that holds the images of an event of PagerDuty, as JSON.
pub const IMAGES: &str = "pagerduty_images";
/// The annotation that holds the name of the program that sent an event of PagerDuty.
pub const CLIENT: &str = "pagerduty_client";
/// The annotation that holds the tags of an alert of Opsgenie, with commas.
pub const TAGS: &str = "opsgenie_tags";
/// The annotation that holds the actions of an alert of Opsgenie, with commas.
pub const ACTIONS: &str = "opsgenie_actions";
/// The annotation that holds the responders of an alert of Opsgenie, as JSON.
pub const RESPONDERS: &str = "opsgenie_responders";
/// The annotation that holds the priority of an alert of Opsgenie.
pub const PRIORITY: &str = "opsgenie_priority";
/// The annotation that holds the note of an alert of Opsgenie.
pub const NOTE: &str = "opsgenie_note";
/// Annotations that are no detail of the event.
pub const OWN: [&str; 10] =
    [SUMMARY, DESCRIPTION, LINKS, IMAGES, CLIENT, TAGS, ACTIONS, RESPONDERS, PRIORITY, NOTE];
/// The start of the name of a detail that would hide an annotation of the event itself.
pub const DETAIL: &str = "details.";

/// The event of a notification that is about this one event alone.
pub(super) struct Passed<'a>(&'a AlertView);

impl<'a> Passed<'a> {
    /// The event, if the notification pages about one alone.
    pub(super) fn of(view: &View<'a>) -> Option<Passed<'a>> {
        let n = view.notification;
        let [alert] = &*n.alerts else { return None };
        let is_event = [EVENT_KEY, INTEGRATION].iter().all(|name| !alert.labels.value(name).is_empty())
            && !alert.annotations.value(SUMMARY).is_empty();
        let pages = matches!(n.kind, Kind::Page | Kind::Update) && n.truncated == 0;
        (is_event && pages).then_some(Passed(alert))
    }

    pub(super) fn label(&self, name: &str) -> &'a str {
        self.0.labels.value(name)
    }

    pub(super) fn annotation(&self, name: &str) -> &'a str {
        self.0.annotations.value(name)
    }

    /// Where the sender shows the alert.
    pub(super) fn url(&self) -> &'a str {
        &self.0.generator_url
    }

    /// The details as the sender named them.
    pub(super) fn details(&self) -> BTreeMap<String, String> {
        let details = self.0.annotations.iter().filter(|(name, _)| !OWN.contains(name));
        details
            .map(|(name, text)| (name.strip_prefix(DETAIL).unwrap_or(name).to_owned(), clean_text(text)))
            .collect()
    }

    /// A list of objects that an annotation holds as JSON.
    pub(super) fn list(&self, name: &str) -> Vec<BTreeMap<String, serde_json::Value>> {
        serde_json::from_str(self.annotation(name)).unwrap_or_default()
    }
}
