//! A mail server: STARTTLS or TLS at once, log-ins, a limit on the size, and scripted answers.
//!
//! It takes one command at a time and offers no PIPELINING. Its words are those of Postfix.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with the dots of the transfer taken out.
    pub text: String,
    pub secure: bool,
    /// The log-in, `MECHANISM user password`.
    pub login: Option<String>,
}

impl Received {
    pub fn head(&self) -> &str {
        self.text.split_once("\r\n\r\n").unwrap().0
    }

    /// The values of a header, unfolded.
    pub fn all(&self, name: &str) -> Vec<String> {
        let head = self.head().replace("\r\n ", " ").replace("\r\n\t", " ");
        let values = head.lines().filter_map(|line| line.split_once(':'));
        values
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim().to_owned())
            .collect()
    }

    pub fn header(&self, name: &str) -> String {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands twice in\n{}", self.head());
        all.into_iter().next().unwrap_or_default()
    }

    /// Each part: its type and its text, decoded.
    pub fn parts(&self) -> Vec<(String, String)> {
        let kind = self.header("Content-Type");
        let boundary = kind.split("boundary=").nth(1).unwrap_or_else(|| panic!("{kind}")).trim_matches('"');
        let body = self.text.split_once("\r\n\r\n").unwrap().1;
        let end = format!("--{boundary}--");
        assert!(body.trim_end().ends_with(&end), "the mail ends with its last part");
        let between = format!("--{boundary}\r\n");
        let parts = body.trim_end().trim_end_matches(&end).split(&between).skip(1);
        let part = |part: &str| {
            let (head, text) = part.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(head.contains("content-transfer-encoding: quoted-printable"), "{head}");
            let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
            (kind.to_owned(), quoted_printable(text.strip_suffix("\r\n").unwrap_or(text)))
        };
        parts.map(part).collect()
    }
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        match bytes[i] {
            b'=' => {
                out.push(u8::from_str_radix(&text[i + 1..i + 3], 16).unwrap());
                i += 3;
            }
            byte => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

/// How a server behaves.
#[derive(Clone, Default)]
pub struct Manner {
    pub tls: Option<TlsAcceptor>,
    /// TLS begins at once.
    pub implicit: bool,
    /// Its offer, such as `PLAIN LOGIN`. Empty for no log-in.
    pub auth: &'static str,
    /// The largest mail, in bytes. 0 sets no limit.
    pub size: usize,
}

/// The server.
#[derive(Clone)]
pub struct Smtp {
    pub port: u16,
    manner: Manner,
    mails: Arc<Mutex<Vec<Received>>>,
    /// The beginning of a command and the answer that it gets next. An empty answer closes the connection.
    /// The end of a mail is the command `.`, and the beginning of a connection is an empty command.
    script: Arc<Mutex<Vec<(String, String)>>>,
    commands: Arc<Mutex<Vec<String>>>,
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Smtp {
    pub async fn start(manner: Manner) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server =
            Smtp { port, manner, mails: Arc::default(), script: Arc::default(), commands: Arc::default() };
        let running = server.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let server = running.clone();
                tokio::spawn(async move { server.serve(tcp).await });
            }
        });
        server
    }

    /// The next command that begins so gets this answer.
    pub fn script(&self, command: &str, answer: &str) {
        self.script.lock().unwrap().push((command.into(), answer.into()));
    }

    pub fn mails(&self) -> Vec<Received> {
        self.mails.lock().unwrap().clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    async fn serve(&self, mut tcp: TcpStream) {
        if self.manner.implicit {
            let Ok(mut tls) = self.manner.tls.as_ref().unwrap().accept(tcp).await else { return };
            self.session(&mut tls, true, true).await;
            return;
        }
        if self.session(&mut tcp, true, false).await {
            let Ok(mut tls) = self.manner.tls.as_ref().unwrap().accept(tcp).await else { return };
            self.session(&mut tls, false, true).await;
        }
    }

    fn scripted(&self, command: &str) -> Option<String> {
        let mut script = self.script.lock().unwrap();
        let at = script.iter().position(|(begin, _)| match begin.as_str() {
            "" => command.is_empty(),
            begin => command.starts_with(begin),
        })?;
        Some(script.remove(at).1)
    }

    /// Answers commands, and returns whether TLS begins now.
    async fn session(&self, stream: &mut dyn Both, greet: bool, secure: bool) -> bool {
        let mut stream = BufReader::new(stream);
        let (mut from, mut to, mut login) = (String::new(), Vec::new(), None);
        if greet {
            let greeting = self.scripted("").unwrap_or_else(|| "220 mail.test ESMTP Postfix".into());
            if greeting.is_empty() || !say(&mut stream, &greeting).await {
                return false;
            }
        }
        loop {
            let Some(line) = hear(&mut stream).await else { return false };
            self.commands.lock().unwrap().push(line.clone());
            if let Some(answer) = self.scripted(&line) {
                if answer.is_empty() || !say(&mut stream, &answer).await {
                    return false;
                }
                continue;
            }
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" => self.features(secure),
                "HELO" => "250 mail.test".into(),
                "STARTTLS" => {
                    say(&mut stream, "220 2.0.0 Ready to start TLS").await;
                    return true;
                }
                "AUTH" => {
                    login = log_in(&mut stream, &line).await;
                    "235 2.7.0 Authentication successful".into()
                }
                "MAIL" => {
                    (from, to) = (between(&line), Vec::new());
                    "250 2.1.0 Ok".into()
                }
                "RCPT" => {
                    to.push(between(&line));
                    "250 2.1.5 Ok".into()
                }
                "DATA" => {
                    say(&mut stream, "354 End data with <CR><LF>.<CR><LF>").await;
                    let Some(text) = data(&mut stream).await else { return false };
                    match self.scripted(".") {
                        Some(answer) if answer.is_empty() => return false,
                        Some(answer) => answer,
                        None if self.manner.size > 0 && text.len() > self.manner.size => {
                            "552 5.3.4 Error: message file too big".into()
                        }
                        None => {
                            let (from, login) = (from.clone(), login.clone());
                            let mail = Received { from, to: std::mem::take(&mut to), text, secure, login };
                            self.mails.lock().unwrap().push(mail);
                            "250 2.0.0 Ok: queued as 4Rk2".into()
                        }
                    }
                }
                "QUIT" => {
                    say(&mut stream, "221 2.0.0 Bye").await;
                    return false;
                }
                _ => "502 5.5.2 Error: command not recognized".into(),
            };
            if !say(&mut stream, &answer).await {
                return false;
            }
        }
    }

    fn features(&self, secure: bool) -> String {
        let mut lines = vec!["mail.test".to_owned()];
        if self.manner.size > 0 {
            lines.push(format!("SIZE {}", self.manner.size));
        }
        if self.manner.tls.is_some() && !secure {
            lines.push("STARTTLS".into());
        }
        if !self.manner.auth.is_empty() {
            lines.push(format!("AUTH {}", self.manner.auth));
        }
        lines.push("8BITMIME".into());
        let last = lines.len() - 1;
        let line = |(i, line): (usize, &String)| format!("250{}{line}", if i == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\r\n")
    }
}

type Talk<'a> = BufReader<&'a mut dyn Both>;

async fn say(stream: &mut Talk<'_>, answer: &str) -> bool {
    stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_ok() && stream.flush().await.is_ok()
}

async fn hear(stream: &mut Talk<'_>) -> Option<String> {
    let mut line = String::new();
    let n = stream.read_line(&mut line).await.ok()?;
    (n > 0).then(|| line.strip_suffix("\r\n").expect("a command ends in CRLF").to_owned())
}

async fn data(stream: &mut Talk<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = hear(stream).await?;
        assert!(line.len() <= 998, "RFC 5322 lets a line have 998 characters: {line}");
        assert!(line.is_ascii(), "the server was not asked for anything else: {line}");
        match line.strip_prefix('.') {
            Some("") => return Some(text),
            Some(rest) => text.push_str(rest),
            None => text.push_str(&line),
        }
        text.push_str("\r\n");
    }
}

async fn log_in(stream: &mut Talk<'_>, line: &str) -> Option<String> {
    let decode = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    match words[1] {
        "PLAIN" => Some(format!("PLAIN {}", decode(words[2]).replace('\0', "/"))),
        "LOGIN" => {
            say(stream, "334 VXNlcm5hbWU6").await;
            let user = decode(&hear(stream).await?);
            say(stream, "334 UGFzc3dvcmQ6").await;
            Some(format!("LOGIN {user} {}", decode(&hear(stream).await?)))
        }
        "CRAM-MD5" => {
            // The challenge of RFC 2195, whose answer is known.
            let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
            say(stream, &format!("334 {challenge}")).await;
            Some(format!("CRAM-MD5 {}", decode(&hear(stream).await?)))
        }
        other => panic!("{other} was not offered"),
    }
}

fn between(line: &str) -> String {
    line.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned()
}
