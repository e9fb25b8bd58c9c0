//! Assertions, held to Box's rules.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    answer::{Outcome, Refused},
    oauth::{Holder, box_second, grant, unauthorized},
    people::User,
    state::{State, text},
};

const AUDIENCE: &str = "https://api.box.com/oauth2/token";

/// The furthest that `exp` may lie ahead, in seconds.
const LIFE: i64 = 60;

/// `urn:ietf:params:oauth:grant-type:jwt-bearer`
pub(super) fn bearer(state: &mut State, client: String, assertion: &str) -> Outcome {
    if state.config.jwt_keys.is_empty() {
        return unauthorized();
    }
    let claims =
        verified(state, assertion).ok_or_else(|| refused("OAuth JWT signature is invalid."))?;
    let claim = |name: &str| text(&claims, &format!("/{name}")).unwrap_or_default();
    if claim("iss") != client {
        return Err(refused("Please check the 'iss' claim."));
    }
    if claim("aud") != AUDIENCE {
        return Err(refused("Please check the 'aud' claim."));
    }
    in_time(state, &claims)?;
    let name = claim("jti");
    let legal = (16..=128).contains(&name.len());
    if !legal || !state.tokens.assertions.insert(name.to_owned()) {
        return Err(refused("A unique 'jti' value is required."));
    }
    let subject = claim("sub");
    let user = match claim("box_sub_type") {
        "enterprise" if subject == state.config.enterprise => User::service_account(),
        "user" => state
            .user(subject)
            .cloned()
            .ok_or_else(|| refused("Please check the 'sub' claim."))?,
        _ => return Err(refused("Please check the 'sub' claim.")),
    };
    let holder = Holder {
        user,
        client,
        limits: None,
    };
    let access = state.issue_access(holder, None);
    Ok(grant(state, &access, None, Vec::new()))
}

/// The claims, if one of the application's keys has signed them.
fn verified(state: &State, assertion: &str) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = decoded(header)?;
    let algorithm: &'static RsaParameters = match text(&header, "/alg")? {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    };
    let keys = &state.config.jwt_keys;
    let (_, key) = match text(&header, "/kid") {
        Some(id) => keys.iter().find(|(known, _)| known == id)?,
        // Only where there are several does one have to be named.
        None => keys.first().filter(|_| keys.len() == 1)?,
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(algorithm, key)
        .verify(signed.as_bytes(), &signature)
        .ok()?;
    decoded(claims)
}

fn in_time(state: &State, claims: &Value) -> Result<(), Refused> {
    let now = box_second(state);
    let second = |name: &str| claims.get(name).and_then(Value::as_i64);
    match second("exp") {
        Some(exp) if exp <= now => {
            return Err(refused(
                "Current date/time MUST be before the expiration date/time listed in the 'exp' \
                 claim",
            ));
        }
        Some(exp) if exp <= now + LIFE => {}
        _ => return Err(refused("Please check the 'exp' claim.")),
    }
    let early = |name| second(name).is_some_and(|at| at > now);
    if early("iat") || early("nbf") {
        return Err(refused(
            "Current date/time MUST be after the time listed in the 'nbf' or 'iat' claim",
        ));
    }
    Ok(())
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn refused(description: &str) -> Refused {
    Refused::oauth("invalid_grant", description)
}
