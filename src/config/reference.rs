//! The reference of all options, which is `config/default.toml`.

use super::Config;
use super::schema::{Declared, Entry, Schema};

impl Config {
    /// The text of `config/default.toml`: every key with its default, its kind and what it does.
    pub fn render_default_toml() -> String {
        let mut text = PREFACE.to_owned();
        for entry in Schema::of::<Self>().entries() {
            match entry {
                Entry::Section { path, about } => {
                    text.push('\n');
                    push_comment(&mut text, about, "");
                    text.extend(["[", path, "]\n"]);
                }
                Entry::Option(declared) => push_option(&mut text, declared),
            }
        }
        text
    }
}

fn push_option(text: &mut String, option: &Declared) {
    let Declared {
        key,
        help,
        kind,
        default,
    } = option;
    let name = key.rsplit('.').next().unwrap_or(key);
    push_comment(text, help, &format!(" ({kind})"));
    text.extend([name, " = ", default, "\n"]);
}

fn push_comment(text: &mut String, lines: &[&str], tail: &str) {
    let comment = lines.iter().map(|line| line.trim());
    let comment = comment.collect::<Vec<_>>().join("\n# ");
    text.extend(["# ", &comment, tail, "\n"]);
}

const PREFACE: &str = "\
# All that can be configured, with its defaults. This file is made from the code; burdock reads it
# only where --config or BURDOCK_CONFIG names it, and a file needs only the keys that it changes.
#
# Flags take precedence over the environment, that over the file. BURDOCK_PROXY__AUTH__TOKENS=a,b
# sets tokens in [proxy.auth]. Durations have units: ms, s, m, h, d, also \"1h30m\". Sizes have units:
# B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024). A relative path is relative to the
# current directory. In a host pattern, `*` is any part of a label and, as the first label, one label
# or more.
";
