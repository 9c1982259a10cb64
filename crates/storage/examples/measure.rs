#![allow(warnings, clippy::all)]
use std::time::{Duration, Instant};
use std::collections::BTreeMap;
use domain::{*, record::*, event::*, event_type::*, id::*, delivery::*};
fn cpu_of(pred: impl Fn(&str)->bool) -> f64 {
    let mut t = 0.0;
    for e in std::fs::read_dir("/proc").unwrap().flatten() {
        let p = e.path();
        let Ok(s) = std::fs::read_to_string(p.join("stat")) else { continue };
        let cmd = std::fs::read_to_string(p.join("cmdline")).unwrap_or_default();
        if !pred(&cmd) { continue }
        let rest = s.rsplit(')').next().unwrap();
        let f: Vec<&str> = rest.split_whitespace().collect();
        t += (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap() + f[13].parse::<f64>().unwrap() + f[14].parse::<f64>().unwrap()) / 100.0;
    }
    t
}
fn me() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<String> = s.rsplit(')').next().unwrap().split_whitespace().map(String::from).collect(); (f[11].parse::<f64>().unwrap()+f[12].parse::<f64>().unwrap())/100.0 }
fn pg() -> f64 { cpu_of(|c| c.contains("postgres") && (c.contains("28413") || c.contains("tripline_measure") || c.contains("storage-pg") || c.contains("measure"))) }
fn records(base: i64, n: i64) -> Vec<Record> {
    let mut v = vec![];
    for i in 0..n {
        let at = Timestamp::from_millisecond(base + i/5).unwrap();
        let mut r = [0u8;10]; r[..8].copy_from_slice(&(base+i).to_be_bytes()); r[8]=(i%251) as u8;
        let eid = EventId::new(at, r);
        let e = Event{eid, project:"acme".parse().unwrap(), id: eid.to_string(), source:"/projects/acme".into(), event_type: EventType::parse("order.created").unwrap(), subject: Some(format!("orders/{i}")), time: at, accepted_at: at, data_content_type: Some("application/json".into()), data: vec![b'x';300].into(), actor:None, partition_key:None, correlation_id:None, causation_id:None, depth:0, traceparent:None, extensions: BTreeMap::new()};
        let d = DeliveryId::derive(eid, "one");
        v.push(Record::Matched(Matched{event:e, targets: vec![Target{delivery:d, trigger:"one".parse().unwrap(), function:"welcome".parse().unwrap(), captures: Default::default(), next_attempt:1, generation:0, revision:1}]}));
        v.push(Record::Attempted(Box::new(Attempted{project:"acme".parse().unwrap(), event:eid, delivery:d, trigger:"one".parse().unwrap(), function:"welcome".parse().unwrap(), number:1, generation:0, started_at:at, duration:Duration::from_millis(3), url:"https://example.com/hook".into(), response_status:Some(200), error_class:None, error:None, request_headers: vec![("content-type".into(),"application/json".into()),("webhook-id".into(),"x".repeat(30))], request_bytes:300, response_headers: vec![("content-type".into(),"text/plain".into())], response_body: "ok".into(), is_response_truncated:false, worker:"w1".into(), traceparent:Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()), status: Status::Processed, remark:None, next_attempt_at:None})));
    }
    v
}
#[tokio::main]
async fn main() {
    let now = Timestamp::now().as_millisecond() - 3_600_000;
    let n = 200i64; let batches: i64 = std::env::var("B").unwrap().parse().unwrap();
    // postgres
    let url = std::env::var("MEASURE_URL").unwrap();
    let p = storage::postgres::connect(&storage::Config::at(url.parse().unwrap())).unwrap();
    p.migrate().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let s = storage::sqlite::open(dir.path()).await.unwrap();
    for (name, logs) in [("postgres", p.logs()), ("sqlite", s.logs())] {
        logs.keep_partitions(Timestamp::now(), Duration::from_hours(168)).await.unwrap();
        logs.record(&records(now-1000, 10)).await.unwrap();
        let all: Vec<_> = (0..batches).map(|b| records(now + b*1000, n/2)).collect();
        let (c0, p0, t) = (me(), pg(), Instant::now());
        for b in &all { logs.record(b).await.unwrap(); }
        let rows = (batches * n / 2 * 3) as f64;
        println!("{name}: {:.1} us wall/row, own cpu {:.1} us/row, pg cpu {:.1} us/row", t.elapsed().as_micros() as f64/rows, (me()-c0)*1e6/rows, (pg()-p0)*1e6/rows);
        for _ in 0..3 { let t = Instant::now(); logs.deliveries(&"acme".parse().unwrap(), &Default::default(), None, 100).await.unwrap(); println!("list {:?}", t.elapsed()); }
        let t = Instant::now();
        let f = storage::log_store::DeliveryFilter::default();
        let l = logs.deliveries(&"acme".parse().unwrap(), &f, None, 100).await.unwrap();
        println!("{name}: list 100 took {:?} ({})", t.elapsed(), l.len());
        let t = Instant::now();
        let f = storage::log_store::DeliveryFilter{statuses: vec![Status::Failed], ..Default::default()};
        let l = logs.deliveries(&"acme".parse().unwrap(), &f, None, 100).await.unwrap();
        println!("{name}: list failed took {:?} ({})", t.elapsed(), l.len());
    }
    let tasks = lifecycle::Tasks::default();
    let q = s.queue(Default::default(), &tasks).await.unwrap();
    let body = bytes::Bytes::from(vec![7u8; 600]);
    let (c0, t) = (me(), Instant::now());
    let n = 100; let rounds = 200;
    for _ in 0..rounds {
        let mut d = vec![];
        for _ in 0..n { d.push(q.enqueue("events.v1.0", bytes::Bytes::new(), body.clone()).await.unwrap()); }
        let mut ps = vec![]; for x in d { ps.push(x.await.unwrap()); }
        let l = q.load("events.v1.0", None, 1).await.unwrap();
        for p in ps { q.handed(p); q.ack(p); }
    }
    let m = (n*rounds) as f64;
    println!("queue: {:.1} us wall/message, cpu {:.1} us/message", t.elapsed().as_micros() as f64/m, (me()-c0)*1e6/m);
}
