// Takes a token for a service and calls an API with it. Crates: curl, serde_json.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
use curl::easy::{Easy, List};
use std::{env, error::Error, time::Duration};

fn new_token() -> Result<String, Box<dyn Error>> {
    let mut easy = Easy::new();
    let mut encode = |name: &str| -> Result<String, env::VarError> { Ok(easy.url_encode(env::var(name)?.as_bytes())) };
    // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
    let (id, secret) = (encode("CLIENT_ID")?, encode("CLIENT_SECRET")?);
    let (scope, resource) = (encode("SCOPE")?, encode("API_IDENTIFIER")?);
    easy.username(&id)?;
    easy.password(&secret)?;
    easy.url(&format!("{}/oauth/token", env::var("ISSUER_URL")?))?;
    easy.post(true)?;
    easy.post_fields_copy(format!("grant_type=client_credentials&scope={scope}&resource={resource}").as_bytes())?;
    let (status, text) = send(easy)?;
    let body: serde_json::Value = serde_json::from_str(&text)?;
    match body["access_token"].as_str() {
        Some(token) if status == 200 => Ok(token.to_owned()),
        _ => Err(format!("no token: {status} {}", body["error"]).into()),
    }
}

fn send(mut easy: Easy) -> Result<(u32, String), Box<dyn Error>> {
    let mut body = Vec::new();
    easy.timeout(Duration::from_secs(10))?;
    let mut transfer = easy.transfer();
    transfer.write_function(|data| {
        body.extend_from_slice(data);
        Ok(data.len())
    })?;
    transfer.perform()?;
    drop(transfer);
    Ok((easy.response_code()?, String::from_utf8(body)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
    let token = new_token()?;
    let mut easy = Easy::new();
    let mut headers = List::new();
    headers.append(&format!("Authorization: Bearer {token}"))?;
    easy.url(&env::var("API_URL")?)?;
    easy.http_headers(headers)?;
    let (status, body) = send(easy)?;
    println!("{status} {body}");
    Ok(())
}
