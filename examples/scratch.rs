use squelch::{config, engine::*, model::*};
use std::io::{BufRead, Write};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let policy = config::load(std::path::Path::new(&args[1])).map_err(|e| e.to_string()).unwrap().policy;
    let mut engine = Engine::new(policy);
    let mut out = std::io::BufWriter::new(std::fs::File::create(&args[3]).unwrap());
    let mut now = Timestamp::ZERO;
    let mut told: std::collections::BTreeMap<SmolKey, std::collections::BTreeSet<String>> =
        Default::default();
    type SmolKey = String;
    let mut queue: std::collections::VecDeque<Event> = Default::default();
    let mut step = |engine: &mut Engine, now: Timestamp, event: Event, out: &mut dyn Write| {
        queue.push_back(event);
        while let Some(event) = queue.pop_front() {
            let mut fx = Effects::default();
            engine.handle(now, &event, &mut fx);
            for n in fx.notifications {
                let known = told.entry(n.dedup_key.to_string()).or_default();
                let alerts: Vec<_> = n
                    .alerts
                    .iter()
                    .filter(|a| {
                        let key = format!("{}{}", a.id, a.starts_at);
                        known.insert(key) || n.kind == Kind::Page
                    })
                    .filter(|_| n.kind != Kind::Resolve)
                    .map(|a| serde_json::json!({"labels": a.labels, "startsAt": a.starts_at}))
                    .collect();
                writeln!(out, "{}", serde_json::json!({"at": n.at, "kind": n.kind, "receiver": n.receiver, "incident": n.dedup_key, "alerts": alerts})).unwrap();
                queue.push_back(Event::Delivered(Report {
                    id: n.id,
                    outcome: Outcome::Accepted,
                    attempts: 1,
                }));
            }
        }
    };
    let mut lines = 0;
    for line in std::io::BufReader::new(std::fs::File::open(&args[2]).unwrap()).lines() {
        let v: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let at = Timestamp::parse(v["at"].as_str().unwrap()).unwrap();
        if lines == 0 {
            now = at;
        }
        lines += 1;
        while let Some((t, _)) = engine.next_deadline()
            && t <= at
        {
            now = now.max(t);
            step(&mut engine, now, Event::Tick, &mut out);
        }
        now = at;
        let observations = v["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| {
                let firing = a["status"] == "firing";
                Observation {
                    status: if firing { Status::Firing } else { Status::Resolved },
                    labels: serde_json::from_value(a["labels"].clone()).unwrap(),
                    annotations: LabelSet::default(),
                    starts_at: Timestamp::parse(a["startsAt"].as_str().unwrap()).unwrap(),
                    ends_at: if firing {
                        None
                    } else {
                        Some(Timestamp::parse(a["endsAt"].as_str().unwrap()).unwrap())
                    },
                    generator_url: Default::default(),
                }
            })
            .collect();
        step(
            &mut engine,
            now,
            Event::Observe(Batch { source: Source::Alertmanager, peer: "h".into(), observations }),
            &mut out,
        );
    }
    let end = now + Duration::from_hours(6);
    while let Some((t, _)) = engine.next_deadline()
        && t <= end
    {
        now = now.max(t);
        step(&mut engine, now, Event::Tick, &mut out);
    }
}
