//! The numbers as a table in Markdown.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::bare::Rate;
use crate::client::Outcome;
use crate::process::Usage;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Cell {
    operation: String,
    in_flight: usize,
    /// Requests a second.
    pub per_second: f64,
    p50: Duration,
    /// 99 of 100 requests took no longer.
    pub p99: Duration,
    /// Processor time of the server for a request, µs.
    pub cpu_micros: f64,
    usage: Usage,
}

/// The same requests twice: alone, and while RSA-4096 keys are made without pause.
pub struct Beside {
    /// Alone.
    pub quiet: Cell,
    /// Meanwhile.
    pub busy: Cell,
    /// KMS keys made meanwhile.
    pub keys: usize,
    /// Data key pairs made meanwhile.
    pub pairs: usize,
}

/// All measurements of a run.
pub struct Report {
    /// At the time when each program began to serve.
    pub starts: Vec<Usage>,
    /// The bare loop of each operation, before and after.
    pub bare: Vec<(String, [Rate; 2])>,
    /// What RSA keys in the making do to the others.
    pub beside: Vec<Beside>,
    machine: String,
    programs: Vec<PathBuf>,
    cells: Vec<(usize, Cell)>,
}

impl Cell {
    /// From what happened.
    pub fn new(operation: &str, in_flight: usize, outcome: Outcome) -> Self {
        let Outcome { latencies, elapsed, cpu, usage } = outcome;
        assert!(!latencies.is_empty(), "no request ended in the time measured");
        let count = latencies.len() as f64;
        Cell {
            operation: operation.to_owned(),
            in_flight,
            per_second: count / elapsed.as_secs_f64(),
            p50: latencies[latencies.len() / 2],
            p99: latencies[latencies.len() * 99 / 100],
            cpu_micros: cpu.as_secs_f64() * 1e6 / count,
            usage,
        }
    }
}

impl Report {
    /// An empty one.
    pub fn new(machine: String, programs: Vec<PathBuf>) -> Self {
        Report { starts: Vec::new(), bare: Vec::new(), beside: Vec::new(), machine, programs, cells: Vec::new() }
    }

    /// Adds a measurement of one of the programs.
    pub fn add(&mut self, program: usize, cell: Cell) {
        self.cells.push((program, cell));
    }

    /// The measurement with the middle cost of each operation and number in flight.
    fn middles(&self, program: usize) -> Vec<&Cell> {
        let mut groups: Vec<Vec<&Cell>> = Vec::new();
        for (_, cell) in self.cells.iter().filter(|(index, _)| *index == program) {
            let same = |group: &&mut Vec<&Cell>| group.first().is_some_and(|first| same_kind(first, cell));
            match groups.iter_mut().find(same) {
                Some(group) => group.push(cell),
                None => groups.push(vec![cell]),
            }
        }
        groups.into_iter().map(middle).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Machine: {}.\n", self.machine)?;
        writeln!(f, "{BARE_HEADINGS}")?;
        for (operation, [before, after]) in &self.bare {
            let copy = match (before.session_copy, after.session_copy) {
                (Some(before), Some(after)) => format!("{before:.0}, {after:.0}"),
                _ => "–".to_owned(),
            };
            writeln!(f, "| {operation} | {:.0}, {:.0} | {copy} |", before.token_key, after.token_key)?;
        }
        for (index, (program, start)) in self.programs.iter().zip(&self.starts).enumerate() {
            writeln!(
                f,
                "\n`{}` began to serve after {:.2} s, {:.2} s of processor time, with {} MiB resident and {} threads.\n",
                program.file_name().unwrap_or_default().to_string_lossy(),
                start.time.as_secs_f64(),
                start.cpu.as_secs_f64(),
                start.resident_kib / 1024,
                start.threads
            )?;
            writeln!(f, "{HEADINGS}")?;
            for cell in self.middles(index) {
                let Cell { operation, in_flight, per_second, p50, p99, cpu_micros, usage } = cell;
                let bare = self.bare_of(operation);
                let copy_share = bare.session_copy.map_or("–".into(), |copy| format!("{:.3}", per_second / copy));
                writeln!(
                    f,
                    "| {operation} | {in_flight} | {per_second:.0} | {:.2} | {:.2} | {cpu_micros:.0} | {} | \
                     {:.3} | {copy_share} |",
                    p50.as_secs_f64() * 1e3,
                    p99.as_secs_f64() * 1e3,
                    usage.resident_kib / 1024,
                    per_second / bare.token_key
                )?;
            }
        }
        self.tell_beside(f)?;
        if let [_, _] = self.programs[..] { self.compare(f) } else { Ok(()) }
    }
}

impl Report {
    /// The bare loop of an operation, of both times.
    fn bare_of(&self, operation: &str) -> Rate {
        let [before, after] = self.bare.iter().find(|(name, _)| name == operation).expect("a bare loop").1;
        let copies = before.session_copy.zip(after.session_copy);
        Rate {
            token_key: (before.token_key + after.token_key) / 2.0,
            session_copy: copies.map(|(before, after)| (before + after) / 2.0),
        }
    }

    fn tell_beside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.beside.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{BESIDE_HEADINGS}")?;
        for Beside { quiet, busy, keys, pairs } in &self.beside {
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            writeln!(
                f,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {keys} | {pairs} |",
                quiet.operation,
                quiet.in_flight,
                millis(quiet.p50),
                millis(busy.p50),
                millis(quiet.p99),
                millis(busy.p99),
                busy.p99.as_secs_f64() / quiet.p99.as_secs_f64()
            )?;
        }
        Ok(())
    }

    fn compare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| operation | in flight | CPU, second ÷ first | requests/s, second ÷ first |\n|---|---|---|---|"
        )?;
        for (first, second) in self.middles(0).into_iter().zip(self.middles(1)) {
            let cpu = second.cpu_micros / first.cpu_micros;
            let rate = second.per_second / first.per_second;
            writeln!(f, "| {} | {} | {cpu:.3} | {rate:.3} |", first.operation, first.in_flight)?;
        }
        Ok(())
    }
}

fn middle(mut group: Vec<&Cell>) -> &Cell {
    group.sort_by(|one, other| one.cpu_micros.total_cmp(&other.cpu_micros));
    group.swap_remove(group.len() / 2)
}

fn same_kind(one: &Cell, other: &Cell) -> bool {
    one.operation == other.operation && one.in_flight == other.in_flight
}

const HEADINGS: &str = "| operation | in flight | requests/s | p50 ms | p99 ms | server CPU µs/request | RSS MiB | \
                        ÷ bare, token key | ÷ bare, session copy |\n|---|---|---|---|---|---|---|---|---|";
const BARE_HEADINGS: &str = "| bare loop, one thread | a second under a token key, before and after | under a session \
                             copy |\n|---|---|---|";
const BESIDE_HEADINGS: &str = "| while RSA-4096 keys are made | in flight | p50 ms, quiet | p50 ms, meanwhile | p99 \
                               ms, quiet | p99 ms, meanwhile | p99 ÷ quiet | `CreateKey` done | `GenerateDataKeyPair` \
                               done |\n|---|---|---|---|---|---|---|---|---|";
