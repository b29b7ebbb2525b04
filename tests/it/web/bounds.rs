//! Bounds on the cost of connections, bodies and answers.

use super::*;

#[tokio::test]
async fn large_bodies_are_413_and_name_limit_and_size() {
    let running = start(ServerLimits { body_bytes: 1000, ..ServerLimits::default() }).await;
    let announced = running.hook(" ".repeat(1001)).await;
    assert_eq!(announced.status, 413);
    assert!(announced.body.contains("limit of 1000 bytes: found 1001 bytes"), "{}", announced.body);
    let chunked = format!(
        "POST {HOOK} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        " ".repeat(1001)
    );
    let mut stream = running.open(chunked.as_bytes()).await;
    assert_eq!(answer(&mut stream).await.status, 413);
    assert_eq!(running.hook(" ".repeat(1000)).await.status, 400, "at the limit it is read");
    assert_eq!(running.rejected()[..2], [InvalidReason::TooLarge; 2]);
}

#[tokio::test]
async fn memory_for_bodies_is_bounded_across_connections() {
    let mut running =
        start(ServerLimits { small_bodies_in_flight_bytes: 2048, ..ServerLimits::default() }).await;
    let padded = format!("{AM_025:<1500}");
    assert_eq!(running.hook(&padded).await.status, 200);
    soon(running.begun.recv()).await.unwrap();
    running.mood.send(Mood::Slow).unwrap();
    let mut held = running.open(post(AM_025).as_bytes()).await;
    soon(running.begun.recv()).await.unwrap();
    let over = running.hook(&padded).await;
    assert!(over.status == 503 && over.body.contains("2048 bytes"), "{}", over.body);
    running.mood.send(Mood::Well).unwrap();
    assert_eq!(answer(&mut held).await.status, 200);
    assert_eq!(running.hook(&padded).await.status, 200);
}

/// Large bodies of which a part has come fill the memory for such bodies, and nothing else.
#[tokio::test]
async fn unfinished_bodies_keep_no_small_one_out() {
    let running = start(ServerLimits { bodies_in_flight_bytes: 1 << 20, ..ServerLimits::default() }).await;
    let large =
        |length: usize| format!("POST {HOOK} HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n");
    let mut held = Vec::new();
    let refused = soon(async {
        loop {
            let mut one = running.open(large(31 << 20).as_bytes()).await;
            one.write_all(&vec![b' '; 1 << 20]).await.unwrap();
            held.push(one);
            let refused = running.hook(" ".repeat(1 << 20)).await;
            if refused.status != 400 {
                return refused;
            }
        }
    });
    let refused = refused.await;
    assert!(refused.status == 503 && refused.body.contains("1048576 bytes of bodies"), "{}", refused.body);
    assert_eq!(running.hook(AM_025).await.status, 200);
    let chunked = format!(
        "POST {HOOK} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{AM_025}\r\n0\r\n\r\n",
        AM_025.len()
    );
    assert_eq!(answer(&mut running.open(chunked.as_bytes()).await).await.status, 200);
    assert!(running.bounded().contains(&Bounded::Bodies));
}

/// An unread answer is held once it is counted, and an answer is not built before it is counted.
#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    const MIB: usize = 1 << 20;
    let patient = Duration::from_secs(3600);
    let limits =
        ServerLimits { unread_answers_bytes: 40 * MIB, unread_timeout: patient, ..ServerLimits::default() };
    let running = start(limits).await;
    running.fake.metrics.store(24 * MIB, Ordering::Relaxed);
    let mut unread = running.open(b"GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n").await;
    unread.readable().await.unwrap();
    let refused = running.get("/metrics").await;
    assert!(refused.status == 503 && refused.body.contains("answers that clients have not read"));
    assert!(refused.has("retry-after: 1"));
    assert_eq!(running.bounded(), [Bounded::Answers]);
    assert_eq!(running.get("/-/healthy").await.status, 200);
    assert_eq!(running.hook(AM_025).await.status, 200, "what is small is not held up");

    let mut read = 0;
    soon(async {
        let mut piece = vec![0; MIB];
        while read < 24 * MIB {
            read += unread.read(&mut piece).await.unwrap();
        }
    })
    .await;
    let answered = running.get("/metrics").await;
    assert_eq!((answered.status, answered.body.len()), (200, 24 * MIB + "squelch_build_info 1\n".len()));
    let length = format!("content-length: {}", answered.body.len());
    assert!(answered.has(&length), "{}", answered.head);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let limits = ServerLimits { unread_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let running = start(limits).await;
    running.fake.metrics.store(32 << 20, Ordering::Relaxed);
    let mut unread = running.open(b"GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n").await;
    soon(async {
        while running.bounded().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(running.bounded(), [Bounded::Unread]);
    let rest = answer(&mut unread).await;
    assert!(rest.body.len() < 32 << 20, "it was closed before all of it was sent");
}

/// A head is read before its sender is known.
#[tokio::test]
async fn a_long_head_is_refused() {
    let running = start(ServerLimits::default()).await;
    let long = format!("Authorization: Basic {}\r\n", "x".repeat(64 << 10));
    let refused = running.send("GET", "/", &long, b"").await;
    assert_eq!(refused.status, 431);
    assert_eq!(running.send("GET", "/", &long[..20 << 10], b"\r\n").await.status, 200);
}

#[tokio::test]
async fn silent_and_half_silent_clients_are_let_go() {
    let running = start(short()).await;
    let half_head = format!("POST {HOOK} HTTP/1.1\r\nHost: s\r\n");
    let half_body = format!("{half_head}Content-Length: 100\r\n\r\n{{\"alerts\"");
    let idle = "GET /-/healthy HTTP/1.1\r\nHost: s\r\n\r\n";
    for (sent, status) in [("", 0), (half_head.as_str(), 0), (half_body.as_str(), 503), (idle, 200)] {
        let mut stream = running.open(sent.as_bytes()).await;
        let answer = answer(&mut stream).await;
        assert!(
            answer.status == status || (status == 0 && answer.status == 408),
            "{sent:?}: {}",
            answer.head
        );
    }
    assert_eq!(running.rejected(), [InvalidReason::Incomplete]);
}

#[tokio::test]
async fn connections_are_bounded_and_waiting_ones_are_served_in_turn() {
    let running = start(ServerLimits { connections: 1, ..short() }).await;
    let mut silent = running.open(b"").await;
    let answered = running.get("/-/healthy").await;
    assert_eq!(answered.status, 200);
    assert_eq!(answer(&mut silent).await.status, 0, "the silent one was closed first");
}

/// A client that sends a byte of a body now and then is as idle as one that sends nothing.
#[tokio::test]
async fn a_body_that_does_not_come_makes_room_too() {
    let running = start(ServerLimits { connections: 2, ..ServerLimits::default() }).await;
    let half = format!("POST {HOOK} HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\n{{\"alerts\"");
    let (mut first, _second) = (running.open(half.as_bytes()).await, running.open(half.as_bytes()).await);
    // Well before the 30 s after which a body that does not come is given up.
    let healthy = tokio::time::timeout(Duration::from_secs(20), running.get("/-/healthy")).await;
    assert_eq!(healthy.expect("there is room").status, 200);
    assert_eq!(answer(&mut first).await.status, 0, "the one that has been idle longest is closed");
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room_and_a_busy_one_does_not() {
    let mut running = start(ServerLimits { connections: 2, ..ServerLimits::default() }).await;
    running.mood.send_replace(Mood::Slow);
    let mut busy = running.open(post(AM_025).as_bytes()).await;
    running.begun.recv().await.unwrap();
    let mut silent = running.open(b"POST ").await;
    // Well before the 30 s after which the silent one would be closed.
    let healthy = tokio::time::timeout(Duration::from_secs(20), running.get("/-/healthy")).await;
    assert_eq!(healthy.expect("there is room").status, 200);
    assert_eq!(answer(&mut silent).await.status, 0);
    assert_eq!(running.fake.crowded.load(Ordering::Relaxed), 1);
    running.mood.send_replace(Mood::Well);
    assert_eq!(answer(&mut busy).await.status, 200, "who is being served is not interrupted");
}
