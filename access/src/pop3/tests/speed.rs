use super::*;

fn many(n: usize) -> World {
    let texts: Vec<String> = (0..n).map(|i| format!("Subject: {i}\r\n\r\nbody {i}\r\n")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world(&texts)
}

fn answer(n: usize) -> String {
    let message = format!("Subject: {}\r\n\r\nbody {}\r\n", n - 1, n - 1);
    format!("+OK {} octets\r\n{message}.\r\n", message.len())
}

/// Pipelined, messages are read a page at a time.
#[tokio::test(start_paused = true)]
async fn pipelined_retr_reads_pages() {
    let w = many(1000);
    let mut c = w.inside().await;
    let commands: String = (1..=1000).map(|n| format!("RETR {n}\r\nDELE {n}\r\n")).collect();
    c.send(&commands).await;
    c.send("QUIT\r\n").await;
    let wanted: String = (1..=1000).map(|n| answer(n) + "+OK Marked to be deleted\r\n").collect();
    assert_eq!(c.rest().await, wanted + "+OK Bye, 1000 messages deleted\r\n");
    assert!(w.boxes.reads.load(Ordering::Relaxed) < 40);
}

/// One after another, some are read ahead.
#[tokio::test(start_paused = true)]
async fn retr_in_order_reads_ahead() {
    let w = many(100);
    let mut c = w.inside().await;
    for n in 1..=100 {
        let body = n - 1;
        c.talk(&format!("C: RETR {n}\nS: +OK …\nS: Subject: {body}\nS: \nS: body {body}\nS: .")).await;
    }
    assert!(w.boxes.reads.load(Ordering::Relaxed) <= 9);
}

/// Any order is right, however it is read.
#[tokio::test(start_paused = true)]
async fn retr_in_any_order() {
    let w = many(50);
    let mut c = w.inside().await;
    let order = (0..200).map(|i| i * 37 % 50 + 1);
    let commands: String = order.clone().map(|n| format!("RETR {n}\r\n")).collect();
    c.send(&commands).await;
    c.send("QUIT\r\n").await;
    let wanted: String = order.map(answer).collect();
    assert_eq!(c.rest().await, wanted + "+OK Bye\r\n");
}
