//! The README's fiat-in by hand: the very block a reader copies, run by bash against a running `dev`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::binary::folder;
use crate::process::{Dev, Ports, said};

/// What stands between the markers, without the fences.
fn block() -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- by-hand").expect("the marker");
    let (marked, _) = rest.split_once("<!-- /by-hand -->").expect("the end marker");
    let (_, code) = marked.split_once("```bash\n").expect("a bash block");
    let (code, _) = code.split_once("```").expect("the block's end");
    code.to_owned()
}

fn bash(script: &str, data_dir: &Path) -> Vec<Value> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("CREDENTIALS", data_dir.join("credentials.json"))
        .env("TMPDIR", data_dir)
        .current_dir(data_dir)
        .output()
        .expect("bash runs; it needs curl, openssl 3, jq and xxd (make tools installs them)");
    assert!(output.status.success(), "{}", said(&output));
    assert!(output.stderr.is_empty(), "it complains: {}", said(&output));
    let lines = String::from_utf8(output.stdout).expect("text");
    let parsed =
        lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    parsed.collect()
}

#[tokio::test]
async fn the_readmes_block_pays_once_repeats_safely_and_is_refused_otherwise() {
    let folder = folder();
    let data = folder.path().join("data");
    let dev = Dev::start(&data, Ports::ANY).await;
    let script = block();
    let answers = bash(&script, &data);
    let [paid, again, refused] = answers.as_slice() else { panic!("three answers: {answers:?}") };
    assert_eq!((&paid["state"], &paid["money"]["amount"]), (&"completed".into(), &1250.into()), "{paid}");
    assert_eq!(paid, again);
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&401.into(), &"token_already_used".into()),
        "{refused}"
    );
    let delivered = async || {
        let sink = dev.fetch(dev.credential("/webhook_sink")).await.expect("the sink");
        let events = sink.body.as_array().expect("a list").clone();
        events.iter().any(|event| event["body"]["data"]["fiat_in_id"] == paid["id"])
    };
    for _ in 0..500 {
        if delivered().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("step 11: no webhook of {}", paid["id"]);
}
