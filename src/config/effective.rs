//! A noise profile as the configuration would spell it, with every key.

use crate::config::{Mode, Noise};

/// Every key of a profile with the value that is in force, as YAML, one key a line. It reads back as the same
/// profile.
pub fn profile(noise: &Noise) -> String {
    let decimal = |thousandths: u32| match thousandths % 1_000 {
        0 => (thousandths / 1_000).to_string(),
        places => format!("{}.{places:03}", thousandths / 1_000).trim_end_matches('0').to_owned(),
    };
    let list = |levels: &[smol_str::SmolStr]| {
        let quoted: Vec<String> = levels.iter().map(|level| format!("{:?}", level.as_str())).collect();
        format!("[{}]", quoted.join(", "))
    };
    let Noise { flapping, resolve_hold, merge_window, rolling, growth, escalate, .. } = noise;
    let Noise { wait, usual_per_day, busy, alone, hold, storm, limit, budget, digest, mode, .. } = noise;
    let mode = match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    };
    [
        format!("merge_window: {merge_window}"),
        format!("resolve_hold: {resolve_hold}"),
        format!("rolling: {rolling}"),
        format!("growth: {growth}"),
        format!("escalate: {escalate}"),
        format!("wait: {wait}"),
        format!("usual_per_day: {}", decimal(*usual_per_day)),
        format!("busy: {{wait: {}, usual_per_day: {}}}", busy.wait, decimal(busy.usual_per_day)),
        format!("alone: {{pages: {}, levels: {}}}", alone.pages, list(&alone.levels)),
        format!("hold: {{for: {}, levels: {}}}", hold.time, list(&hold.levels)),
        format!(
            "flapping: {{suppress_at: {}, half_life: {}, confirm: {}}}",
            decimal(flapping.suppress_at),
            flapping.half_life,
            flapping.confirm
        ),
        format!("storm: {{start: {}, end: {}, window: {}}}", storm.start, storm.end(), storm.window),
        format!("limit: {{pages: {}, per: {}}}", limit.pages, limit.per),
        format!("budget: {{pages: {}, per: {}}}", budget.pages, budget.per),
        format!("digest: {digest}"),
        format!("mode: {mode}"),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    #[test]
    fn each_built_in_profile_reads_back_as_it_is_written() {
        for name in Noise::BUILT_IN {
            let read = |noise: &str| {
                let text =
                    format!("route: {{receiver: a, noise: {name}}}\nreceivers: [{{name: a}}]\n{noise}");
                config::parse(&text, "squelch.yml", Path::new("")).unwrap().policy.noise[name].clone()
            };
            let built_in = read("");
            let text = profile(&built_in).replace('\n', "\n    ");
            assert_eq!(read(&format!("noise:\n  {name}:\n    {text}\n")), built_in, "{text}");
        }
    }
}
