//! Memory that is not enough.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{alert, config, insist};
use crate::e2e::child::Child;
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, PROGRAM, Squelch};
use crate::e2e::{pager, shown, until};

/// An annotation as long as one may be, of which alerts have nothing in common.
fn long(number: u64) -> Value {
    let word = |at: u64| format!("{:016x}", (number * 1_000 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    serde_json::json!({"description": (0..1_000).map(word).collect::<String>()})
}

/// The body about one alert, of such an annotation.
fn heavy(alert: &Told) -> Value {
    let mut body = body("http://am-0", std::slice::from_ref(alert));
    body["alerts"][0]["annotations"] = long(0);
    body
}

async fn limits(squelch: &Squelch) -> Value {
    // A machine that is busy may answer 503 once.
    let look = async || {
        let answer = squelch.get("/api/v1/stats").await;
        (answer.status == 200).then(|| answer.json()["limits"].clone())
    };
    until("the counters", look).await
}

/// Alerts that are larger than estimated fill the memory before `limits.alerts` applies. Squelch refuses
/// new alerts and raises an alarm, and known alerts go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_refused_while_memory_is_short() {
    let pager = pager().await;
    let brief = config(&pager).replace("timeout: 5s", "timeout: 5s, max_alerts: 1");
    let with = |memory: &str| format!("{brief}limits: {{memory: {memory}}}\n");
    let home = Home::new(&with("96MiB"));
    let squelch = home.serve().await;
    let first = alert("First");
    insist(&squelch, &heavy(&first)).await;
    shown(&pager, "the first page", |i| i.iter().any(|i| i.summary.contains("First"))).await;
    assert_eq!(limits(&squelch).await, serde_json::json!({"alerts": 4096, "memory": 96 << 20}));

    let mut sent = 0;
    let refused = until("memory is short", async || {
        let hosts = (sent..sent + 20).map(|n| Told::fires("Fat", "host", &format!("h{n}")));
        let mut all = body("http://am-0", &hosts.collect::<Vec<_>>());
        for (alert, number) in all["alerts"].as_array_mut().unwrap().iter_mut().zip(sent + 1..) {
            alert["annotations"] = long(number);
        }
        sent += 20;
        let answer = squelch.post("/alertmanager/webhook", all.to_string()).await;
        assert!([200, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.body.contains("memory is short"), "{}", refused.body);
    assert!(sent <= 4096, "limits.alerts was reached first");
    shown(&pager, "a person is told", |i| i.iter().any(|i| i.summary.contains("SquelchMemoryShort"))).await;
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    assert_eq!(squelch.get("/-/ready").await.status, 200);
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.value("squelch_memory_short"), 1.0);
    assert!(scrape.value("squelch_requests_shed_total") >= 1.0);
    assert!(limits(&squelch).await["refusing"].as_str().unwrap().contains("memory is short"));

    // A known alert may repeat its statement, and may resolve, which frees memory.
    squelch.hook(&heavy(&first)).await;
    squelch.hook(&heavy(&first.resolved())).await;
    let closed = |i: &[_]| {
        i.iter().any(|i: &squelch::commands::fake_pager::Incident| {
            i.summary.contains("First") && i.closed_at.is_some()
        })
    };
    shown(&pager, "the first is closed", closed).await;

    home.configure(&with("2GiB"));
    assert_eq!(squelch.post("/-/reload", "").await.status, 200);
    insist(&squelch, &heavy(&alert("Later"))).await;
    shown(&pager, "what is new pages", |i| i.iter().any(|i| i.summary.contains("Later"))).await;
    assert_eq!(squelch.scrape().await.value("squelch_memory_short"), 0.0);
    let said = squelch.child.said();
    assert_eq!(said.matches("msg=\"memory is short").count(), 1, "each second a line:\n{said}");
    assert_eq!(said.matches("memory suffices again").count(), 1);
}

/// As many alerts as fit, and no more: the others are reported together.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_do_not_fit_are_told_together() {
    let pager = pager().await;
    let home = Home::new(&(config(&pager) + "limits: {memory: 64MB}\n"));
    let squelch = home.serve().await;
    squelch.child.line(&["limits.alerts 1000000 would not fit", "limit=100"]).await;
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.value("squelch_alerts_limit"), 100.0);
    assert_eq!(scrape.value("squelch_memory_budget_bytes"), f64::from(64 << 20));
    let hosts: Vec<Told> = (0..150).map(|n| Told::fires("Many", "host", &format!("h{n}"))).collect();
    insist(&squelch, &body("http://am-0", &hosts)).await;
    let said = |i: &squelch::commands::fake_pager::Incident| i.summary.contains("SquelchTooManyAlerts");
    shown(&pager, "one incident tells of the others", |i| i.iter().any(said)).await;
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.value("squelch_alerts_known"), 100.0);
    assert_eq!(scrape.value("squelch_alerts_overflow_total"), 50.0);
}

/// A control group below that of this process, of either version. A drop removes it.
pub(super) struct Group(PathBuf);

impl Group {
    pub(super) fn new(bytes: u64) -> Option<Group> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |controller: &str| {
            own.lines().find_map(|line| line.split_once(controller).map(|(_, path)| path.to_owned()))
        };
        let places = [
            (path(":memory:"), "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            (path("0::"), "/sys/fs/cgroup", "memory.max"),
        ];
        places.into_iter().find_map(|(path, mount, file)| {
            let name = format!("squelch-test-{}", std::process::id());
            let folder = Path::new(mount).join(path?.trim_start_matches('/')).join(name);
            std::fs::create_dir(&folder).ok()?;
            let group = Group(folder);
            std::fs::write(group.0.join(file), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The limit of the control group counts, without a word in the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_group_bounds_the_alerts() {
    let Some(group) = Group::new(128 << 20) else {
        crate::tools::missing("a control group of one's own", &std::io::Error::other("it takes root"));
        return;
    };
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let data = format!("--storage.path={}", home.path("data").display());
    let file = format!("--config.file={}", home.path("squelch.yml").display());
    let command = format!(
        "echo $$ >{}/cgroup.procs && exec {PROGRAM} serve {data} {file} --web.listen-address=127.0.0.1:0",
        group.0.display()
    );
    let child = Child::start("squelch in a group", "sh", &["-c", &command]).unwrap();
    let squelch = Home::ready(child).await;
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.value("squelch_memory_budget_bytes"), f64::from(128 << 20));
    assert_eq!(scrape.value("squelch_alerts_limit"), 16_384.0);
    let from = group.0.file_name().unwrap().to_str().unwrap();
    squelch.child.line(&["would not fit", "budget_mib=128", from]).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}
