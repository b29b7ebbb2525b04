//! What a decision rests on: the setting, its line, and what would have become of the alert without it.

use smol_str::{SmolStr, format_smolstr};

use super::Engine;
use super::groups::{Place, place};
use super::lanes::{Lane, LaneId};
use crate::model::{AlertId, Basis, Otherwise, Reason, Timestamp};

impl Lane {
    /// The route, where nothing else decided.
    pub(super) fn basis(&self) -> Basis {
        Basis { setting: format_smolstr!("route {}", self.route), line: self.line, ..Basis::default() }
    }

    /// A key of the noise profile; where the file leaves it to its default, the profile, or the route.
    fn noise_basis(&self, key: &str) -> Basis {
        let (name, lines) = &self.profile;
        let line = lines.get(key).or_else(|| lines.get("")).copied().unwrap_or(self.line);
        Basis { setting: format_smolstr!("noise.{name}.{key}"), line, ..Basis::default() }
    }
}

impl Engine {
    /// What suppressing an alert for `reason` rests on.
    pub(super) fn basis(&self, alert: AlertId, lane: LaneId, reason: Reason) -> Basis {
        let settings = self.lanes.lane(lane);
        let basis = match reason {
            Reason::Storm => settings.noise_basis("storm"),
            Reason::Flapping => settings.noise_basis("flapping"),
            Reason::Unsurprising => settings.noise_basis("surprise"),
            Reason::RateLimited => settings.noise_basis("limit"),
            Reason::SelfResolved => self.hold_basis(alert, settings),
            Reason::Stale => self.global_basis("stale_after"),
            Reason::Duplicate
            | Reason::Grouped
            | Reason::Inhibited
            | Reason::Silenced
            | Reason::Muted
            | Reason::NeverPaged => settings.basis(),
        };
        Basis { otherwise: self.otherwise(alert, lane, reason), ..basis }
    }

    /// What the first page of an alert waited for.
    fn hold_basis(&self, alert: AlertId, lane: &Lane) -> Basis {
        let severities = &self.policy.severities;
        let level = self.alerts.alert(alert).map(|a| &severities.levels[severities.level_of(&a.labels)]);
        match level {
            Some(level) if !level.hold.is_zero() && !level.never_hold => {
                let line = self.policy.lines.severities.get(&level.name).copied().unwrap_or(0);
                let setting = format_smolstr!("severities.levels.{}.hold", level.name);
                Basis { setting, line, ..Basis::default() }
            }
            _ if !lane.noise.hold.time.is_zero() => lane.noise_basis("hold"),
            _ if !lane.noise.wait.is_zero() => lane.noise_basis("wait"),
            _ => lane.basis(),
        }
    }

    fn global_basis(&self, key: &str) -> Basis {
        let line = self.policy.lines.global.get(key).copied().unwrap_or(0);
        Basis { setting: format_smolstr!("global.{key}"), line, ..Basis::default() }
    }

    /// What would have become of an alert without the setting that suppressed it; nothing where
    /// somebody was told, or there was nothing to tell. A page that a limit or a storm would have
    /// merged counts as one that leaves.
    pub(super) fn otherwise(&self, alert: AlertId, lane: LaneId, reason: Reason) -> Option<Otherwise> {
        let settings = self.lanes.lane(lane);
        let known = self.alerts.alert(alert)?;
        let severities = &self.policy.severities;
        let wait = match severities.levels[severities.level_of(&known.labels)].never_hold {
            true => crate::model::Duration::ZERO,
            false => settings.group_wait.max(settings.noise.wait),
        };
        let at: Timestamp = match reason {
            Reason::Duplicate | Reason::Grouped | Reason::Stale | Reason::NeverPaged => return None,
            Reason::Muted if settings.integrations.is_empty() => return None,
            Reason::Flapping => {
                let own = self.alerts.track(alert, lane).and_then(|track| track.incident());
                let key = self.group_key(lane, &known.labels);
                let recent = self.recent_incident(&key, own).and_then(|id| self.incidents.get(&id));
                if let Some(incident) = recent {
                    return Some(Otherwise::Update(incident.dedup_key.clone()));
                }
                self.now + wait
            }
            Reason::Silenced | Reason::Inhibited | Reason::Muted => {
                if let Some(key) = self.open_incident(alert, lane) {
                    return Some(Otherwise::Update(key));
                }
                self.now + wait
            }
            Reason::Storm => self.now,
            Reason::SelfResolved => known.received_at,
            Reason::Unsurprising | Reason::RateLimited => known.received_at + wait,
        };
        Some(Otherwise::Page(at))
    }

    /// The open incident that an alert would join now.
    fn open_incident(&self, alert: AlertId, lane: LaneId) -> Option<SmolStr> {
        let labels = &self.alerts.alert(alert)?.labels;
        let key = self.group_key(lane, labels);
        let name = self.rolls_by(labels);
        let last = self.alerts.track(alert, lane).and_then(|track| track.incident());
        let (group, noise) = (self.groups.get(&key)?, &self.lanes.lane(lane).noise);
        match place(self.now, alert, last, group, &self.incidents, noise, name) {
            Place::Rejoin(id) | Place::Join(id) => self.incidents.get(&id).map(|i| i.dedup_key.clone()),
            Place::Next => None,
        }
    }
}
