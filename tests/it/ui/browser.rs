//! A headless Chromium with a profile of its own, led over WebDriver.

use std::path::Path;

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::e2e::child::{Child, free_port};
use crate::e2e::until;

/// See the module.
pub struct Browser {
    pub client: Client,
    driver: Child,
    _profile: tempfile::TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct Look {
    pub dark: bool,
    pub width: u32,
}

pub const DESK: Look = Look { dark: false, width: 1280 };

impl Browser {
    /// Starts one, or `None` where there is none.
    pub async fn start(look: Look) -> Option<Browser> {
        Browser::begin(look, true).await
    }

    /// Starts one that runs no script of a page.
    pub async fn without_script(look: Look) -> Option<Browser> {
        Browser::begin(look, false).await
    }

    async fn begin(look: Look, script: bool) -> Option<Browser> {
        let port = free_port();
        let args = [&*format!("--port={port}")];
        // A zone that is not UTC, so that the two differ.
        let zone = [("TZ", Path::new("Europe/Berlin"))];
        let driver = Child::start_with("chromedriver", "chromedriver", &args, &zone)?;
        driver.line(&["started successfully"]).await;
        let profile = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
        .map(String::from)
        .into();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.push(format!("--window-size={},900", look.width.max(500)));
        // Blink's own numbers: 0 is dark, 1 is light.
        args.push(format!("--blink-settings=preferredColorScheme={}", u8::from(!look.dark)));
        let mut options = json!({ "args": args });
        if !script {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        if look.width < 500 {
            // A window has a least width, so a phone's screen is set apart from it.
            options["mobileEmulation"] =
                json!({"deviceMetrics": {"width": look.width, "height": 740, "pixelRatio": 2.0}});
        }
        let Value::Object(wanted) = json!({ "goog:chromeOptions": options }) else { unreachable!() };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(wanted).connect(&format!("http://127.0.0.1:{port}")).await;
        Some(Browser { client: client.unwrap(), driver, _profile: profile })
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The result of a script.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script returns something true, and returns that.
    pub async fn wait(&self, what: &str, script: &str) -> Value {
        let truthy =
            |v: &Value| !matches!(v, Value::Null | Value::Bool(false)) && *v != json!(0) && *v != json!("");
        until(what, async || Some(self.run(script).await).filter(truthy)).await
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Writes into a field.
    pub async fn write(&self, selector: &str, text: &str) {
        let script = "const e = document.querySelector(arguments[0]); e.value = arguments[1];";
        self.client.execute(script, vec![json!(selector), json!(text)]).await.unwrap();
    }

    /// Clicks.
    pub async fn click(&self, selector: &str) {
        self.client.find(fantoccini::Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Keeps the visible page as a picture, where `SQUELCH_UI_SHOTS` names a folder.
    pub async fn shoot(&self, name: &str) {
        if let Some(folder) = std::env::var_os("SQUELCH_UI_SHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(std::path::Path::new(&folder).join(name), picture).unwrap();
        }
    }

    /// Ends it.
    pub async fn close(self) {
        let _ = self.client.close().await;
        drop(self.driver);
    }
}

/// Text that does not stand out from its background, or nothing: WCAG 2's contrast, for every text on the
/// page.
pub const CONTRAST: &str = r#"
const lum = (c) => { const f = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const rgb = (t) => { const m = t.match(/[\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
const back = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; }
  return rgb(getComputedStyle(document.documentElement).backgroundColor) || [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll("body *")) {
  if (e.closest("svg, dialog:not([open]), .unseen, .skip") || !e.offsetParent) continue;
  if (!Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const a = lum(rgb(getComputedStyle(e).color)), b = lum(back(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 30));
}
return bad.slice(0, 10);"#;

/// The landmarks, names and captions that a page lacks, or nothing.
pub const STRUCTURE: &str = r#"
const bad = [];
const need = (selector, count) => { const n = document.querySelectorAll(selector).length;
  if (count ? n !== count : !n) bad.push(selector + ": " + n); };
need("main", 1); need("h1", 1); need("header", 1); need("nav[aria-label=Views] a[aria-current=page]"); need("[aria-live=polite]", 1);
for (const t of document.querySelectorAll("table")) if (!t.caption || t.querySelector("th:not([scope])")) bad.push("table");
for (const i of document.querySelectorAll("input:not([type=hidden]), select, textarea")) if (!i.labels.length) bad.push("no label: " + i.name);
for (const b of document.querySelectorAll("button, a[href]")) if (!(b.textContent.trim() || b.getAttribute("aria-label"))) bad.push("no name: " + b.outerHTML);
if (document.querySelector("[style], style, script:not([src])")) bad.push("inline style or script");
if (new Set(Array.from(document.querySelectorAll("[id]"), (e) => e.id)).size !== document.querySelectorAll("[id]").length) bad.push("an id twice");
return bad;"#;

/// By how much the page is wider than its window.
pub const TOO_WIDE: &str =
    "return document.documentElement.scrollWidth - document.documentElement.clientWidth;";
