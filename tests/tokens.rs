//! Signing in with tokens of an OpenID provider, and administering over HTTP with tokens of our own.

use serde_json::{Value, json};
use std::process::Command;
use waypost_tests::openid::Provider;
use waypost_tests::server::{Scratch, Server};

fn curl(words: &[&str]) -> (bool, String) {
    let out = Command::new("curl").args(["-sS", "--max-time", "20"]).args(words).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

#[test]
fn tokens_open_mailboxes() {
    let scratch = Scratch::new("openid");
    let provider = Provider::start(scratch.path());
    let server = Server::start("tokens");
    for (key, value) in [("oauth.issuer", provider.issuer().as_str()), ("oauth.audiences", "waypost")] {
        server.command(&["Set-WaypostSetting", key, value]).unwrap();
    }
    let (amy, _) = server.account(0);
    let (ben, _) = server.account(1);
    let url = format!("imap://127.0.0.1:{}/INBOX", server.port("imap"));
    let look = |user: &str, token: &str, mechanism: &str| {
        let login = format!("AUTH={mechanism}");
        curl(&[
            &url,
            "--user",
            &format!("{user}:"),
            "--oauth2-bearer",
            token,
            "--login-options",
            &login,
            "-v",
            "-X",
            "NOOP",
        ])
    };
    let good = provider.token(&amy, 600);
    for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
        let (ok, text) = look(&amy, &good, mechanism);
        assert!(ok, "{mechanism}: {text}");
        let (ok, text) = look(&amy, &provider.token(&amy, -600), mechanism);
        assert!(!ok && !text.contains("UNAVAILABLE"), "{mechanism}, expired: {text}");
        let (ok, text) = look(&ben, &good, mechanism);
        assert!(!ok, "{mechanism}: amy is not ben: {text}");
    }
    assert!(provider.asked() <= 4, "keys are kept: {} requests", provider.asked());

    // Keys that are known still tell right from wrong while the provider is away; a server that has none cannot tell.
    provider.set_away(true);
    assert!(look(&amy, &good, "XOAUTH2").0);
    server.command(&["Set-WaypostSetting", "oauth.audiences", "waypost,other"]).unwrap();
    let (ok, text) = look(&amy, &good, "OAUTHBEARER");
    assert!(!ok && text.contains("UNAVAILABLE"), "{text}");
    provider.set_away(false);
}

#[test]
fn commands_over_http() {
    let server = Server::start("api");
    let base = format!("http://127.0.0.1:{}/api/v1", server.port("api"));
    let made = server.command(&["New-ApiToken", "desk", "-RoleGroup", "Recipient Management"]).unwrap();
    let token = made["Token"].as_str().unwrap().to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    let post = |name: &str, header: &str, body: &Value| -> (u16, Value) {
        let (_, text) = curl(&[
            "-w",
            "\n%{http_code}",
            "-H",
            header,
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
            &format!("{base}/commands/{name}"),
        ]);
        let (body, code) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim()));
        (code.trim().parse().unwrap_or_default(), serde_json::from_str(body).unwrap_or(Value::Null))
    };
    let (_, document) = curl(&[&format!("{base}/openapi.json")]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(document["paths"]["/api/v1/commands/New-Mailbox"]["post"].is_object());

    let new = json!({"Name": "zoe", "Password": "zoe's long password"});
    let (code, body) = post("New-Mailbox", &bearer, &new);
    assert_eq!((code, &body["exit"]), (200, &json!(0)), "{body}");
    let (code, body) = post("Get-Mailbox", &bearer, &json!({"Identity": "zoe"}));
    assert_eq!((code, &body["records"][0]["Name"]), (200, &json!("zoe")), "{body}");
    let (code, body) = post("New-Mailbox", &bearer, &new);
    assert_eq!(code, 409, "{body}");
    let (code, body) = post("Get-Mailbox", &bearer, &json!({"Identity": "nobody"}));
    assert_eq!((code, &body["exit"]), (404, &json!(3)), "{body}");
    let (code, body) = post("Get-Mailbox", &bearer, &json!({"Identiti": "zoe"}));
    assert_eq!(code, 400, "{body}");
    let (code, body) = post("Remove-Mailbox", &bearer, &json!({"Identity": "zoe", "WhatIf": true}));
    assert_eq!((code, body["whatIf"].as_array().map(Vec::len)), (200, Some(1)), "{body}");
    // What belongs to others.
    let (code, body) = post("Set-ImapSettings", &bearer, &json!({"LoginType": "PlainTextLogin"}));
    assert_eq!((code, &body["errors"][0]["category"]), (403, &json!("PermissionDenied")), "{body}");
    let (code, _) =
        post("New-ApiToken", &bearer, &json!({"Name": "mine", "RoleGroup": ["Organization Management"]}));
    assert_eq!(code, 403, "nobody makes themselves more than they are");

    // People: the password alone is not enough.
    let (address, password) = server.account(0);
    let person = |password: &str| {
        let (_, code) = curl(&[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-u",
            &format!("{address}:{password}"),
            "-X",
            "POST",
            &format!("{base}/commands/Get-Mailbox"),
        ]);
        code
    };
    assert_eq!(person(&password), "403");
    server.command(&["Add-RoleGroupMember", "Help Desk", "-Member", &address]).unwrap();
    assert_eq!(person(&password), "200");
    assert_eq!(person("wrong password"), "401");

    assert_eq!(post("Get-Mailbox", "X-None: 1", &json!({})).0, 401);
    server.command(&["Remove-ApiToken", "desk", "-Confirm:$false"]).unwrap();
    assert_eq!(post("Get-Mailbox", &bearer, &json!({})).0, 401, "taken back");
}
