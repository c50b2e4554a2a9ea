use serde_json::{Value, json};

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn secret() -> JwtSecret {
    JwtSecret::parse(KEY).unwrap()
}

/// A token as DECNET mints it, changed by the test.
fn signed(change: impl FnOnce(&mut Value)) -> String {
    hs256::install();
    let now = now().floor();
    let mut claims = json!({
        "uuid": "u", "jti": "j", "exp": now + 60.0, "iat": now,
        "iss": "decnet", "aud": "decnet-dashboard", "typ": "access",
    });
    change(&mut claims);
    let key = EncodingKey::from_secret(KEY.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value)) {
    assert!(verify(&secret(), &signed(change)).is_none());
}

#[test]
fn minted_tokens_are_taken() {
    let token = mint(&secret(), Role::Viewer, "ops", Duration::from_secs(60));
    let claims = verify(&secret(), &token).unwrap();
    assert_eq!(claims.role.as_deref(), Some("viewer"));
    assert_eq!(claims.username.as_deref(), Some("ops"));
    assert!((claims.exp - claims.iat - 60.0).abs() < f64::EPSILON);
}

#[test]
fn decnets_tokens_are_taken() {
    let claims = verify(&secret(), &signed(|_| {})).unwrap();
    assert_eq!(claims.role, None);
    let whole = signed(|c| c["aud"] = json!(["other", "decnet-dashboard"]));
    assert!(verify(&secret(), &whole).is_some());
}

#[test]
fn a_slightly_fast_issuer_is_forgiven() {
    assert!(verify(&secret(), &signed(|c| c["iat"] = json!(now() + 3.0))).is_some());
    refused(|c| c["iat"] = json!(now() + 30.0));
}

#[test]
fn every_claim_is_required() {
    for claim in ["uuid", "jti", "exp", "iat", "iss", "aud", "typ"] {
        refused(|c| {
            c.as_object_mut().unwrap().remove(claim);
        });
        refused(|c| c[claim] = Value::Null);
        refused(|c| c[claim] = json!(""));
    }
}

#[test]
fn wrong_claims_are_refused() {
    refused(|c| c["exp"] = json!(now() - 1.0));
    refused(|c| c["exp"] = json!(now().floor()));
    refused(|c| c["exp"] = json!("soon"));
    refused(|c| c["iss"] = json!("somebody"));
    refused(|c| c["iss"] = json!(["somebody", "decnet"]));
    refused(|c| c["aud"] = json!("decnet-api"));
    refused(|c| c["aud"] = json!([]));
    refused(|c| c["typ"] = json!("refresh"));
    refused(|c| c["role"] = json!(7));
}

#[test]
fn other_keys_and_algorithms_are_refused() {
    let token = signed(|_| {});
    let other = JwtSecret::parse("another-key-another-key-another-key").unwrap();
    assert!(verify(&other, &token).is_none());
    let mut cut = token.clone();
    cut.pop();
    assert!(verify(&secret(), &cut).is_none());
    let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
    for text in ["", "a", "a.b.c", &unsigned] {
        assert!(verify(&secret(), text).is_none(), "{text}");
    }
}

#[test]
fn keys_are_long_and_never_shown() {
    assert!(matches!(
        JwtSecret::parse("short"),
        Err(ApiError::ShortJwtSecret(5))
    ));
    assert_eq!(format!("{:?}", secret()), "JwtSecret(…)");
    let error = JwtSecret::parse("short").unwrap_err().to_string();
    assert_eq!(error, "DECNET_JWT_SECRET has 5 characters; use 32 or more");
}

#[test]
fn roles_are_spelled_as_decnet_does() {
    for role in [Role::Admin, Role::Viewer, Role::Publisher] {
        assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
    }
    assert!("Admin".parse::<Role>().is_err());
}
