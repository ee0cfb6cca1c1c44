//! Students from the hub, against a small server on this machine that speaks its protocol.

mod shards;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use shards::into_shards;

/// Serves the reference student as `owner/small`, and its weights in two files as `owner/shards`.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
    state: Arc<State>,
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    /// The first byte that was wanted.
    from: Option<usize>,
    token: Option<String>,
}

struct State {
    folder: tempfile::TempDir,
    /// The next so many downloads of weights break off in the middle.
    broken: AtomicUsize,
    /// The next so many send a wrong byte.
    wrong: AtomicUsize,
    /// Where weights are redirected to: a server of another name.
    elsewhere: Mutex<Option<String>>,
}

impl Hub {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State {
            folder: published(),
            broken: AtomicUsize::default(),
            wrong: AtomicUsize::default(),
            elsewhere: Mutex::default(),
        };
        let hub = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            state: Arc::new(state),
        };
        let (asked, state) = (hub.asked.clone(), hub.state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, state) = (asked.clone(), state.clone());
                std::thread::spawn(move || {
                    // A client that went away is its own business.
                    let _ = answer(stream, &asked, &state);
                });
            }
        });
        hub
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// `small` and `shards`.
fn published() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2");
    for model in ["small", "shards"] {
        std::fs::create_dir(dir.path().join(model)).unwrap();
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::copy(original.join(file), dir.path().join(model).join(file)).unwrap();
        }
    }
    into_shards(&dir.path().join("shards"));
    dir
}

fn takes_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<Request>>, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut range, mut token) = (None, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = value.trim().split_once('-').unwrap();
            range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().ok()));
        }
        if header.to_lowercase().starts_with("authorization:") {
            token = Some(header.split_once(':').unwrap().1.trim().to_owned());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    // The first byte alone is how a file is looked at.
    let from = range.filter(|range| range.1 != Some(0)).map(|range| range.0);
    asked.lock().unwrap().push(Request { path: path.clone(), from, token });
    let file = path.strip_prefix("/owner/").unwrap_or("nothing").replacen("/resolve/main/", "/", 1);
    let Ok(bytes) = std::fs::read(state.folder.path().join(&file)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let is_weights = file.ends_with(".safetensors");
    // As on the hub: of large files the SHA-256, of others git's hash (any other etag is none).
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = if is_weights { hash } else { format!("{}-1", file.replace('/', "-")) };
    if let Some(elsewhere) = state.elsewhere.lock().unwrap().as_ref().filter(|_| is_weights) {
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {elsewhere}{path}\r\nX-Linked-ETag: \"{etag}\"\r\nETag: \"none\"\r\n\
             X-Repo-Commit: 0123abc\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let (from, to) = range.unwrap_or((0, None));
    let to = to.map_or(bytes.len(), |to| to + 1).min(bytes.len());
    let mut part = bytes[from.min(bytes.len())..to].to_vec();
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\
         ETag: \"{etag}\"\r\nX-Repo-Commit: 0123abc\r\nConnection: close\r\n\r\n",
        part.len(),
        to.saturating_sub(1),
        bytes.len()
    )?;
    if is_weights && part.len() > 1 {
        if takes_one(&state.wrong) {
            *part.last_mut().unwrap() ^= 1;
        }
        if takes_one(&state.broken) {
            part.truncate(part.len() / 2);
        }
    }
    stream.write_all(&part)
}

fn afterthought(project: &Path, hub: &str, home: &Path, offline: bool, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null());
    command.env("HF_ENDPOINT", hub).env("HF_HOME", home).env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
    command.env("HF_TOKEN", "hf_secret").env_remove("RUST_BACKTRACE").output().unwrap()
}

#[test]
fn a_student_is_fetched_once_and_then_found() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let run = |offline, arguments: &[&str]| afterthought(dir.path(), &hub.address, &home, offline, arguments);
    let output = run(true, &["student", "fetch", "owner/small"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("HF_HUB_OFFLINE"));

    // The first try breaks off; the weights come all the same.
    hub.state.broken.store(1, Ordering::SeqCst);
    let output = run(false, &["student", "fetch", "owner/small"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).unwrap();
    let fetched = std::fs::read(Path::new(folder.trim()).join("model.safetensors")).unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2/model.safetensors");
    assert_eq!(fetched, std::fs::read(original).unwrap());

    let asked = hub.asked().len();
    assert!(run(false, &["student", "fetch", "owner/small"]).status.success());
    let optional = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"];
    let again = &hub.asked()[asked..];
    let is_optional = |request: &Request| optional.iter().any(|file| request.path.contains(file));
    assert!(again.iter().all(is_optional), "what is there is not asked for");
    let output = run(true, &["student", "show", "owner/small", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["vocabulary"], 97);
}

#[test]
fn a_student_that_the_hub_does_not_have_is_named() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let output = afterthought(dir.path(), &hub.address, &home, false, &["student", "fetch", "owner/missing"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("owner/missing") && error.contains("check the id"), "{error}");
}

#[test]
fn weights_in_several_files_come_though_one_breaks_off() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    hub.state.broken.store(1, Ordering::SeqCst);
    let output = afterthought(dir.path(), &hub.address, &home, false, &["student", "fetch", "owner/shards"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).unwrap();
    let published = hub.state.folder.path().join("shards");
    for number in [1, 2] {
        let file = format!("model-0000{number}-of-00002.safetensors");
        let fetched = std::fs::read(Path::new(folder.trim()).join(&file)).unwrap();
        assert!(fetched == std::fs::read(published.join(&file)).unwrap(), "{file}");
        // The first went on where it broke off.
        let half = if number == 1 { vec![Some(0), Some(fetched.len() / 2)] } else { vec![Some(0)] };
        let asked = hub.asked().into_iter().filter(|request| request.path.ends_with(&file));
        assert_eq!(asked.map(|request| request.from).filter(Option::is_some).collect::<Vec<_>>(), half, "{file}");
    }
    let output = afterthought(dir.path(), &hub.address, &home, true, &["student", "show", "owner/shards", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_download_that_was_killed_goes_on_the_next_time() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let blobs = home.join("hub/models--owner--small/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let bytes = std::fs::read(hub.state.folder.path().join("small/model.safetensors")).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(blobs.join(format!("{hash}.part")), &bytes[..1000]).unwrap();
    let output = afterthought(dir.path(), &hub.address, &home, false, &["student", "fetch", "owner/small"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(blobs.join(&hash)).unwrap(), bytes);
    assert_eq!(hub.asked().last().unwrap().from, Some(1000));
}

#[test]
fn a_file_with_another_hash_is_refused_and_removed() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let fetch = || afterthought(dir.path(), &hub.address, &home, false, &["student", "fetch", "owner/small"]);
    hub.state.wrong.store(1, Ordering::SeqCst);
    let output = fetch();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    for word in ["owner/small", "model.safetensors", "hash", "fetch it again"] {
        assert!(error.contains(word), "{error}");
    }
    let shown = afterthought(dir.path(), &hub.address, &home, false, &["student", "show", "owner/small"]);
    assert!(String::from_utf8_lossy(&shown.stderr).contains("was not fetched yet"));
    assert!(fetch().status.success(), "what was wrong is gone");
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let (hub, elsewhere, dir) = (Hub::start(), Hub::start(), tempfile::tempdir().unwrap());
    *hub.state.elsewhere.lock().unwrap() = Some(elsewhere.address.clone());
    let home = dir.path().join("home");
    let output = afterthought(dir.path(), &hub.address, &home, false, &["student", "fetch", "owner/small"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(hub.asked().iter().all(|request| request.token.as_deref() == Some("Bearer hf_secret")));
    let there = elsewhere.asked();
    assert!(there.len() >= 2 && there.iter().all(|request| request.token.is_none()), "{there:?}");
}

#[test]
fn adapters_name_the_hub_id_of_their_student_and_find_it_again() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let run = |offline, arguments: &[&str]| {
        let output = afterthought(dir.path(), &hub.address, &home, offline, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::create_dir_all(dir.path().join("datasets/tiny")).unwrap();
    let tiny = dir.path().join("datasets/tiny");
    std::fs::write(tiny.join("dataset.yaml"), "name: tiny\nsplits: {train: train.jsonl, validation: train.jsonl}\n")
        .unwrap();
    let row = r#"{"id":"1","question":"a","choices":[{"label":"A","text":"b"},{"label":"B","text":"c"}],"answer":"A"}"#;
    std::fs::write(tiny.join("train.jsonl"), format!("{row}\n")).unwrap();
    let spec = "{dataset: tiny, student: STUDENT, rationale: {placement: none}, evaluation: {answer: likelihood}, \
                training: {steps: 1, lora: {rank: 2}}}";
    let file = dir.path().join("first.yaml");
    std::fs::write(&file, spec.replace("STUDENT", "owner/small")).unwrap();
    // The run fetches its student by itself.
    run(false, &["train", file.to_str().unwrap()]);
    let to = dir.path().join("adapters");
    run(true, &["runs", "export", "last", "--to", to.to_str().unwrap()]);
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(to.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["base_model_name_or_path"], "owner/small");
    run(true, &["runs", "export", "last", "--merge", "--to", dir.path().join("whole").to_str().unwrap()]);
    assert!(dir.path().join("whole/model.safetensors").exists());
}
