//! `sources` and `users`: the senders, and the users with their roles.

use std::collections::BTreeMap;
use std::path::Path;

use rustls::pki_types::ServerName;

use crate::config::{AccessRules, AlertSource, Credential, Role, SecretForm, User};
use crate::settings::http::secret;
use crate::settings::section::{Problems, Section, Text, shown};
use crate::settings::yaml::Node;

/// The most entries of either. Each request compares against all of them.
const MOST: usize = 1_000;

pub(super) fn read(sources: &[Node], users: &[Node], base: &Path, problems: &Problems) -> AccessRules {
    let mut rules = AccessRules::default();
    for (list, what) in [(sources, "sources"), (users, "users")] {
        if list.len() > MOST {
            let message = format!("{what} has {} entries. At most {MOST} are taken", list.len());
            problems.add(list[MOST].line, message);
        }
    }
    let mut lines = BTreeMap::new();
    for node in sources.iter().take(MOST) {
        let Some(mut keys) = Section::new(node, "source", problems) else { continue };
        let name = name(&mut keys, &mut lines);
        let credentials = credentials(&mut keys, base);
        if credentials.is_empty() {
            keys.problems
                .add(keys.line, "source has no credential. Write authorization, basic_auth or client_san");
        }
        keys.finish();
        rules.sources.extend(name.map(|name| AlertSource { name: name.text.into(), credentials }));
    }
    let mut lines = BTreeMap::new();
    for node in users.iter().take(MOST) {
        let Some(mut keys) = Section::new(node, "user", problems) else { continue };
        let name = name(&mut keys, &mut lines);
        let role = keys.parsed("role", "read, silence or admin", |text| {
            Role::ALL.into_iter().find(|role| role.as_str() == text)
        });
        if role.is_none() && keys.node("role").is_none() {
            keys.problems.add(keys.line, "user has no role. Write role: read, silence or admin");
        }
        let credentials = credentials(&mut keys, base);
        keys.finish();
        let user = |(name, role): (Text<'_>, Role)| User { name: name.text.into(), role, credentials };
        rules.users.extend(name.zip(role).map(user));
    }
    rules
}

/// A name that may stand in a log, in `createdBy` and before an address.
fn name<'a>(keys: &mut Section<'a>, lines: &mut BTreeMap<&'a str, u32>) -> Option<Text<'a>> {
    let Some(name) = keys.text("name") else {
        keys.problems.add(keys.line, "an entry has no name. Write name: and a short word");
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.text.is_empty() || name.text.len() > 64 || !name.text.chars().all(plain) {
        let right = "Write 1 to 64 letters, digits, - _ . or @";
        keys.problems.add(name.line, format!("name is {}. {right}", shown(name.text)));
    }
    if let Some(first) = lines.insert(name.text, name.line) {
        let message = format!("name {} stands twice, first on line {first}. Give each its own", name.text);
        keys.problems.add(name.line, message);
    }
    Some(name)
}

fn credentials(keys: &mut Section<'_>, base: &Path) -> Vec<Credential> {
    let mut found = Vec::new();
    if let Some(mut bearer) = keys.section("authorization") {
        if let Some(scheme) = bearer.text("type").filter(|text| !text.text.eq_ignore_ascii_case("bearer")) {
            let message =
                format!("authorization type is {}. Write Bearer, or basic_auth instead", shown(scheme.text));
            bearer.problems.add(scheme.line, message);
        }
        match secret(&mut bearer, ("credentials", "credentials_file"), SecretForm::Header, base) {
            Some(token) => found.push(Credential::Bearer(token)),
            None => bearer
                .problems
                .add(bearer.line, "authorization has no credentials. Write credentials_file or credentials"),
        }
        bearer.finish();
    }
    if let Some(mut basic) = keys.section("basic_auth") {
        let username = basic.text("username").filter(|name| !name.text.contains(':'));
        let password = secret(&mut basic, ("password", "password_file"), SecretForm::Password, base);
        match (username, password) {
            (Some(username), Some(password)) => {
                found.push(Credential::Basic { username: username.text.to_owned(), password });
            }
            _ => basic.problems.add(
                basic.line,
                "basic_auth is incomplete. Write username (without a colon), and password_file or password",
            ),
        }
        basic.finish();
    }
    if let Some(san) = keys.text("client_san") {
        if ServerName::try_from(san.text).is_err() {
            let message = format!("client_san is {}. Write a DNS name or an IP address", shown(san.text));
            keys.problems.add(san.line, message);
        }
        found.push(Credential::ClientSan(san.text.to_owned()));
    }
    found
}
