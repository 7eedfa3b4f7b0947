// Calls an API with a client_credentials token. Crates: curl, serde_json.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
use curl::easy::{Easy, List};
use serde_json::Value;
use std::{env, error::Error, time::Duration};

struct Response {
    status: u32,
    challenge: String,
    body: Value,
}

enum Refusal {
    /// 403: the API knows us and says no. Another token would be told the same.
    NotAllowed(String),
    Failed(Box<dyn Error>),
}

impl<E: Into<Box<dyn Error>>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Failed(error.into())
    }
}

struct Api {
    token: String,
}

impl Api {
    fn new_token() -> Result<String, Box<dyn Error>> {
        let mut easy = Easy::new();
        let mut encode = |text: String| easy.url_encode(text.as_bytes());
        let resource = encode(env::var("API_IDENTIFIER")?);
        // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
        let (id, secret) = (encode(env::var("CLIENT_ID")?), encode(env::var("CLIENT_SECRET")?));
        easy.username(&id)?;
        easy.password(&secret)?;
        easy.post_fields_copy(
            format!("grant_type=client_credentials&scope=orders%3Aread&resource={resource}").as_bytes(),
        )?;
        let response = send(easy, "POST", &format!("{}/oauth/token", env::var("ISSUER_URL")?), None)?;
        match response.body["access_token"].as_str() {
            Some(token) if response.status == 200 => Ok(token.to_owned()),
            _ => Err(format!("no token: {} {}", response.status, response.body["error"]).into()),
        }
    }

    fn call(&mut self, method: &str, path: &str) -> Result<Value, Refusal> {
        let url = format!("{}{path}", env::var("API_URL")?);
        let mut response = send(Easy::new(), method, &url, Some(&self.token))?;
        if response.status == 401 {
            println!("needs new token (401): trying once more with a fresh one");
            self.token = Api::new_token()?;
            response = send(Easy::new(), method, &url, Some(&self.token))?;
        }
        match response.status {
            200 => Ok(response.body),
            403 => Err(Refusal::NotAllowed(response.challenge)),
            status => Err(format!("{method} {path}: {status}").into()),
        }
    }
}

fn send(mut easy: Easy, method: &str, url: &str, token: Option<&str>) -> Result<Response, Box<dyn Error>> {
    let (mut body, mut challenge) = (Vec::new(), String::new());
    easy.url(url)?;
    easy.custom_request(method)?;
    easy.timeout(Duration::from_secs(10))?;
    if let Some(token) = token {
        let mut headers = List::new();
        headers.append(&format!("Authorization: Bearer {token}"))?;
        easy.http_headers(headers)?;
    }
    let mut transfer = easy.transfer();
    transfer.write_function(|data| {
        body.extend_from_slice(data);
        Ok(data.len())
    })?;
    transfer.header_function(|line| {
        if let Some((name, value)) = String::from_utf8_lossy(line).split_once(':') {
            if name.eq_ignore_ascii_case("www-authenticate") {
                challenge = value.trim().to_owned();
            }
        }
        true
    })?;
    transfer.perform()?;
    drop(transfer);
    Ok(Response { status: easy.response_code()?, challenge, body: serde_json::from_slice(&body)? })
}

fn main() -> Result<(), Box<dyn Error>> {
    // What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
    let mut api = Api { token: "expired".to_owned() };
    match api.call("GET", "/orders") {
        Ok(body) => println!("ok (200): {} orders", body["orders"].as_array().map_or(0, Vec::len)),
        Err(Refusal::NotAllowed(reason)) => return Err(reason.into()),
        Err(Refusal::Failed(error)) => return Err(error),
    }
    match api.call("DELETE", "/orders/1") {
        Err(Refusal::NotAllowed(reason)) => println!("not allowed (403): {reason}"),
        Err(Refusal::Failed(error)) => return Err(error),
        Ok(_) => return Err("expected a refusal".into()),
    }
    Ok(())
}
