//! Credentials and roles that a configuration cannot have.

use super::*;

#[test]
fn what_cannot_be_in_force_is_an_error_of_its_line() {
    let table = [
        (
            "tls_server_config:\n  cert_fil: a\n",
            "web.yml:2: unknown key \"cert_fil\" in tls_server_config. Did you mean cert_file?",
        ),
        (
            "tls_server_config:\n  cert_file: a\n",
            "web.yml:2: tls_server_config is incomplete. Write cert_file and key_file",
        ),
        ("\nrate_limit: {interval: 1s, burst: 20}\n", "web.yml:2: rate_limit answers 429"),
        ("http_server_config:\n  http2: true\n", "web.yml:2: http2 is true"),
        ("http_server_config:\n  headers:\n    X-Other: a\n", "web.yml:3: headers has \"X-Other\""),
        ("basic_auth_users:\n  alice: secretplaintext\n", "web.yml:2: user \"alice\" has no bcrypt hash"),
        (
            "basic_auth_users:\n  alice: $2y$20$........................................................\n",
            "web.yml:2: user",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}",
            "web.yml:1: min_version is \"TLS10\". Write TLS12",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
            "web.yml:1: cipher_suites has",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, curve_preferences: [CurveP521]}",
            "web.yml:1: curve_preferences has",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}",
            "web.yml:1: client_auth_type is",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "needs client_ca_file",
        ),
        ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "client_ca_file does nothing"),
    ];
    for (text, says) in table {
        let said = config::parse_web(text, "web.yml", "".as_ref()).expect_err(text).to_string();
        assert!(said.contains(says), "{text}: {said}");
        assert!(!said.contains("secretplaintext"), "{said}");
    }
}

#[test]
fn a_credential_that_cannot_be_used_says_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let refused = |ours: &str| {
        let config = config::parse(&format!("{MINIMAL}{ours}"), "squelch.yml", folder.path()).unwrap();
        Access::new(&config.access, &WebConfig::default()).err().expect("refused").to_string()
    };
    let missing = refused("sources: [{name: am-a, authorization: {credentials_file: nowhere}}]\n");
    assert!(missing.contains("source \"am-a\": secret file ") && missing.contains("nowhere"), "{missing}");
    let empty = refused("sources: [{name: am-a, authorization: {credentials_file: empty}}]\n");
    assert!(empty.contains("source \"am-a\": secret file ") && empty.contains("is empty"), "{empty}");
    let nobody = refused("users: [{name: alice, role: admin}]\n");
    assert!(nobody.contains("user \"alice\" has no credential"), "{nobody}");
}
