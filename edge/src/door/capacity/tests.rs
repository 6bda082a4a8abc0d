//! Who gets a place, who makes room, and what is given back.

use std::time::Duration;

use super::*;

fn house(connections: usize, of_one_share: usize) -> Arc<Capacity> {
    Capacity::new(Bounds { connections, of_one_share, bytes: usize::MAX })
}

/// What each of several addresses asks for, in a house without places for so much.
fn take(capacity: &Arc<Capacity>, share: Option<u64>) -> Result<Arc<Place>, Full> {
    capacity.take([127, 0, 0, 1].into(), share).map(Arc::new)
}

fn must_go(place: &Arc<Place>) -> bool {
    lock(&place.shared.state).must_go
}

#[test]
fn an_address_has_no_more_than_its_share_and_gets_it_back() {
    let capacity = house(10, 2);
    let first = take(&capacity, Some(1)).expect("a place");
    let _second = take(&capacity, Some(1)).expect("a place");
    assert_eq!(take(&capacity, Some(1)).err(), Some(Full::Address));
    assert!(take(&capacity, Some(2)).is_ok());
    drop(first);
    assert!(take(&capacity, Some(1)).is_ok());
    assert_eq!((capacity.len(), capacity.taken_bytes()), (1, CONNECTION_BYTES));
    assert_eq!(lock(&capacity.taken).by_share.len(), 1);
}

#[test]
fn an_address_without_a_share_has_only_the_bound_of_all() {
    let capacity = house(5, 2);
    let places: Vec<_> = (0..5).map(|_| take(&capacity, None).expect("a place")).collect();
    let _work: Vec<_> =
        places.iter().map(|place| place.begin_request(REQUEST_BYTES).expect("work")).collect();
    assert_eq!(take(&capacity, None).err(), Some(Full::Everywhere));
}

#[test]
fn who_has_waited_longest_makes_room_and_who_works_stays() {
    let capacity = house(3, 3);
    let [works, waits, waits_less] = [1, 2, 3].map(|address| {
        std::thread::sleep(Duration::from_millis(2));
        take(&capacity, Some(address)).expect("a place")
    });
    let _work = works.begin_request(REQUEST_BYTES).expect("work");
    let newcomer = take(&capacity, Some(4)).expect("a place");
    assert!(must_go(&waits) && !must_go(&works) && !must_go(&waits_less) && !must_go(&newcomer));
    assert_eq!(waits.begin_request(REQUEST_BYTES).err(), Some(Full::GivenAway));
    // While that one is going, its place is the newcomer's: the next one needs another.
    let another = take(&capacity, Some(5)).expect("a place");
    assert!(must_go(&waits_less) && !must_go(&another));
}

#[test]
fn a_house_full_of_work_turns_away() {
    let capacity = house(2, 2);
    let places = [1, 2].map(|address| take(&capacity, Some(address)).expect("a place"));
    let mut work: Vec<_> =
        places.iter().map(|place| place.begin_request(REQUEST_BYTES).expect("work")).collect();
    assert_eq!(take(&capacity, Some(3)).err(), Some(Full::Everywhere));
    work.pop();
    std::thread::sleep(NOBODY);
    assert!(take(&capacity, Some(3)).is_ok());
}

#[test]
fn requests_take_the_room_of_those_who_wait_and_then_of_who_asks_for_most() {
    let bytes = 3 * CONNECTION_BYTES + 32 * REQUEST_BYTES;
    let capacity = Capacity::new(Bounds { connections: 100, of_one_share: 100, bytes });
    let [greedy, modest, waits] = [1, 2, 3].map(|address| take(&capacity, Some(address)).expect("a place"));
    let work: Vec<_> = (0..20).map(|_| greedy.begin_request(REQUEST_BYTES).expect("work")).collect();
    let _modest: Vec<_> = (0..12).map(|_| modest.begin_request(REQUEST_BYTES).expect("work")).collect();
    assert!(![&greedy, &modest, &waits].map(must_go).contains(&true));
    let _more = modest.begin_request(REQUEST_BYTES).expect("room is made");
    assert!(must_go(&waits) && !must_go(&greedy));
    drop(waits);
    assert_eq!(greedy.begin_request(REQUEST_BYTES).err(), Some(Full::Everywhere), "not for its own sake");
    let _even_more = modest.begin_request(REQUEST_BYTES).expect("room is made");
    assert!(must_go(&greedy) && !must_go(&modest));
    drop(work);
    drop(greedy);
    std::thread::sleep(NOBODY);
    assert!(modest.begin_request(REQUEST_BYTES).is_ok() && !must_go(&modest));
}

#[test]
fn one_address_leaves_a_quarter_to_the_others() {
    let bytes = 40 * (CONNECTION_BYTES + REQUEST_BYTES);
    let capacity = Capacity::new(Bounds { connections: 1000, of_one_share: 1000, bytes });
    let places: Vec<_> = (0..60).map_while(|_| take(&capacity, Some(1)).ok()).collect();
    let work: Vec<_> = places.iter().map_while(|place| place.begin_request(REQUEST_BYTES).ok()).collect();
    let last = &places[work.len()];
    assert_eq!(last.begin_request(REQUEST_BYTES).err(), Some(Full::Address));
    let other = take(&capacity, Some(2)).expect("a place");
    assert!(other.begin_request(REQUEST_BYTES).is_ok());
    assert!(!places.iter().any(must_go), "nobody had to go for it");
}

#[test]
fn a_body_counts_for_what_is_kept_of_it() {
    assert_eq!(weight(100, Some(0)), REQUEST_BYTES + 100);
    assert_eq!(weight(0, Some(1000)), REQUEST_BYTES + 2000);
    assert_eq!(weight(0, Some(u64::MAX)), weight(0, None));
}

#[test]
fn a_request_that_finds_no_room_is_not_at_work() {
    let capacity =
        Capacity::new(Bounds { connections: 9, of_one_share: 9, bytes: CONNECTION_BYTES + REQUEST_BYTES });
    let place = take(&capacity, None).expect("a place");
    assert_eq!(place.begin_request(REQUEST_BYTES + 1).err(), Some(Full::Everywhere));
    assert_eq!((capacity.taken_bytes(), lock(&place.shared.state).at_work), (CONNECTION_BYTES, 0));
    assert!(place.begin_request(REQUEST_BYTES).is_ok());
}

#[test]
fn a_request_that_goes_on_with_less_gives_the_rest_back() {
    let capacity = house(2, 2);
    let place = take(&capacity, Some(1)).expect("a place");
    let mut at_work = place.begin_request(REQUEST_BYTES).expect("work");
    at_work.lower_to(TUNNEL_BYTES);
    assert_eq!(capacity.taken_bytes(), CONNECTION_BYTES + TUNNEL_BYTES);
    at_work.lower_to(REQUEST_BYTES);
    assert_eq!(capacity.taken_bytes(), CONNECTION_BYTES + TUNNEL_BYTES);
    drop(at_work);
    assert_eq!(capacity.taken_bytes(), CONNECTION_BYTES);
}
