//! One file from the hub into its cache. It goes on where an earlier try broke off, and counts as there only after its
//! size and its hash were found right.
//!
//! hf-hub's own download checks neither, and sends the token to whatever host the hub redirects to.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::hub::is_plain;
use crate::text;

/// Tries without a single new byte before a download is given up.
const TRIES: usize = 4;
const MOST_REDIRECTS: usize = 8;
/// A server that says nothing for so long is taken for gone.
const SILENCE: Duration = Duration::from_secs(60);
const PIECE: usize = 1 << 16;

/// The hub.
pub struct Hub {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    token: Option<String>,
}

/// Why a file did not come.
#[derive(Debug)]
pub enum Failed {
    /// The model has no such file.
    Missing,
    Because(String),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Because(error.to_string())
    }
}

impl From<ureq::Error> for Failed {
    fn from(error: ureq::Error) -> Self {
        Self::Because(error.to_string())
    }
}

/// What the hub says of a file.
struct About {
    commit: String,
    /// The SHA-256 of large files, git's SHA-1 of the others.
    etag: String,
    size: u64,
}

/// Told the bytes that are there and the bytes of the file.
pub type Report<'a> = &'a mut dyn FnMut(u64, u64);

impl Hub {
    pub fn new(endpoint: &str, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            // Followed here, so that the token stays with the hub.
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("afterthought/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), endpoint: endpoint.trim_end_matches('/').to_owned(), token }
    }

    /// Fetches `file` of the model `id` into `folder`, the model's place in the cache.
    pub fn download(&self, id: &str, file: &str, folder: &Path, report: Report) -> Result<PathBuf, Failed> {
        let url = format!("{}/{id}/resolve/main/{file}", self.endpoint);
        let about = self.about(&url)?;
        let blob = folder.join("blobs").join(&about.etag);
        std::fs::create_dir_all(folder.join("blobs"))?;
        // Another process may be fetching the same file; then this one finds it done.
        let lock = File::create(blob.with_file_name(format!("{}.lock", about.etag)))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        if !blob.exists() {
            let part = blob.with_file_name(format!("{}.part", about.etag));
            self.fill(&url, &part, about.size, report)?;
            if let Err(problem) = check(&part, &about, report) {
                std::fs::remove_file(&part)?;
                return Err(Failed::Because(format!("{problem}, and was removed · fetch it again")));
            }
            std::fs::rename(&part, &blob)?;
        }
        let snapshot = folder.join("snapshots").join(&about.commit);
        std::fs::create_dir_all(&snapshot)?;
        let link = snapshot.join(file);
        if !link.exists() {
            // One that points nowhere is in the way.
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(Path::new("../../blobs").join(&about.etag), &link)?;
        }
        std::fs::create_dir_all(folder.join("refs"))?;
        std::fs::write(folder.join("refs/main"), &about.commit)?;
        Ok(link)
    }

    /// Asks for the first byte: the answer's headers say the rest.
    fn about(&self, url: &str) -> Result<About, Failed> {
        let (mut commit, mut etag, mut linked) = (None, None, None);
        let mut look = |headers: &HeaderMap| {
            let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            commit = commit.take().or_else(|| get("x-repo-commit"));
            linked = linked.take().or_else(|| get("x-linked-etag"));
            etag = get("etag").or(etag.take());
        };
        let response = self.get(url, "bytes=0-0", &mut look)?;
        let size = total(&response).ok_or_else(|| Failed::Because("the hub does not say its size".into()))?;
        let name = |value: Option<String>, what: &str| {
            let value = value.map(|value| value.trim_start_matches("W/").trim_matches('"').to_owned());
            // They become names of files.
            value.filter(|value| is_plain(value)).ok_or_else(|| {
                Failed::Because(format!("the answer has no usable {what} · is HF_ENDPOINT the address of a hub?"))
            })
        };
        Ok(About { commit: name(commit, "X-Repo-Commit")?, etag: name(linked.or(etag), "ETag")?, size })
    }

    /// Follows redirects; `look` sees the headers of the hub's own answers, and the hub alone sees the token.
    fn get(&self, url: &str, range: &str, look: &mut dyn FnMut(&HeaderMap)) -> Result<Response<Body>, Failed> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let is_hub = origin(&url) == origin(&self.endpoint);
            let mut request = self.agent.get(&url).header("Range", range);
            if let Some(token) = self.token.as_ref().filter(|_| is_hub) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call()?;
            if is_hub {
                look(response.headers());
            }
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get("Location").and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| Failed::Because(format!("{status} without a place")))?;
                url = if to.starts_with('/') { format!("{}{to}", origin(&url)) } else { to.to_owned() };
                continue;
            }
            return match status.as_u16() {
                200..=299 => Ok(response),
                404 => Err(Failed::Missing),
                _ => Err(Failed::Because(format!("the server says {status}"))),
            };
        }
        Err(Failed::Because("the hub redirects in a circle".into()))
    }

    /// Fetches what is not in `part` yet.
    fn fill(&self, url: &str, part: &Path, size: u64, report: Report) -> Result<(), Failed> {
        let mut file = File::options().create(true).append(true).open(part)?;
        let mut tries = 0;
        loop {
            let mut there = file.metadata()?.len();
            if there > size {
                file.set_len(0)?;
                there = 0;
            }
            report(there, size);
            if there == size {
                return Ok(file.sync_all()?);
            }
            let Err(error) = self.append(url, &mut file, there, size, report) else { continue };
            tries = if file.metadata()?.len() > there { 1 } else { tries + 1 };
            if tries == TRIES {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(300 * tries as u64 * tries as u64));
        }
    }

    /// One answer, until it ends or breaks off.
    fn append(&self, url: &str, file: &mut File, from: u64, size: u64, report: Report) -> Result<(), Failed> {
        let response = self.get(url, &format!("bytes={from}-"), &mut |_| {})?;
        let mut there = from;
        if response.status().as_u16() != 206 && from > 0 {
            // A server that can't begin in the middle sends all of it.
            file.set_len(0)?;
            there = 0;
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        while there < size {
            let read = body.read(&mut piece)?;
            if read == 0 {
                return Err(Failed::Because(format!("the connection ended after {there} of {size} bytes")));
            }
            if there + read as u64 > size {
                file.set_len(0)?;
                return Err(Failed::Because(format!("the server sent more than the {size} bytes that it announced")));
            }
            file.write_all(&piece[..read])?;
            there += read as u64;
            report(there.min(size), size);
        }
        Ok(())
    }
}

/// `https://huggingface.co` of an address there.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find(['/', '?', '#']).map_or(url, |end| &url[..host + end])
}

/// The length of the whole file, from an answer with a part of it.
fn total(response: &Response<Body>) -> Option<u64> {
    let get = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    match get("Content-Range") {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None => get("Content-Length")?.parse().ok(),
    }
}

/// Whether a file is what the hub says it is. An etag that is no hash (of a mirror, say) says nothing.
fn check(path: &Path, about: &About, report: Report) -> Result<(), String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length != about.size {
        return Err(format!("it came with {length} bytes in place of {}", about.size));
    }
    let found = match about.etag.len() {
        64 => digest(path, Sha256::new(), report),
        40 => digest(path, Sha1::new().chain_update(format!("blob {length}\0")), report),
        _ => return Ok(()),
    };
    match found.map_err(|error| error.to_string())? {
        found if found == about.etag.to_lowercase() => Ok(()),
        _ => Err(format!("what came does not have the hash {} that the hub names", text::excerpt(&about.etag, 12))),
    }
}

fn digest<D: Digest>(path: &Path, mut digest: D, report: Report) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut piece = vec![0; 16 * PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        digest.update(&piece[..read]);
        report(size, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://huggingface.co/a/b?c"), "https://huggingface.co");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_ne!(origin("https://huggingface.co.example.org/a"), origin("https://huggingface.co"));
        assert_ne!(origin("https://huggingface.co@example.org/a"), origin("https://huggingface.co"));
    }

    #[test]
    fn hashes_are_those_of_git_and_of_large_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        let check = |size, etag: &str| {
            check(file.path(), &About { commit: "1".into(), etag: etag.into(), size }, &mut |_, _| {})
        };
        // `git hash-object` and `sha256sum` of the same file.
        check(6, "ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        check(6, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        check(6, "of-a-mirror").unwrap();
        assert!(check(6, "ce013625030ba8dba906f756967f9e9ca394464b").unwrap_err().contains("hash"));
        assert!(check(7, "of-a-mirror").unwrap_err().contains("6 bytes in place of 7"));
    }
}
