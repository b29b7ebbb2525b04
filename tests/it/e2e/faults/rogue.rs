//! A receiver that misbehaves in every way that a socket allows, until a test makes it good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::wire;

/// How it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manner {
    /// 200 with `ok`, which satisfies a webhook and Slack.
    Good,
    /// Takes the request and never answers.
    Hang,
    /// Accepts and closes with a reset, before reading.
    Reset,
    /// Reads the request and closes without an answer.
    Close,
    /// A byte of the answer's head now and then, for ever.
    Drip,
    /// Announces a body and breaks off in it.
    HalfBody,
    /// 200 and a body of 1 GB.
    Gigabyte,
    /// Text that is no HTTP at all.
    Nonsense,
    /// This text.
    Says(&'static str),
}

/// See the module.
pub struct Rogue {
    /// Where it listens.
    pub address: SocketAddr,
    manner: watch::Sender<Manner>,
    met: Arc<AtomicU64>,
    taken: watch::Receiver<Vec<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Rogue {
    /// Listens on a free port.
    pub async fn start(manner: Manner) -> Rogue {
        Self::start_with(manner, |stream| std::future::ready(Some(stream))).await
    }

    /// [`Rogue::start`], with a step that a connection must pass first.
    pub async fn start_with<S, W>(
        manner: Manner,
        wrap: impl Fn(TcpStream) -> W + Send + Sync + 'static,
    ) -> Rogue
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        W: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, mode) = watch::channel(manner);
        let (bodies, taken) = watch::channel(Vec::new());
        let (met, bodies, wrap) = (Arc::<AtomicU64>::default(), Arc::new(bodies), Arc::new(wrap));
        let counted = met.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (mode, bodies, wrap) = (mode.clone(), bodies.clone(), wrap.clone());
                tokio::spawn(async move {
                    if *mode.borrow() == Manner::Reset {
                        let _ = stream.set_zero_linger();
                        return;
                    }
                    let Some(stream) = wrap(stream).await else { return };
                    let _ = answer(stream, mode, &bodies).await;
                });
            }
        });
        Rogue { address, manner, met, taken, task }
    }

    /// From the next connection on it behaves like this.
    pub fn becomes(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many connections it got.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    /// The bodies that it took while it was good.
    pub fn taken(&self) -> Vec<String> {
        self.taken.borrow().clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mode: watch::Receiver<Manner>,
    bodies: &watch::Sender<Vec<String>>,
) -> std::io::Result<()> {
    let came = wire::request(&mut stream).await;
    let (_, body) = came.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let manner = mode.borrow().clone();
    match manner {
        Manner::Good => {
            bodies.send_modify(|taken| taken.push(body));
            stream.write_all(wire::answer(200, "", "ok").as_bytes()).await?;
        }
        Manner::Hang => sleep(Duration::from_secs(600)).await,
        Manner::Drip => {
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
                stream.write_all(&[*byte]).await?;
                sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::HalfBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\no").await?;
        }
        Manner::Gigabyte => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await?;
            let block = vec![b'k'; 1 << 20];
            for _ in 0..1024 {
                stream.write_all(&block).await?;
            }
        }
        Manner::Nonsense => stream.write_all(&[0xff; 64]).await?,
        Manner::Says(text) => stream.write_all(text.as_bytes()).await?,
        Manner::Close | Manner::Reset => {}
    }
    stream.shutdown().await
}
