//! The senders of alerts, and the users with their roles: `sources` and `users`.

use smol_str::SmolStr;

use super::Secret;

/// Everyone that the configuration knows. If it is empty, authentication is disabled, but for
/// `basic_auth_users` of the web-config file.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// `sources`: the senders of alerts. If it is empty, users with the role `admin` may send alerts.
    pub sources: Vec<AlertSource>,
    /// `users`: people and programs, and their roles.
    pub users: Vec<User>,
}

/// One sender of alerts. Its name stands before its own statements, so that no sender can pass for another.
#[derive(Clone, Debug)]
pub struct AlertSource {
    /// Unique among sources.
    pub name: SmolStr,
    /// Any one of them is enough. The list is never empty.
    pub credentials: Vec<Credential>,
}

/// A user who may look, silence or administer.
#[derive(Clone, Debug)]
pub struct User {
    /// The name. It is unique among users, and stands in the log and in `createdBy`.
    pub name: SmolStr,
    /// The role.
    pub role: Role,
    /// Any one of them is enough. Empty: the user of that name in the web-config file.
    pub credentials: Vec<Credential>,
}

/// The credentials that prove an identity.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `authorization: {credentials | credentials_file}`: a bearer token.
    Bearer(Secret),
    /// `basic_auth: {username, password | password_file}`
    Basic {
        /// User name. It is no secret.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `client_san`: a DNS name or IP address of a client certificate that was verified.
    ClientSan(String),
}

/// Roles. Each includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Look: pages, API, metrics.
    Read,
    /// And make, change and expire silences.
    Silence,
    /// And reload, replay, and every other change.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Silence, Role::Admin];

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Silence => "silence",
            Role::Admin => "admin",
        }
    }
}
