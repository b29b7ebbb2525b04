//! All that the page of an incident shows, from the engine and from the decision log.

use std::sync::Arc;

use serde::Deserialize;
use squelch_core::policy::Level;

use super::{ROWS, look, offset};
use crate::decision_log::{
    AsSentEntry, Baseline, PastIncident, PastIncidentDetail, PastIncidentQuery, WhichIncident,
};
use crate::engine::{MERGED, OpenIncident, RuleCount};
use crate::ingest::events::pagerduty::ChangeEvent;
use crate::model::{MatchOp, Matcher};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::history::{recorded, reviewed};

/// So many rules are named.
pub(super) const RULES: usize = 20;
/// So many similar incidents of the past are listed.
const SIMILAR: usize = 6;
/// So many rules have a baseline.
const BASELINES: usize = 3;

/// The parameters of the address line.
#[derive(Deserialize)]
pub(in crate::web) struct IncidentPageParams {
    /// The `dedup_key`, or a beginning of it.
    pub(super) key: String,
    /// The number of an older incident with the same key.
    pub(super) number: Option<u64>,
    /// The incident of observe mode, where a real one has the same key.
    #[serde(default)]
    pub(super) observed: bool,
    pub(super) page: Option<usize>,
}

impl IncidentPageParams {
    pub(super) fn which(&self) -> WhichIncident {
        WhichIncident { key: self.key.clone(), number: self.number, observed: Some(self.observed) }
    }
}

/// All that the page shows.
pub(super) struct Seen {
    /// The incident as the engine has it, while it is open.
    pub(super) open: Option<OpenIncident>,
    /// Its rules, the worst first, and how many there are. Only an open incident of alerts has them.
    pub(super) rules: (Vec<RuleCount>, usize),
    /// The incident as the history has it. An incident that has just opened is not there yet.
    pub(super) past: Option<Box<PastIncidentDetail>>,
    /// The levels of the configuration, the highest first.
    pub(super) levels: Vec<Level>,
    /// Similar incidents.
    pub(super) similar: Vec<PastIncident>,
    /// Changes at the time of the incident.
    pub(super) changes: Vec<ChangeEvent>,
    /// How often its rules fire, by their names.
    pub(super) baselines: Vec<(String, Arc<Baseline>)>,
    /// Of an incident that Squelch only observed: the sender's incidents with its alerts.
    pub(super) as_sent: Vec<AsSentEntry>,
}

/// Gathers it.
pub(super) async fn seen(app: &App, asked: &IncidentPageParams) -> Result<Seen, Problem> {
    let past = recorded(app, asked.which()).await;
    let key = past.as_ref().map_or_else(|_| asked.key.clone(), |past| past.incident.dedup_key.clone());
    let (number, observed, from) = (asked.number, asked.observed, offset(asked.page));
    let (open, rules, levels) = look(app, move |engine| {
        let open = engine.query().incident(&key, observed, from, ROWS);
        let open = open.filter(|open| number.is_none_or(|number| number == open.number));
        let rules = open.as_ref().map(|_| engine.query().incident_rules(&key, observed, RULES));
        (open, rules.unwrap_or_default(), engine.policy().severities.levels.clone())
    })
    .await?;
    // The engine knows an incident before the history does.
    let past = match (past, &open) {
        (Ok(past), Some(open)) => Some(past).filter(|past| past.incident.number == open.number),
        (Ok(past), None) => Some(past),
        (Err(_), Some(_)) => None,
        (Err(problem), None) => return Err(problem),
    };
    let since =
        past.as_ref().map(|past| past.incident.opened_at).or(open.as_ref().map(|open| open.row.since));
    let changes = since.map(|since| app.changes.since(since)).unwrap_or_default();
    let changes = if open.is_some() { changes } else { Vec::new() };
    let similar = similar(app, past.as_deref()).await;
    let baselines = baselines(app, past.as_deref()).await;
    let observed = past.as_ref().is_some_and(|past| past.incident.observed);
    // The page is of use without them.
    let review = if observed { reviewed(app, asked.which()).await.ok() } else { None };
    let as_sent = review.map(|review| review.as_sent).unwrap_or_default();
    Ok(Seen { open, rules, past, levels, similar, changes, baselines, as_sent })
}

/// Earlier incidents whose title names the same rule.
async fn similar(app: &App, past: Option<&PastIncidentDetail>) -> Vec<PastIncident> {
    let Some((past, rule)) = past.and_then(|past| Some((past, past.rules.first()?))) else {
        return Vec::new();
    };
    let query = PastIncidentQuery {
        words: vec![rule.name.clone()],
        receiver: Some(past.incident.receiver.clone()),
        limit: SIMILAR + 1,
        ..PastIncidentQuery::default()
    };
    // The page is of use without them.
    let mut found = app.gate.history(query).await.map(|page| page.incidents).unwrap_or_default();
    found.retain(|one| one.number != past.incident.number);
    found.truncate(SIMILAR);
    found
}

/// How often the first rules of an incident fire in the scope of its group, as of its page.
async fn baselines(app: &App, past: Option<&PastIncidentDetail>) -> Vec<(String, Arc<Baseline>)> {
    let mut found = Vec::new();
    let Some(past) = past.filter(|past| past.origin != "internal") else { return found };
    for rule in past.rules.iter().take(BASELINES) {
        // No alert has the label by which the group of a merged incident differs.
        let scope = past.group_labels.iter().filter(|(label, _)| !["alertname", MERGED].contains(&&***label));
        let labels = scope.map(|(label, value)| (label.as_str(), value.as_str()));
        let labels = labels.chain([("alertname", rule.name.as_str())]);
        let matchers = labels.filter_map(|(label, value)| Matcher::new(label, MatchOp::Equal, value).ok());
        let key = (past.incident.dedup_key.clone(), past.incident.number, rule.name.clone());
        let mut baseline = app.baselines.get(&key);
        // The page is of use without them.
        if baseline.is_none()
            && let Ok(counted) = app.gate.baseline(matchers.collect(), past.incident.opened_at).await
        {
            app.baselines.insert(key, baseline.insert(Arc::new(counted)).clone());
        }
        found.extend(baseline.map(|baseline| (rule.name.clone(), baseline)));
    }
    found
}
