//! What the kernel says: CPU time of processes and of cores, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Linux reports to user space in these, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of user and system time that all threads of a process have had, ended ones included.
pub fn process(id: u32) -> Result<f64> {
    let file = format!("/proc/{id}/stat");
    let line = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    // The command name before it may hold spaces and parentheses.
    let (_, rest) = line
        .rsplit_once(')')
        .with_context(|| format!("no command name in {file}"))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64> {
        Ok(fields
            .get(field)
            .with_context(|| format!("{file} is short"))?
            .parse()?)
    };
    // utime and stime are the 14th and 15th of the line; the state is the 3rd.
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

/// Seconds that each core has been busy since boot, by number, whoever kept it so (the hypervisor included).
pub fn cores() -> Result<Vec<f64>> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    stat.lines()
        .filter_map(|line| line.strip_prefix("cpu"))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| {
            let ticks = line
                .split_whitespace()
                .skip(1)
                .map(str::parse)
                .collect::<Result<Vec<f64>, _>>()?;
            let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
                anyhow::bail!("/proc/stat is short");
            };
            Ok((user + nice + system + irq + softirq + steal) / TICKS_A_SECOND)
        })
        .collect()
}
