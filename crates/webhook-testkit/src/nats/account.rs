use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator of the test's own, with an account that has JetStream and a user in it.
#[derive(Debug)]
pub struct NatsAccount {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Default for NatsAccount {
    fn default() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }
}

impl NatsAccount {
    /// Makes all of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration of a server that trusts the operator.
    pub fn config(&self) -> String {
        let operator = jwt(&self.operator, &self.operator, json!({"type": "operator"}));
        let unlimited = json!({
            "type": "account",
            "limits": {
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1,
                "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
            },
        });
        let bare =
            json!({"type": "account", "limits": {"subs": -1, "conn": -1, "wildcards": true}});
        let account = jwt(&self.operator, &self.account, unlimited);
        let system = jwt(&self.operator, &self.system, bare);
        format!(
            "jetstream: enabled\noperator: {operator}\nsystem_account: {sys}\nresolver: MEMORY\n\
             resolver_preload {{ {sys}: {system}, {own}: {account} }}",
            sys = self.system.public_key(),
            own = self.account.public_key(),
        )
    }

    /// The user's credentials file.
    pub fn credentials(&self) -> String {
        let user =
            json!({"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
        let jwt = jwt(&self.account, &self.user, user);
        let seed = self.user.seed().expect("a key that was made has a seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// What one key says of another, in NATS's own kind of JWT.
fn jwt(issuer: &KeyPair, subject: &KeyPair, mut nats: Value) -> String {
    nats["version"] = 2.into();
    let claims = json!({
        "jti": subject.public_key(),
        // Long ago.
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": nats,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = issuer.sign(signed.as_bytes());
    let signature = signature.expect("a key that was made can sign");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
