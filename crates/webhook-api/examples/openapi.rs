//! Prints the OpenAPI document: `cargo run -p webhook-api --example openapi > docs/openapi.json`.

fn main() {
    let document = webhook_api::openapi();
    let text = document.to_pretty_json();
    println!("{}", text.expect("a document in memory serialises"));
}
