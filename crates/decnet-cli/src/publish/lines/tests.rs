use std::io::Write;

use tokio::sync::mpsc::{Receiver, channel};

use super::*;

fn split(chunks: &[&[u8]]) -> Vec<Result<String, LineError>> {
    let mut splitter = Splitter::default();
    let mut lines = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while let Some(line) = splitter.next(&mut rest) {
            lines.push(line);
        }
    }
    lines.extend(splitter.rest());
    lines
}

#[test]
fn lines_do_not_depend_on_how_bytes_arrive() {
    let expected = vec![
        Ok("a".to_owned()),
        Ok("bé".to_owned()),
        Ok(String::new()),
        Ok("c".into()),
    ];
    let text = "a\r\nbé\n\nc".as_bytes();
    assert_eq!(split(&[text]), expected);
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(split(&bytes), expected);
    assert_eq!(split(&[b""]), vec![]);
}

#[test]
fn what_is_no_line_is_said_and_the_next_one_is_read() {
    let long = vec![b'x'; MAX_LINE_BYTES + 2];
    assert_eq!(
        split(&[&long, &long, b"\n\xff\nfine\n"]),
        vec![
            Err(LineError::TooLong),
            Err(LineError::NotUtf8),
            Ok("fine".into())
        ]
    );
    let longest = vec![b'x'; MAX_LINE_BYTES];
    assert!(split(&[&longest, b"\r\n"])[0].is_ok());
}

#[test]
fn empty_lines_are_skipped_but_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    fs::write(&path, "{}\n\n  \n{\"a\":1}").unwrap();
    let (sender, mut lines) = channel(8);
    let stop = CancellationToken::new();
    read_lines(&path, Follow::No, sender, &stop).unwrap();
    assert_eq!(next(&mut lines), (1, "{}".into()));
    let last = lines.blocking_recv().unwrap();
    assert_eq!((last.number, last.end), (4, 14));
    assert!(lines.blocking_recv().is_none());
}

fn next(lines: &mut Receiver<Line>) -> (u64, String) {
    let line = lines.blocking_recv().expect("there is a line");
    (line.number, line.text.unwrap())
}

struct Following {
    lines: Receiver<Line>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

fn follow(path: &Path) -> Following {
    let (sender, lines) = channel(64);
    let stop = CancellationToken::new();
    let (path, token) = (path.to_owned(), stop.clone());
    let thread = thread::spawn(move || read_lines(&path, Follow::Yes, sender, &token));
    Following {
        lines,
        stop,
        thread: Some(thread),
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_followed_file_may_appear_grow_be_cut_and_be_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut following = follow(&path);
    append(&path, "one\n");
    assert_eq!(next(&mut following.lines), (1, "one".into()));
    append(&path, "tw");
    append(&path, "o\n");
    assert_eq!(next(&mut following.lines), (2, "two".into()));

    // copytruncate
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    append(&path, "3\n");
    assert_eq!(next(&mut following.lines), (3, "3".into()));

    // rename and create; the writer still holds the old file for a moment
    let old = dir.path().join("log.1");
    append(&path, "last words\n");
    fs::rename(&path, &old).unwrap();
    append(&path, "new\n");
    append(&old, "late\n");
    let mut texts: Vec<_> = (0..3).map(|_| next(&mut following.lines).1).collect();
    texts.sort();
    assert_eq!(texts, ["last words", "late", "new"]);
}
