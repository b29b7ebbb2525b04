//! How a command shows its result: as wide as the terminal, in colour, once or again and again.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::ColorChoice;
use serde::Serialize;

use super::ending::Output;
use super::ending::{say, say_json};
use super::server::Listed;
use super::{complain, failed, wrote};
use crate::decision_log::plain;
use crate::model::Timestamp;
use crate::node::clock::wall;
use crate::web::span;

/// From one look to the next.
const REDRAW: Duration = Duration::from_secs(2);
/// As many digits of a key are shown, if `--wide` does not ask for all.
const KEY_DIGITS: usize = 12;
/// Columns of free text. Only these are cut to the width of the terminal.
const FREE: [&str; 6] = ["Labels", "Why", "Title", "Matchers", "Comment", "URL"];
/// No column is cut to fewer characters.
const NARROWEST: usize = 12;
/// For each list: the column that tells its entries apart, and the room that this and other free text get.
/// A narrow terminal leaves out the other columns for it, the first of them first.
const MAIN: [(&str, usize, &[&str]); 3] = [
    ("Title", 24, &["Next", "Receiver", "Firing", "Acknowledge", "Notify", "Opened At"]),
    ("Labels", 40, &["Starts At", "Receiver", "Why"]),
    ("Matchers", 24, &["Starts At", "Created By", "Comment", "State"]),
];
/// A line with fewer columns is narrow.
const ROOMY: usize = 120;

/// When the output has colours, as `--color` says.
static COLOUR: OnceLock<ColorChoice> = OnceLock::new();

/// Options of a command that lists.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ListView {
    /// Show whole keys, all columns, and whole texts beyond the width of the terminal.
    #[arg(long)]
    pub wide: bool,
    /// Ask again and redraw every 2 s, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

impl ListView {
    /// Shows a list of entries that are each a `what`, and says on standard error how many it leaves out.
    /// `ask` counts these if its argument says so.
    pub async fn list<T: Serialize>(
        &self,
        what: &str,
        ask: impl AsyncFn(bool) -> Result<Listed<T>, String>,
        simple: impl Fn(&[T], &Screen) -> String,
    ) -> ExitCode {
        let left_out = Cell::new(None);
        let entries = async || {
            let listed = ask(!self.watch).await?;
            left_out.set(listed.left_out(what));
            Ok(listed.entries)
        };
        let code = self.show(entries, |entries: &Vec<T>, screen| simple(entries, screen)).await;
        if let Some(sentence) = left_out.take().filter(|_| !self.watch) {
            complain(&sentence);
        }
        code
    }

    /// Shows the result of `ask`, once or until Ctrl-C. The code is 1 if there is no answer. A watch shows
    /// the reason, and goes on.
    pub async fn show<T: Serialize>(
        &self,
        ask: impl AsyncFn() -> Result<T, String>,
        simple: impl Fn(&T, &Screen) -> String,
    ) -> ExitCode {
        if !self.watch {
            return match (ask().await, self.output) {
                (Err(why), _) => failed(&why),
                (Ok(found), Output::Json) => say_json(&found),
                (Ok(found), Output::Simple) => say(&simple(&found, &Screen::new(self.wide))),
            };
        }
        let draws = async {
            loop {
                let found = ask().await;
                let screen = Screen::new(self.wide);
                let text = match (found, self.output) {
                    (Err(why), _) => format!("squelch: {}\n", plain(&why)),
                    (Ok(found), Output::Json) => match serde_json::to_string_pretty(&found) {
                        Ok(text) => text + "\n",
                        Err(error) => return Err(io::Error::other(error)),
                    },
                    (Ok(found), Output::Simple) => simple(&found, &screen),
                };
                draw(&text, &screen, &mut io::stdout().lock())?;
                tokio::time::sleep(REDRAW).await;
            }
        };
        tokio::select! {
            ended = draws => wrote(ended),
            _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
        }
    }
}

/// Draws one look over the last one. A file or a pipe gets one look below the other.
fn draw(text: &str, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if screen.terminal {
        write!(out, "\x1b[2J\x1b[H")?;
    }
    writeln!(out, "As of {}, every {} s. Ctrl-C ends.\n", clock(screen.now), REDRAW.as_secs())?;
    out.write_all(text.as_bytes())?;
    if !screen.terminal {
        writeln!(out)?;
    }
    out.flush()
}

/// Remembers when the output has colours.
pub fn set_colour(choice: ColorChoice) {
    // The command line is read once.
    let _ = COLOUR.set(choice);
}

/// Where a command writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    now: Timestamp,
    colour: bool,
    /// Whether the output is a terminal.
    terminal: bool,
    /// Columns of a line: those that `COLUMNS` says, or those of the terminal.
    width: Option<usize>,
    wide: bool,
}

impl Screen {
    /// Standard output, now.
    pub fn new(wide: bool) -> Screen {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = terminal.then(|| rustix::termios::tcgetwinsize(&stdout));
        let width = size.map(|size| size.map_or(80, |size| usize::from(size.ws_col).max(40)));
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let columns = set("COLUMNS").and_then(|columns| columns.to_str()?.parse::<usize>().ok());
        let width = columns.map(|columns| columns.max(40)).or(width);
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let colour = match COLOUR.get().copied().unwrap_or(ColorChoice::Auto) {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && set("NO_COLOR").is_none() && !dumb,
        };
        Screen { now: wall(), colour, terminal, width, wide }
    }

    /// A line of this many columns, if there is an end of it.
    #[cfg(test)]
    pub fn of_width(width: Option<usize>) -> Screen {
        Screen { now: wall(), colour: false, terminal: width.is_some(), width, wide: false }
    }

    /// A time with its age: the hour of today, or the day and the hour, in UTC.
    pub fn moment(&self, at: Timestamp) -> String {
        match at > self.now {
            true => format!("{} (in {})", self.time(at), span(at.since(self.now))),
            false => format!("{} ({} ago)", self.time(at), span(self.now.since(at))),
        }
    }

    fn time(&self, at: Timestamp) -> String {
        let (day, today) = (at.to_string(), self.now.to_string());
        if day.get(..10) == today.get(..10) { clock(at) } else { format!("{} {}", &day[..10], clock(at)) }
    }

    /// A dedup key: its first digits, which each command takes, or all of them with `--wide`.
    pub fn key(&self, key: &str) -> String {
        let digits = if self.wide { usize::MAX } else { KEY_DIGITS };
        key.chars().take(digits).collect()
    }

    /// Whether a line has few columns, so that a list has short words.
    pub fn is_narrow(&self) -> bool {
        !self.wide && self.width.is_some_and(|width| width < ROOMY)
    }

    /// Whether whole texts are wanted.
    pub fn wide(&self) -> bool {
        self.wide
    }

    /// A table of entries that are each a `what`, or a sentence if there is none.
    pub fn list(&self, what: &str, head: &[&str], rows: &[Vec<String>]) -> String {
        match rows.is_empty() {
            true => format!("No {what} matches.\n"),
            false => self.table(head, rows),
        }
    }

    /// A table: columns as wide as the text in them. Texts of others cannot begin a line or steer a
    /// terminal. Where a line would be longer than the terminal is wide, the longest free texts are cut.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) -> String {
        let top = head.iter().map(|cell| (*cell).to_owned()).collect();
        let clean = |row: &Vec<String>| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = std::iter::once(&top).chain(rows).map(clean).collect();
        let mut widths = vec![0; head.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut kept = vec![true; head.len()];
        if let Some(width) = self.width.filter(|_| !self.wide) {
            leave_out(head, &widths, &mut kept, width);
            for (width, _) in widths.iter_mut().zip(&kept).filter(|(_, kept)| !**kept) {
                *width = 0;
            }
            narrow(head, &mut widths, width);
        }
        let mut text = String::new();
        for (n, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).zip(head).zip(&kept).filter(|(_, kept)| **kept);
            let cells = cells.map(|(((cell, width), head), _)| {
                let cell = cut(cell, *width);
                let pad = " ".repeat(width - cell.chars().count());
                let tint = if n == 0 { Some(BOLD) } else { tint(head, &cell) };
                match tint.filter(|_| self.colour) {
                    Some(tint) => format!("{tint}{cell}{RESET}{pad}"),
                    None => cell + &pad,
                }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// `14:03:10Z`
fn clock(at: Timestamp) -> String {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000).to_string();
    seconds.get(11..).unwrap_or(&seconds).to_owned()
}

/// Chooses the columns that stay, so that a reader can tell the entries of a list apart.
fn leave_out(head: &[&str], widths: &[usize], kept: &mut [bool], line: usize) {
    let Some((_, room, columns)) = MAIN.iter().find(|(main, ..)| head.contains(main)) else { return };
    for name in *columns {
        let stay = kept.iter().enumerate().filter(|(_, kept)| **kept);
        let (count, sum) = stay.fold((0, 0), |(count, sum), (n, _)| {
            (count + 1, sum + if FREE.contains(&head[n]) { widths[n].min(*room) } else { widths[n] })
        });
        if sum + 2 * (count - 1) <= line {
            return;
        }
        if let Some(n) = head.iter().position(|head| head == name) {
            kept[n] = false;
        }
    }
}

/// Takes characters from the widest column of free text until the line fits, or no such column is wide.
fn narrow(head: &[&str], widths: &mut [usize], line: usize) {
    let gaps = 2 * widths.iter().filter(|width| **width > 0).count().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(line);
    while over > 0 {
        let free = widths.iter_mut().zip(head).filter(|(_, head)| FREE.contains(head));
        let Some((widest, _)) = free.max_by_key(|(width, _)| **width).filter(|(w, _)| **w > NARROWEST) else {
            return;
        };
        *widest -= 1;
        over -= 1;
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";

/// The colour of a cell below `head`: red needs a person, yellow waits, green has a person, dim notifies no
/// one.
fn tint(head: &str, cell: &str) -> Option<&'static str> {
    let begins = |words: &[&str]| words.iter().any(|word| cell.starts_with(word));
    match head {
        "State" if cell.contains("acknowledged") || cell.contains("acked") => Some(GREEN),
        "State" if begins(&["observed", "muted", "resolved", "closed", "expired"]) => Some(DIM),
        "State" if begins(&["paged", "passing", "flapping", "firing"]) => Some(RED),
        "State" if begins(&["held", "rate_limited", "withheld", "resolving", "pending"]) => Some(YELLOW),
        "State" | "Role" if begins(&["active", "owner"]) => Some(GREEN),
        "Severity" if begins(&["critical", "page", "emergency"]) => Some(RED),
        "Severity" if begins(&["warning", "error"]) => Some(YELLOW),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: Option<usize>, wide: bool, colour: bool) -> Screen {
        let now = Timestamp::parse("2026-11-28T14:15:20Z").unwrap();
        Screen { now, colour, terminal: width.is_some(), width, wide }
    }

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_text() {
        let screen = screen(None, false, false);
        let text = screen.table(&["A", "B"], &[row(&["é", "1"]), row(&["long", "2\n\u{1b}"])]);
        assert_eq!(text, "A     B\né     1\nlong  2\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn a_time_stands_beside_its_age() {
        let screen = screen(None, false, false);
        for (at, text) in [
            ("2026-11-28T14:03:10.500Z", "14:03:10Z (12m 9s ago)"),
            ("2026-11-27T14:03:10Z", "2026-11-27 14:03:10Z (1d ago)"),
            ("2026-11-28T14:20:20Z", "14:20:20Z (in 5m)"),
        ] {
            assert_eq!(screen.moment(Timestamp::parse(at).unwrap()), text);
        }
    }

    #[test]
    fn free_text_is_cut_to_the_terminal_unless_wide() {
        let rows = [row(&["0123456789ab0123456789ab", &"t".repeat(60)])];
        let lines = |wide| screen(Some(50), wide, false).table(&["Key", "Title"], &rows);
        let longest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        let (cut, whole) = (lines(false), lines(true));
        assert_eq!(longest(&cut), Some(50), "{cut}");
        assert!(cut.contains("0123456789ab0123456789ab  ttt") && cut.ends_with("t…\n"), "{cut}");
        assert_eq!(longest(&whole), Some(86), "{whole}");
        let key = "a".repeat(64);
        assert_eq!(screen(None, false, false).key(&key).len(), KEY_DIGITS);
        assert_eq!(screen(None, true, false).key(&key), key);
    }

    #[test]
    fn a_narrow_list_of_incidents_keeps_its_titles() {
        let head = ["State", "Title", "Severity", "Receiver", "Opened At", "Firing", "Next", "Key"];
        let title = "CheckoutDown eu-1 (shop-1:8080 checkout)";
        let opened = "14:03:10Z (12m 9s ago)";
        let next = "repeats 18:03:10Z (in 3h 47m)";
        let rows = [row(&["paged", title, "critical", "pagerduty", opened, "1/1", next, "4be1ab29c16d"])];
        let drawn = |width| screen(Some(width), false, false).list("incident", &head, &rows);
        let first =
            |width| drawn(width).lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(first(80), "State Title Severity Opened At Key");
        assert!(
            drawn(80).contains("CheckoutDown eu-1 (shop-")
                && drawn(80).lines().all(|l| l.chars().count() <= 80)
        );
        assert_eq!(first(200), "State Title Severity Receiver Opened At Firing Next Key");
        assert_eq!(screen(None, false, false).list("incident", &head, &[]), "No incident matches.\n");
    }

    #[test]
    fn a_narrow_list_of_alerts_or_silences_tells_its_entries_apart() {
        let columns = |text: &str| {
            text.lines().next().unwrap().split("  ").filter(|s| !s.is_empty()).collect::<Vec<_>>().join("|")
        };
        let labels = r#"{cluster="eu-1", instance="node-033:9100", job="node", service="checkout"}"#;
        let head = ["Alertname", "Starts At", "State", "Receiver", "Labels", "Why"];
        let why = "one page has 15 alerts, because more pages were due than a limit or a storm allows";
        let alerts =
            [row(&["InstanceDown", "17:41:51Z (3m 46s ago)", "rate_limited", "oncall", labels, why])];
        let drawn = |width| screen(Some(width), false, false).list("alert", &head, &alerts);
        assert_eq!(columns(&drawn(80)).replace(' ', ""), "Alertname|State|Labels");
        assert!(drawn(80).contains(r#"instance="node-033:9100""#), "{}", drawn(80));
        assert_eq!(columns(&drawn(240)).replace(' ', ""), "Alertname|StartsAt|State|Receiver|Labels|Why");
        let head = ["ID", "Matchers", "Starts At", "Ends At", "State", "Created By", "Comment"];
        let matchers = r#"alertname="InstanceDown" instance="node-033:9100""#;
        let (id, starts, ends) = ("1".repeat(36), "17:56:46Z (12m 9s ago)", "19:56:46Z (in 1h 59m)");
        let silences =
            [row(&[&id, matchers, starts, ends, "active", "ada", "a disk swap in the second rack"])];
        let drawn = screen(Some(80), false, false).list("silence", &head, &silences);
        assert_eq!(columns(&drawn).replace(' ', ""), "ID|Matchers|EndsAt", "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    }

    #[test]
    fn colours_change_no_width() {
        let rows = [row(&["paged", "critical"]), row(&["muted", "info"])];
        let text = screen(None, false, true).table(&["State", "Severity"], &rows);
        assert!(text.contains("\x1b[31mpaged\x1b[0m  \x1b[31mcritical\x1b[0m"), "{text:?}");
        let bare = [RESET, BOLD, RED, DIM].iter().fold(text, |text, code| text.replace(code, ""));
        assert_eq!(bare, screen(None, false, false).table(&["State", "Severity"], &rows));
    }

    #[test]
    fn a_watch_clears_a_terminal_and_nothing_else() {
        let drawn = |screen: Screen| {
            let mut out = Vec::new();
            draw("rows\n", &screen, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(drawn(screen(None, false, false)), "As of 14:15:20Z, every 2 s. Ctrl-C ends.\n\nrows\n\n");
        assert!(drawn(screen(Some(80), false, false)).starts_with("\x1b[2J\x1b[HAs of"));
    }
}
