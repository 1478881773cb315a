//! The README: every command of its tour runs and prints what it is said to print, and its recipes work.
//!
//! A `sh` block of the tour is run as it stands, but for the ports and for how burdock is started; a `text` block after it is what
//! it prints, where `…` stands for anything. A block below `<!-- keeps running -->` is left running until the end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::burdock::reap;
use crate::support::eventually;
use crate::support::tool::{command, node_modules, on_path, python, stdout};

#[tokio::test]
async fn the_tour_does_what_it_says() {
    let readme = readme();
    let blocks = blocks(&section(&readme, "## A ten-minute tour"));
    let mut tour = Tour::new();
    for block in &blocks {
        tour.take(block).await;
    }
    assert_eq!(tour.running.len(), 1, "the tour starts its servers");
    assert!(blocks.len() > 10, "only {} blocks were found", blocks.len());
}

/// Those for Python and Node, as visitor `a`, who is logged in. Playwright's is in `clients.rs`, with the browser it needs.
#[tokio::test]
async fn the_recipes_do_what_they_say() {
    let readme = readme();
    let mut tour = Tour::new();
    for block in blocks(&section(&readme, "## A ten-minute tour"))
        .iter()
        .take(3)
    {
        tour.take(block).await;
    }
    let recipes = section(&readme, "## Recipes");
    let mut run = 0;
    for (language, code) in code(&recipes) {
        let (name, runner) = match language {
            "python" if code.contains("import scrapy") => (
                "spider.py",
                vec![
                    python(),
                    "-m".into(),
                    "scrapy".into(),
                    "runspider".into(),
                    "--nolog".into(),
                ],
            ),
            "python" => ("recipe.py", vec![python()]),
            "js" if !code.contains("playwright") => ("recipe.js", vec![on_path(&["node"])]),
            _ => continue,
        };
        fs::write(tour.folder.path().join(name), tour.with_ports(&code))
            .expect("the folder is ours");
        let mut recipe = command(&runner[0]);
        recipe
            .args(&runner[1..])
            .arg(name)
            .current_dir(tour.folder.path())
            .env("NODE_PATH", node_modules())
            .env("NODE_EXTRA_CA_CERTS", "certs/burdock-ca.pem")
            .env("HTTPS_PROXY", tour.with_ports("http://a:x@127.0.0.1:8080"));
        let said = stdout(recipe).await;
        assert!(said.contains("ada, by"), "{code}\nprints\n{said}");
        run += 1;
    }
    assert_eq!(run, 5, "requests, httpx, Scrapy and two of Node");
}

#[test]
fn the_two_commands_are_there() {
    let readme = readme();
    let commands = section(&readme, "## Two commands");
    for command in ["cargo run --release", "./tests/run"] {
        assert!(
            commands.iter().any(|(_, line)| line.starts_with(command)),
            "{commands:?} have `{command}`"
        );
    }
}

#[test]
fn links_lead_to_files() {
    for file in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/ARCHITECTURE.md",
        "docs/INTERFACE.md",
        "docs/COOKIES.md",
    ] {
        let path = repository().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let folder = path.parent().expect("a file is in a folder");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let target = target.split('#').next().unwrap_or(target);
            assert!(folder.join(target).exists(), "{file} links to {target}");
        }
    }
}

#[test]
fn ellipses_stand_for_anything() {
    for (pattern, text, wanted) in [
        ("a\n", "a\n", true),
        ("a\n", "ab\n", false),
        ("a…c\n", "abc\n", true),
        ("a…c\n", "ac\n", true),
        ("a…c\n", "abcd\n", false),
        ("…c\n", "a\nb\nc\n", true),
        ("a…b…a\n", "aba\n", true),
        ("a…a\n", "a\n", false),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(fits(pattern, text), wanted, "{pattern:?} and {text:?}");
    }
}

/// A command of the tour, and what it prints.
struct Block {
    line: usize,
    keeps_running: bool,
    sh: String,
    prints: String,
}

/// The `sh` blocks of a section, each with the `text` block that follows it.
fn blocks(section: &[(usize, &str)]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut keeps_running = false;
    let mut lines = section.iter();
    while let Some((line, text)) = lines.next() {
        let mut body = || {
            let body = lines.by_ref().map(|(_, text)| *text);
            let body: Vec<&str> = body.take_while(|text| *text != "```").collect();
            body.join("\n") + "\n"
        };
        match *text {
            "<!-- keeps running -->" => keeps_running = true,
            "```sh" => blocks.push(Block {
                line: *line,
                keeps_running: std::mem::take(&mut keeps_running),
                sh: body(),
                prints: String::new(),
            }),
            "```text" => {
                let command = blocks
                    .last_mut()
                    .expect("a command comes before what it prints");
                command.prints = body();
            }
            _ => assert!(
                !text.starts_with("```"),
                "README.md, line {line}: `{text}` is neither run nor compared"
            ),
        }
    }
    blocks
}

/// The lines under a heading, up to the next of its level, with their numbers in the file.
fn section<'a>(text: &'a str, heading: &str) -> Vec<(usize, &'a str)> {
    let lines = (1..).zip(text.lines());
    let section: Vec<_> = lines
        .skip_while(|(_, line)| *line != heading)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .collect();
    assert!(!section.is_empty(), "README.md has no `{heading}`");
    section
}

/// The code blocks of a section that name a language, with it.
fn code<'a>(section: &[(usize, &'a str)]) -> Vec<(&'a str, String)> {
    let mut found = Vec::new();
    let mut lines = section.iter().map(|(_, text)| *text);
    while let Some(text) = lines.next() {
        if let Some(language) = text.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|text| *text != "```").collect();
            found.push((language, body.join("\n") + "\n"));
        }
    }
    found
}

/// Somebody who takes the tour, in a folder of their own.
struct Tour {
    folder: TempDir,
    /// What stands for `cargo run --release`: the binary under test, on free ports.
    start: String,
    /// The ports that the README writes, each with the one that was free.
    ports: Vec<(&'static str, String)>,
    running: Vec<Running>,
}

impl Tour {
    fn new() -> Self {
        let binary = env!("CARGO_BIN_EXE_burdock");
        Self {
            folder: TempDir::with_prefix("burdock-tour-").expect("a temporary folder"),
            start: format!("'{binary}' --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0"),
            ports: Vec::new(),
            running: Vec::new(),
        }
    }

    /// Runs a block, which must succeed and print what it is to print.
    async fn take(&mut self, block: &Block) {
        let sh = self
            .with_ports(&block.sh)
            .replace("cargo run --release", &self.start);
        if block.keeps_running {
            let program = self.start(&sh);
            let said = program.says(&block.prints).await;
            self.ports = ports_in(&said);
            self.running.push(program);
            return;
        }
        let prints = self.with_ports(&block.prints);
        let said = stdout(self.shell(&sh)).await;
        assert!(
            fits(prints.trim_end(), said.trim_end()),
            "README.md, line {}:\n{sh}\nis to print\n{prints}\nand prints\n{said}",
            block.line
        );
    }

    fn with_ports(&self, text: &str) -> String {
        // By way of signs that stand in no text: a free port may have another's digits in it, as 30011 has those of 3001.
        let signs = ["\u{e000}", "\u{e001}", "\u{e002}"];
        let ports = self.ports.iter().zip(signs);
        let marked = ports
            .clone()
            .fold(text.to_owned(), |text, ((written, _), sign)| {
                text.replace(written, sign)
            });
        ports.fold(marked, |text, ((_, free), sign)| text.replace(sign, free))
    }

    /// A command of the tour, as a reader's shell would run it; any line of it that fails ends it.
    fn shell(&self, text: &str) -> Command {
        let mut shell = command(&on_path(&["sh"]));
        shell
            .args(["-eu", "-c", text])
            .current_dir(self.folder.path());
        shell
    }

    fn start(&self, text: &str) -> Running {
        // The shop listens on a port that is free, and says which.
        let shop = self.folder.path().join("target/tour/shop.py");
        let script = fs::read_to_string(&shop).expect("the tour has made its shop");
        fs::write(&shop, script.replace("8443", "0")).expect("the folder is ours");
        let log = self.folder.path().join("log");
        let file = File::create(&log).expect("the folder is ours");
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BURDOCK_") {
                shell.env_remove(name);
            }
        }
        let child = shell
            .args(["-eu", "-c", text])
            .current_dir(self.folder.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor is to be had"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Running { child, log }
    }
}

/// Programs that a block has left running; dropped, they are killed with all that they have started, and reaped.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits until all lines of `prints` have been said, whatever the ports and the order.
    async fn says(&self, prints: &str) -> String {
        let any_port = |line: &str| {
            PORTS
                .iter()
                .fold(line.to_owned(), |line, port| line.replace(port, "…"))
        };
        let wanted: Vec<String> = prints.lines().map(any_port).collect();
        eventually(prints, async || {
            let said = fs::read_to_string(&self.log).expect("the log is readable");
            let has = |wanted: &String| said.lines().any(|line| fits(wanted, line));
            wanted.iter().all(has).then_some(said)
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        reap(&mut self.child);
        if std::thread::panicking() {
            eprintln!("--- {}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// The ports of the shop, the proxy and the admin API, as the README writes them.
const PORTS: [&str; 3] = ["8443", "8080", "3001"];

/// Each of [`PORTS`] with the one that was free.
fn ports_in(said: &str) -> Vec<(&'static str, String)> {
    let after = |mark: &str| {
        let (_, rest) = said.split_once(mark).expect("it was waited for");
        let digits = rest.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>()
    };
    let free = [
        after("https://shop.localhost:"),
        after("listener=\"proxy\" address=127.0.0.1:"),
        after("listener=\"admin\" address=127.0.0.1:"),
    ];
    PORTS.into_iter().zip(free).collect()
}

/// Whether `text` is the `pattern`, in which `…` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, inner)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in inner {
        // The earliest place leaves most for the pieces after it.
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("README.md is in the repository")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
