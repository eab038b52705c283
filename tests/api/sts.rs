//! `sts:GetCallerIdentity` on the same port, in the query protocol.

use super::*;

const IDENTITY: &[u8] = b"Action=GetCallerIdentity&Version=2011-06-15";

#[test]
fn the_root_user_is_told_who_he_is() {
    let service = shared();
    for region in ["us-east-1", "eu-west-1"] {
        let answer = Request { region: region.into(), ..request(IDENTITY) }.send(&service);
        let id = answer.header("x-amzn-requestid").unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml")));
        assert_eq!(
            String::from_utf8(answer.body.clone()).unwrap(),
            format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:root</Arn><UserId>111122223333</UserId>\
                 <Account>111122223333</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>{id}</RequestId>\
                 </ResponseMetadata></GetCallerIdentityResponse>"
            )
        );
        let event = event(&service, &answer);
        assert_eq!(
            (&event["eventSource"], &event["eventName"]),
            (&"sts.amazonaws.com".into(), &"GetCallerIdentity".into())
        );
        assert_eq!((&event["awsRegion"], &event["readOnly"]), (&region.into(), &true.into()));
    }
}

#[test]
fn the_global_endpoint_is_that_of_us_east_1() {
    let service = Service::start_with(&["--region", "eu-central-1"]);
    let answer = request(IDENTITY).send(&service);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = Request { region: "us-west-2".into(), ..request(IDENTITY) }.send(&service);
    is_xml_error(&answer, 403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.");
}

#[test]
fn refusals_are_in_the_words_of_sts() {
    let service = shared();
    let action = |body: &str| request(body.as_bytes()).send(&service);
    for body in [
        "Action=GetFederationToken&Version=2011-06-15",
        "Action=GetCallerIdentity",
        "Action=ListKeys&Version=2011-06-15",
    ] {
        is_xml_error(&action(body), 400, "InvalidAction", "");
    }
    let spoilt = |spoil: &dyn Fn(&mut Vec<(String, String)>)| {
        let request = request(IDENTITY);
        let mut headers = request.signed_headers(&service);
        spoil(&mut headers);
        support::wire::exchange(&service.address(), &request.bytes(&headers))
    };
    let authorization = |headers: &mut Vec<(String, String)>, from: &str, to: &str| {
        let value = &mut headers.iter_mut().find(|(name, _)| name == "authorization").unwrap().1;
        assert!(value.contains(from));
        *value = value.replace(from, to);
    };
    let mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS \
                    Secret Access Key and signing method. Consult the service documentation for details.";
    let answer = spoilt(&|headers| authorization(headers, "Signature=", "Signature=0"));
    is_xml_error(&answer, 403, "SignatureDoesNotMatch", mismatch);
    let answer = spoilt(&|headers| authorization(headers, "Credential=AKIA", "Credential=AKIB"));
    is_xml_error(&answer, 403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    let answer = spoilt(&|headers| headers.retain(|(name, _)| name != "authorization"));
    is_xml_error(&answer, 403, "MissingAuthenticationToken", "Missing Authentication Token");
    let answer = spoilt(&|headers| authorization(headers, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"));
    is_xml_error(
        &answer,
        400,
        "IncompleteSignature",
        "Unsupported AWS 'algorithm'. Authorization requires AWS4-HMAC-SHA256.",
    );
}

#[test]
fn a_kms_signature_is_no_sts_signature() {
    let service = shared();
    let answer = Request { service: "kms".into(), ..request(IDENTITY) }.send(&service);
    let message = "Credential should be scoped to correct service: 'sts'.";
    is_xml_error(&answer, 403, "SignatureDoesNotMatch", message);
    let answer = Request { service: "sts".into(), ..Request::kms("ListKeys", &json!({})) }.send(&service);
    is_refusal(&answer, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'.");
}

fn request(body: &[u8]) -> Request {
    Request {
        headers: vec![("content-type".into(), "application/x-www-form-urlencoded; charset=utf-8".into())],
        service: "sts".into(),
        ..Request::kms_bytes("", body)
    }
}

#[track_caller]
fn is_xml_error(answer: &Answer, status: u16, code: &str, message: &str) {
    let id = answer.header("x-amzn-requestid").expect("a request id");
    let expected = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    );
    assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).into_owned()), (status, expected));
    assert_eq!(answer.header("content-type"), Some("text/xml"));
}
