use nightshift_engine::control::{ControlRequest, ControlResponse};

/// A line is a request, which encodes to the same, or is refused by a response. Either fits into one line.
pub fn control(bytes: &[u8]) {
    match ControlRequest::decode(bytes) {
        Ok(request) => {
            let encoded = one_line(serde_json::to_vec(&request));
            assert_eq!(ControlRequest::decode(&encoded).expect("what was encoded"), request);
        }
        Err(refusal) => {
            assert!(matches!(refusal, ControlResponse::Failed { .. }));
            keeps_its_value(&refusal);
        }
    }
    if let Ok(response) = serde_json::from_slice::<ControlResponse>(bytes) {
        keeps_its_value(&response);
    }
}

fn keeps_its_value(response: &ControlResponse) {
    let encoded = one_line(serde_json::to_vec(response));
    let decoded: ControlResponse = serde_json::from_slice(&encoded).expect("what was encoded");
    assert_eq!(one_line(serde_json::to_vec(&decoded)), encoded);
}

fn one_line(encoded: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    let encoded = encoded.expect("a message is valid JSON");
    assert!(!encoded.contains(&b'\n'), "more than one line");
    encoded
}
