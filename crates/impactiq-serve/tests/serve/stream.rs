//! What a scorer of events tells, through the server's own door.

use impactiq_serve::StreamPages;
use impactiq_stream::StreamConfig;
use impactiq_stream::service::{self, Service};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::client::get;
use crate::house::House;

#[tokio::test]
async fn a_stream_is_passed_on_word_for_word_and_one_that_is_away_is_said() {
    let house = House::new();
    let (model, log) = (house.path("one"), house.path("stream.sqlite"));
    let text = format!(
        "model: {}\nlog: {}\nkafka:\n  brokers: 127.0.0.1:1\n  group: g\n  events: e\n  dead_letters: d\n",
        model.display(),
        log.display()
    );
    let config = StreamConfig::from_yaml(&text, "stream.yaml").unwrap();
    let handle = Handle::current();
    let opening =
        tokio::task::spawn_blocking(move || Service::open(&config, &handle, &service::stop(&config)).unwrap());
    let service = opening.await.unwrap();
    let pages = StreamPages::start("127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let address = pages.url().strip_prefix("http://").unwrap().parse().unwrap();

    let running = house.serve_with(|settings| settings.stream = Some(address)).await;
    let at = running.address();
    assert_eq!(get(at, "/v1/server").await.good().json()["stream"], true);
    let mut passed_on = get(at, "/v1/stream").await.good().json();
    let mut told = get(address, "/v1/stream").await.good().json();
    for report in [&mut passed_on, &mut told] {
        assert!(report["uptime_seconds"].take().as_f64().unwrap() >= 0.0);
    }
    assert_eq!(passed_on, told);
    assert_eq!(passed_on["model"]["id"], house.scorer("one").manifest().id);

    drop(pages);
    let away = get(at, "/v1/stream").await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "stream_away"));
    assert!(away.text().contains(&address.to_string()), "{}", away.text());
    running.stop().await;
}

#[tokio::test]
async fn whatever_else_listens_there_is_not_shown_as_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
        }
    });
    let house = House::new();
    let running = house.serve_with(|settings| settings.stream = Some(address)).await;
    assert_eq!(get(running.address(), "/v1/stream").await.code(), "stream_away");
    running.stop().await;

    let alone = house.serve().await;
    assert_eq!(get(alone.address(), "/v1/server").await.good().json()["stream"], false);
    let answer = get(alone.address(), "/v1/stream").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "no_stream"));
    alone.stop().await;
}
