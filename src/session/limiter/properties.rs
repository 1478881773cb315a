//! What holds of every history of a limiter.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::simulation::{Event, HOSTS, Simulation, float};
use super::{Arrival, Limiter, LimiterState, Policy, Rate};
use crate::session::settings::OnLimit;
use crate::session::time::Timestamp;

fn micros(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_micros)
}

fn rate() -> impl Strategy<Value = Rate> {
    let burst = (1..6_u32).prop_map(|burst| NonZeroU32::new(burst).expect("one or more"));
    (-0.5..3.5_f64, burst)
        .prop_map(|(exponent, burst)| Rate::new(10_f64.powf(exponent), burst).expect("in range"))
}

fn policy() -> impl Strategy<Value = Policy> {
    let concurrency =
        prop::option::of((1..4_u32).prop_map(|n| NonZeroU32::new(n).expect("one or more")));
    let on_limit = prop_oneof![4 => Just(OnLimit::Wait), 1 => Just(OnLimit::Reject)];
    (
        prop::option::weighted(0.8, rate()),
        any::<bool>(),
        concurrency,
        on_limit,
        micros(0..6_000_000),
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |(rate, per_host, concurrency, on_limit, max_wait, honor_retry_after)| Policy {
                rate,
                per_host,
                concurrency,
                on_limit,
                max_wait,
                honor_retry_after,
            },
        )
}

fn arrival() -> impl Strategy<Value = Event> {
    (0..HOSTS.len(), micros(0..300_000)).prop_map(|(host, takes)| Event::Arrive { host, takes })
}

fn pause() -> impl Strategy<Value = Event> {
    (0..HOSTS.len(), micros(0..5_000_000)).prop_map(|(host, lasts)| Event::Pause { host, lasts })
}

fn departure() -> impl Strategy<Value = Event> {
    any::<prop::sample::Index>().prop_map(|place| Event::Leave { place })
}

fn events(event: impl Strategy<Value = Event>) -> impl Strategy<Value = Vec<(Duration, Event)>> {
    let gap = prop_oneof![
        3 => Just(Duration::ZERO),
        2 => micros(0..2_000),
        3 => micros(0..200_000),
        1 => micros(0..4_000_000),
    ];
    prop::collection::vec((gap, event), 1..120)
}

fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => arrival(),
        3 => departure(),
        1 => pause(),
        2 => Just(Event::Move),
    ]
}

/// A limiter whose waiters have all the time in the world.
fn crowded(rate: Rate, lateness: Duration) -> Simulation {
    let mut simulation = Simulation::new(Policy {
        rate: Some(rate),
        max_wait: Duration::from_secs(1_000_000),
        ..Policy::default()
    });
    simulation.lateness = lateness;
    simulation
}

/// So many requests at the same moment.
fn crowd_of(crowd: usize) -> Vec<(Duration, Event)> {
    let takes = Duration::ZERO;
    vec![(takes, Event::Arrive { host: 0, takes }); crowd]
}

proptest! {
    #[test]
    fn rate_order_deadlines_and_pauses_hold_whatever_happens(
        policy in policy(),
        lateness in prop_oneof![Just(Duration::ZERO), micros(0..2_000), micros(0..50_000)],
        events in events(anything()),
    ) {
        let mut simulation = Simulation::new(policy);
        simulation.lateness = lateness;
        let history = simulation.run(&events);
        history.check_rate(1.0);
        history.check_order();
        history.check_waits();
    }

    #[test]
    fn where_nobody_waits_rounding_gives_nothing_away(policy in policy(), events in events(anything())) {
        let policy = Policy { on_limit: OnLimit::Reject, ..policy };
        Simulation::new(policy).run(&events).check_rate(0.0);
    }

    #[test]
    fn a_limiter_that_was_stored_and_read_back_goes_on_as_if_it_had_not_been(
        policy in policy(),
        events in events(prop_oneof![3 => arrival(), 1 => pause(), 3 => Just(Event::Move)]),
    ) {
        let moved = Simulation::new(policy).run(&events);
        let mut stay = Duration::ZERO;
        let mut uninterrupted = Vec::new();
        for (after, event) in events {
            stay += after;
            if !matches!(event, Event::Move) {
                uninterrupted.push((std::mem::take(&mut stay), event));
            }
        }
        prop_assert_eq!(moved.ends(), Simulation::new(policy).run(&uninterrupted).ends());
    }

    #[test]
    fn what_is_promised_at_arrival_comes_true(policy in policy(), events in events(arrival())) {
        let policy = Policy { concurrency: None, ..policy };
        for request in Simulation::new(policy).run(&events).requests {
            if let Some(at) = request.admitted() {
                prop_assert_eq!(at, request.wake);
            } else {
                prop_assert_eq!(request.ended(), request.arrived, "refused at once or not at all");
            }
        }
    }

    #[test]
    fn somebody_leaving_never_delays_another(policy in policy(), events in events(prop_oneof![4 => arrival(), 1 => departure()])) {
        let policy = Policy { concurrency: None, ..policy };
        for request in Simulation::new(policy).run(&events).requests {
            prop_assert!(request.ended() <= request.wake, "{:?}", request);
        }
    }

    #[test]
    fn hosts_with_their_own_rate_know_nothing_of_each_other(
        policy in policy(),
        events in events(prop_oneof![6 => arrival(), 1 => pause()]),
    ) {
        let policy = Policy { per_host: true, concurrency: None, ..policy };
        let together = Simulation::new(policy).run(&events);
        for (number, name) in HOSTS.iter().enumerate() {
            let (mut gap, mut own) = (Duration::ZERO, Vec::new());
            for (after, event) in &events {
                gap += *after;
                if matches!(event, Event::Arrive { host, .. } | Event::Pause { host, .. } if *host == number) {
                    own.push((std::mem::take(&mut gap), event.clone()));
                }
            }
            let alone = Simulation::new(policy).run(&own).ends();
            let among_others = together.requests.iter().filter(|request| request.host == *name);
            prop_assert_eq!(alone, among_others.map(|request| request.end).collect::<Vec<_>>());
        }
    }

    #[test]
    fn while_somebody_waits_the_rate_is_used(rate in rate(), lateness in micros(0..5_000), crowd in 1..200_usize) {
        // What is later than one interval cannot be made up for; moments are rounded to microseconds.
        let interval = Duration::from_secs_f64(1.0 / rate.per_second());
        let lateness = lateness.min(interval.saturating_sub(Duration::from_micros(1)));
        let start = crowded(rate, lateness).now;
        let history = crowded(rate, lateness).run(&crowd_of(crowd));
        for (before, request) in history.requests.iter().enumerate() {
            let at = request.admitted().expect("there is time enough for all");
            let due = rate.per_second() * at.since(start).as_secs_f64() - 1.0;
            prop_assert!(float(before) >= due - 0.01, "{before} where {due} were due");
        }
    }

    #[test]
    fn late_timers_never_let_more_than_one_through_beyond_the_rate(
        rate in rate(),
        lateness in micros(0..20_000),
        crowd in 1..100_usize,
    ) {
        crowded(rate, lateness).run(&crowd_of(crowd)).check_rate(1.0);
    }

    #[test]
    fn no_time_whatever_makes_it_panic(
        policy in policy(),
        calls in prop::collection::vec((0..6_u8, 0..3_usize, any::<i64>()), 0..60),
    ) {
        let mut limiter = Limiter::new(policy, &LimiterState::default(), Timestamp::MAX);
        let mut named = HashSet::new();
        for (call, host, micros) in calls {
            let now = Timestamp::from_micros(micros);
            let (mut admitted, mut refused) = (Vec::new(), Vec::new());
            match call {
                0 | 1 => {
                    if let Arrival::Queued { ticket, .. } = limiter.arrive(HOSTS[host], now) {
                        let _ = limiter.wake(ticket, now);
                    }
                }
                2 => limiter.pause(HOSTS[host], Timestamp::from_micros(micros / 2), now),
                3 => limiter = Limiter::new(policy, &limiter.snapshot(now), now),
                4 => limiter.reconfigure(Policy { per_host: !policy.per_host, ..policy }, now),
                _ => limiter.poll(now, &mut admitted, &mut refused),
            }
            let _ = (limiter.view(now), limiter.next_wake(now));
            for ticket in admitted.into_iter().chain(refused.into_iter().map(|(ticket, _)| ticket)) {
                prop_assert!(named.insert(ticket) || call == 3);
            }
            if call == 3 {
                named.clear();
            }
        }
    }
}
