//! Profiles of a shared credentials file of AWS: `[name]`, and keys below it.
//!
//! Rule: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>.

/// The keys of a profile that get credentials from elsewhere, each with advice.
const ELSEWHERE: [(&str, &str); 5] = [
    ("role_arn", "Write role_arn in sigv4, and name the profile that has the keys"),
    ("credential_process", "Squelch runs no program for credentials"),
    ("web_identity_token_file", "Set AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"),
    ("sso_session", "Squelch asks no single sign-on for credentials"),
    ("sso_start_url", "Squelch asks no single sign-on for credentials"),
];

/// The keys of an account of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) session_token: Option<&'a str>,
}

/// The content of a profile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Profile<'a> {
    pub(super) credentials: Credentials<'a>,
    pub(super) region: Option<&'a str>,
}

/// The profile of this name. An error names the missing part, and shows none of its values.
pub(super) fn read<'a>(file: &'a str, name: &str) -> Result<Profile<'a>, String> {
    let keys = keys(file, name).ok_or_else(|| {
        format!("has no profile {name:?}. Write the line [{name}] and the keys of the profile below it")
    })?;
    let value = |key: &str| keys.iter().rev().find(|(found, _)| found == key).map(|(_, value)| *value);
    let (id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
    let Some((access_key, secret_key)) = id.zip(secret) else {
        let elsewhere = ELSEWHERE.iter().find(|(key, _)| value(key).is_some());
        return Err(match elsewhere {
            Some((key, advice)) => {
                format!("has {key} in the profile {name:?}, which Squelch does not follow. {advice}")
            }
            None => format!(
                "lacks keys in the profile {name:?}. Write aws_access_key_id and aws_secret_access_key"
            ),
        });
    };
    let session_token = value("aws_session_token");
    Ok(Profile {
        credentials: Credentials { access_key, secret_key, session_token },
        region: value("region"),
    })
}

/// Names in small letters and values of one profile, without empty ones.
fn keys<'a>(file: &'a str, name: &str) -> Option<Vec<(String, &'a str)>> {
    let mut found: Option<Vec<(String, &str)>> = None;
    let mut inside = false;
    for line in file.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            inside = rest.split(']').next().is_some_and(|found| found.trim() == name);
            if inside {
                found.get_or_insert_default();
            }
        } else if inside
            && let Some(keys) = &mut found
            && let Some((key, value)) = line.split_once('=')
        {
            // A comment behind a value has a blank before it. A key may hold the sign itself.
            let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
            let value = value[..end.unwrap_or(value.len())].trim();
            if !value.is_empty() {
                keys.push((key.trim().to_ascii_lowercase(), value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# of the bakery
[default]
aws_access_key_id = D1
aws_secret_access_key = d/secret+#1= # old
[ovens]
AWS_ACCESS_KEY_ID=O1
  aws_secret_access_key=o2
aws_session_token = o3
region = eu-west-1
[half]
aws_access_key_id = H1
aws_secret_access_key =
[role]
role_arn = arn:aws:iam::1:role/a
source_profile = default
";

    #[test]
    fn a_profile_has_its_own_keys() {
        let of = |name| read(FILE, name).unwrap();
        let keys =
            |access_key, secret_key, session_token| Credentials { access_key, secret_key, session_token };
        let plain = Profile { credentials: keys("D1", "d/secret+#1=", None), region: None };
        assert_eq!(of("default"), plain);
        let ovens = Profile { credentials: keys("O1", "o2", Some("o3")), region: Some("eu-west-1") };
        assert_eq!(of("ovens"), ovens);
    }

    #[test]
    fn a_profile_without_keys_says_what_to_write() {
        let why = |name| read(FILE, name).unwrap_err();
        assert!(why("ovns").contains("has no profile \"ovns\". Write the line [ovns]"), "{}", why("ovns"));
        assert!(why("half").contains("lacks keys in the profile \"half\""), "{}", why("half"));
        assert!(why("role").contains("role_arn in the profile \"role\""), "{}", why("role"));
        assert!(["half", "role"].iter().all(|name| !why(name).contains("H1")));
    }
}
