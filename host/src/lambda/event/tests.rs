use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_lambda_events::s3::S3Event;
use aws_lambda_events::sns::SnsEvent;
use aws_lambda_events::sqs::SqsEvent;
use serde_json::json;

use super::*;

const S3: &str = include_str!("../samples/s3.json");
const SNS: &str = include_str!("../samples/sns.json");
const SQS: &str = include_str!("../samples/sqs.json");
const EVENTBRIDGE: &str = include_str!("../samples/eventbridge.json");
const RULE: &str = include_str!("../samples/rule.json");
const SCHEDULER: &str = include_str!("../samples/scheduler.json");
const REMOVED: &str = include_str!("../samples/s3-removed.json");
const TEST: &str = include_str!("../samples/s3-test.json");

fn json_of(sample: &str) -> Value {
    serde_json::from_str(sample).expect("a sample is JSON")
}

/// What an event says that is no batch.
fn says(event: &Value) -> Result<Happened, EventError> {
    let trigger = Trigger::of(event)?;
    assert!(!trigger.is_batch());
    let [notice] = trigger.notices.as_slice() else {
        panic!("one notice: {trigger:?}");
    };
    notice.says.clone()
}

fn created(key: &str) -> Happened {
    Happened::Created(vec![StoredObject {
        bucket: "acme-ingestion".into(),
        key: key.into(),
    }])
}

#[test]
fn the_samples_are_what_the_services_send() {
    serde_json::from_str::<S3Event>(S3).expect("S3");
    serde_json::from_str::<SnsEvent>(SNS).expect("SNS");
    serde_json::from_str::<SqsEvent>(SQS).expect("SQS");
    for sample in [EVENTBRIDGE, RULE, SCHEDULER] {
        serde_json::from_str::<EventBridgeEvent>(sample).expect("EventBridge");
    }
}

#[test]
fn a_schedule_asks_for_whatever_is_pending() {
    let due = Ok(Happened::Due(Asked::default()));
    for sample in [RULE, SCHEDULER, "{}", "null"] {
        assert_eq!(says(&json_of(sample)), due, "{sample}");
    }
}

#[test]
fn the_input_of_a_schedule_may_ask_for_more() {
    let event =
        json!({"tables": ["staff", "design"], "reconcile": true, "time": "2026-11-22T08:00:00Z"});
    let asked = Asked {
        tables: vec!["staff".into(), "design".into()],
        reconcile: true,
    };
    assert_eq!(says(&event), Ok(Happened::Due(asked)));
    for (event, told) in [
        (
            json!({"tables": "staff"}),
            "the event is the input of a schedule, and its `tables` is no list of names",
        ),
        (
            json!({"reconcile": "yes"}),
            "the event is the input of a schedule, and its `reconcile` is neither true nor false",
        ),
        (
            json!({"tables": [], "reconcil": true}),
            "the event is of no shape that is understood: it is an input that asks for `reconcil`",
        ),
    ] {
        let error = says(&event).expect_err("a wrong input");
        assert_eq!(error.to_string(), told);
    }
}

#[test]
fn a_key_is_decoded_where_the_courier_encodes_it() {
    let key = "shop:1+totes ys/_manifests/0000000042.json";
    assert_eq!(says(&json_of(S3)), Ok(created(key)));
    // EventBridge writes keys as they are: a plus is a plus.
    assert_eq!(says(&json_of(EVENTBRIDGE)), Ok(created(key)));
}

#[test]
fn sns_is_unpacked() {
    let key = "totesys/_manifests/0000000042.json";
    assert_eq!(says(&json_of(SNS)), Ok(created(key)));
}

#[test]
fn every_message_of_a_batch_speaks_for_itself() {
    let trigger = Trigger::of(&json_of(SQS)).expect("a batch");
    assert!(trigger.is_batch());
    let told: Vec<_> = trigger.notices.iter().map(|n| n.says.clone()).collect();
    assert_eq!(
        told,
        [
            Ok(created("totesys/_manifests/0000000042.json")),
            Ok(created("totesys/_manifests/0000000043.json")),
            Ok(created("shop:1+totes ys/_manifests/0000000042.json")),
            Err(EventError::Malformed {
                shape: "a message of SQS",
                part: "body",
                problem: "no JSON"
            }),
        ]
    );
    let last = trigger.notices.last().and_then(|n| n.message.clone());
    assert_eq!(
        last.as_deref(),
        Some("059f36b4-87a3-44ab-83d2-661975870003")
    );
}

#[test]
fn what_matters_to_nobody_says_so() {
    let word = |sample: &str| match says(&json_of(sample)) {
        Ok(Happened::Nothing(word)) => word,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        word(TEST),
        "a test of S3: acme-ingestion can notify this function"
    );
    assert_eq!(
        word(REMOVED),
        "ObjectRemoved:Delete: only what is created matters"
    );
}

#[test]
fn a_look_alike_of_s3_is_understood() {
    let mut event = json_of(S3);
    event["Records"][0]["eventSource"] = json!("minio:s3");
    event["Records"][0]["eventName"] = json!("s3:ObjectCreated:CompleteMultipartUpload");
    assert!(matches!(says(&event), Ok(Happened::Created(_))));
}

#[test]
fn an_unknown_event_is_refused_with_the_shapes_that_are_understood() {
    for (event, told) in [
        (json!("run"), "a text"),
        (json!(7), "a number"),
        (json!([1]), "a list"),
        (
            json!({"httpMethod": "GET", "path": "/"}),
            "an object with httpMethod, path",
        ),
        (json!({"Records": []}), "a list without records"),
        (json!({"Records": [{"a": 1}]}), "a list of nameless records"),
        (
            json!({"Records": [{"eventSource": "aws:kinesis"}]}),
            "of `aws:kinesis`",
        ),
        (
            json!({"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2"}),
            "`EC2 Instance State-change Notification` of EventBridge",
        ),
        (json!({"tides\u{7}": 1}), "an object with tides\\u{7}"),
    ] {
        let error = says(&event).expect_err("an unknown event");
        assert_eq!(
            error.to_string(),
            format!("the event is of no shape that is understood: it is {told}")
        );
        let hint = error.hint().expect("a hint");
        for shape in [
            "Scheduled Event",
            "ObjectCreated",
            "SNS",
            "SQS",
            "Object Created",
        ] {
            assert!(hint.contains(shape), "{hint}");
        }
    }
}

#[test]
fn a_part_that_is_missing_is_named() {
    let mut event = json_of(S3);
    event["Records"][0]["s3"]["object"] = json!({});
    let error = says(&event).expect_err("no key");
    assert_eq!(
        error.to_string(),
        "the event is a notification of S3, and its `s3.object.key` is missing"
    );
    let mut event = json_of(S3);
    event["Records"][0]["s3"]["object"]["key"] = json!("%ff%fe");
    let error = says(&event).expect_err("no text");
    assert_eq!(
        error.to_string(),
        "the event is a notification of S3, and its `s3.object.key` is no URL-encoded text"
    );
    let nested = (0..5).fold(
        json!("{}"),
        |inner, _| json!({"Type": "Notification", "Message": inner.to_string()}),
    );
    assert!(matches!(says(&nested), Err(EventError::Unknown(_))));
}
