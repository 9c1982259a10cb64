//! Metrics are taken in once per process and given out as Prometheus reads them.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

#[tokio::test]
async fn the_recorder_is_shared_and_shows_the_process_too() {
    let first = telemetry::metrics::metrics_router().unwrap();
    metrics::counter!("deliveries_accepted_total").increment(3);
    metrics::histogram!("attempt_duration_seconds").record(0.02);
    let second = telemetry::metrics::metrics_router().unwrap();
    for router in [first, second] {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        for expected in [
            "deliveries_accepted_total 3",
            "attempt_duration_seconds_bucket{le=\"0.025\"} 1",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
    }
}
