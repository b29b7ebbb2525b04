//! `report`: which receiver gets the report of a period, and when.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::intervals::{location, minute};
use crate::config::{Every, Receiver, ReportSchedule};
use crate::settings::section::{Section, shown};

/// The keys of `report`. Without a receiver there is no report.
pub(super) fn read(
    section: Option<Section<'_>>,
    receivers: &BTreeMap<SmolStr, Receiver>,
) -> Option<ReportSchedule> {
    let mut keys = section?;
    let receiver = keys.text("receiver");
    let every = match keys.text("every") {
        None => Every::Week,
        Some(text) => match text.text {
            "day" => Every::Day,
            "week" => Every::Week,
            "month" => Every::Month,
            other => {
                let message = format!("report.every is {}. Write day, week or month", shown(other));
                keys.problems.add(text.line, message);
                Every::Week
            }
        },
    };
    let mut at = 9 * 60;
    if let Some(text) = keys.text("at") {
        match minute(text.text).filter(|minute| *minute < 24 * 60) {
            Some(minute) => at = minute,
            None => {
                let message = format!("report.at is {}. Write a time such as '09:00'", shown(text.text));
                keys.problems.add(text.line, message);
            }
        }
    }
    let location = location(&mut keys);
    let receiver = match receiver {
        Some(name) if receivers.contains_key(name.text) => Some(SmolStr::from(name.text)),
        Some(name) => {
            let message = format!("report.receiver is {}. Write the name of a receiver", shown(name.text));
            keys.problems.add(name.line, message);
            None
        }
        None => {
            keys.problems.add(keys.line, "report has no receiver. Write report: {receiver: NAME}");
            None
        }
    };
    keys.finish();
    Some(ReportSchedule { receiver: receiver?, every, at, location })
}

#[cfg(test)]
mod tests {
    use crate::config::{Every, ReportSchedule, parse};

    fn read(report: &str) -> Result<ReportSchedule, String> {
        let text = format!("route: {{receiver: a}}\nreceivers: [{{name: a}}]\nreport: {report}\n");
        let read = parse(&text, "x.yml", std::path::Path::new("")).map_err(|e| e.to_string())?;
        read.report.ok_or_else(|| "no report".to_owned())
    }

    #[test]
    fn a_report_has_a_receiver_and_a_time() {
        let report = read("{receiver: a}").unwrap();
        assert_eq!((report.every, report.at, report.location.name()), (Every::Week, 540, "UTC"));
        let report = read("{receiver: a, every: month, at: '07:30', location: Europe/Zurich}").unwrap();
        assert_eq!((report.every, report.at, report.location.name()), (Every::Month, 450, "Europe/Zurich"));
        for (wrong, part) in [
            ("{}", "report has no receiver"),
            ("{receiver: b}", "report.receiver is"),
            ("{receiver: a, every: year}", "Write day, week or month"),
            ("{receiver: a, at: '25:00'}", "report.at is"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
