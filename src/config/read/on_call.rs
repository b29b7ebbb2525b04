//! `on_call`: when shifts begin.

use super::intervals::{location, minute};
use crate::config::OnCall;
use crate::settings::section::Section;

/// A day has so many shifts at most.
const MOST: usize = 24;

/// The keys of `on_call`.
pub(super) fn read(section: Option<Section<'_>>) -> OnCall {
    let mut on_call = OnCall::default();
    let Some(mut keys) = section else { return on_call };
    on_call.location = location(&mut keys);
    if let Some(given) = keys.texts("shifts") {
        let (line, mut shifts) = (keys.line_of("shifts"), Vec::new());
        for text in given {
            match minute(text.text).filter(|minute| *minute < 24 * 60) {
                Some(minute) => shifts.push(minute),
                None => {
                    let shown = crate::settings::section::shown(text.text);
                    let message =
                        format!("on_call.shifts has {shown}. Write a time of the day such as '08:00'");
                    keys.problems.add(text.line, message);
                }
            }
        }
        shifts.sort_unstable();
        shifts.dedup();
        match shifts.len() {
            0 => keys
                .problems
                .add(line, "on_call.shifts is empty. Write when shifts begin, such as ['08:00', '20:00']"),
            1..=MOST => on_call.shifts = shifts,
            many => keys.problems.add(line, format!("on_call.shifts has {many} times. Write at most {MOST}")),
        }
    }
    keys.finish();
    on_call
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn read(on_call: &str) -> Result<crate::config::OnCall, String> {
        let text = format!("route: {{receiver: a}}\nreceivers: [{{name: a}}]\non_call: {on_call}\n");
        parse(&text, "x.yml", std::path::Path::new(""))
            .map(|config| config.on_call)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn shifts_begin_at_times_of_the_day() {
        let read_well = read("{location: Europe/Zurich, shifts: ['20:00', '08:00', '20:00']}").unwrap();
        assert_eq!((read_well.location.name(), &read_well.shifts[..]), ("Europe/Zurich", &[480, 1200][..]));
        assert_eq!(read("{}").unwrap(), crate::config::OnCall::default());
        for (wrong, says) in [
            ("{shifts: ['8 am']}", "such as '08:00'"),
            ("{shifts: ['24:00']}", "such as '08:00'"),
            ("{shifts: []}", "is empty"),
            ("{location: Zurich}", "no time zone"),
            ("{zone: UTC}", "zone"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
