//! Tokens of the API.

use std::time::{SystemTime, UNIX_EPOCH};

use arbitrary::{Result, Unstructured};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use webhook_api::tokens::{self, JwtSecret};

use crate::hmac::hmac;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Only what the key has signed, as HS256, for this API and now, is taken; and whatever is, is taken.
///
/// The first byte says whether the rest is a token as it comes, or the choices that one is made of.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    if input.arbitrary().unwrap_or(true) {
        let text = String::from_utf8_lossy(input.take_rest());
        let _ = tokens::is_proof(&secret(), "challenge", 80, &text);
        check(&text);
    } else {
        let _ = made(&mut input);
    }
}

fn secret() -> JwtSecret {
    JwtSecret::parse(KEY).expect("it is long enough")
}

/// What is taken must be in order.
fn check(token: &str) -> bool {
    let taken = tokens::jti(&secret(), token);
    let in_order = claimed(token);
    if let Some(jti) = &taken {
        assert_eq!(Some(jti), in_order.as_ref(), "{token}");
    }
    taken.is_some()
}

/// The id of a token that is in order, by a reading of its own.
fn claimed(token: &str) -> Option<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else {
        return None;
    };
    let signed = hmac(KEY.as_bytes(), format!("{header}.{claims}").as_bytes());
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Value>(&bytes)
            .ok()
            .filter(Value::is_object)
    };
    let (header, claims) = (object(header)?, object(claims)?);
    let is_ours = URL_SAFE_NO_PAD.encode(signed) == signature
        && header["alg"] == "HS256"
        && header["crit"].is_null()
        && claims["iss"] == "decnet"
        && claims["typ"] == "access"
        && (claims["aud"] == "decnet-dashboard"
            || claims["aud"]
                .as_array()?
                .contains(&"decnet-dashboard".into()))
        && !claims["uuid"].as_str()?.is_empty();
    // A clock that is a little ahead is forgiven.
    let begun = claims["iat"]
        .as_f64()?
        .max(claims["nbf"].as_f64().unwrap_or(0.0));
    let in_force = claims["exp"].as_f64()? > now() - 1.0 && begun < now() + 60.0;
    let jti = claims["jti"].as_str().filter(|it| !it.is_empty())?;
    (is_ours && in_force).then(|| jti.to_owned())
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |it| it.as_secs_f64())
}

/// A token of choices, each of them right or wrong.
fn made(input: &mut Unstructured<'_>) -> Result<()> {
    let headers = [
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"JWT","kid":"k","alg":"HS256"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
        "{}",
        "[]",
        "",
    ];
    let at = input.choose_index(headers.len())?;
    let mut is_right = at < 3;
    let mut claims = json!({
        "uuid": "u", "jti": "j", "exp": now().floor() + 600.0, "iat": now().floor() - 5.0,
        "iss": "decnet", "aud": "decnet-dashboard", "typ": "access",
    });
    for _ in 0..input.int_in_range(0..=2)? {
        is_right &= !spoilt(&mut claims, input)?;
    }
    let keys: [&[u8]; 4] = [
        KEY.as_bytes(),
        b"",
        b"null",
        b"another-key-another-key-another-key",
    ];
    let key = input.choose_index(keys.len())?;
    let engines = [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD];
    let engine = |input: &mut Unstructured<'_>| -> Result<_> { Ok(*input.choose(&engines)?) };
    let header = engine(input)?.encode(headers[at]);
    let claims = engine(input)?.encode(claims.to_string());
    let signed = format!("{header}.{claims}");
    let mut signature = engine(input)?.encode(hmac(keys[key], signed.as_bytes()));
    match input.int_in_range(0..=7)? {
        0 => signature.clear(),
        1 => {
            // Bits that a sloppy decoder passes over: the last character holds four of them.
            signature.pop();
            signature.push(*input.choose(&['A', 'B', 'C', 'D', '_', '-'])?);
        }
        2 => signature.push('='),
        3 => signature.insert(0, ' '),
        4 => signature.push_str(".x"),
        _ => {}
    }
    let token = format!("{signed}.{signature}");
    let taken = check(&token);
    let plain = !token.contains(['=', '+', '/', ' ']);
    if is_right && plain && claimed(&token).is_some() {
        assert!(taken, "{token}");
    }
    Ok(())
}

/// Makes a claim another; whether it is wrong now.
fn spoilt(claims: &mut Value, input: &mut Unstructured<'_>) -> Result<bool> {
    let names = [
        "uuid", "jti", "exp", "iat", "iss", "aud", "typ", "nbf", "role",
    ];
    let name = *input.choose(&names)?;
    let value = match input.int_in_range(0..=7)? {
        0 => {
            claims.as_object_mut().expect("it is one").remove(name);
            return Ok(true);
        }
        1 => Value::Null,
        2 => json!(""),
        3 => json!(now().floor() - 3_600.0),
        4 => json!(now().floor() + 3_600.0),
        5 => json!(f64::MAX),
        6 => json!(["decnet-dashboard", "decnet"]),
        _ => json!({"a": [true]}),
    };
    claims[name] = value;
    Ok(true)
}
