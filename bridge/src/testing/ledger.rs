use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ledger::{Begin, EffectKey, EffectState, Ledger, Writer};

/// Holds a [`Ledger`] to its guarantees.
pub async fn ledger_contract(ledger: &dyn Ledger) {
    let key = EffectKey::new(["version", "7", "1"]);
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let (me, other) = (Writer::unknown(), Writer::unknown());

    assert_eq!(ledger.read(&key).await.unwrap(), None);
    assert_eq!(ledger.begin(&key, &me, at(1)).await.unwrap(), Begin::Begun);
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(EffectState::Begun(at(1)))
    );
    assert_eq!(ledger.begin(&key, &me, at(2)).await.unwrap(), Begin::Begun);
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(EffectState::Begun(at(2))),
        "a second beginning is stamped anew"
    );
    let taken = ledger.begin(&key, &other, at(3)).await.unwrap();
    assert_eq!(taken, Begin::Taken);
    ledger.abandon(&key, &other).await.unwrap();
    assert!(!ledger.complete(&key, &other, json!(1)).await.unwrap());
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(EffectState::Begun(at(2))),
        "what another has begun is not one's own"
    );

    ledger.abandon(&key, &me).await.unwrap();
    assert_eq!(ledger.read(&key).await.unwrap(), None);
    let now = Duration::ZERO;
    assert!(!ledger.doubt(&key, &me, now).await.unwrap());
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        None,
        "what was never begun is not doubted"
    );

    ledger.begin(&key, &me, at(2)).await.unwrap();
    let minutes = Duration::from_secs(600);
    assert!(ledger.doubt(&key, &me, minutes).await.unwrap());
    let doubted = async || match ledger.read(&key).await.unwrap() {
        Some(EffectState::Doubted(ago)) => ago,
        state => panic!("{state:?} is no doubt"),
    };
    let ago = doubted().await;
    assert!((minutes..2 * minutes).contains(&ago), "{ago:?}");
    ledger.abandon(&key, &me).await.unwrap();
    assert!(doubted().await >= ago, "a doubt stays, and grows old");
    assert!(ledger.doubt(&key, &other, now).await.unwrap());
    assert!(doubted().await < minutes, "anybody may doubt anew");
    let begun = ledger.begin(&key, &other, at(4)).await.unwrap();
    assert_eq!(begun, Begin::Begun);
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(EffectState::Begun(at(4)))
    );
    assert!(
        ledger.doubt(&key, &me, now).await.unwrap(),
        "nobody knows of its lease"
    );
    assert!(
        ledger.complete(&key, &other, json!(4)).await.unwrap(),
        "it was doubted, and has happened all the same"
    );
    assert!(!ledger.complete(&key, &other, json!(5)).await.unwrap());
    let finished = EffectState::Finished(json!(4));
    assert_eq!(ledger.read(&key).await.unwrap(), Some(finished));
    ledger.forget(&key).await.unwrap();

    ledger.begin(&key, &me, at(3)).await.unwrap();
    ledger
        .finish(&key, json!({ "id": "068" }), at(4))
        .await
        .unwrap();
    let finished = EffectState::Finished(json!({ "id": "068" }));
    assert_eq!(ledger.read(&key).await.unwrap(), Some(finished.clone()));
    ledger.abandon(&key, &me).await.unwrap();
    assert!(!ledger.doubt(&key, &me, now).await.unwrap());
    assert!(!ledger.complete(&key, &me, json!(1)).await.unwrap());
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(finished),
        "what has happened stays"
    );
    assert_eq!(
        ledger.begin(&key, &me, at(5)).await.unwrap(),
        Begin::Finished(json!({ "id": "068" }))
    );
    ledger.finish(&key, json!(null), at(6)).await.unwrap();
    assert_eq!(
        ledger.read(&key).await.unwrap(),
        Some(EffectState::Finished(json!(null)))
    );

    ledger.forget(&key).await.unwrap();
    assert_eq!(ledger.read(&key).await.unwrap(), None);
    ledger.begin(&key, &me, at(6)).await.unwrap();

    let memory = EffectKey::new(["memory"]);
    let replace = async |seen: Option<&Value>, to: Value| {
        let replaced = ledger.replace(&memory, seen, to, at(6)).await;
        replaced.unwrap()
    };
    let (one, two) = (json!({ "n": "1", "a": [] }), json!(2));
    assert!(replace(None, one.clone()).await);
    assert!(!replace(None, two.clone()).await, "something is there");
    assert!(!replace(Some(&two), json!(3)).await, "and not this");
    assert!(replace(Some(&one), two.clone()).await);
    assert!(!replace(Some(&one), json!(3)).await, "one of two succeeds");
    assert_eq!(
        ledger.read(&memory).await.unwrap(),
        Some(EffectState::Finished(two))
    );
    ledger.forget(&memory).await.unwrap();

    for parts in [
        ["version", "7", "2"],
        ["version", "70", "1"],
        ["version", "7/", "1"],
    ] {
        let key = EffectKey::new(parts);
        ledger.begin(&key, &me, at(7)).await.unwrap();
    }
    let under = ledger
        .under(&EffectKey::new(["version", "7"]))
        .await
        .unwrap();
    let keys: Vec<_> = under.iter().map(|effect| effect.key.clone()).collect();
    assert_eq!(
        keys,
        [
            EffectKey::new(["version", "7", "1"]),
            EffectKey::new(["version", "7", "2"])
        ],
        "a prefix takes whole parts only"
    );
    let all = ledger.under(&EffectKey::new::<&str>([])).await.unwrap();
    assert_eq!(all.len(), 4, "no parts: everything");
    assert!(all.is_sorted_by(|a, b| a.key.as_str() < b.key.as_str()));

    let empty_part = EffectKey::new(["task", ""]);
    ledger.begin(&empty_part, &me, at(8)).await.unwrap();
    ledger
        .begin(&EffectKey::new(["task", "b"]), &me, at(8))
        .await
        .unwrap();
    let under = ledger.under(&empty_part).await.unwrap();
    assert_eq!(under.len(), 1, "an empty part is a part");
    assert_eq!(under[0].state, EffectState::Begun(at(8)));

    only_what_is_old_finished_and_of_the_kind_is_purged(ledger).await;
}

async fn only_what_is_old_finished_and_of_the_kind_is_purged(ledger: &dyn Ledger) {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let me = Writer::unknown();
    let finished = [
        (EffectKey::new(["note", "old"]), 10),
        (EffectKey::new(["note", "older"]), 9),
        (EffectKey::new(["note", "young"]), 20),
        (EffectKey::new(["notes", "old"]), 10),
        (EffectKey::new(["no", "note", "old"]), 10),
    ];
    for (key, second) in &finished {
        ledger.begin(key, &me, at(*second)).await.unwrap();
        // When it was finished does not count: what is under way for long has long been asked for.
        ledger.finish(key, json!(1), at(100)).await.unwrap();
    }
    let open = [["note", "begun"], ["note", "doubted"]].map(EffectKey::new);
    for key in &open {
        ledger.begin(key, &me, at(1)).await.unwrap();
    }
    assert!(ledger.doubt(&open[1], &me, Duration::ZERO).await.unwrap());

    assert_eq!(ledger.purge("note", at(9), 10).await.unwrap(), 0);
    assert_eq!(ledger.purge("note", at(15), 1).await.unwrap(), 1, "so many");
    assert_eq!(ledger.purge("note", at(15), 10).await.unwrap(), 1);
    assert_eq!(ledger.purge("note", at(15), 10).await.unwrap(), 0);
    for (number, (key, _)) in finished.iter().enumerate() {
        let is_kept = ledger.read(key).await.unwrap().is_some();
        assert_eq!(is_kept, number >= 2, "{key}");
    }
    for key in &open {
        assert!(ledger.read(key).await.unwrap().is_some(), "{key}");
    }
}
