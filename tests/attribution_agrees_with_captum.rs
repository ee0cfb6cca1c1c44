//! Attribution methods against captum in double precision, for several families: `tests/reference/captum_methods.py` made the
//! fixture.

use std::path::{Path, PathBuf};

use afterthought::attribution::method::{MOST_STEPS, Scores};
use afterthought::attribution::query::Part;
use afterthought::attribution::start::Start;
use afterthought::attribution::{Means, Method, Query, Room};
use afterthought::rationale::recipe::{Baseline, Unit};
use afterthought::student::{Decoder, weights};
use candle_core::{DType, Device};
use serde_json::Value;

/// How far a score may be from captum's, as a share of the largest. Scores are told in `f32`, and captum weighs its steps in `f32`.
const BAR: f64 = 5e-6;

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn fixture() -> Value {
    serde_json::from_slice(&std::fs::read(reference().join("captum_methods.json")).unwrap()).unwrap()
}

fn decoder(name: &str, dtype: DType) -> Decoder {
    let folder = if name == "gpt2" { reference().join("gpt2") } else { reference().join("families").join(name) };
    let model = weights::read_model(&folder, &Device::Cpu).unwrap();
    let weights = model.weights.into_iter().map(|(name, weight)| (name, weight.to_dtype(dtype).unwrap()));
    Decoder::new(model.architecture, &weights.collect()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|id| id as u32).collect()
}

fn places(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|place| place as usize).collect()
}

fn query(fixture: &Value, target: &str) -> Query {
    let range = places(&fixture["range"]);
    let part = |sign, name: &str| Part { sign, ids: ids(&fixture[name]) };
    let mut parts = vec![part(1.0, "label")];
    if target == "contrast" {
        parts.push(part(-1.0, "other"));
    }
    Query { ids: ids(&fixture["sequence"]), range: range[0]..range[1], parts }
}

fn units(fixture: &Value) -> Vec<Vec<usize>> {
    fixture["units"].as_array().unwrap().iter().map(places).collect()
}

#[track_caller]
fn agree(got: &[f64], want: &[f64], bar: f64, what: &str) {
    let largest = want.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert!(got.len() == want.len() && largest > 1e-3, "{what}: {want:?}");
    let gap = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max) / largest;
    assert!(gap < bar, "{what}: {gap:e}\n{got:?}\n{want:?}");
}

fn wide(scores: &Scores) -> Vec<f64> {
    scores.scores.iter().map(|score| f64::from(*score)).collect()
}

/// Every method that captum has, for one decoder, and those that the model itself was asked for.
fn all_methods(name: &str, dtype: DType, bar: f64) {
    let fixture = fixture();
    let case = &fixture["cases"][name];
    let decoder = decoder(name, dtype);
    // Little room, so that the passes of a query are spread over batches.
    let room = Room::of(100);
    let means = Means { decoder: &decoder, pad: 1, room: &room, most_steps: 0 };
    let random: Vec<Vec<u32>> = fixture["random"].as_array().unwrap().iter().map(ids).collect();
    let units = units(&fixture);
    for target in ["label", "contrast"] {
        let (query, want) = (query(&fixture, target), &case[target]);
        let score = |method: Method, start: Start| -> Vec<f64> {
            let found =
                means.score_from(&start, &method, std::slice::from_ref(&query), std::slice::from_ref(&units)).unwrap();
            assert_eq!(found.len(), 1);
            let value = want["value"].as_f64().unwrap();
            assert!((found[0].value - value).abs() < 1e-5 * value.abs().max(1.0), "{name} {target}");
            wide(&found[0])
        };
        // A unit's score is shared out among its places.
        let by_unit = |scores: Vec<f64>| -> Vec<f64> {
            let of = |unit: &Vec<usize>| unit.iter().map(|place| scores[place - query.range.start]).sum();
            units.iter().map(of).collect()
        };
        let steps = fixture["steps"].as_u64().unwrap() as usize;
        let starts = [
            (Start::Zero, "zero"),
            (Start::Word(1), "pad"),
            (Start::Mean, "mean"),
            (Start::Words(random.clone()), "random"),
        ];
        for (start, label) in starts {
            let method = Method::IntegratedGradients { steps, baseline: Baseline::Zero };
            let what = |method: &str| format!("{name}: {method} of {target} from {label}");
            let key = |method: &str| numbers(&want[format!("{method}.{label}")]);
            agree(&score(method, start.clone()), &key("integrated"), bar, &what("integrated gradients"));
            let method = Method::Occlusion { unit: Unit::Token, baseline: Baseline::Zero };
            agree(&by_unit(score(method, start)), &key("occlusion"), bar, &what("occlusion"));
        }
        let what = |method: &str| format!("{name}: {method} of {target}");
        let found = score(Method::GradientTimesInput, Start::Zero);
        agree(&found, &numbers(&want["gradient_input"]), bar, &what("gradient × input"));
        let found = score(Method::GradientNorm, Start::Zero);
        agree(&found, &numbers(&want["gradient_norm"]), bar, &what("gradient norm"));
        let found = by_unit(score(Method::LeaveOneOut { unit: Unit::Token }, Start::Zero));
        agree(&found, &numbers(&want["leave_one_out"]), bar, &what("leave one out"));
    }
}

#[test]
fn every_method_agrees_in_double_precision() {
    let fixture = fixture();
    let names: Vec<&String> = fixture["cases"].as_object().unwrap().keys().collect();
    assert!(names.len() >= 6);
    for name in names {
        all_methods(name, DType::F64, BAR);
    }
}

#[test]
fn every_method_agrees_in_single_precision() {
    for name in ["gpt2", "llama", "phi-gqa"] {
        all_methods(name, DType::F32, 1e-4);
    }
}

#[test]
fn the_embedding_layer_hook_says_the_same() {
    let fixture = fixture();
    for (name, case) in fixture["cases"].as_object().unwrap() {
        let decoder = decoder(name, DType::F64);
        let sequence = ids(&fixture["sequence"]);
        let query = Query::new(sequence.clone(), 0..sequence.len(), vec![ids(&fixture["label"])[0]]);
        let room = Room::of(1000);
        let means = Means { decoder: &decoder, pad: 1, room: &room, most_steps: 0 };
        let method = Method::IntegratedGradients { steps: 20, baseline: Baseline::Pad };
        let found = means.score(&method, &[query], &[vec![]]).unwrap();
        agree(&wide(&found[0]), &numbers(&case["layer_integrated.pad"]), BAR, name);
    }
}

#[test]
fn attention_is_what_the_last_place_attends_with() {
    let fixture = fixture();
    for (name, case) in fixture["cases"].as_object().unwrap() {
        let decoder = decoder(name, DType::F64);
        let found = decoder.attention_of_last(&ids(&fixture["sequence"])).unwrap();
        let want = case["attention"].as_array().unwrap();
        assert_eq!(found.len(), want.len());
        for (layer, (found, want)) in found.iter().zip(want).enumerate() {
            let found = found.to_vec2::<f32>().unwrap();
            for (head, (found, want)) in found.iter().zip(want.as_array().unwrap()).enumerate() {
                let found: Vec<f64> = found.iter().map(|weight| f64::from(*weight)).collect();
                agree(&found, &numbers(want), BAR, &format!("{name}: layer {layer}, head {head}"));
            }
        }
    }
}

#[test]
fn queries_together_say_what_each_says_alone_and_add_up() {
    let fixture = fixture();
    let decoder = decoder("gpt2", DType::F32);
    let (room, tight) = (Room::of(10_000), Room::of(1));
    let mut queries = vec![query(&fixture, "label"), query(&fixture, "contrast")];
    queries.push(Query::new(ids(&fixture["sequence"])[..4].to_vec(), 0..4, vec![9]));
    for baseline in Baseline::ALL {
        let method = Method::IntegratedGradients { steps: 20, baseline };
        let score = |room: &Room, queries: &[Query]| {
            let means = Means { decoder: &decoder, pad: 1, room, most_steps: MOST_STEPS };
            means.score(&method, queries, &vec![vec![]; queries.len()]).unwrap()
        };
        let together = score(&room, &queries);
        for (query, found) in queries.iter().zip(&together) {
            let alone = score(&tight, std::slice::from_ref(query));
            agree(&wide(found), &wide(&alone[0]), 1e-5, baseline.name());
            let integral = found.integral.unwrap();
            let sum: f64 = wide(found).iter().sum();
            assert!(integral.is_good && (sum - (found.value - integral.value_at_start)).abs() < 1e-3);
        }
    }
}

#[test]
fn an_integral_that_does_not_add_up_is_marked_or_refined() {
    let fixture = fixture();
    let decoder = decoder("gpt2", DType::F64);
    let room = Room::of(10_000);
    let method = Method::IntegratedGradients { steps: 1, baseline: Baseline::Zero };
    let score = |most_steps| {
        let means = Means { decoder: &decoder, pad: 1, room: &room, most_steps };
        means.score(&method, &[query(&fixture, "label")], &[vec![]]).unwrap()[0].integral.unwrap()
    };
    let (coarse, fine) = (score(1), score(64));
    assert!(!coarse.is_good && coarse.steps == 1, "{coarse:?}");
    assert!(fine.is_good && fine.steps > 1 && fine.delta.abs() < coarse.delta.abs() / 10.0, "{fine:?}");
}
