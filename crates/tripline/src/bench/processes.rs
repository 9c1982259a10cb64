//! What processes cost: CPU time and memory, theirs and their children's, as Linux counts them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::failure::Failure;

/// Linux counts CPU time for programs in hundredths of a second, on every processor we build for.
const TICK: Duration = Duration::from_millis(10);

/// Memory is looked at this often: seldom enough to cost little, often enough to see a peak.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// `NAME=PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedProcess {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl FromStr for NamedProcess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map(|(name, pid)| (name, pid.parse())) {
            Some((name, Ok(pid))) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                pid,
            }),
            _ => Err("NAME=PID is needed, such as redis=4711".to_owned()),
        }
    }
}

/// What a process, and its children, cost during a run.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) name: String,
    pub(crate) cpu: Duration,
    pub(crate) memory_peak_bytes: u64,
}

/// One line of the table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Its own, and that of children that ended.
    ticks: u64,
}

/// All processes there are.
#[derive(Debug, Default)]
struct Processes(HashMap<u32, Stat>);

impl Processes {
    fn read() -> Self {
        let folders = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let stat = |folder: fs::DirEntry| {
            let pid = folder.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(folder.path().join("stat")).ok()?;
            Some((pid, Stat::parse(&text)?))
        };
        Self(folders.filter_map(stat).collect())
    }

    /// The process, its children and theirs.
    fn tree(&self, root: u32) -> Vec<u32> {
        let mut tree = vec![root];
        let mut seen = 0;
        while let Some(&parent) = tree.get(seen) {
            let children = self
                .0
                .iter()
                .filter(|(pid, stat)| stat.parent == parent && **pid != parent);
            tree.extend(children.map(|(pid, _)| *pid));
            seen += 1;
        }
        tree
    }

    /// A child's time is its parent's as soon as it ended and was waited for: nothing counts twice
    /// and nothing is forgotten.
    fn cpu(&self, root: u32) -> Option<Duration> {
        self.0.get(&root)?;
        let tree = self.tree(root);
        let ticks: u64 = tree
            .iter()
            .filter_map(|pid| self.0.get(pid))
            .map(|stat| stat.ticks)
            .sum();
        Some(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    fn memory_bytes(&self, root: u32) -> u64 {
        let read =
            |pid: u32| fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
        Memory::of_all(
            self.tree(root)
                .into_iter()
                .filter_map(|pid| Memory::parse(&read(pid).ok()?)),
        )
    }
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name, in parentheses, may itself have spaces and parentheses.
        let (_, fields) = text.rsplit_once(')')?;
        let field = |number: usize| {
            fields
                .split_ascii_whitespace()
                .nth(number)?
                .parse::<u64>()
                .ok()
        };
        // As proc(5) counts them, from the third field on: ppid, utime, stime, cutime, cstime.
        let ticks = [11, 12, 13, 14].map(field);
        Some(Self {
            parent: u32::try_from(field(1)?).ok()?,
            ticks: ticks.into_iter().sum::<Option<u64>>()?,
        })
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Memory {
    private_bytes: u64,
    shared_bytes: u64,
}

impl Memory {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kibibytes * 1024)
        };
        Some(Self {
            private_bytes: field("RssAnon:")?,
            shared_bytes: field("RssFile:")? + field("RssShmem:")?,
        })
    }

    /// What processes of one program share is there once: code, and PostgreSQL's buffers.
    fn of_all(processes: impl Iterator<Item = Self>) -> u64 {
        let all = processes.fold(Self::default(), |sum, process| Self {
            private_bytes: sum.private_bytes + process.private_bytes,
            shared_bytes: sum.shared_bytes.max(process.shared_bytes),
        });
        all.private_bytes + all.shared_bytes
    }
}

/// Measures processes from its start to its end.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Vec<NamedProcess>,
    before: Vec<Duration>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Vec<u64>>>,
}

impl Meter {
    pub(crate) fn start(processes: &[NamedProcess]) -> Result<Self, Failure> {
        let before = cpu_of(processes)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (watched, told) = (processes.to_vec(), Arc::clone(&stop));
        // A thread, so that reading /proc delays no event that is due.
        let watcher = thread::Builder::new()
            .name("meter".to_owned())
            .spawn(move || watch_memory(&watched, &told))
            .map_err(|error| Failure::local(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            processes: processes.to_vec(),
            before,
            stop,
            watcher: Some(watcher),
        })
    }

    /// CPU time of all processes since the start.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let now = cpu_of(&self.processes)?.into_iter().sum::<Duration>();
        Ok(now.saturating_sub(self.before.iter().sum()))
    }

    pub(crate) fn finish(mut self) -> Result<Vec<Spent>, Failure> {
        let after = cpu_of(&self.processes)?;
        let peaks = self.stop().unwrap_or_default();
        let spent = self
            .processes
            .iter()
            .zip(&self.before)
            .zip(after)
            .zip(peaks);
        let spent = spent.map(|(((process, before), after), memory_peak_bytes)| Spent {
            name: process.name.clone(),
            cpu: after.saturating_sub(*before),
            memory_peak_bytes,
        });
        Ok(spent.collect())
    }

    fn stop(&mut self) -> Option<Vec<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        let watcher = self.watcher.take()?;
        watcher.thread().unpark();
        watcher.join().ok()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// Refuses processes that are not there.
pub(crate) fn check(processes: &[NamedProcess]) -> Result<(), Failure> {
    cpu_of(processes).map(drop)
}

fn cpu_of(processes: &[NamedProcess]) -> Result<Vec<Duration>, Failure> {
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    let all = Processes::read();
    let cpu = |process: &NamedProcess| {
        let gone = || {
            Failure::local(format!(
                "there is no process {} ({})",
                process.pid, process.name
            ))
        };
        all.cpu(process.pid).ok_or_else(gone)
    };
    processes.iter().map(cpu).collect()
}

fn watch_memory(processes: &[NamedProcess], stop: &AtomicBool) -> Vec<u64> {
    let mut peaks = vec![0; processes.len()];
    loop {
        if !processes.is_empty() {
            let all = Processes::read();
            for (peak, process) in peaks.iter_mut().zip(processes) {
                *peak = all.memory_bytes(process.pid).max(*peak);
            }
        }
        if stop.load(Ordering::Relaxed) {
            return peaks;
        }
        thread::park_timeout(MEMORY_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let text =
            "4711 (a (very) odd) name) S 42 4711 4711 0 -1 4194560 10 20 0 0 7 5 3 2 20 0 9 0";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                parent: 42,
                ticks: 17
            })
        );
        assert_eq!(Stat::parse("4711 (short) S 42 1 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn children_count_and_strangers_do_not() {
        let stat = |parent, ticks| Stat { parent, ticks };
        let processes = Processes(HashMap::from([
            (10, stat(1, 100)),
            (11, stat(10, 20)),
            (12, stat(11, 3)),
            (20, stat(1, 1_000)),
            (21, stat(20, 1_000)),
        ]));
        assert_eq!(processes.cpu(10), Some(Duration::from_millis(1_230)));
        assert_eq!(processes.cpu(12), Some(Duration::from_millis(30)));
        assert_eq!(processes.cpu(99), None);
    }

    #[test]
    fn shared_memory_is_there_once() {
        let process = |private: u64, shared: u64| {
            let text = format!(
                "Name:\tpostgres\nVmHWM:\t  999 kB\nRssAnon:\t  {private} kB\nRssFile:\t  {shared} kB\nRssShmem:\t 100 kB\n"
            );
            Memory::parse(&text).unwrap()
        };
        let all = [process(10, 50), process(20, 60), process(5, 0)];
        assert_eq!(Memory::of_all(all.into_iter()), (10 + 20 + 5 + 160) * 1024);
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let own = NamedProcess {
            name: "own".to_owned(),
            pid: std::process::id(),
        };
        let meter = Meter::start(std::slice::from_ref(&own)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut sum = 0_u64;
        while meter.cpu().unwrap() < Duration::from_millis(50) {
            assert!(Instant::now() < deadline, "no CPU time was counted");
            sum = (0..1_000_000).fold(sum, |sum: u64, number| sum.wrapping_mul(31) ^ number);
        }
        let spent = meter.finish().unwrap().remove(0);
        assert_eq!(spent.name, "own");
        assert!(spent.cpu >= Duration::from_millis(50), "{spent:?} {sum}");
        assert!(spent.memory_peak_bytes > 1024 * 1024, "{spent:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        // Beyond the largest number Linux gives out.
        let gone = NamedProcess {
            name: "redis".to_owned(),
            pid: 4_200_000,
        };
        let failure = Meter::start(&[gone]).unwrap_err();
        assert_eq!(failure.message, "there is no process 4200000 (redis)");
    }

    #[test]
    fn names_and_numbers_are_told_apart() {
        let redis = NamedProcess {
            name: "redis".to_owned(),
            pid: 4711,
        };
        assert_eq!("redis=4711".parse(), Ok(redis));
        for wrong in ["redis", "=4711", "redis=", "redis=x", "redis=-1"] {
            assert!(wrong.parse::<NamedProcess>().is_err(), "{wrong}");
        }
    }
}
