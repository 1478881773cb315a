//! The promises of the limiter, one by one.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Arrival, Limiter, LimiterState, MAX_WAITING, Policy, Rate, Ticket, View};
use crate::session::settings::OnLimit;
use crate::session::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000 + millis * 1000)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rate(per_second: f64, burst: u32) -> Rate {
    let burst = NonZeroU32::new(burst).expect("a burst of a test is not zero");
    Rate::new(per_second, burst).expect("a rate of a test is in range")
}

/// One request a second, and up to three seconds of waiting.
fn one_a_second() -> Policy {
    Policy {
        rate: Some(rate(1.0, 1)),
        max_wait: 3 * SECOND,
        ..Policy::default()
    }
}

fn slots(slots: u32) -> Policy {
    Policy {
        concurrency: NonZeroU32::new(slots),
        max_wait: 3 * SECOND,
        ..Policy::default()
    }
}

fn limiter(policy: Policy) -> Limiter {
    Limiter::new(policy, &LimiterState::default(), at(0))
}

fn refused(retry_after: Duration) -> Arrival {
    Arrival::Refused { retry_after }
}

#[track_caller]
fn queue(limiter: &mut Limiter, host: &str, now: Timestamp) -> Ticket {
    match limiter.arrive(host, now) {
        Arrival::Queued { ticket, .. } => ticket,
        other => panic!("{other:?} where a place in line was due"),
    }
}

fn poll(limiter: &mut Limiter, now: Timestamp) -> (Vec<Ticket>, Vec<(Ticket, Duration)>) {
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    limiter.poll(now, &mut admitted, &mut refused);
    (admitted, refused)
}

#[test]
fn what_limits_nothing_is_open_until_a_host_asks_for_a_pause() {
    let mut limiter = limiter(Policy::default());
    assert!(limiter.is_open());
    limiter.pause("a", at(1000), at(0));
    assert!(!limiter.is_open());
    let ticket = queue(&mut limiter, "a", at(10));
    assert_eq!(limiter.arrive("b", at(10)), Arrival::Admitted);
    assert_eq!(limiter.next_wake(at(10)), Some(at(1000)));
    assert_eq!(poll(&mut limiter, at(1000)), (vec![ticket], vec![]));
    assert!(limiter.is_open());
}

#[test]
fn whoever_rejects_tells_the_time_to_wait_exactly() {
    let mut limiter = limiter(Policy {
        rate: Some(rate(0.4, 2)),
        on_limit: OnLimit::Reject,
        ..Policy::default()
    });
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(limiter.arrive("a", at(0)), refused(millis(2500)));
    assert_eq!(limiter.arrive("b", at(2499)), refused(millis(1)));
    assert_eq!(limiter.arrive("b", at(2500)), Arrival::Admitted);
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn whoever_cannot_make_it_is_refused_at_once() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    for second in 1..=3 {
        let Arrival::Queued { wake, .. } = limiter.arrive("a", at(0)) else {
            panic!("the {second}. fits");
        };
        assert_eq!(wake, at(1000 * second));
    }
    assert_eq!(limiter.arrive("b", at(0)), refused(4 * SECOND));
}

#[test]
fn somebody_leaving_makes_room_and_moves_everyone_behind_up() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let [first, second, third] = [0; 3].map(|_| queue(&mut limiter, "a", at(0)));
    assert!(limiter.leave(second));
    assert!(!limiter.leave(second));
    assert_eq!(limiter.wake(third, at(0)), at(2000));
    let fourth = queue(&mut limiter, "a", at(0));
    for (millis, ticket) in [(1000, first), (2000, third), (3000, fourth)] {
        assert_eq!(poll(&mut limiter, at(millis)), (vec![ticket], vec![]));
    }
}

#[test]
fn a_newcomer_does_not_overtake_somebody_whose_turn_has_come() {
    for policy in [one_a_second(), slots(1)] {
        let mut limiter = limiter(policy);
        assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
        let first = queue(&mut limiter, "a", at(0));
        limiter.release();
        let second = queue(&mut limiter, "b", at(1000));
        let (admitted, _) = poll(&mut limiter, at(1000));
        assert_eq!(admitted, [first]);
        assert_eq!(limiter.waiting(), 1);
        assert!(limiter.leave(second));
    }
}

#[test]
fn a_slot_is_waited_for_until_the_deadline() {
    let mut limiter = limiter(slots(2));
    for _ in 0..2 {
        assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    }
    let Arrival::Queued { ticket, wake } = limiter.arrive("b", at(0)) else {
        panic!("it may wait");
    };
    let late = queue(&mut limiter, "a", at(500));
    assert_eq!(wake, at(3000));
    limiter.release();
    assert_eq!(poll(&mut limiter, at(600)), (vec![ticket], vec![]));
    assert_eq!(limiter.next_wake(at(600)), Some(at(3500)));
    assert_eq!(poll(&mut limiter, at(3499)), (vec![], vec![]));
    // Nobody knows when a slot will be free.
    assert_eq!(poll(&mut limiter, at(3500)), (vec![], vec![(late, SECOND)]));
    assert_eq!(limiter.in_flight(), 2);
}

#[test]
fn whoever_rejects_waits_for_no_slot() {
    let mut limiter = limiter(Policy {
        on_limit: OnLimit::Reject,
        ..slots(1)
    });
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(limiter.arrive("b", at(0)), refused(SECOND));
    limiter.release();
    assert_eq!(limiter.arrive("b", at(0)), Arrival::Admitted);
}

#[test]
fn whoever_was_admitted_and_is_gone_gives_the_slot_back_but_not_the_token() {
    let mut limiter = limiter(Policy {
        rate: Some(rate(1.0, 1)),
        ..slots(1)
    });
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let ticket = queue(&mut limiter, "a", at(0));
    limiter.release();
    assert_eq!(poll(&mut limiter, at(1000)), (vec![ticket], vec![]));
    assert!(!limiter.leave(ticket));
    limiter.release();
    assert_eq!(limiter.in_flight(), 0);
    let Arrival::Queued { wake, .. } = limiter.arrive("a", at(1500)) else {
        panic!("the token of the second 1 is spent");
    };
    assert_eq!(wake, at(2000));
}

#[test]
fn no_token_is_taken_without_a_slot() {
    let mut limiter = limiter(Policy {
        rate: Some(rate(1.0, 2)),
        ..slots(1)
    });
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let waiting = queue(&mut limiter, "a", at(0));
    assert_eq!(poll(&mut limiter, at(10)), (vec![], vec![]));
    assert!(limiter.leave(waiting));
    limiter.release();
    assert_eq!(limiter.arrive("a", at(20)), Arrival::Admitted);
}

#[test]
fn a_pause_is_waited_for_or_refused_with_what_remains_of_it() {
    let mut limiter = limiter(slots(10));
    limiter.pause("long", at(5000), at(0));
    limiter.pause("short", at(2000), at(0));
    assert_eq!(limiter.arrive("long", at(500)), refused(millis(4500)));
    let Arrival::Queued { ticket, wake } = limiter.arrive("short", at(500)) else {
        panic!("the pause ends before the deadline");
    };
    assert_eq!(wake, at(2000));
    assert_eq!(limiter.arrive("other", at(500)), Arrival::Admitted);
    assert_eq!(poll(&mut limiter, at(2000)), (vec![ticket], vec![]));

    limiter.reconfigure(
        Policy {
            on_limit: OnLimit::Reject,
            ..slots(10)
        },
        at(2000),
    );
    assert_eq!(limiter.arrive("long", at(4000)), refused(SECOND));
    assert_eq!(limiter.arrive("long", at(5000)), Arrival::Admitted);
}

#[test]
fn a_pause_that_comes_later_refuses_those_who_cannot_outlast_it() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let [first, other, last] = ["a", "b", "a"].map(|host| queue(&mut limiter, host, at(0)));
    limiter.pause("a", at(2500), at(100));
    assert_eq!(limiter.next_wake(at(100)), Some(at(100)));
    // The first goes when the pause ends, the last a second later: too late.
    assert_eq!(
        poll(&mut limiter, at(100)),
        (vec![], vec![(last, millis(3400))])
    );
    assert_eq!(poll(&mut limiter, at(1000)), (vec![other], vec![]));
    assert_eq!(limiter.next_wake(at(1000)), Some(at(2500)));
    assert_eq!(poll(&mut limiter, at(2500)), (vec![first], vec![]));
}

#[test]
fn those_who_are_paused_are_in_nobodys_way() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let [paused, other] = ["a", "b"].map(|host| queue(&mut limiter, host, at(0)));
    limiter.pause("a", at(2900), at(0));
    // There will be a token after one second, and another only after the deadline.
    let slower = Policy {
        rate: Some(rate(0.4, 1)),
        ..one_a_second()
    };
    limiter.reconfigure(slower, at(0));
    assert_eq!(poll(&mut limiter, at(0)), (vec![], vec![]));
    assert_eq!(limiter.wake(other, at(0)), at(1000));
    assert_eq!(poll(&mut limiter, at(1000)), (vec![other], vec![]));
    assert_eq!(
        poll(&mut limiter, at(3000)),
        (vec![], vec![(paused, millis(500))])
    );
}

#[test]
fn a_pause_is_ignored_where_it_is_not_honoured() {
    let mut limiter = limiter(Policy {
        honor_retry_after: false,
        ..Policy::default()
    });
    limiter.pause("a", at(5000), at(0));
    assert!(limiter.is_open());
}

#[test]
fn another_policy_keeps_the_bucket_and_the_line() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let [first, second] = [0; 2].map(|_| queue(&mut limiter, "a", at(0)));

    // Slower, and less patient: the second loses its chance, the first keeps its place.
    let slower = Policy {
        rate: Some(rate(0.5, 1)),
        max_wait: 2 * SECOND,
        ..one_a_second()
    };
    limiter.reconfigure(slower, at(100));
    assert_eq!(
        poll(&mut limiter, at(100)),
        (vec![], vec![(second, millis(2900))])
    );
    assert_eq!(limiter.wake(first, at(100)), at(1000));

    limiter.reconfigure(Policy::default(), at(200));
    assert_eq!(poll(&mut limiter, at(200)), (vec![first], vec![]));
    assert!(limiter.is_open());
}

#[test]
fn a_policy_that_rejects_empties_the_line() {
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    let ticket = queue(&mut limiter, "a", at(0));
    let rejecting = Policy {
        on_limit: OnLimit::Reject,
        ..one_a_second()
    };
    limiter.reconfigure(rejecting, at(400));
    assert_eq!(
        poll(&mut limiter, at(400)),
        (vec![], vec![(ticket, millis(600))])
    );
}

#[test]
fn a_clock_set_back_takes_everything_with_it() {
    const HOUR: i64 = 3_600_000;
    let mut limiter = limiter(one_a_second());
    assert_eq!(limiter.arrive("a", at(HOUR)), Arrival::Admitted);
    let ticket = queue(&mut limiter, "a", at(HOUR));
    limiter.pause("b", at(HOUR + 2000), at(HOUR));
    assert_eq!(poll(&mut limiter, at(0)), (vec![], vec![]));
    assert_eq!(limiter.next_wake(at(0)), Some(at(1000)));
    assert_eq!(poll(&mut limiter, at(1000)), (vec![ticket], vec![]));
    let Arrival::Queued { wake, .. } = limiter.arrive("b", at(1000)) else {
        panic!("the pause has a second left");
    };
    assert_eq!(wake, at(2000));
}

#[test]
fn a_clock_set_back_lengthens_no_deadline() {
    let mut limiter = limiter(slots(1));
    assert_eq!(limiter.arrive("a", at(10_000)), Arrival::Admitted);
    let ticket = queue(&mut limiter, "a", at(10_000));
    assert_eq!(poll(&mut limiter, at(0)), (vec![], vec![]));
    assert_eq!(limiter.next_wake(at(0)), Some(at(3000)));
    assert_eq!(
        poll(&mut limiter, at(3000)),
        (vec![], vec![(ticket, SECOND)])
    );
}

#[test]
fn two_readings_of_the_clock_in_the_other_order_give_no_token() {
    let mut limiter = limiter(Policy {
        on_limit: OnLimit::Reject,
        ..one_a_second()
    });
    assert_eq!(limiter.arrive("a", at(1000)), Arrival::Admitted);
    for _ in 0..10 {
        assert_eq!(limiter.arrive("a", at(900)), refused(SECOND));
        assert_eq!(limiter.arrive("a", at(1000)), refused(SECOND));
    }
}

#[test]
fn the_line_is_bounded() {
    let mut limiter = limiter(slots(1));
    assert_eq!(limiter.arrive("a", at(0)), Arrival::Admitted);
    for _ in 0..MAX_WAITING {
        queue(&mut limiter, "a", at(0));
    }
    assert_eq!(limiter.arrive("a", at(0)), refused(SECOND));
    assert_eq!(limiter.waiting(), MAX_WAITING);
}

#[test]
fn the_view_says_how_many_may_go_and_when_the_next() {
    let view = |available, next: Option<i64>| View {
        available,
        next_allowed_at: next.map(at),
    };
    let mut open = limiter(Policy::default());
    assert_eq!(open.view(at(0)), view(None, None));
    open.pause("a", at(700), at(0));
    assert_eq!(open.view(at(0)), view(None, Some(700)));
    assert_eq!(open.view(at(700)), view(None, None));

    let mut rated = limiter(Policy {
        rate: Some(rate(1.0, 2)),
        ..one_a_second()
    });
    assert_eq!(rated.view(at(0)), view(Some(2), None));
    assert_eq!(rated.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(rated.view(at(0)), view(Some(1), None));
    assert_eq!(rated.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(rated.view(at(0)), view(Some(0), Some(1000)));
    queue(&mut rated, "a", at(0));
    assert_eq!(rated.view(at(0)), view(Some(0), Some(2000)));

    let mut by_host = limiter(Policy {
        per_host: true,
        ..one_a_second()
    });
    assert_eq!(by_host.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(by_host.view(at(0)), view(Some(0), Some(1000)));
    assert_eq!(by_host.view(at(1000)), view(Some(1), None));

    let mut slotted = limiter(slots(2));
    assert_eq!(slotted.arrive("a", at(0)), Arrival::Admitted);
    assert_eq!(slotted.view(at(0)), view(Some(1), None));
}
