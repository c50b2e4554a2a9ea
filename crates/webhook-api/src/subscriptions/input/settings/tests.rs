use super::*;

fn settings(body: &str, old: &Settings) -> Result<Settings, FieldError> {
    let mut fields = Fields::read(body.as_bytes()).unwrap();
    let patch = SettingsPatch::read(&mut fields);
    fields.finish().unwrap();
    patch.applied(old)
}

fn with(body: &str) -> Settings {
    settings(body, &Settings::default()).unwrap()
}

fn values(settings: &Settings) -> Vec<(&str, &str)> {
    (settings.headers().iter())
        .map(|header| (header.name(), header.value().expose()))
        .collect()
}

#[test]
fn what_is_not_named_stays() {
    let all = with(
        r#"{"max_in_flight":7,"rate_per_second":5,"burst":9,"ordered":true,"timeout_seconds":3,
            "redelivery_schedule":[1,2],"headers":{"X-Key":"k"}}"#,
    );
    assert_eq!(settings("{}", &all).unwrap(), all);
    let fewer = settings(r#"{"redelivery_schedule":[],"headers":null}"#, &all).unwrap();
    assert_eq!(fewer, all.clone().with_redelivery_schedule(vec![]).unwrap());
    let one = settings(r#"{"timeout_seconds":4}"#, &all).unwrap();
    assert_eq!(one, all.with_timeout_seconds(4).unwrap());
}

#[test]
fn a_burst_of_nothing_is_the_default() {
    let nine = with(r#"{"burst":9}"#);
    assert_eq!(nine.burst(), Some(9));
    assert_eq!(settings(r#"{"burst":0}"#, &nine).unwrap().burst(), None);
}

#[test]
fn headers_are_replaced_as_a_whole_and_values_may_be_kept() {
    let old = with(r#"{"headers":{"A":"1","B":"2"}}"#);
    let new = settings(r#"{"headers":{"b":"***","C":"3"}}"#, &old).unwrap();
    assert_eq!(values(&new), [("b", "2"), ("c", "3")]);
    let none = settings(r#"{"headers":{}}"#, &old).unwrap();
    assert_eq!(values(&none), []);
    let error = settings(r#"{"headers":{"D":"***"}}"#, &old).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.detail.as_str()),
        ("headers.d", "*** keeps a value, and there is none yet")
    );
    let error = settings(r#"{"headers":{"E":"1","e":"2"}}"#, &old).unwrap_err();
    assert_eq!(error.field, "headers.e");
}

#[test]
fn headers_are_counted() {
    let names: Vec<String> = (0..33).map(|n| format!(r#""h{n}":"v""#)).collect();
    let body = format!(r#"{{"headers":{{{}}}}}"#, names.join(","));
    let error = settings(&body, &Settings::default()).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.detail.as_str()),
        ("headers", "33 headers are given; at most 32 are taken")
    );
}
