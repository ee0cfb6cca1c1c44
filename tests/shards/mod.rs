//! A model in several files, as large ones are published.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

/// Puts the weights of a folder into two files and an index.
pub fn into_shards(dir: &Path) {
    let whole = dir.join("model.safetensors");
    let all = candle_core::safetensors::load(&whole, &Device::Cpu).unwrap();
    let mut names: Vec<&String> = all.keys().collect();
    names.sort();
    let mut map = serde_json::Map::new();
    for (number, names) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", number + 1);
        let part: HashMap<&str, Tensor> = names.iter().map(|name| (name.as_str(), all[*name].clone())).collect();
        candle_core::safetensors::save(&part, dir.join(&file)).unwrap();
        map.extend(names.iter().map(|name| ((*name).clone(), file.clone().into())));
    }
    std::fs::remove_file(whole).unwrap();
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}
