//! Students from the hub, against a small server on this machine that speaks its protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Serves the reference student as `owner/small`.
struct Hub {
    address: String,
    /// Paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    /// The next so many downloads of weights break off in the middle.
    broken: Arc<AtomicUsize>,
}

impl Hub {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            broken: Arc::default(),
        };
        let (asked, broken) = (hub.asked.clone(), hub.broken.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, broken) = (asked.clone(), broken.clone());
                std::thread::spawn(move || {
                    // A client that went away is its own business.
                    let _ = answer(stream, &asked, &broken);
                });
            }
        });
        hub
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>, broken: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut range = None;
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
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let file = path.strip_prefix("/owner/small/resolve/main/").unwrap_or("nothing");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2");
    let Ok(bytes) = std::fs::read(folder.join(file)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (from, to) = range.unwrap_or((0, None));
    let to = to.map_or(bytes.len(), |to| to + 1).min(bytes.len());
    let part = &bytes[from.min(bytes.len())..to];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\
         ETag: \"{file}-1\"\r\nX-Repo-Commit: 0123abc\r\nConnection: close\r\n\r\n",
        part.len(),
        to.saturating_sub(1),
        bytes.len()
    )?;
    let breaks = file == "model.safetensors"
        && part.len() > 1
        && broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    stream.write_all(if breaks { &part[..part.len() / 2] } else { part })
}

fn afterthought(project: &Path, hub: &str, home: &Path, offline: bool, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null());
    command.env("HF_ENDPOINT", hub).env("HF_HOME", home).env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
    command.env_remove("RUST_BACKTRACE").output().unwrap()
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
    hub.broken.store(1, Ordering::SeqCst);
    let output = run(false, &["student", "fetch", "owner/small"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).unwrap();
    let fetched = std::fs::read(Path::new(folder.trim()).join("model.safetensors")).unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2/model.safetensors");
    assert_eq!(fetched, std::fs::read(original).unwrap());

    let asked = hub.asked.lock().unwrap().len();
    assert!(run(false, &["student", "fetch", "owner/small"]).status.success());
    assert_eq!(hub.asked.lock().unwrap().len(), asked, "what is there is not asked for");
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
