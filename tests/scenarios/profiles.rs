//! Whoever asks several systems keeps their addresses and keys in a file.

use std::fs;

use harness::{Client, Embedded};
use tempfile::TempDir;

fn written(text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("tripline")).unwrap();
    fs::write(folder.path().join("tripline/profiles.toml"), text).unwrap();
    folder
}

async fn ask(folder: &TempDir, words: &[&str]) -> harness::Outcome {
    let place = folder.path().to_str().unwrap();
    Client::run_bare(words, &[("XDG_CONFIG_HOME", place), ("HOME", place)]).await
}

#[tokio::test]
async fn a_profile_says_which_server_is_asked() {
    let system = Embedded::start().await;
    let text = format!(
        "[default]\nserver = \"http://127.0.0.1:9\"\n[here]\nserver = \"{}\"\n",
        system.url()
    );
    let folder = written(&text);
    let list = ["functions", "list"];
    ask(&folder, &list).await.refused(7);
    ask(&folder, &[&list[..], &["--profile", "here"]].concat())
        .await
        .done();
    let other = [&list[..], &["--profile", "here", "--server"]].concat();
    ask(&folder, &[&other[..], &["http://127.0.0.1:9"]].concat())
        .await
        .refused(7);
    let line = ask(&folder, &[&list[..], &["--profile", "there"]].concat())
        .await
        .refused(2);
    assert!(line.contains("default, here"), "{line}");
}

#[tokio::test]
async fn a_fault_in_the_profile_file_is_named_with_its_line() {
    let folder = written("[default]\nserver = \"http://127.0.0.1:9\"\nkey = \"tlk_1\"\n");
    let refused = ask(&folder, &["functions", "list"]).await;
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    for word in ["profiles.toml:3", "key", "api_key"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert!(!refused.stderr.contains("tlk_1"), "{}", refused.stderr);
}
