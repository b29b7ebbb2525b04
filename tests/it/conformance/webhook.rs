//! `webhook_configs`.

use super::{Answered, Case};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_what_alertmanager_sends() {
    let case = Case::new("webhook_configs: [{url: 'http://SINK/hook?a=b'}]", |_| {
        Answered::text(200, "text/plain", "ok")
    });
    let why = "Alertmanager has this field since 0.32";
    let labels = "Alertmanager has this field since 0.34";
    case.differs_only(&[
        ("firing/0/body/routeLabels", labels),
        ("resolved/0/body/routeLabels", labels),
        ("firing/0/body/notification_reason", why),
        ("resolved/0/body/notification_reason", why),
    ])
    .await;
}
